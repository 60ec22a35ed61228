//! The configuration file. All mistakes in it are reported at once, each with what to do.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::api::middleware::limits::Limits;
use crate::api::middleware::tokens::{self, Issuer, IssuerSection};
use crate::ca::RevokedCertificates;
use crate::jobs::JobSettings;
use crate::replicas::ReplicaSettings;
use crate::webhooks::address::Network;
use crate::webhooks::{WebhookSettings, secret};

/// A shorter lease would be lost by replicas that are merely busy.
const MIN_LEASE: Duration = Duration::from_secs(1);
/// A certificate of less could not be renewed in time.
const MIN_CERTIFICATE_LIFE: Duration = Duration::from_secs(10);

/// What the file says, with paths made absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Database URL.
    pub database: String,
    /// TLS files.
    pub tls: Tls,
    /// The authority of identity routers; without one nobody enrolls, and no router connects.
    pub authority: Option<Authority>,
    /// How patient sync jobs are.
    pub sync: JobSettings,
    /// How much callers may ask.
    pub limits: Limits,
    /// Whose tokens consoles may present.
    pub tokens: Vec<Issuer>,
    /// Where tenants may have messages sent.
    pub webhooks: WebhookSettings,
    /// How replicas ask one another; none if they do not.
    pub replicas: Option<ReplicaSettings>,
    /// Logs.
    pub log: Log,
}

/// TLS files, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key; readable by its owner only.
    pub key: PathBuf,
    /// Certificates of the authorities whose clients are let in.
    pub client_ca: PathBuf,
    /// The list of certificates that count no longer.
    pub refused: Option<PathBuf>,
}

impl Tls {
    /// With paths made absolute.
    fn check(self, folder: &Path, wrong: &mut Vec<String>) -> Self {
        let tls = Self {
            certificate: folder.join(self.certificate),
            key: folder.join(self.key),
            client_ca: folder.join(self.client_ca),
            refused: self.refused.map(|path| folder.join(path)),
        };
        file_is_there("tls.certificate", &tls.certificate, wrong);
        secret_is_there("tls.key", &tls.key, wrong);
        file_is_there("tls.client_ca", &tls.client_ca, wrong);
        if let Some(path) = &tls.refused {
            match std::fs::read_to_string(path).map(|text| RevokedCertificates::parse(&text)) {
                Ok(Ok(_)) => {}
                Ok(Err(line)) => wrong.push(format!("tls.refused: {}: {line}", path.display())),
                Err(error) => wrong.push(format!("tls.refused: {}: {error}", path.display())),
            }
        }
        tls
    }
}

/// The authority of identity routers.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Folder of its `ca.pem` and `ca.key`.
    pub dir: PathBuf,
    /// How long a router's certificate is valid.
    pub router_certificate_life: Duration,
    /// How long after the end of its certificate a router may recover with it.
    pub recovery: Duration,
    /// Certificates of the authorities that vouch for the control plane.
    pub server_ca: PathBuf,
}

impl Authority {
    fn from_file(file: AuthorityFile, folder: &Path, tls: &Tls, wrong: &mut Vec<String>) -> Self {
        let AuthorityFile { dir, router_certificate_life, recovery, server_ca } = file;
        let dir = folder.join(dir);
        file_is_there("authority.dir", &dir.join(crate::ca::CERTIFICATE), wrong);
        secret_is_there("authority.dir", &dir.join(crate::ca::KEY), wrong);
        let server_ca = server_ca.map_or_else(|| tls.client_ca.clone(), |path| folder.join(path));
        file_is_there("authority.server_ca", &server_ca, wrong);
        if router_certificate_life < MIN_CERTIFICATE_LIFE {
            wrong
                .push(format!("authority.router_certificate_life must be at least {MIN_CERTIFICATE_LIFE:?}"));
        }
        Self { dir, router_certificate_life, recovery, server_ca }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityFile {
    dir: PathBuf,
    #[serde(with = "humantime_serde", default = "one_day")]
    router_certificate_life: Duration,
    #[serde(with = "humantime_serde", default = "thirty_days")]
    recovery: Duration,
    server_ca: Option<PathBuf>,
}

fn one_day() -> Duration {
    Duration::from_secs(86_400)
}

fn thirty_days() -> Duration {
    Duration::from_secs(30 * 86_400)
}

/// How to log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// Such as `info` or `control_plane=debug,info`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: String,
    database: String,
    tls: Tls,
    authority: Option<AuthorityFile>,
    #[serde(default)]
    sync: Sync,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    tokens: Vec<IssuerSection>,
    #[serde(default)]
    webhooks: WebhooksFile,
    replicas: Option<ReplicasFile>,
    #[serde(default)]
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicasFile {
    listen: String,
    advertise: String,
}

impl ReplicasFile {
    fn check(self, database: &str, wrong: &mut Vec<String>) -> Option<ReplicaSettings> {
        let Self { listen, advertise } = self;
        if database.starts_with("sqlite:") {
            wrong.push(
                "replicas: a SQLite database has one process, so there are no replicas to ask; take the section out, or use PostgreSQL"
                    .to_owned(),
            );
        }
        let listening = listen.parse::<SocketAddr>();
        if listening.is_err() {
            wrong.push(format!(
                "replicas.listen = {listen:?} must be an address and a port, such as \"0.0.0.0:7445\""
            ));
        }
        let port = advertise.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let reachable = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0));
        let everywhere = advertise.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified());
        if !reachable || everywhere {
            wrong.push(format!(
                "replicas.advertise = {advertise:?} must be the host and port that other replicas connect to, such as \"10.0.0.5:7445\""
            ));
        }
        listening.ok().map(|listen| ReplicaSettings { listen, advertise })
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WebhooksFile {
    allow_networks: Vec<String>,
    deny_networks: Vec<String>,
    ca: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl WebhooksFile {
    fn check(self, folder: &Path, wrong: &mut Vec<String>) -> WebhookSettings {
        let mut networks = |key: &str, texts: Vec<String>| {
            let mut parsed: Vec<Network> = Vec::new();
            for text in texts {
                match text.parse() {
                    Ok(network) => parsed.push(network),
                    Err(why) => wrong.push(format!("webhooks.{key}: {why}")),
                }
            }
            parsed
        };
        let allow_networks = networks("allow_networks", self.allow_networks);
        let deny_networks = networks("deny_networks", self.deny_networks);
        let (ca, key) = (self.ca.map(|path| folder.join(path)), self.key.map(|path| folder.join(path)));
        if let Some(error) = ca.as_ref().and_then(|path| std::fs::metadata(path).err().map(|why| (path, why)))
        {
            wrong.push(format!("webhooks.ca: {}: {}", error.0.display(), error.1));
        }
        if let Some(path) = &key {
            match secret::read_key(path) {
                Ok(_) => secret_is_there("webhooks.key", path, wrong),
                Err(error) => wrong.push(format!("webhooks.key: {error:#}")),
            }
        }
        WebhookSettings { allow_networks, deny_networks, ca, key }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sync {
    #[serde(with = "humantime_serde")]
    router_deadline: Duration,
    #[serde(with = "humantime_serde")]
    lease: Duration,
    #[serde(with = "humantime_serde")]
    directory_deadline: Duration,
    #[serde(with = "humantime_serde")]
    job_deadline: Duration,
    #[serde(with = "humantime_serde")]
    hold_expiry: Duration,
    #[serde(with = "humantime_serde")]
    plan_expiry: Duration,
    full_lists_kept: u32,
}

impl Default for Sync {
    fn default() -> Self {
        let JobSettings {
            router_deadline,
            lease,
            directory_deadline,
            job_deadline,
            hold_expiry,
            plan_expiry,
            full_lists_kept,
            ..
        } = JobSettings::default();
        Self {
            router_deadline,
            lease,
            directory_deadline,
            job_deadline,
            hold_expiry,
            plan_expiry,
            full_lists_kept,
        }
    }
}

impl Sync {
    fn check(self, wrong: &mut Vec<String>) -> JobSettings {
        let Self {
            router_deadline,
            lease,
            directory_deadline,
            job_deadline,
            hold_expiry,
            plan_expiry,
            full_lists_kept,
        } = self;
        if lease < MIN_LEASE {
            wrong.push(format!(
                "sync.lease must be at least {MIN_LEASE:?}: a replica renews it three times as often"
            ));
        }
        if !(1..=100).contains(&full_lists_kept) {
            wrong.push(format!("sync.full_lists_kept = {full_lists_kept} must be from 1 to 100"));
        }
        let defaults = JobSettings::default();
        JobSettings {
            router_deadline,
            lease,
            directory_deadline,
            job_deadline,
            hold_expiry,
            plan_expiry,
            full_lists_kept,
            ..defaults
        }
    }
}

/// Everything that is wrong, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads a file; relative paths in it start from its folder.
    ///
    /// # Errors
    /// All mistakes.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(vec![format!("{}: {error}", path.display())]))?;
        let file: File = toml::from_str(&text)
            .map_err(|error| ConfigError(vec![format!("{}: {error}", path.display())]))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut wrong = Vec::new();
        let listen = listen_address(&file.listen, &mut wrong);
        let tls = file.tls.check(folder, &mut wrong);
        let authority = file.authority.map(|file| Authority::from_file(file, folder, &tls, &mut wrong));
        let database = database(&file.database, folder).unwrap_or_else(|why| {
            wrong.push(why);
            String::new()
        });
        if tracing_subscriber::EnvFilter::try_new(&file.log.level).is_err() {
            let level = &file.log.level;
            wrong.push(format!(
                "log.level = {level:?} must be such as \"info\" or \"control_plane=debug,info\""
            ));
        }
        let sync = file.sync.check(&mut wrong);
        file.limits.check(&mut wrong);
        let tokens = tokens::check_issuers(file.tokens, folder, &mut wrong);
        let webhooks = file.webhooks.check(folder, &mut wrong);
        let replicas = file.replicas.and_then(|replicas| replicas.check(&file.database, &mut wrong));
        if wrong.is_empty() {
            let (limits, log) = (file.limits, file.log);
            Ok(Self { listen, database, tls, authority, tokens, webhooks, replicas, sync, limits, log })
        } else {
            Err(ConfigError(wrong))
        }
    }
}

fn listen_address(text: &str, wrong: &mut Vec<String>) -> SocketAddr {
    text.parse().unwrap_or_else(|_| {
        wrong.push(format!("listen = {text:?} must be an address and a port, such as \"0.0.0.0:8443\""));
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn file_is_there(key: &str, path: &Path, wrong: &mut Vec<String>) -> Option<std::fs::Metadata> {
    match std::fs::metadata(path) {
        Ok(file) => Some(file),
        Err(error) => {
            wrong.push(format!("{key}: {}: {error}; `control-plane ca` makes these files", path.display()));
            None
        }
    }
}

fn secret_is_there(key: &str, path: &Path, wrong: &mut Vec<String>) {
    if let Some(file) = file_is_there(key, path, wrong)
        && file.permissions().mode() & 0o077 != 0
    {
        wrong.push(format!("{key}: {} can be read by others; run chmod 600 on it", path.display()));
    }
}

fn database(url: &str, folder: &Path) -> Result<String, String> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => Ok(url.to_owned()),
        Some(("sqlite", path)) => {
            let path = folder.join(path.strip_prefix("//").unwrap_or(path));
            let path = std::path::absolute(&path).unwrap_or(path);
            match path.parent() {
                Some(parent) if parent.is_dir() => Ok(format!("sqlite://{}", path.display())),
                _ => Err(format!("database: the folder of {} does not exist; make it first", path.display())),
            }
        }
        _ => Err("database must be sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(listen: &str, advertise: &str, database: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let file = ReplicasFile { listen: listen.to_owned(), advertise: advertise.to_owned() };
        file.check(database, &mut wrong);
        wrong
    }

    #[test]
    fn replicas_need_a_shared_database_and_an_address_that_others_can_reach() {
        let (any, postgres) = ("0.0.0.0:7445", "postgres://rollcall@db/rollcall");
        for advertise in ["10.0.0.5:7445", "replica-1.internal:7445", "[fd00::5]:7445"] {
            assert_eq!(wrong(any, advertise, postgres), Vec::<String>::new(), "{advertise}");
        }
        for advertise in ["10.0.0.5", ":7445", "10.0.0.5:0", "10.0.0.5:x", any, "[::]:7445"] {
            assert_eq!(wrong(any, advertise, postgres).len(), 1, "{advertise}");
        }
        assert_eq!(wrong("7445", "10.0.0.5:7445", postgres).len(), 1);
        let refused = wrong(any, "10.0.0.5:7445", "sqlite:rollcall.db");
        assert!(refused[0].contains("SQLite") && refused.len() == 1, "{refused:?}");
    }
}
