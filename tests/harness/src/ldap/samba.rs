//! A private Active Directory: a Samba domain controller of which only the LDAP service runs.
//! Provisioned, filled, changed, stopped, started again. Changes are LDIF that ldbmodify writes to
//! the controller's database while it runs, as the domain's own services do.
//!
//! The ports are fixed in Samba's code, so each controller has a loopback address of its own. Below
//! 1024, so it needs root.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use super::{Access, certificate, certificate::Certificate, ldif};
use crate::{
    install,
    people::{People, Person, UNITS},
    process::Running,
};

const BASE: &str = "DC=lab,DC=test";
const AGENT_PASSWORD: &str = "Agent.Secret1";
const PATIENCE: Duration = Duration::from_secs(60);
const LDAP: u16 = 389;
const LDAPS: u16 = 636;
/// Enabled by an administrator, once and for all: what was deleted keeps its attributes.
const RECYCLE_BIN: &str = "766ddcd8-acd0-445e-f3b9-a7f9b6744f2a";
/// Shows what was deleted, too.
const SHOW_DELETED: &str = "show_deleted:1";
/// userAccountControl of an account without a password, and of a disabled one.
const ENABLED: &str = "544";
const DISABLED: &str = "546";
/// sAMAccountType of a person.
const NORMAL_USER: &str = "805306368";
const ATTRIBUTES: &[&str] = &[
    "objectGUID",
    "objectCategory",
    "sAMAccountName",
    "userAccountControl",
    "accountExpires",
    "cn",
    "sn",
    "givenName",
    "displayName",
    "mail",
    "telephoneNumber",
    "title",
    "department",
];

/// What a domain is to be like.
#[derive(Debug)]
pub struct Builder {
    people: People,
    ldif: String,
    agent_sees_deleted: bool,
}

impl Builder {
    /// How many people to fill it with. Default none.
    #[must_use]
    pub fn people(mut self, count: u64) -> Self {
        self.people.count = count;
        self
    }

    /// Which people, exactly. Active Directory knows one mail address of each.
    #[must_use]
    pub fn these_people(mut self, people: People) -> Self {
        self.people = people;
        self
    }

    /// Further entries, loaded after the people. Below [`Samba::base_dn`], parents first.
    #[must_use]
    pub fn ldif(mut self, ldif: &str) -> Self {
        self.ldif.push_str(ldif);
        self.ldif.push_str("\n\n");
        self
    }

    /// Takes from the router's account the right to see what was deleted, which Active Directory
    /// gives to administrators only.
    #[must_use]
    pub fn deleted_hidden(mut self) -> Self {
        self.agent_sees_deleted = false;
        self
    }

    /// Installs Samba if it is missing, makes a domain, fills it and starts its controller. Takes
    /// some ten seconds.
    pub fn start(self) -> Result<Samba> {
        ensure!(install::is_root(), "an Active Directory of our own needs root: its ports are fixed");
        install::ensure(&install::SAMBA)?;
        let dir = tempfile::Builder::new().prefix("rollcall-samba-").tempdir()?;
        let samba = Samba { server: None, address: free_address()?, dir };
        samba.provision()?;
        samba.load(&self)?;
        samba.let_agent_see_deleted(self.agent_sees_deleted)?;
        let mut samba = samba;
        samba.start_again()?;
        Ok(samba)
    }
}

/// A running domain controller. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Samba {
    server: Option<Running>,
    address: Ipv4Addr,
    dir: TempDir,
}

impl Samba {
    /// A domain `lab.test` with `OU=people` and `OU=archive`, its recycle bin enabled.
    pub fn builder() -> Builder {
        Builder { people: People::new(0), ldif: String::new(), agent_sees_deleted: true }
    }

    /// Whether it can run here. If not, says what is left out.
    pub fn can_run() -> bool {
        let root = install::is_root();
        if !root {
            install::say("left out, as only root can run an Active Directory (its ports are fixed)");
        }
        root
    }

    /// The domain's naming context.
    pub fn base_dn(&self) -> &'static str {
        BASE
    }

    pub fn people_dn(&self) -> String {
        format!("OU=people,{BASE}")
    }

    /// Exists, and is outside of the people.
    pub fn archive_dn(&self) -> String {
        format!("OU=archive,{BASE}")
    }

    /// Where a person is, who is named by `cn` as Active Directory names people.
    pub fn person_dn(&self, person: &Person) -> String {
        person_dn(person)
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn ldaps_address(&self) -> SocketAddr {
        (self.address, LDAPS).into()
    }

    /// The account for the router: an ordinary user, by its user principal name.
    pub fn agent(&self) -> &'static str {
        "agent@lab.test"
    }

    pub fn agent_password(&self) -> &'static str {
        AGENT_PASSWORD
    }

    /// The certificate of the authority that signed the controller's certificate.
    pub fn ca_pem_path(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// How the router comes to the people, from the domain's naming context down.
    pub fn access(&self) -> Access {
        Access {
            host: self.host(),
            ldap_port: LDAP,
            ldaps_port: LDAPS,
            ca_pem: self.ca_pem_path(),
            bind_dn: self.agent().to_owned(),
            password: AGENT_PASSWORD,
            root: BASE.to_owned(),
            attributes: ATTRIBUTES,
        }
    }

    /// Ends the controller. Its ports are closed: connecting is refused.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.terminate(PATIENCE)?;
        }
        Ok(())
    }

    /// Starts a stopped controller at the same address with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "samba is running already");
        let mut command = Command::new("/usr/sbin/samba");
        // In the foreground and as a single process: it stays our child and ends with us.
        command.args(["--foreground", "--no-process-group", "--model=single", "--debug-stdout"]);
        command.arg(format!("--configfile={}", self.configuration().display()));
        let mut server = Running::start("samba", &mut command, &self.dir.path().join("samba.log"))?;
        server.wait_for_port(self.ldaps_address(), PATIENCE)?;
        self.server = Some(server);
        Ok(())
    }

    /// Applies change records (`changetype: …`) in LDIF.
    pub fn modify(&self, ldif: &str) -> Result<()> {
        self.apply("ldbmodify", &[], ldif)
    }

    /// Adds entries in LDIF, all or none.
    pub fn add(&self, ldif: &str) -> Result<()> {
        // In batch mode: without it each entry copies the index, and many take minutes.
        self.apply("ldbadd", &["-o", "batch_mode:1", "-o", "transaction_index_cache_size:100000"], ldif)
    }

    pub fn delete(&self, dn: &str) -> Result<()> {
        self.modify(&ldif::change(dn, &[("changetype", "delete")])?)
    }

    /// Sets the values of one attribute; none removes it.
    pub fn replace(&self, dn: &str, attribute: &str, values: &[&str]) -> Result<()> {
        self.modify(&ldif::replace(dn, attribute, values)?)
    }

    /// Renames an entry, or moves it where `new_parent` is given. `new_rdn` such as `CN=Anna` comes
    /// escaped.
    pub fn rename(&self, dn: &str, new_rdn: &str, new_parent: Option<&str>) -> Result<()> {
        self.modify(&ldif::rename(dn, new_rdn, new_parent)?)
    }

    /// Disables an account, or enables it.
    pub fn set_disabled(&self, dn: &str, disabled: bool) -> Result<()> {
        self.replace(dn, "userAccountControl", &[if disabled { DISABLED } else { ENABLED }])
    }

    /// Gives an account a password, which must be one that the domain's rules take.
    pub fn set_password(&self, dn: &str, password: &str) -> Result<()> {
        let quoted: Vec<u8> = format!("\"{password}\"").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut record = Vec::new();
        ldif::line(&mut record, "dn", dn)?;
        record.extend_from_slice(b"changetype: modify\nreplace: unicodePwd\n");
        ldif::binary(&mut record, "unicodePwd", &quoted)?;
        self.modify(&String::from_utf8(record)?)
    }

    /// Takes a person out of the recycle bin, to where the person was.
    pub fn restore(&self, person: &Person) -> Result<()> {
        let account = format!("(&(isDeleted=TRUE)(sAMAccountName={}))", person.uid);
        let guid = self.first(&["--controls", SHOW_DELETED], &account, "objectGUID")?;
        let (dn, to) = (format!("<GUID={guid}>"), person_dn(person));
        let (rdn, parent) = to.split_once(",OU=").context("a person is in a unit")?;
        let category = format!("CN=Person,CN=Schema,CN=Configuration,{BASE}");
        let lines = [
            ("changetype", "modify"),
            ("delete", "isDeleted"),
            ("-", ""),
            ("add", "objectCategory"),
            ("objectCategory", &category),
            ("-", ""),
            ("add", "sAMAccountType"),
            ("sAMAccountType", NORMAL_USER),
        ];
        let record =
            ldif::change(&dn, &lines)? + "\n" + &ldif::rename(&dn, rdn, Some(&format!("OU={parent}")))?;
        // Samba's own operation for it fails where the recycle bin is enabled; so what it does is
        // done here step by step, and marked as what it is (1.3.6.1.4.1.7165.4.3.24).
        let controls = format!("{SHOW_DELETED},relax:0,local_oid:1.3.6.1.4.1.7165.4.3.24:0");
        self.apply("ldbmodify", &["--controls", &controls], &record)
    }

    /// Gives the router's account the right to list the container of deleted objects and to read
    /// there, or takes it.
    pub fn let_agent_see_deleted(&self, sees: bool) -> Result<()> {
        let agent = self.first(&[], "(sAMAccountName=agent)", "objectSid")?;
        let right = if sees { format!("(A;;RPLC;;;{agent})") } else { String::new() };
        let descriptor = format!("O:SYG:SYD:PAI(A;;RPWPCCDCLCRCWOWDSDSW;;;SY)(A;;RPLC;;;BA){right}");
        let container = format!("CN=Deleted Objects,{BASE}");
        let record = ldif::replace(&container, "nTSecurityDescriptor", &[&descriptor])?;
        self.apply("ldbmodify", &["--controls", SHOW_DELETED], &record)
    }

    /// Takes rights to an entry from the router's account. `ace` is in SDDL with `{agent}` for the
    /// account, such as `(D;CI;RPLC;;;{agent})`. Returns the entry's descriptor as it was, for
    /// [`Self::give_back`].
    pub fn deny_agent(&self, dn: &str, ace: &str) -> Result<String> {
        let agent = self.first(&[], "(sAMAccountName=agent)", "objectSid")?;
        let mut command = Command::new("/usr/bin/samba-tool");
        command.env("SMB_CONF_PATH", self.configuration()).args(["dsacl", "get", "-H"]);
        command.arg(self.dir.path().join("private/sam.ldb")).arg(format!("--objectdn={dn}"));
        let output = command.output()?;
        succeed("samba-tool dsacl get", &output)?;
        let said = String::from_utf8(output.stdout)?;
        let former = said.lines().map(str::trim).find(|line| line.starts_with("O:"));
        let former = former.context("an entry has a descriptor")?.to_owned();
        // What denies stands before what allows.
        let list = former.find("D:").context("a descriptor has a list")?;
        let at = list + former[list..].find('(').context("a list has entries")?;
        let (head, rest) = former.split_at(at);
        self.give_back(dn, &format!("{head}{}{rest}", ace.replace("{agent}", &agent)))?;
        Ok(former)
    }

    /// Sets the descriptor of an entry, in SDDL.
    pub fn give_back(&self, dn: &str, descriptor: &str) -> Result<()> {
        self.replace(dn, "nTSecurityDescriptor", &[descriptor])
    }

    fn provision(&self) -> Result<()> {
        let dir = self.dir.path();
        certificate::write(dir, &Certificate::ForHost(self.host()))?;
        let path = |name: &str| dir.join(name).display().to_string();
        let options = [
            format!("interfaces={}/8", self.address),
            "bind interfaces only=yes".to_owned(),
            "server services=ldap".to_owned(),
            "disable netbios=yes".to_owned(),
            format!("pid directory={}", path("run")),
            format!("ncalrpc dir={}", path("run/ncalrpc")),
            format!("winbindd socket directory={}", path("run/winbindd")),
            format!("ntp signd socket directory={}", path("run/ntp_signd")),
            format!("tls certfile={}", path("server.pem")),
            format!("tls keyfile={}", path("server.key")),
            format!("tls cafile={}", path("ca.pem")),
        ];
        fs::create_dir(dir.join("run"))?;
        let mut command = Command::new("/usr/bin/samba-tool");
        // The machine's own configuration is none of ours.
        command.env_remove("SMB_CONF_PATH").args(["domain", "provision", "--configfile=/dev/null"]);
        command.arg(format!("--targetdir={}", dir.display()));
        command.args(["--realm=LAB.TEST", "--domain=LAB", "--server-role=dc", "--host-name=dc1"]);
        command.arg(format!("--host-ip={}", self.address));
        // With its DNS partitions a domain has all the references that Active Directory's searches
        // carry.
        command.args(["--dns-backend=SAMBA_INTERNAL", "--backend-store=mdb"]);
        command.args(options.map(|option| format!("--option={option}")));
        succeed("samba-tool", &command.output().context("cannot run samba-tool")?)
    }

    fn load(&self, content: &Builder) -> Result<()> {
        let mut out = Vec::new();
        let quoted: Vec<u8> =
            format!("\"{AGENT_PASSWORD}\"").encode_utf16().flat_map(u16::to_le_bytes).collect();
        writeln!(
            out,
            "dn: CN=agent,CN=Users,{BASE}\nobjectClass: user\nsAMAccountName: agent\nuserPrincipalName: {}\n\
             userAccountControl: 66048\nunicodePwd:: {}\n",
            self.agent(),
            STANDARD.encode(quoted)
        )?;
        let mut unit = |rdns: &str| {
            ldif::line(&mut out, "dn", &format!("{rdns},{BASE}"))?;
            out.write_all(b"objectClass: organizationalUnit\n\n")
        };
        unit("OU=archive")?;
        unit("OU=people")?;
        for (rdn, _) in UNITS {
            unit(&format!("{rdn},OU=people"))?;
        }
        content.people.iter().try_for_each(|person| write_person(&mut out, &person))?;
        out.write_all(content.ldif.as_bytes())?;
        self.add(std::str::from_utf8(&out)?)?;
        let recycle_bin = format!("CN=Partitions,CN=Configuration,{BASE}:{RECYCLE_BIN}");
        // Of the root DSE, whose name is empty.
        self.modify(&format!(
            "dn:\nchangetype: modify\nadd: enableOptionalFeature\nenableOptionalFeature: {recycle_bin}\n"
        ))
    }

    /// The first value of an attribute of the entry that matches.
    fn first(&self, options: &[&str], filter: &str, attribute: &str) -> Result<String> {
        let mut command = self.tool("ldbsearch");
        let output = command.args(options).args(["-b", BASE, filter, attribute]).output()?;
        succeed("ldbsearch", &output)?;
        let found = String::from_utf8(output.stdout)?;
        let value = found.lines().find_map(|line| line.strip_prefix(attribute)?.strip_prefix(": "));
        Ok(value.with_context(|| format!("nothing matches {filter}"))?.to_owned())
    }

    fn apply(&self, program: &str, options: &[&str], ldif: &str) -> Result<()> {
        // From a file: a full pipe cannot block us.
        let mut file = tempfile::NamedTempFile::new_in(self.dir.path())?;
        file.write_all(ldif.as_bytes())?;
        succeed(program, &self.tool(program).args(options).arg(file.path()).output()?)
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new("/usr/bin").join(program));
        command.env("SMB_CONF_PATH", self.configuration());
        command.arg("-H").arg(self.dir.path().join("private/sam.ldb"));
        command
    }

    fn configuration(&self) -> std::path::PathBuf {
        self.dir.path().join("etc/smb.conf")
    }
}

fn succeed(program: &str, output: &Output) -> Result<()> {
    let said = || {
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        said.chars().rev().take(2_000).collect::<Vec<_>>().into_iter().rev().collect::<String>()
    };
    ensure!(output.status.success(), "{program} failed: {}", said().trim());
    Ok(())
}

/// A loopback address that no domain controller has. Far from 127.0.0.1, where the machine's own
/// services are.
fn free_address() -> Result<Ipv4Addr> {
    let random = RandomState::new();
    let free = |throw: &u8| {
        let [low, high, ..] = random.hash_one(throw).to_le_bytes();
        let address = Ipv4Addr::new(127, 77, high, low.clamp(1, 254));
        TcpListener::bind((address, LDAPS)).is_ok().then_some(address)
    };
    (0..100).find_map(|throw| free(&throw)).context("no loopback address has a free port 636")
}

fn person_dn(person: &Person) -> String {
    format!("CN={},{},OU=people,{BASE}", ldif::escape(&person.common_name), person.unit.replace("ou=", "OU="))
}

fn write_person(out: &mut impl Write, person: &Person) -> std::io::Result<()> {
    ldif::line(out, "dn", &person_dn(person))?;
    out.write_all(b"objectClass: user\n")?;
    let single = [
        ("sAMAccountName", person.uid.as_str()),
        ("givenName", &person.first_name),
        ("sn", &person.last_name),
        ("displayName", &person.display_name),
        ("telephoneNumber", &person.phone),
        ("title", person.title),
        ("department", &person.department),
        ("userAccountControl", if person.disabled { DISABLED } else { ENABLED }),
    ];
    let mail = person.mail().map(|mail| ("mail", mail));
    single.into_iter().chain(mail).try_for_each(|(key, value)| ldif::line(out, key, value))?;
    writeln!(out)
}
