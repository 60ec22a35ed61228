//! Installs the Debian packages that the harness needs, and says so.
//! Does not touch what is there: a service that a package starts by itself is left alone, the
//! harness runs servers of its own.
//!
//! slapd and PostgreSQL run out of temporary folders here. Debian confines neither with AppArmor;
//! Ubuntu confines slapd, and needs `aa-complain slapd` before.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result, bail};

pub const SLAPD: &str = "slapd";
pub const LDAP_UTILS: &str = "ldap-utils";
pub const POSTGRESQL: &str = "postgresql";
/// A domain controller: the server, what it provisions a domain with and keeps it in, and the tools
/// that change it.
pub const SAMBA: [&str; 5] =
    ["samba", "samba-ad-provision", "samba-dsdb-modules", "samba-vfs-modules", "ldb-tools"];

/// A 389 Directory Server, its tools that make an instance, and those for its certificates.
pub const DS389: [&str; 3] = ["389-ds-base", "python3-lib389", "libnss3-tools"];

/// Makes sure that the packages are there; installs what is missing with apt-get, through sudo
/// where needed.
pub fn ensure(packages: &[&str]) -> Result<()> {
    anyhow::ensure!(
        std::env::var_os("ROLLCALL_QUICK").is_none(),
        "a quick run starts no servers; list this test in tests/xtask/src/test/quick.rs, it needs {}",
        packages.join(", ")
    );
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_there(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!("installing {} with apt-get", missing.join(", ")));
    // Another test process may have installed them while this one waited for dpkg's lock: then this
    // is a no-op.
    apt_get(&["update", "-q"], &missing)?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(&missing);
    apt_get(&arguments, &missing)?;
    match missing.iter().find(|package| !is_there(package)) {
        Some(package) => {
            bail!("apt-get installed {package}, but its programs are not where Debian puts them")
        }
        None => Ok(()),
    }
}

/// The programs of the newest PostgreSQL on this machine: `initdb`, `postgres`, `psql`.
pub fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions
        .filter(|version| {
            version.path().join("bin/initdb").exists() && version.path().join("bin/postgres").exists()
        })
        .max_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().unwrap_or(0))
        .map(|version| version.path().join("bin"))
}

fn is_there(package: &str) -> bool {
    match package {
        SLAPD => {
            Path::new("/usr/sbin/slapd").exists()
                && Path::new("/etc/ldap/schema/inetorgperson.schema").exists()
        }
        LDAP_UTILS => {
            ["ldapsearch", "ldapmodify"].iter().all(|name| Path::new("/usr/bin").join(name).exists())
        }
        POSTGRESQL => postgres_programs().is_some(),
        other => Command::new("dpkg")
            .args(["-s", other])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success()),
    }
}

fn apt_get(arguments: &[&str], wanted: &[&str]) -> Result<()> {
    let root = is_root();
    let mut command = Command::new(if root { "env" } else { "sudo" });
    if !root {
        // -n: fail instead of asking for a password in the middle of a test
        command.args(["-n", "env"]);
    }
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments);
    let by_hand = format!("run `apt-get install -y {}` as root, then try again", wanted.join(" "));
    let output = command.stdin(Stdio::null()).output().with_context(|| {
        format!("cannot run {}: {by_hand}", if root { "apt-get (not a Debian system?)" } else { "sudo" })
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("apt-get {} failed: {}; {by_hand}", arguments[0], said.trim());
    }
    Ok(())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // The owner of /proc/self is the effective user.
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

#[expect(
    clippy::print_stderr,
    reason = "whoever runs a test must see what it installs and what it leaves out"
)]
pub(crate) fn say(text: &str) {
    eprintln!("harness: {text}");
}
