//! The public tools that the syncs are measured against, and the change of one user in a hundred.

use std::fmt::Write;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use harness::{People, Postgres, Slapd};

/// The attributes that the source maps, and no others.
pub(super) const ATTRIBUTES: [&str; 10] = [
    "entryUUID",
    "uid",
    "mail",
    "givenName",
    "sn",
    "displayName",
    "telephoneNumber",
    "employeeType",
    "departmentNumber",
    "title",
];

/// Seconds that ldapsearch takes to read the same entries over the same LDAPS port.
pub(super) fn ldapsearch(directory: &Slapd) -> Result<f64> {
    let search = || -> Result<f64> {
        let began = Instant::now();
        let status = Command::new("ldapsearch")
            .env("LDAPTLS_CACERT", directory.ca_pem_path())
            .args(["-x", "-LLL", "-o", "ldif_wrap=no", "-E", "pr=1000/noprompt", "-H"])
            .arg(format!("ldaps://127.0.0.1:{}", directory.ldaps_port()))
            .args([
                "-D",
                &directory.agent_dn(),
                "-w",
                directory.agent_password(),
                "-b",
                &directory.people_dn(),
            ])
            .arg("(objectClass=inetOrgPerson)")
            .args(ATTRIBUTES)
            .stdout(Stdio::from(File::create("/dev/null")?))
            .status()
            .context("cannot start ldapsearch")?;
        ensure!(status.success(), "ldapsearch failed");
        Ok(began.elapsed().as_secs_f64())
    };
    search()?; // so that the directory's pages are in memory for everyone
    search()
}

/// Gives one in a hundred a new title.
pub(super) fn change_titles(directory: &Slapd, people: &People, run: usize) -> Result<()> {
    let mut ldif = String::new();
    for person in people.iter().step_by(100) {
        let mut name = Vec::new();
        harness::ldap::ldif::line(&mut name, "dn", &person.dn(directory.base_dn()))?;
        let name = String::from_utf8(name)?;
        writeln!(ldif, "{name}changetype: modify\nreplace: title\ntitle: Changed {run}\n")?;
    }
    directory.modify(&ldif)
}

/// Seconds that psql's \copy takes to bring the same rows into the same table with the same
/// indexes.
pub(super) fn copy(postgres: &Postgres, url: &str) -> Result<f64> {
    let database = url;
    // psql may run as another user, who cannot write to a folder of ours.
    let file = std::env::temp_dir().join(format!("rollcall-bench-{}.copy", std::process::id()));
    postgres.psql(database, &format!("\\copy users to '{}'", file.display()))?;
    postgres.psql(database, "create table users_copied (like users including all)")?;
    let began = Instant::now();
    postgres.psql(database, &format!("\\copy users_copied from '{}'", file.display()))?;
    let seconds = began.elapsed().as_secs_f64();
    fs::remove_file(file)?;
    Ok(seconds)
}
