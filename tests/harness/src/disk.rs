//! A small disk of its own: a tmpfs that can fill up, grow, and turn read-only. Mounting needs
//! root, as in CI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::install;

/// A mounted disk. Dropping it unmounts and removes it.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts a disk of so many KiB; none, and a line that says so, where the caller is not root.
    pub fn mount(kib: u64) -> Result<Option<Self>> {
        if !install::is_root() {
            #[expect(
                clippy::print_stderr,
                reason = "a test that is left out must not look like one that passed"
            )]
            let () = eprintln!("left out: a small disk can be mounted by root only");
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("rollcall-disk-").tempdir()?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"], dir.path())?;
        Ok(Some(Self { dir }))
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes the disk so many KiB large.
    pub fn resize(&self, kib: u64) -> Result<()> {
        run("mount", &["-o", &format!("remount,size={kib}k")], self.path())
    }

    /// Lets nobody write any more. Refused while a file is open for writing.
    pub fn read_only(&self) -> Result<()> {
        run("mount", &["-o", "remount,ro"], self.path())
    }

    /// Fills what is left with one file, which is returned; removing it makes room again.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.path().join("ballast");
        let mut file = fs::File::create(&path)?;
        match std::io::copy(&mut std::io::repeat(7), &mut file) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(path),
            other => bail!("the disk did not fill up: {other:?}"),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open keeps it, and the folder can be removed.
        let _ = run("umount", &["-l"], self.dir.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<()> {
    let output = Command::new(program).args(arguments).arg(path).output()?;
    if !output.status.success() {
        bail!("{program} {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
