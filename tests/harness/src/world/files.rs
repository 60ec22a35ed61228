//! Command lines and configuration files of our programs: the one place to change when they change.
//! Paths in the files are relative to the folder that the file is in.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rollcall_proto::admin::v1::{
    AttributeMapping, DirectoryServer, DisabledRule, ExpiryRule, IdentitySourceSettings, ValueList,
    attribute_mapping, directory_server, disabled_rule, expiry_rule,
};

use super::{
    TENANT, World,
    connect::Identity,
    issuer::{CONSOLE, ISSUER},
};
use crate::ldap::{Access, Slapd};

/// Name of the credential in the router's configuration.
pub const CREDENTIAL: &str = "directory";

/// What a person's certificate says they may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    SuperAdmin,
    HelpDesk,
    Auditor,
}

impl Role {
    /// As a token has it.
    pub fn claim(self) -> &'static str {
        match self {
            Role::SuperAdmin => "SUPER_ADMIN",
            Role::HelpDesk => "HELP_DESK",
            Role::Auditor => "AUDITOR",
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Role::SuperAdmin => "super-admin",
            Role::HelpDesk => "help-desk",
            Role::Auditor => "auditor",
        }
    }
}

/// The router's own policy: what may leave the premises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub host: String,
    pub ports: Vec<u16>,
    pub allow_plain: bool,
    pub roots: Vec<String>,
    pub attributes: Vec<String>,
    pub verify_passwords: bool,
}

impl Policy {
    /// Allows everything that the people in these directories have, on all of their ports and
    /// `further_ports`. All are at one host.
    pub fn of(directories: &[Access], further_ports: &[u16]) -> Self {
        let first = directories.first();
        Self {
            host: first.map(|access| access.host.clone()).unwrap_or_default(),
            ports: (directories.iter().flat_map(|access| [access.ldap_port, access.ldaps_port]))
                .chain(further_ports.iter().copied())
                .collect(),
            allow_plain: false,
            roots: first.map(|access| access.root.clone()).into_iter().collect(),
            attributes: first
                .map_or(&[][..], |access| access.attributes)
                .iter()
                .map(ToString::to_string)
                .collect(),
            verify_passwords: false,
        }
    }

    fn toml(&self) -> String {
        format!(
            "verify_passwords = {}\n[[directory]]\nhost = {:?}\nports = {:?}\nallow_plain = {}\nca_file = \"ldap-ca.pem\"\n\
             credentials = [{CREDENTIAL:?}]\nroots = {}\nattributes = {}\n",
            self.verify_passwords,
            self.host,
            self.ports,
            self.allow_plain,
            strings(&self.roots),
            strings(&self.attributes),
        )
    }
}

/// Keys of the control plane's `[sync]` section; what is none is left to the control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncSettings {
    pub router_deadline: Option<Duration>,
    pub lease: Option<Duration>,
    pub directory_deadline: Option<Duration>,
    pub hold_expiry: Option<Duration>,
    pub plan_expiry: Option<Duration>,
    pub job_deadline: Option<Duration>,
}

/// Keys of the control plane's `[authority]` section; what is none is left to the control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthoritySettings {
    pub router_certificate_life: Option<Duration>,
    pub recovery: Option<Duration>,
}

/// A router's state folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State(pub PathBuf);

impl State {
    /// Its key and certificate, which are in one file.
    pub fn identity(&self) -> Identity {
        let file = self.0.join("identity.pem");
        Identity { certificate: file.clone(), key: file }
    }

    /// Whom it takes for its control plane.
    pub fn authorities(&self) -> PathBuf {
        self.0.join("control-plane-ca.pem")
    }
}

/// The folder with the files of one installation.
#[derive(Clone, Debug)]
pub struct Files {
    pub(super) authority: AuthoritySettings,
    pub(super) usual_limits: bool,
    pub(super) dir: PathBuf,
    pub(super) control_plane: PathBuf,
}

impl Files {
    pub fn control_plane_config(&self) -> PathBuf {
        self.dir.join("control-plane.toml")
    }

    pub fn router_config(&self) -> PathBuf {
        self.dir.join("router.toml")
    }

    pub fn policy(&self) -> PathBuf {
        self.dir.join("policy.toml")
    }

    pub fn bind_password(&self) -> PathBuf {
        self.dir.join("bind.password")
    }

    /// The state folder of a router, counted from 0.
    pub fn state(&self, at: usize) -> State {
        State(self.dir.join(numbered("state", at)))
    }

    /// Certificate of the control plane's authority.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca/ca.pem")
    }

    /// Makes the authorities, the server's certificate, and a Super Admin's, which it returns.
    pub(super) fn make_authority(&self) -> Result<Identity> {
        self.ca(&["init"])?;
        self.issue_server("localhost", &self.path("server"), &[])?;
        self.issue_admin("alice", Role::SuperAdmin)
    }

    /// Makes a control plane's certificate; `out` is where, without `.pem` and `.key`, and `more`
    /// is what else to ask for.
    pub fn issue_server(&self, host: &str, out: &str, more: &[&str]) -> Result<()> {
        self.ca(&[&["issue-server", "--host", host, "--out", out], more].concat())
    }

    /// Makes an administrator's certificate for the tenant.
    pub fn issue_admin(&self, name: &str, role: Role) -> Result<Identity> {
        self.issue_admin_of(TENANT, name, role)
    }

    /// Makes an administrator's certificate for any tenant.
    pub fn issue_admin_of(&self, tenant: &str, name: &str, role: Role) -> Result<Identity> {
        let out = self.path(&format!("admin-{tenant}-{name}"));
        let arguments =
            ["issue-admin", "--tenant", tenant, "--role", role.argument(), "--name", name, "--out", &out];
        self.ca(&arguments)?;
        Ok(Identity::at(&out))
    }

    pub fn issue_operator(&self, name: &str) -> Result<Identity> {
        let out = self.path(&format!("operator-{name}"));
        self.ca(&["issue-operator", "--name", name, "--out", &out])?;
        Ok(Identity::at(&out))
    }

    /// The service that synchronizes users at sign-in.
    pub fn issue_authenticator(&self, name: &str) -> Result<Identity> {
        let out = self.path(&format!("authenticator-{name}"));
        self.ca(&["issue-authenticator", "--name", name, "--out", &out])?;
        Ok(Identity::at(&out))
    }

    pub fn issue_console(&self, name: &str) -> Result<Identity> {
        let out = self.path(&format!("console-{name}"));
        self.ca(&["issue-console", "--name", name, "--out", &out])?;
        Ok(Identity::at(&out))
    }

    /// Lets consoles present the tokens of an issuer with these keys.
    pub(super) fn add_issuer(&self, config: &Path, jwks: &str) -> Result<()> {
        fs::write(self.dir.join("jwks.json"), jwks)?;
        let issuer = format!(
            "\n[[tokens]]\nissuer = {ISSUER:?}\naudience = \"rollcall\"\nkeys = \"jwks.json\"\nconsoles = [{CONSOLE:?}]\n"
        );
        Ok(fs::write(config, fs::read_to_string(config)? + &issuer)?)
    }

    /// Lets webhooks reach receivers of this machine that have a certificate of an authority.
    /// Secrets are sealed with a key of a file.
    pub(super) fn add_receivers(&self, config: &Path, authorities: &str) -> Result<()> {
        fs::write(self.dir.join("receivers-ca.pem"), authorities)?;
        let key = self.dir.join("webhooks.key");
        if !key.exists() {
            fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")?;
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        }
        let section = "\n[webhooks]\nallow_networks = [\"127.0.0.0/8\", \"::1/128\"]\nca = \"receivers-ca.pem\"\nkey = \"webhooks.key\"\n";
        Ok(fs::write(config, fs::read_to_string(config)? + section)?)
    }

    /// Lets a replica be asked by others, at this address.
    pub(super) fn add_link(&self, config: &Path, address: SocketAddr) -> Result<()> {
        let section = format!("\n[replicas]\nlisten = \"{address}\"\nadvertise = \"{address}\"\n");
        Ok(fs::write(config, fs::read_to_string(config)? + &section)?)
    }

    pub(super) fn write_control_plane(
        &self,
        name: &str,
        port: u16,
        database: &str,
        sync: SyncSettings,
    ) -> Result<PathBuf> {
        let keys = [
            ("router_deadline", sync.router_deadline),
            ("lease", sync.lease),
            // Long enough for one more try: most tests wait for the failure.
            ("directory_deadline", sync.directory_deadline.or(Some(Duration::from_secs(1)))),
            ("hold_expiry", sync.hold_expiry),
            ("plan_expiry", sync.plan_expiry),
            ("job_deadline", sync.job_deadline),
        ];
        let set = keys.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let line = |(key, value): (&str, Duration)| format!("{key} = \"{}ms\"\n", value.as_millis());
        let sync: String = set.map(line).collect();
        let AuthoritySettings { router_certificate_life, recovery } = self.authority;
        let keys = [("router_certificate_life", router_certificate_life), ("recovery", recovery)];
        let authority: String =
            keys.into_iter().filter_map(|(key, value)| Some((key, value?))).map(line).collect();
        let limits = match self.usual_limits {
            true => "",
            false => "[limits]\ncalls_per_second = 1000\ncalls_at_once = 2000\n\n",
        };
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\ndatabase = {database:?}\n\n\
             [tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca/ca.pem\"\nrefused = \"refused.txt\"\n\n\
             [authority]\ndir = \"ca/routers\"\n{authority}\n{limits}[sync]\n{sync}"
        );
        if !self.refused().exists() {
            fs::write(self.refused(), "")?;
        }
        let path = self.dir.join(format!("{name}.toml"));
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The control plane's list of certificates that count no longer.
    pub fn refused(&self) -> PathBuf {
        self.dir.join("refused.txt")
    }

    /// Writes what all routers share: the password and the authorities of directory servers.
    pub(super) fn write_directory_access(&self, directories: &[Access]) -> Result<()> {
        let first = directories.first().context("a router needs a directory")?;
        self.write_bind_password(first.password)?;
        self.write_authorities(directories.iter().map(|access| access.ca_pem.clone()))
    }

    /// Writes the configuration and the policy of a router, counted from 0.
    pub(super) fn write_router(
        &self,
        at: usize,
        port: u16,
        directory: &Access,
        policy: &Policy,
    ) -> Result<PathBuf> {
        let (name, policy_file, state) =
            (numbered("router", at), numbered("policy", at), numbered("state", at));
        fs::write(self.dir.join(format!("{policy_file}.toml")), policy.toml())?;
        let text = format!(
            "control_plane = \"https://localhost:{port}\"\npolicy = \"{policy_file}.toml\"\n\
             state = \"{state}\"\n\n\
             [credentials.{CREDENTIAL}]\nbind_dn = {:?}\npassword_file = \"bind.password\"\n",
            directory.bind_dn
        );
        let path = self.dir.join(format!("{name}.toml"));
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Changes the first router's policy file. The router reads it when it starts.
    pub fn write_policy(&self, policy: &Policy) -> Result<()> {
        Ok(fs::write(self.policy(), policy.toml())?)
    }

    /// Changes the password that the router binds with.
    pub fn write_bind_password(&self, password: &str) -> Result<()> {
        fs::write(self.bind_password(), password)?;
        Ok(fs::set_permissions(self.bind_password(), fs::Permissions::from_mode(0o600))?)
    }

    /// Writes the authorities that the router trusts for directory servers: those of all of them,
    /// in one file.
    pub fn write_directory_ca(&self, directories: &[Slapd]) -> Result<()> {
        self.write_authorities(directories.iter().map(Slapd::ca_pem_path))
    }

    fn write_authorities(&self, files: impl Iterator<Item = PathBuf>) -> Result<()> {
        let mut bundle = String::new();
        for file in files {
            bundle += &fs::read_to_string(file)?;
        }
        Ok(fs::write(self.dir.join("ldap-ca.pem"), bundle)?)
    }

    fn ca(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.control_plane);
        command.args(["ca", arguments[0], "--dir"]).arg(self.dir.join("ca")).args(&arguments[1..]);
        let output = command.output().context("cannot run control-plane")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "control-plane ca {} failed: {}", arguments.join(" "), said.trim());
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }
}

/// `name` for the first, `name-2` for the second.
pub(super) fn numbered(name: &str, at: usize) -> String {
    if at == 0 { name.to_owned() } else { format!("{name}-{}", at + 1) }
}

pub(super) fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

fn strings(values: &[String]) -> String {
    format!("{values:?}") // Rust's escapes for text without control characters are TOML's
}

impl World {
    /// Settings of a source that reads the people of this world's directories over LDAPS, through
    /// the cable if there is one.
    pub fn settings(&self) -> IdentitySourceSettings {
        let Some(first) = self.access.first() else { return IdentitySourceSettings::default() };
        let ports = self.access.iter().enumerate().map(|(at, access)| match &self.directory_link {
            Some(cable) if at == 0 => cable.port(),
            _ => access.ldaps_port,
        });
        let servers = ports.map(|port| DirectoryServer {
            host: first.host.clone(),
            port: i32::from(port),
            security: directory_server::Security::Ldaps.into(),
        });
        let settings = IdentitySourceSettings {
            directory_servers: servers.collect(),
            credential: CREDENTIAL.to_owned(),
            roots: vec![first.root.clone()],
            object_class: "inetOrgPerson".to_owned(),
            mapping: Some(mapping()),
            ..Default::default()
        };
        if self.directory_server.is_some() {
            return IdentitySourceSettings { mapping: Some(directory_server_mapping()), ..settings };
        }
        match self.active_directory {
            Some(_) => IdentitySourceSettings {
                object_class: "user".to_owned(),
                extra_filter: "(objectCategory=person)".to_owned(),
                mapping: Some(active_directory_mapping()),
                ..settings
            },
            None => settings,
        }
    }
}

/// Maps everything that [`crate::people`] writes.
pub fn mapping() -> AttributeMapping {
    let inactive = ValueList { values: vec!["inactive".to_owned()] };
    AttributeMapping {
        immutable_id: "entryUUID".to_owned(),
        user_name: "uid".to_owned(),
        mail: "mail".to_owned(),
        first_name: "givenName".to_owned(),
        last_name: "sn".to_owned(),
        display_name: "displayName".to_owned(),
        phone: "telephoneNumber".to_owned(),
        disabled: Some(DisabledRule {
            attribute: "employeeType".to_owned(),
            test: Some(disabled_rule::Test::AnyValueOf(inactive)),
        }),
        policy_attributes: vec!["title".to_owned(), "departmentNumber".to_owned()],
        ..Default::default()
    }
}

/// Maps the same people as Active Directory has them.
pub fn active_directory_mapping() -> AttributeMapping {
    AttributeMapping {
        immutable_id: "objectGUID".to_owned(),
        immutable_id_format: attribute_mapping::ImmutableIdFormat::Guid.into(),
        user_name: "sAMAccountName".to_owned(),
        // The second bit: the account is disabled.
        disabled: Some(DisabledRule {
            attribute: "userAccountControl".to_owned(),
            test: Some(disabled_rule::Test::BitsSet(2)),
        }),
        expires: Some(ExpiryRule {
            attribute: "accountExpires".to_owned(),
            format: expiry_rule::Format::Filetime.into(),
        }),
        policy_attributes: vec!["title".to_owned(), "department".to_owned()],
        ..mapping()
    }
}

/// Maps the same people as 389 Directory Server has them.
pub fn directory_server_mapping() -> AttributeMapping {
    let locked = ValueList { values: vec!["true".to_owned()] };
    AttributeMapping {
        immutable_id: "nsUniqueId".to_owned(),
        // Four groups of eight digits: no UUID as text.
        immutable_id_format: attribute_mapping::ImmutableIdFormat::Text.into(),
        disabled: Some(DisabledRule {
            attribute: "nsAccountLock".to_owned(),
            test: Some(disabled_rule::Test::AnyValueOf(locked)),
        }),
        ..mapping()
    }
}
