//! An empty instance of 389 Directory Server, made once and copied for each test.
//!
//! dscreate takes about ten seconds. What it makes is kept in the folder of the build, without the
//! database, and with [`PLACE`] where the instance's own folder is to be. Test processes that need
//! it at the same time wait for one of them to make it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};

use crate::{
    install,
    ldap::{Certificate, certificate},
    programs::target,
};

/// Where the folder of an instance stands in the template's files.
const PLACE: &str = "@ROLLCALL_DS389@";
/// Files below the folder of settings that name the instance's folder.
const NAMING: [&str; 2] = ["dse.ldif", "pkcs11.txt"];
/// The server's certificate is valid for 90 days.
const MAX_AGE: Duration = Duration::from_secs(30 * 86_400);
/// Increase it when what a template has changes.
const VERSION: u32 = 1;

/// The instance's settings, schema and certificates, below its folder.
pub(super) fn settings(dir: &Path) -> PathBuf {
    dir.join("etc/dirsrv/slapd-lab")
}

/// The database, below the instance's folder.
pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join("var/lib/dirsrv/slapd-lab/db")
}

/// Makes an instance without a database in an empty folder. Its files are a copy of the template,
/// with ports and settings to taste.
pub(super) fn copy(dir: &Path, edit: impl FnOnce(&mut Settings) -> Result<()>) -> Result<()> {
    let template = ensure_template()?;
    copy_folder(&template, dir)?;
    for folder in ["db", "ldif", "bak"] {
        fs::create_dir_all(dir.join("var/lib/dirsrv/slapd-lab").join(folder))?;
    }
    for folder in ["run/lock/dirsrv/slapd-lab", "run/dirsrv", "var/log/dirsrv/slapd-lab", "inst"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    let place = dir.display().to_string();
    for name in NAMING {
        let path = settings(dir).join(name);
        fs::write(&path, fs::read_to_string(&path)?.replace(PLACE, &place))?;
    }
    let mut settings = Settings::read(dir)?;
    edit(&mut settings)?;
    settings.write()
}

/// The server's settings in `dse.ldif`, of a server that is stopped.
pub(super) struct Settings {
    path: PathBuf,
    text: String,
}

impl Settings {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let path = settings(dir).join("dse.ldif");
        // Long lines are folded: a value may begin in one line and end in the next.
        let text = fs::read_to_string(&path)?.replace("\n ", "");
        Ok(Self { path, text })
    }

    /// Sets the one value of an attribute of an entry.
    pub(super) fn set(&mut self, dn: &str, attribute: &str, value: &str) -> Result<()> {
        let begin = format!("dn: {dn}\n");
        let at = self.text.find(&begin).with_context(|| format!("no entry {dn} in dse.ldif"))?;
        let end = self.text[at..].find("\n\n").map_or(self.text.len(), |length| at + length + 1);
        let prefix = format!("{}:", attribute.to_ascii_lowercase());
        let kept = self.text[at + begin.len()..end]
            .lines()
            .filter(|line| !line.to_ascii_lowercase().starts_with(&prefix))
            .map(|line| format!("{line}\n"));
        let entry = format!("{begin}{}{attribute}: {value}\n", kept.collect::<String>());
        self.text.replace_range(at..end, &entry);
        Ok(())
    }

    pub(super) fn write(&self) -> Result<()> {
        Ok(fs::write(&self.path, &self.text)?)
    }
}

fn ensure_template() -> Result<PathBuf> {
    let folder = target().join("harness-ds389");
    fs::create_dir_all(&folder)?;
    // The lock ends with the process or with this value.
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    let package = Command::new("dpkg-query").args(["-W", "-f=${Version}", "389-ds-base"]).output()?;
    let package = String::from_utf8_lossy(&package.stdout).replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let template = folder.join(format!("{package}-{VERSION}"));
    if is_fresh(&template) {
        return Ok(template);
    }
    install::say("making an empty instance of 389 Directory Server, once");
    let _ = fs::remove_dir_all(&template);
    let making = tempfile::Builder::new().prefix("making-").tempdir_in(&folder)?;
    // In a short path: that of a socket has at most 107 bytes.
    let dir = tempfile::Builder::new().prefix("rollcall-389-").tempdir()?;
    make(dir.path())?;
    let kept = making.path().join("kept");
    copy_folder(&settings(dir.path()), &settings(&kept))?;
    fs::copy(dir.path().join("ca.pem"), kept.join("ca.pem"))?;
    let place = dir.path().display().to_string();
    for name in NAMING {
        let path = settings(&kept).join(name);
        let text = fs::read_to_string(&path)?.replace("\n ", "").replace(&place, PLACE);
        fs::write(&path, text)?;
    }
    fs::rename(&kept, &template)?;
    Ok(template)
}

/// Whether its certificate is young enough for a run of the tests.
#[expect(clippy::disallowed_methods, reason = "the age of a file is told by the machine's clock")]
fn is_fresh(template: &Path) -> bool {
    let made = fs::metadata(template.join("ca.pem")).and_then(|file| file.modified());
    made.is_ok_and(|made| SystemTime::now().duration_since(made).is_ok_and(|age| age < MAX_AGE))
}

/// Has dscreate and dsctl make an instance in a folder.
fn make(dir: &Path) -> Result<()> {
    certificate::write(dir, &Certificate::Valid)?;
    write_defaults(dir)?;
    let file = dir.join("instance.inf");
    // Port 0: dscreate starts it for a moment, and it listens on no network address meanwhile.
    fs::write(
        &file,
        format!(
            "[general]\nfull_machine_name = localhost\nstart = False\nsystemd = False\nselinux = False\n\
             [slapd]\ninstance_name = lab\nport = 0\nroot_password = {}\nself_sign_cert = False\n\
             [backend-userroot]\nsuffix = {}\n",
            super::ROOT_PASSWORD,
            super::BASE
        ),
    )?;
    let path = |name: &str| dir.join(name).display().to_string();
    run(dir, "/usr/sbin/dscreate", &["from-file", &path("instance.inf")])?;
    run(dir, "/usr/sbin/dsctl", &["lab", "tls", "import-ca", &path("ca.pem"), "harness-ca"])?;
    let (certificate, key) = (path("server.pem"), path("server.key"));
    run(dir, "/usr/sbin/dsctl", &["lab", "tls", "import-server-key-cert", &certificate, &key])?;
    let mut settings = Settings::read(dir)?;
    configure(&mut settings)?;
    settings.write()
}

/// What all tests need: plug-ins on, caches of a size for few people.
fn configure(settings: &mut Settings) -> Result<()> {
    let config = "cn=config";
    for (attribute, value) in [
        ("nsslapd-listenhost", "127.0.0.1"),
        ("nsslapd-securelistenhost", "127.0.0.1"),
        ("nsslapd-security", "on"),
        ("nsslapd-entryusn-import-initval", "next"),
    ] {
        settings.set(config, attribute, value)?;
    }
    for plugin in ["USN", "MemberOf Plugin", "Retro Changelog Plugin"] {
        settings.set(&format!("cn={plugin},cn=plugins,cn=config"), "nsslapd-pluginEnabled", "on")?;
    }
    settings.set("cn=MemberOf Plugin,cn=plugins,cn=config", "memberOfAutoAddOC", "nsMemberOf")?;
    let database = "cn=bdb,cn=config,cn=ldbm database,cn=plugins,cn=config";
    for (attribute, value) in [
        // Otherwise an import takes a quarter of the machine's memory, and seconds to get it.
        ("nsslapd-import-cache-autosize", "0"),
        ("nsslapd-cache-autosize", "0"),
        ("nsslapd-dbcachesize", "16000000"),
    ] {
        settings.set(database, attribute, value)?;
    }
    settings.set("cn=userroot,cn=ldbm database,cn=plugins,cn=config", "nsslapd-cachememsize", "64000000")
}

/// Has lib389 take every place that it writes to from a folder: the package's own defaults, below
/// that folder.
fn write_defaults(dir: &Path) -> Result<()> {
    let defaults = Path::new("/usr/share/dirsrv/inf/defaults.inf");
    let text = fs::read_to_string(defaults).with_context(|| format!("no {}", defaults.display()))?;
    let place = dir.display();
    let line = |line: &str| -> String {
        let Some((key, value)) = line.split_once(" = ") else { return line.to_owned() };
        let written = ["/etc/dirsrv/slapd-", "/etc/tmpfiles", "/var", "/run", "/dev/shm"];
        match key {
            "inst_dir" | "initconfig_dir" => format!("{key} = {place}/inst"),
            "with_systemd" => format!("{key} = 0"),
            "user" | "group" => format!("{key} = root"),
            _ if written.iter().any(|begin| value.starts_with(begin)) => format!("{key} = {place}{value}"),
            _ => line.to_owned(),
        }
    };
    let folder = dir.join("share/dirsrv/inf");
    fs::create_dir_all(&folder)?;
    let lines: Vec<String> = text.lines().map(line).collect();
    Ok(fs::write(folder.join("defaults.inf"), lines.join("\n"))?)
}

fn run(dir: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    let output = command.env("PREFIX", dir).args(arguments).output();
    succeed(program, &output.with_context(|| format!("cannot run {program}"))?)
}

pub(super) fn succeed(program: &str, output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{program} failed: {}", said.trim());
    Ok(())
}

/// Copies the files below one folder into another.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
