//! `cargo xtask packages` makes the Debian packages; the suite's step tries them. What is in them
//! is said in `[package.metadata.deb]` of each program and in its folder `packaging`.

mod machine;
mod symbols;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use harness::install;
use harness::programs::{self, Profile};

use crate::tools::{self, CARGO_DEB};
use machine::Machine;

/// Each is a crate, its program, and with `rollcall-` before it a package, a unit, a user and a
/// folder below /var/lib.
const PROGRAMS: [&str; 2] = ["control-plane", "router-agent"];
/// The most that `systemd-analyze security` may find, in tenths: from 0, perfect, to 100.
const EXPOSURE: u32 = 15;

/// Options of `cargo xtask packages`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Try packages of the debug build instead, as the suite does.
    #[arg(long)]
    check: bool,
}

/// Both packages, of builds that are optimized as a whole, into `target/debian`.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check {
        programs::build(Profile::Debug)?;
        return check();
    }
    println!("==> packages: both programs optimized as a whole, which takes ten minutes from nothing");
    programs::build(Profile::Dist)?;
    for program in PROGRAMS {
        let program = tools::target().join("dist").join(program);
        symbols::check_function_names(&program)?;
        symbols::check_no_debug_information(&program)?;
    }
    for package in make("dist", &tools::target().join("debian"))? {
        println!("{}", package.display());
    }
    Ok(())
}

/// Makes packages of the programs as the suite has built them, and tries them on a machine of their
/// own. A debug build is as good here: what is tried is the packaging.
pub(crate) fn check() -> Result<()> {
    let folder = tools::target().join("packages");
    println!("==> packages: how far the units are shut");
    if install::is_root() {
        install::ensure(&["systemd", "systemd-container", "mmdebstrap"])?;
    }
    match Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status() {
        Ok(_) => PROGRAMS.iter().try_for_each(|program| shut(program))?,
        Err(_) => println!("    left out, because there is no systemd-analyze"),
    }
    println!("==> packages: cargo deb");
    let packages = make("dev", &folder)?;
    println!("==> packages: installed, used, upgraded, removed and purged in a Debian of their own");
    if !install::is_root() {
        println!("    left out, because it needs root");
        return Ok(());
    }
    match Machine::boot(&folder)? {
        Ok(machine) => trial::run(&machine, &packages),
        Err(why) => {
            println!("    left out, because {why}");
            Ok(())
        }
    }
}

/// Packages both programs as they are built. Not built by cargo-deb, which would build each alone,
/// with other features of what they share.
fn make(profile: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let cargo_deb = CARGO_DEB.ensure()?;
    fs::create_dir_all(folder)?;
    let make = |program: &&str| {
        let mut command = Command::new(&cargo_deb);
        command.current_dir(tools::workspace()).args(["--quiet", "--locked", "--package", program]);
        // What is stripped is up to the profile: cargo-deb would remove the names of functions,
        // too.
        command.args(["--no-build", "--profile", profile, "--no-strip"]);
        command.arg("--fast"); // a fifth larger, and minutes quicker
        command.arg("--output").arg(folder).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output().context("cannot start cargo-deb")?;
        ensure!(output.status.success(), "cargo-deb cannot package {program}");
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    };
    PROGRAMS.iter().map(make).collect()
}

/// That systemd finds hardly anything that it could take away from a program.
fn shut(program: &str) -> Result<()> {
    let unit = tools::workspace().join(program).join(format!("packaging/rollcall-{program}.service"));
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE}")]).arg(&unit);
    let output = command.output().context("cannot start systemd-analyze")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let overall = said.lines().find(|line| line.contains("exposure level")).unwrap_or_default();
    println!("    {}", overall.trim_start_matches(['→', ' ']));
    if !output.status.success() {
        bail!("{} is open wider than {EXPOSURE} tenths:\n{said}", unit.display());
    }
    Ok(())
}
