//! A Debian of the same release as this machine's, with a systemd of its own, in a container: what
//! a package does to a machine, without doing it to this one. Shares the network, and nothing else.
//! Knows nothing of what is installed in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::process::{Running, Signal};

/// For systemd to come up. It takes a second or two.
const BOOT: Duration = Duration::from_secs(120);
/// What a smallest Debian lacks to be one that runs services.
const PACKAGES: &str = "systemd,systemd-sysv,dbus";

/// A running machine. Dropping it ends it and removes its files.
pub(super) struct Machine {
    root: PathBuf,
    nspawn: Running,
    init: u32,
}

impl Machine {
    /// Makes and boots one in a folder, where the empty Debian is kept for the next time. The inner
    /// error says why it cannot be had here.
    pub(super) fn boot(folder: &Path) -> Result<Result<Self, String>> {
        fs::create_dir_all(folder)?;
        let debian = match debian(folder)? {
            Ok(archive) => archive,
            Err(why) => return Ok(Err(why)),
        };
        let root = folder.join("machine");
        remove(&root)?;
        fs::create_dir(&root)?;
        let unpacked = Command::new("tar").arg("-xf").arg(&debian).arg("-C").arg(&root).status()?;
        ensure!(unpacked.success(), "cannot unpack {}", debian.display());
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;

        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--boot", "--keep-unit", "--register=no", "--link-journal=no"]);
        command.arg(format!("--machine=rollcall-{}", std::process::id())).arg("--directory").arg(&root);
        let console = folder.join("console.log");
        fs::write(&console, "")?;
        // Told to end, it shuts the machine down; killed, it could leave some of it behind.
        let nspawn = Running::start("the machine", &mut command, &console)?.dropped_with(Signal::Term);
        let mut machine = Self { root, nspawn, init: 0 };
        let nspawn = machine.nspawn.pid();
        let mut init = 0;
        let up = machine.nspawn.wait_until("to be up", BOOT, || {
            init = systemd_below(nspawn).unwrap_or(0);
            // Degraded: something that a container lacks did not start.
            let state = ["sh", "-c", "systemctl is-system-running || true"];
            init != 0 && inside(init, &state).is_ok_and(|said| ["running", "degraded"].contains(&said.trim()))
        });
        machine.init = init;
        Ok(match up {
            Ok(()) => Ok(machine),
            Err(why) => Err(format!("systemd does not come up in a container: {why:#}")),
        })
    }

    /// Runs a command as root, and returns what it prints.
    pub(super) fn run(&self, command: &[&str]) -> Result<String> {
        inside(self.init, command)
    }

    /// Runs lines of the shell; the first one that fails ends it.
    pub(super) fn shell(&self, lines: &str) -> Result<String> {
        self.run(&["bash", "-euo", "pipefail", "-c", lines])
    }

    /// Where a file of the machine is on this one.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.root.join(file.trim_start_matches('/'))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.nspawn.terminate(Duration::from_secs(30));
        let _ = self.nspawn.kill();
        let _ = remove(&self.root);
    }
}

/// The archive of an empty Debian of this machine's release: our programs need a C library that is
/// not older than the one they were built with.
fn debian(folder: &Path) -> Result<Result<PathBuf, String>> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let (Some("debian"), Some(codename)) = (field("ID"), field("VERSION_CODENAME")) else {
        return Ok(Err("this machine is no Debian".to_owned()));
    };
    let archive = folder.join(format!("{codename}.tar"));
    if archive.exists() {
        return Ok(Ok(archive));
    }
    let (mirror, part) = (mirror(codename), folder.join("part.tar"));
    println!("    fetching a Debian ({codename}) from {mirror}");
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), codename]).arg(&part).arg(&mirror);
    let output = command.stdin(Stdio::null()).output().context("cannot start mmdebstrap")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().find(|line| line.starts_with("E:")).unwrap_or("mmdebstrap failed");
        return Ok(Err(format!("no Debian can be fetched from {mirror}: {why}")));
    }
    fs::rename(part, &archive)?;
    Ok(Ok(archive))
}

/// Where apt gets this release from.
fn mirror(codename: &str) -> String {
    let arguments =
        ["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"];
    let output = Command::new("apt-get").args(arguments).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let uri = said.lines().find_map(|line| line.strip_suffix(&format!(" {codename} main")));
    uri.unwrap_or("http://deb.debian.org/debian").trim_end_matches('/').to_owned()
}

/// The machine's first process, once it is systemd: the child of nspawn.
fn systemd_below(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let child = children.split_whitespace().next()?;
    let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim() == "systemd").then(|| child.parse().ok())?
}

fn inside(init: u32, command: &[&str]) -> Result<String> {
    let mut nsenter = Command::new("nsenter");
    nsenter.args(["--all", "--target", &init.to_string(), "--"]).args(command);
    nsenter.env_clear().envs([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LANG", "C.UTF-8"),
        ("HOME", "/root"),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ]);
    let output = nsenter.stdin(Stdio::null()).output().context("cannot start nsenter")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "in the machine, {} failed:\n{said}{problem}", command.join(" "));
    Ok(said)
}

fn remove(root: &Path) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))
}
