//! A private OpenLDAP server: started, filled, changed, held, stopped, started again.
//! Changes go through ldapmodify as the server's root, so that a test says what happens in LDIF, as
//! an administrator would.

mod backup;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Access, certificate, certificate::Certificate, ldif};
use crate::{install, people::People, ports::free_port, process::Running};

const ROOT_PASSWORD: &str = "root-secret";
const AGENT_PASSWORD: &str = "agent-secret";
const LIMITED_PASSWORD: &str = "limited-secret";
const PATIENCE: Duration = Duration::from_secs(30);
const ATTRIBUTES: &[&str] = &[
    "entryUUID",
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
];

/// What a directory is to be like.
#[derive(Debug)]
pub struct Builder {
    base: String,
    people: People,
    ldif: String,
    size_limit: u32,
    agent_size_limit: Option<u32>,
    certificate: Certificate,
    provider: bool,
    /// Databases before the server's own.
    proxy: String,
}

/// How 389 DS and FreeIPA mark accounts.
const ACCOUNT_SCHEMA: &str = "\
attributetype ( 2.16.840.1.113730.3.1.610 NAME 'nsAccountLock' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 2.16.840.1.113719.1.301.4.25.1 NAME 'krbPrincipalExpiration' SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.4203.666.99.1 NAME 'labAccount' SUP top AUXILIARY MAY ( nsAccountLock $ krbPrincipalExpiration ) )
";

impl Builder {
    /// How many people to fill it with. Default none.
    #[must_use]
    pub fn people(mut self, count: u64) -> Self {
        self.people.count = count;
        self
    }

    /// Which people, exactly.
    #[must_use]
    pub fn these_people(mut self, people: People) -> Self {
        self.people = people;
        self
    }

    /// Another suffix than `dc=example,dc=com`: it must begin with `dc=`.
    #[must_use]
    pub fn base(mut self, base: &str) -> Self {
        base.clone_into(&mut self.base);
        self
    }

    /// Further entries, loaded after the people. Below [`Slapd::base_dn`], parents first.
    #[must_use]
    pub fn ldif(mut self, ldif: &str) -> Self {
        self.ldif.push_str(ldif);
        self.ldif.push_str("\n\n");
        self
    }

    /// Most entries a search returns to any account but `cn=agent`. Default 500.
    #[must_use]
    pub fn size_limit(mut self, entries: u32) -> Self {
        self.size_limit = entries;
        self
    }

    /// Most entries a search returns to `cn=agent`. Default unlimited.
    #[must_use]
    pub fn agent_size_limit(mut self, entries: u32) -> Self {
        self.agent_size_limit = Some(entries);
        self
    }

    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// Makes it a provider of replicas (syncprov): its naming context shows a `contextCSN`.
    #[must_use]
    pub fn provider(mut self) -> Self {
        self.provider = true;
        self
    }

    /// Installs slapd if it is missing, fills the directory and starts it.
    pub fn start(self) -> Result<Slapd> {
        install::ensure(&[install::SLAPD, install::LDAP_UTILS])?;
        let dir = tempfile::Builder::new().prefix("rollcall-slapd-").tempdir()?;
        fs::create_dir(dir.path().join("db"))?;
        certificate::write(dir.path(), &self.certificate)?;
        // ldapmodify takes the password from a file: in its arguments everybody on the machine
        // could read it.
        secret(&dir.path().join("root.password"), ROOT_PASSWORD)?;
        fs::write(dir.path().join("slapd.conf"), self.configuration(dir.path()))?;
        self.load(dir.path())?;

        let mut slapd = Slapd { server: None, base: self.base, ldap_port: 0, ldaps_port: 0, dir };
        let mut last = None;
        for _ in 0..3 {
            // Someone else may take a port before slapd does.
            (slapd.ldap_port, slapd.ldaps_port) = (free_port()?, free_port()?);
            match slapd.start_again() {
                Ok(()) => return Ok(slapd),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("slapd was never started")?)
    }

    fn configuration(&self, dir: &Path) -> String {
        let (base, dir) = (&self.base, dir.display());
        let limit = limit_line(base, self.agent_size_limit);
        let (size_limit, proxy) = (self.size_limit, &self.proxy);
        let (module, overlay) =
            if self.provider { ("moduleload syncprov\n", "overlay syncprov\n") } else { ("", "") };
        let back_ldap = if proxy.is_empty() { "" } else { "moduleload back_ldap\n" };
        format!(
            r#"include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
{ACCOUNT_SCHEMA}modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
{module}{back_ldap}pidfile {dir}/slapd.pid
TLSCACertificateFile {dir}/ca.pem
TLSCertificateFile {dir}/server.pem
TLSCertificateKeyFile {dir}/server.key
threads 4
tool-threads 2
sizelimit {size_limit}

database config
rootdn cn=root,cn=config
rootpw {ROOT_PASSWORD}

{proxy}database mdb
suffix {base}
rootdn cn=root,{base}
rootpw {ROOT_PASSWORD}
directory {dir}/db
maxsize 17179869184
checkpoint 1024 5
limits {limit}
index objectClass,uid,mail,entryUUID,entryCSN,modifyTimestamp,employeeType eq
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
overlay ppolicy
{overlay}
database monitor
access to * by dn.exact="cn=agent,{base}" read by * none
"#
        )
    }

    fn load(&self, dir: &Path) -> Result<()> {
        let errors = dir.join("slapadd.log");
        let mut slapadd = Command::new("/usr/sbin/slapadd")
            .args(["-q", "-f"])
            .arg(dir.join("slapd.conf"))
            .args(["-b", &self.base])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?)
            .spawn()
            .context("cannot start slapadd")?;
        let mut pipe =
            BufWriter::with_capacity(1 << 20, slapadd.stdin.take().context("slapadd has no input")?);
        // A broken pipe only says that slapadd gave up; why, it says itself.
        let written = self.write_content(&mut pipe).and_then(|()| Ok(pipe.flush()?));
        drop(pipe);
        let status = slapadd.wait()?;
        ensure!(status.success(), "slapadd refused the entries: {}", fs::read_to_string(&errors)?.trim());
        written
    }

    fn write_content(&self, out: &mut impl Write) -> Result<()> {
        let base = &self.base;
        let dc = base
            .split(',')
            .next()
            .and_then(|rdn| rdn.strip_prefix("dc="))
            .context("the base must be dc=…")?;
        writeln!(
            out,
            "dn: {base}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: {dc}\n"
        )?;
        for (name, password) in [("agent", AGENT_PASSWORD), ("limited", LIMITED_PASSWORD)] {
            writeln!(out, "dn: cn={name},{base}\nobjectClass: applicationProcess")?;
            writeln!(out, "objectClass: simpleSecurityObject\ncn: {name}\nuserPassword: {password}\n")?;
        }
        writeln!(out, "dn: ou=archive,{base}\nobjectClass: organizationalUnit\nou: archive\n")?;
        self.people.write_ldif(out, base)?;
        out.write_all(self.ldif.as_bytes())?;
        Ok(())
    }
}

/// A running OpenLDAP server. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Slapd {
    server: Option<Running>,
    base: String,
    ldap_port: u16,
    ldaps_port: u16,
    dir: TempDir,
}

impl Slapd {
    /// An empty directory of `dc=example,dc=com` with `ou=people` and `ou=archive`.
    pub fn builder() -> Builder {
        Builder {
            base: "dc=example,dc=com".to_owned(),
            people: People::new(0),
            ldif: String::new(),
            size_limit: 500,
            agent_size_limit: None,
            certificate: Certificate::Valid,
            provider: false,
            proxy: String::new(),
        }
    }

    /// Host name to connect to, as it is in the certificate.
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

    pub fn ldap_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ldap_port))
    }

    pub fn ldaps_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ldaps_port))
    }

    /// The certificate of the authority that signed the server's certificate.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn base_dn(&self) -> &str {
        &self.base
    }

    pub fn people_dn(&self) -> String {
        format!("ou=people,{}", self.base)
    }

    /// Exists, and is outside of the people: where somebody goes who leaves the scope.
    pub fn archive_dn(&self) -> String {
        format!("ou=archive,{}", self.base)
    }

    /// The account for the router: reads everything, without limits unless the builder or
    /// [`Self::limit_agent`] set one.
    pub fn agent_dn(&self) -> String {
        format!("cn=agent,{}", self.base)
    }

    pub fn agent_password(&self) -> &'static str {
        AGENT_PASSWORD
    }

    /// An account that the size limit holds for.
    pub fn limited_dn(&self) -> String {
        format!("cn=limited,{}", self.base)
    }

    pub fn limited_password(&self) -> &'static str {
        LIMITED_PASSWORD
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

    /// Ends the server. Its ports are closed: connecting is refused.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.terminate(PATIENCE)?;
        }
        Ok(())
    }

    /// Starts a stopped server on the same ports with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "slapd is running already");
        let urls = format!("ldap://127.0.0.1:{} ldaps://127.0.0.1:{}", self.ldap_port, self.ldaps_port);
        let mut command = Command::new("/usr/sbin/slapd");
        // -d keeps it in the foreground: it stays our child and ends with us.
        command.arg("-f").arg(self.dir.path().join("slapd.conf")).args(["-h", &urls, "-d", "0"]);
        let mut server = Running::start("slapd", &mut command, &self.dir.path().join("slapd.log"))?;
        let answers = || {
            let mut command = self.tool("ldapsearch");
            command.args(["-s", "base", "-b", "", "1.1"]).output().is_ok_and(|output| output.status.success())
        };
        server.wait_until("to answer", PATIENCE, answers)?;
        self.server = Some(server);
        Ok(())
    }

    /// Holds the server: connections stay open and nothing is answered. [`Self::modify`] and the
    /// like hang meanwhile.
    pub fn freeze(&mut self) -> Result<()> {
        self.server.as_mut().context("slapd is stopped")?.freeze()
    }

    pub fn thaw(&mut self) -> Result<()> {
        self.server.as_mut().context("slapd is stopped")?.thaw()
    }

    /// Shows another certificate, of a new authority that replaces the one in
    /// [`Self::ca_pem_path`]. Restarts the server.
    pub fn change_certificate(&mut self, kind: &Certificate) -> Result<()> {
        self.stop()?;
        certificate::write(self.dir.path(), kind)?;
        self.start_again()
    }

    /// Applies change records (`changetype: …`) in LDIF.
    pub fn modify(&self, ldif: &str) -> Result<()> {
        self.apply(self.tool("ldapmodify").arg("-D").arg(format!("cn=root,{}", self.base)), ldif)
    }

    /// Adds entries in LDIF.
    pub fn add(&self, ldif: &str) -> Result<()> {
        self.apply(self.tool("ldapmodify").arg("-a").arg("-D").arg(format!("cn=root,{}", self.base)), ldif)
    }

    /// Applies change records to `cn=config`, the running server's settings. They are gone after a
    /// restart.
    pub fn configure(&self, ldif: &str) -> Result<()> {
        self.apply(self.tool("ldapmodify").args(["-D", "cn=root,cn=config"]), ldif)
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

    /// Adds an entry that refers to another server, such as
    /// `ldap://elsewhere.example.com/ou=people,dc=example,dc=com`. `dn` begins with `ou=`.
    pub fn add_referral(&self, dn: &str, url: &str) -> Result<()> {
        let ou = dn
            .strip_prefix("ou=")
            .and_then(|rest| rest.split(',').next())
            .context("the DN must begin with ou=")?;
        let lines = [
            ("changetype", "add"),
            ("objectClass", "referral"),
            ("objectClass", "extensibleObject"),
            ("ou", ou),
            ("ref", url),
        ];
        self.modify(&ldif::change(dn, &lines)?)
    }

    /// Sets or lifts the size limit of `cn=agent` in the running server.
    pub fn limit_agent(&self, entries: Option<u32>) -> Result<()> {
        let limit = limit_line(&self.base, entries);
        self.configure(&format!(
            "dn: olcDatabase={{1}}mdb,cn=config\nchangetype: modify\nreplace: olcLimits\nolcLimits: {{0}}{limit}\n"
        ))
    }

    /// Replaces the rules of who may read what, in the running server: `to …` lines of
    /// slapd.access(5), the first that fits counts. The right to bind stays.
    pub fn allow(&self, rules: &[&str]) -> Result<()> {
        self.rules("to attrs=userPassword by anonymous auth by * none", rules)
    }

    /// Lets the router's account read everything, passwords too, as some directories do.
    pub fn allow_everything(&self) -> Result<()> {
        let agent = self.agent_dn();
        let passwords =
            format!(r#"to attrs=userPassword by dn.exact="{agent}" read by anonymous auth by * none"#);
        self.rules(&passwords, &["to * by users read by * none"])
    }

    fn rules(&self, passwords: &str, others: &[&str]) -> Result<()> {
        let rules = std::iter::once(&passwords).chain(others).enumerate();
        let rules: String = rules.map(|(at, rule)| format!("olcAccess: {{{at}}}{rule}\n")).collect();
        self.configure(&format!(
            "dn: olcDatabase={{1}}mdb,cn=config\nchangetype: modify\nreplace: olcAccess\n{rules}"
        ))
    }

    /// How many entries below the base match a filter, to the server's root.
    pub fn search_count(&self, filter: &str) -> Result<usize> {
        let found = self.search(&self.base, filter, &["1.1"])?;
        Ok(found.lines().filter(|line| line.starts_with("dn:")).count())
    }

    /// Searches a subtree as the server's root and returns LDIF without line folding.
    pub fn search(&self, base: &str, filter: &str, attributes: &[&str]) -> Result<String> {
        let mut command = self.tool("ldapsearch");
        command.args(["-LLL", "-o", "ldif_wrap=no", "-M", "-D"]).arg(format!("cn=root,{}", self.base));
        let output = self.authenticated(&mut command).args(["-b", base, filter]).args(attributes).output()?;
        ensure!(
            output.status.success(),
            "ldapsearch failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// How many searches the server has answered since its start, this one not among them.
    pub fn searches(&self) -> Result<u64> {
        self.monitor("cn=Search,cn=Operations", "monitorOpCompleted")
    }

    /// How many binds the server has answered since its start, this question's own among them.
    pub fn binds(&self) -> Result<u64> {
        self.monitor("cn=Bind,cn=Operations", "monitorOpCompleted")
    }

    /// How many connections the server has taken since its start, this question's own among them.
    pub fn connections(&self) -> Result<u64> {
        self.monitor("cn=Total,cn=Connections", "monitorCounter")
    }

    fn monitor(&self, name: &str, attribute: &str) -> Result<u64> {
        let mut command = self.tool("ldapsearch");
        command.args(["-LLL", "-D", &self.agent_dn(), "-w", AGENT_PASSWORD, "-s", "base"]);
        command.args(["-b", &format!("{name},cn=Monitor"), attribute]);
        let output = String::from_utf8(command.output()?.stdout)?;
        let count = output.lines().find_map(|line| line.strip_prefix(&format!("{attribute}: ")));
        Ok(count.context("the monitor says nothing")?.parse()?)
    }

    /// Has passwords obey a policy: after three wrong ones an account is locked, and says so; one
    /// that was reset must be changed.
    pub fn police_passwords(&self) -> Result<()> {
        let policy = format!("cn=policy,{}", self.base);
        self.configure(&format!(
            "dn: olcOverlay={{0}}ppolicy,olcDatabase={{1}}mdb,cn=config\nchangetype: modify\nreplace: olcPPolicyUseLockout\n\
             olcPPolicyUseLockout: TRUE\n-\nreplace: olcPPolicyDefault\nolcPPolicyDefault: {policy}\n"
        ))?;
        let lines = [
            ("changetype", "add"),
            ("objectClass", "device"),
            ("objectClass", "pwdPolicy"),
            ("cn", "policy"),
            ("pwdAttribute", "userPassword"),
            ("pwdLockout", "TRUE"),
            ("pwdMaxFailure", "3"),
            ("pwdMustChange", "TRUE"),
            ("pwdMaxAge", "1000000"),
        ];
        self.modify(&ldif::change(&policy, &lines)?)
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new("/usr/bin").join(program));
        // LDAPNOINIT: the machine's and the user's own settings are none of ours.
        command.env("LDAPNOINIT", "1").args(["-x", "-H", &format!("ldap://127.0.0.1:{}", self.ldap_port)]);
        command
    }

    fn authenticated<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.arg("-y").arg(self.dir.path().join("root.password"))
    }

    fn apply(&self, command: &mut Command, ldif: &str) -> Result<()> {
        // -M: referral entries are changed themselves, not followed. From a file: a full pipe
        // cannot block us.
        let mut file = tempfile::NamedTempFile::new_in(self.dir.path())?;
        file.write_all(ldif.as_bytes())?;
        let output = self.authenticated(command).arg("-M").arg("-f").arg(file.path()).output()?;
        ensure!(
            output.status.success(),
            "ldapmodify failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }
}

fn limit_line(base: &str, entries: Option<u32>) -> String {
    let size = entries.map_or_else(|| "unlimited".to_owned(), |entries| entries.to_string());
    format!(r#"dn.exact="cn=agent,{base}" size={size} time=unlimited"#)
}

fn secret(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}
