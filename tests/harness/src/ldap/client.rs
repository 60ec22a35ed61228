//! OpenLDAP's command-line tools, as one account of one server: a test says what happens in LDIF,
//! as an administrator would.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

/// Runs ldapmodify and ldapsearch over plain LDAP on 127.0.0.1.
#[derive(Debug)]
pub(super) struct Client {
    port: u16,
    bind_dn: String,
    password_file: PathBuf,
}

impl Client {
    /// The password is kept in a file of `dir`: in the arguments of a tool every process of the
    /// machine could read it.
    pub(super) fn new(dir: &Path, port: u16, bind_dn: &str, password: &str) -> Result<Self> {
        let password_file = dir.join("root.password");
        fs::write(&password_file, password)?;
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600))?;
        Ok(Self { port, bind_dn: bind_dn.to_owned(), password_file })
    }

    /// Whether the server answers a search of its root DSE.
    pub(super) fn answers(&self) -> bool {
        let mut command = self.tool("ldapsearch");
        command.args(["-s", "base", "-b", "", "1.1"]).output().is_ok_and(|output| output.status.success())
    }

    /// Applies change records (`changetype: …`) in LDIF; without a change type they are entries to
    /// add.
    pub(super) fn modify(&self, ldif: &str) -> Result<()> {
        // -M: referral entries are changed themselves, not followed. From a file: a full pipe
        // cannot block us.
        let mut file =
            tempfile::NamedTempFile::new_in(self.password_file.parent().unwrap_or(Path::new("/tmp")))?;
        file.write_all(ldif.as_bytes())?;
        let output = self.bound("ldapmodify").args(["-a", "-M", "-f"]).arg(file.path()).output()?;
        ensure!(
            output.status.success(),
            "ldapmodify failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Searches a subtree and returns LDIF without line folding.
    pub(super) fn search(&self, base: &str, filter: &str, attributes: &[&str]) -> Result<String> {
        let mut command = self.bound("ldapsearch");
        command.args(["-LLL", "-o", "ldif_wrap=no", "-M", "-b", base, filter]).args(attributes);
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "ldapsearch failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn bound(&self, program: &str) -> Command {
        let mut command = self.tool(program);
        command.args(["-D", &self.bind_dn, "-y"]).arg(&self.password_file);
        command
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new("/usr/bin").join(program));
        // LDAPNOINIT: the machine's and the user's own settings are none of ours.
        command.env("LDAPNOINIT", "1").args(["-x", "-H", &format!("ldap://127.0.0.1:{}", self.port)]);
        command
    }
}
