//! A private 389 Directory Server: started, filled, changed, stopped, started again.
//!
//! - `template`: an empty instance, made once and copied for each server
//! - `faults`: what an administrator can get wrong: access rules, limits, an old backup
//!
//! It needs root, as the tools of the package do.

mod faults;
mod template;

use std::{fs, io::Write, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Access, client::Client, ldif};
use crate::{
    install,
    people::{People, Person},
    ports::free_port,
    process::Running,
};

const BASE: &str = "dc=example,dc=com";
const ROOT_PASSWORD: &str = "root-secret";
const AGENT_PASSWORD: &str = "agent-secret";
const PATIENCE: Duration = Duration::from_secs(60);
/// Everyone who has bound may read everything but passwords.
const READ: &str = r#"(targetattr!="userPassword")(version 3.0; acl "users read"; allow (read,search,compare) userdn="ldap:///all";)"#;
const ATTRIBUTES: &[&str] = &[
    "nsUniqueId",
    "uid",
    "cn",
    "sn",
    "givenName",
    "displayName",
    "mail",
    "telephoneNumber",
    "title",
    "departmentNumber",
    "employeeType",
    "employeeNumber",
    "nsAccountLock",
    "memberOf",
];

/// What a directory is to be like.
#[derive(Debug)]
pub struct Builder {
    people: People,
    ldif: String,
}

impl Builder {
    /// How many people to fill it with. Default none.
    #[must_use]
    pub fn people(mut self, count: u64) -> Self {
        self.people.count = count;
        self
    }

    /// Which people, exactly. Disabled ones are locked.
    #[must_use]
    pub fn these_people(mut self, people: People) -> Self {
        self.people = people;
        self
    }

    /// Further entries, loaded after the people. Below [`Ds389::base_dn`], parents first.
    #[must_use]
    pub fn ldif(mut self, ldif: &str) -> Self {
        self.ldif.push_str(ldif);
        self.ldif.push_str("\n\n");
        self
    }

    /// Installs the server if it is missing, fills the directory and starts it. Takes two seconds;
    /// the first time on a machine some ten more.
    pub fn start(self) -> Result<Ds389> {
        ensure!(install::is_root(), "a 389 Directory Server of our own needs root");
        install::ensure(&install::DS389)?;
        install::ensure(&[install::LDAP_UTILS])?;
        let dir = tempfile::Builder::new().prefix("rollcall-389-").tempdir()?;
        let (ldap_port, ldaps_port) = (free_port()?, free_port()?);
        template::copy(dir.path(), |settings| {
            settings.set("cn=config", "nsslapd-port", &ldap_port.to_string())?;
            settings.set("cn=config", "nsslapd-secureport", &ldaps_port.to_string())
        })?;
        let client = Client::new(dir.path(), ldap_port, "cn=Directory Manager", ROOT_PASSWORD)?;
        let mut server = Ds389 { server: None, ldap_port, ldaps_port, client, dir };
        server.load(&self)?;
        server.start_again()?;
        Ok(server)
    }

    fn write_content(&self, out: &mut impl Write) -> Result<()> {
        writeln!(
            out,
            "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example"
        )?;
        writeln!(out, "aci: {READ}\n")?;
        writeln!(out, "dn: cn=agent,{BASE}\nobjectClass: applicationProcess")?;
        writeln!(out, "objectClass: simpleSecurityObject\ncn: agent\nuserPassword: {AGENT_PASSWORD}")?;
        for limit in faults::LIMITS.into_iter().chain(["nsTimeLimit"]) {
            writeln!(out, "{limit}: -1")?;
        }
        writeln!(out, "\ndn: ou=archive,{BASE}\nobjectClass: organizationalUnit\nou: archive\n")?;
        let mut people = Vec::new();
        People { count: 0, ..self.people.clone() }.write_ldif(&mut people, BASE)?;
        out.write_all(&people)?;
        for person in self.people.iter() {
            out.write_all(entry(&person)?.as_bytes())?;
        }
        Ok(out.write_all(self.ldif.as_bytes())?)
    }
}

/// A running 389 Directory Server. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Ds389 {
    server: Option<Running>,
    ldap_port: u16,
    ldaps_port: u16,
    client: Client,
    dir: TempDir,
}

impl Ds389 {
    /// An empty directory of `dc=example,dc=com` with `ou=people` and `ou=archive`.
    pub fn builder() -> Builder {
        Builder { people: People::new(0), ldif: String::new() }
    }

    /// Whether it can run here. If not, says what is left out.
    pub fn can_run() -> bool {
        let root = install::is_root();
        if !root {
            install::say("left out, as only root can run a 389 Directory Server here");
        }
        root
    }

    pub fn base_dn(&self) -> &'static str {
        BASE
    }

    pub fn people_dn(&self) -> String {
        format!("ou=people,{BASE}")
    }

    /// Exists, and is outside of the people.
    pub fn archive_dn(&self) -> String {
        format!("ou=archive,{BASE}")
    }

    pub fn person_dn(&self, person: &Person) -> String {
        person.dn(BASE)
    }

    /// The nsUniqueId of a person that was there from the start.
    pub fn unique_id(person: &Person) -> String {
        let hex = person.entry_uuid.simple().to_string();
        format!("{}-{}-{}-{}", &hex[..8], &hex[8..16], &hex[16..24], &hex[24..])
    }

    pub fn host(&self) -> &'static str {
        "localhost"
    }

    /// Port for plain LDAP and StartTLS.
    pub fn ldap_port(&self) -> u16 {
        self.ldap_port
    }

    pub fn ldaps_port(&self) -> u16 {
        self.ldaps_port
    }

    pub fn ldaps_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ldaps_port))
    }

    /// The account for the router: reads everything but passwords, without limits.
    pub fn agent_dn(&self) -> String {
        format!("cn=agent,{BASE}")
    }

    pub fn agent_password(&self) -> &'static str {
        AGENT_PASSWORD
    }

    /// The certificate of the authority that signed the server's certificate.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// How the router comes to the people.
    pub fn access(&self) -> Access {
        Access {
            host: self.host().to_owned(),
            ldap_port: self.ldap_port,
            ldaps_port: self.ldaps_port,
            ca_pem: self.ca_pem_path(),
            bind_dn: self.agent_dn(),
            password: AGENT_PASSWORD,
            root: self.people_dn(),
            attributes: ATTRIBUTES,
        }
    }

    /// The server's process, while it runs.
    pub fn process(&mut self) -> Option<&mut Running> {
        self.server.as_mut()
    }

    /// Ends the server (SIGTERM). Its ports are closed: connecting is refused.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.terminate(PATIENCE)?;
        }
        Ok(())
    }

    /// Starts a stopped server on the same ports with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "ns-slapd is running already");
        let mut command = self.program(&[]);
        // -d keeps it in the foreground: it stays our child and ends with us.
        command.arg("-i").arg(self.dir.path().join("run/dirsrv/slapd-lab.pid")).args(["-d", "0"]);
        let mut server = Running::start("ns-slapd", &mut command, &self.dir.path().join("ns-slapd.log"))?;
        server.wait_until("to answer", PATIENCE, || self.client.answers())?;
        self.server = Some(server);
        Ok(())
    }

    /// Applies change records (`changetype: …`) in LDIF, as the Directory Manager.
    pub fn modify(&self, ldif: &str) -> Result<()> {
        self.client.modify(ldif)
    }

    /// Adds entries in LDIF. The server gives each its nsUniqueId.
    pub fn add(&self, ldif: &str) -> Result<()> {
        self.client.modify(ldif)
    }

    /// Adds a person, whose nsUniqueId the server chooses.
    pub fn join(&self, person: &Person) -> Result<()> {
        let lines = entry(person)?;
        let kept = lines.lines().filter(|line| !line.starts_with("nsUniqueId:"));
        self.add(&kept.map(|line| format!("{line}\n")).collect::<String>())
    }

    pub fn delete(&self, dn: &str) -> Result<()> {
        self.modify(&ldif::change(dn, &[("changetype", "delete")])?)
    }

    /// Sets the values of one attribute; none removes it.
    pub fn replace(&self, dn: &str, attribute: &str, values: &[&str]) -> Result<()> {
        self.modify(&ldif::replace(dn, attribute, values)?)
    }

    /// Renames an entry, or moves it where `new_parent` is given. `new_rdn` such as `uid=anna`
    /// comes escaped.
    pub fn rename(&self, dn: &str, new_rdn: &str, new_parent: Option<&str>) -> Result<()> {
        self.modify(&ldif::rename(dn, new_rdn, new_parent)?)
    }

    /// Locks an account (`nsAccountLock`), or unlocks it.
    pub fn set_disabled(&self, dn: &str, disabled: bool) -> Result<()> {
        self.replace(dn, "nsAccountLock", if disabled { &["true"] } else { &[] })
    }

    /// Sets a password as an administrator does.
    pub fn set_password(&self, dn: &str, password: &str) -> Result<()> {
        self.replace(dn, "userPassword", &[password])
    }

    /// Searches a subtree as the Directory Manager and returns LDIF without line folding.
    pub fn search(&self, base: &str, filter: &str, attributes: &[&str]) -> Result<String> {
        self.client.search(base, filter, attributes)
    }

    /// How many entries below the base match a filter, to the Directory Manager.
    pub fn search_count(&self, filter: &str) -> Result<usize> {
        let found = self.search(BASE, filter, &["1.1"])?;
        Ok(found.lines().filter(|line| line.starts_with("dn:")).count())
    }

    fn load(&self, content: &Builder) -> Result<()> {
        let file = self.dir.path().join("content.ldif");
        let mut out = std::io::BufWriter::new(fs::File::create(&file)?);
        content.write_content(&mut out)?;
        out.flush()?;
        let mut import = self.program(&["ldif2db"]);
        let output = import.args(["-n", "userroot", "-i"]).arg(&file).output();
        template::succeed("ns-slapd ldif2db", &output.context("cannot run ns-slapd")?)?;
        // It ends well, too, where it has left entries out.
        let log = fs::read_to_string(self.dir.path().join("var/log/dirsrv/slapd-lab/errors"))?;
        let refused = log.lines().find(|line| line.contains("WARN") && line.contains("ntry"));
        ensure!(refused.is_none(), "ns-slapd refused entries: {}", refused.unwrap_or_default());
        Ok(fs::remove_file(&file)?)
    }

    fn program(&self, mode: &[&str]) -> Command {
        let mut command = Command::new("/usr/sbin/ns-slapd");
        command.args(mode).arg("-D").arg(template::settings(self.dir.path()));
        command
    }
}

/// The entry of a person, with a blank line behind.
fn entry(person: &Person) -> Result<String> {
    let mut lines = Vec::new();
    person.write_ldif(&mut lines, BASE)?;
    let id = format!("entryUUID: {}\n", person.entry_uuid);
    let lock = if person.disabled { "nsAccountLock: true\n" } else { "" };
    let own = format!("nsUniqueId: {}\n{lock}", Ds389::unique_id(person));
    Ok(String::from_utf8(lines)?.replace(&id, &own))
}
