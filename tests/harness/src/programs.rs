//! Finds our own programs, and builds them first: a test against yesterday's binary proves nothing.
//!
//! `ROLLCALL_PROFILE=dist` or `=debug` chooses the profile; without it, the one that the caller
//! itself was built with. `ROLLCALL_PROGRAMS_BUILT=1` says that they are built already; test runs
//! with many processes set it.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result, bail, ensure};

/// Names of our programs' packages; each has a binary of its own name.
const PACKAGES: [&str; 2] = ["control-plane", "router-agent"];

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Debug,
    /// As packages have them.
    Dist,
}

impl Profile {
    /// As the environment says, else as this crate was built.
    pub fn current() -> Result<Self> {
        match env::var("ROLLCALL_PROFILE").as_deref() {
            Ok("dist") => Ok(Profile::Dist),
            Ok("debug") => Ok(Profile::Debug),
            Ok(other) => bail!("ROLLCALL_PROFILE is {other:?}; set it to debug or dist, or unset it"),
            Err(_) if cfg!(debug_assertions) => Ok(Profile::Debug),
            Err(_) => Ok(Profile::Dist),
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Profile::Debug => "debug",
            Profile::Dist => "dist",
        }
    }
}

/// Path of one of our programs (`control-plane`, `router-agent`), built.
pub fn program(name: &str) -> Result<PathBuf> {
    program_in(Profile::current()?, name)
}

/// Path of one of our programs in a profile, built.
pub fn program_in(profile: Profile, name: &str) -> Result<PathBuf> {
    ensure!(PACKAGES.contains(&name), "{name} is none of our programs ({})", PACKAGES.join(", "));
    build(profile)?;
    let path = target().join(profile.folder()).join(name);
    ensure!(path.exists(), "{} is missing after the build", path.display());
    Ok(path)
}

/// Builds our programs, once a process.
pub fn build(profile: Profile) -> Result<()> {
    static BUILT: Mutex<Vec<Profile>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let all_there = || PACKAGES.iter().all(|name| target().join(profile.folder()).join(name).exists());
    if built.contains(&profile) || (env::var_os("ROLLCALL_PROGRAMS_BUILT").is_some() && all_there()) {
        return Ok(());
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--quiet", "--bins"]);
    for package in PACKAGES {
        cargo.args(["-p", package]);
    }
    if profile == Profile::Dist {
        cargo.args(["--profile", profile.folder()]);
    }
    let output = cargo.stdin(Stdio::null()).output().context("cannot run cargo to build our programs")?;
    ensure!(
        output.status.success(),
        "our programs do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    built.push(profile);
    Ok(())
}

fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

pub(crate) fn target() -> PathBuf {
    // Relative to the workspace if relative at all, as the build above runs there.
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), |dir| workspace().join(dir))
}
