//! `cargo xtask test` runs every check and every test, the fastest first. The first failure ends
//! it. `--quick` runs what an engineer wants after each change (`quick`).

mod quick;
mod step;

use std::process::{Command, Stdio};

use anyhow::Result;
use harness::install;

use crate::packages;
use crate::tools::CARGO_DENY;
use step::{has, run_if_installed, run_step, timed};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only the fast checks: format, lints, unit tests, and the store tests on SQLite.
    ///
    /// Takes at most 3 minutes on two cores from a warm build. It needs no root, installs nothing
    /// and starts no server. Run the whole suite before you publish a change.
    #[arg(long, conflicts_with = "tests_only")]
    quick: bool,
    /// Skip the checks of format, dependencies, documentation and lints.
    #[arg(long)]
    tests_only: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.quick {
        return timed("quick tests, all steps", quick::run);
    }
    timed("all steps", || {
        if !options.tests_only {
            check_sources()?;
        }
        run_tests()
    })
}

/// Everything that is said about the sources without running them.
fn check_sources() -> Result<()> {
    format()?;
    check_dependencies()?;
    run_if_installed("buf", "protos", "buf", &["lint", "proto"])?;
    document()?;
    lint()
}

fn format() -> Result<()> {
    run_step("format", "cargo", &["fmt", "--all", "--check"])
}

/// Builds the documentation of the sources, private items too: no link in it may be broken.
fn document() -> Result<()> {
    let arguments = ["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"];
    run_step("documentation", "cargo", &arguments)
}

fn lint() -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    run_step("lints", "cargo", &arguments)
}

fn run_tests() -> Result<()> {
    install::ensure(&["slapd", "ldap-utils", "postgresql"])?;
    if install::is_root() {
        install::ensure(&install::SAMBA)?;
        install::ensure(&install::DS389)?;
    } else {
        println!("==> Active Directory and 389 Directory Server: left out, they need root");
    }
    // Everything at once: what is built in parts is built for each part anew, since each has other
    // features of what they share. The end-to-end tests start the two programs as an administrator
    // would: from their files.
    run_step("programs and tests", "cargo", &["build", "--quiet", "--workspace", "--all-targets"])?;
    let (unit, end_to_end) = ("unit, property and conformance tests", "end-to-end tests");
    let packages = || timed("packages", packages::check);
    if has("cargo-nextest") {
        let run = ["nextest", "run", "--workspace", "-E"];
        run_step(unit, "cargo", &[&run[..], &["not package(e2e)"]].concat())?;
        packages()?;
        run_step(end_to_end, "cargo", &[&run[..], &["package(e2e)"]].concat())
    } else {
        run_step(unit, "cargo", &["test", "--quiet", "--workspace", "--exclude", "e2e"])?;
        packages()?;
        run_step(end_to_end, "cargo", &["test", "--quiet", "--package", "e2e"])
    }
}

/// Checks licenses, bans and sources of dependencies, and their advisories where the database of
/// advisories can be fetched.
fn check_dependencies() -> Result<()> {
    let deny = CARGO_DENY.ensure()?;
    let check = ["--log-level", "error", "check", "bans", "licenses", "sources"];
    run_step("licenses, banned crates, sources", &deny, &check)?;
    let fetched =
        Command::new(&deny).args(["--log-level", "off", "fetch", "db"]).stdin(Stdio::null()).status();
    if !fetched.is_ok_and(|status| status.success()) {
        println!(
            "==> advisories: left out, their database cannot be fetched; unit tests hold the floors that matter"
        );
        return Ok(());
    }
    run_step("advisories", &deny, &["--log-level", "error", "--offline", "check", "advisories"])
}
