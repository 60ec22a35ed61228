//! Commands of cargo that the Rust toolchain does not bring: built once, each in one version, into
//! `target/tools`. Nothing is installed for the user, and what the user has installed is not used:
//! another version may say something else.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

/// Checks licenses, banned crates and where crates come from.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
/// Makes Debian packages.
pub(crate) const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0" };

/// A crate with a program of its own name.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

impl Tool {
    /// The program; builds it where it is missing. A debug build: it takes a minute instead of
    /// several, and is quick enough.
    pub(crate) fn ensure(&self) -> Result<String> {
        let folder = target().join("tools");
        let program = folder.join("bin").join(self.name).to_string_lossy().into_owned();
        let has_version = |said: &str| said.split_whitespace().any(|word| word == self.version);
        if self.says_version(&program).is_some_and(|said| has_version(&said)) {
            return Ok(program);
        }
        let version = format!("{}@{}", self.name, self.version);
        println!("==> building {version} into {}", folder.display());
        fs::create_dir_all(&folder)?;
        let mut cargo = Command::new("cargo");
        cargo
            .args(["install", "--quiet", "--locked", "--debug", "--force", "--root"])
            .arg(&folder)
            .arg(&version);
        let status = cargo.stdin(Stdio::null()).status().context("cannot start cargo")?;
        ensure!(status.success(), "{version} cannot be built; cargo said why");
        Ok(program)
    }

    fn says_version(&self, program: &str) -> Option<String> {
        let output = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Cargo's folder for what it builds.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |folder| workspace().join(folder))
}

/// The workspace's folder.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// All sources of a package, one after the other.
#[cfg(test)]
pub(crate) fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            text += &sources(&path);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text += &fs::read_to_string(&path).expect("a source file");
        }
    }
    text
}
