//! Older states of an OpenLDAP server, and a server that takes a branch from another one.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};

use super::{AGENT_PASSWORD, Builder, Slapd};

impl Builder {
    /// Makes it a proxy for a container below its base: back-ldap, glued with `subordinate`. The
    /// router's account of the other server must be the same one. What is set in `cn=config` of the
    /// running server, such as [`Slapd::allow`], is for a server without proxy.
    #[must_use]
    pub fn proxied(mut self, suffix: &str, branch: &Slapd) -> Self {
        self.proxy = format!(
            "database ldap\nsuffix \"{suffix}\"\nsubordinate\nuri ldap://127.0.0.1:{}/\n\
             idassert-bind bindmethod=simple binddn=\"{}\" credentials={AGENT_PASSWORD} mode=none\n\
             idassert-authzFrom \"*\"\n\n",
            branch.ldap_port(),
            branch.agent_dn()
        );
        self
    }
}

impl Slapd {
    /// Keeps a copy of the database under a name. Restarts the server.
    pub fn back_up(&mut self, name: &str) -> Result<()> {
        self.stop()?;
        copy(&self.dir.path().join("db"), &self.dir.path().join(format!("backup-{name}")))?;
        self.start_again()
    }

    /// Puts a kept copy in the place of the database, on the same ports. Restarts the server.
    pub fn restore_backup(&mut self, name: &str) -> Result<()> {
        self.stop()?;
        let database = self.dir.path().join("db");
        fs::remove_dir_all(&database)?;
        copy(&self.dir.path().join(format!("backup-{name}")), &database)?;
        self.start_again()
    }
}

/// Copies a folder. Its files are as large as the database may become, and nearly all of it is a
/// hole, which the copy keeps.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    let status = command.args(["-r", "--sparse=always"]).arg(from).arg(to).status()?;
    ensure!(status.success(), "cannot copy {}", from.display());
    Ok(())
}
