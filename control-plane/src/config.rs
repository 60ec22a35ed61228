//! The configuration file. Everything wrong with it is said at once, with what to do.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::api::tokens::Issuer;
use crate::jobs::JobSettings;

/// A shorter lease would be lost by replicas that are merely busy.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// What the file says, with paths made absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Database URL.
    pub database: String,
    /// TLS files.
    pub tls: Tls,
    /// How patient sync jobs are.
    pub sync: JobSettings,
    /// Whose tokens consoles may present.
    pub tokens: Vec<Issuer>,
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
    #[serde(default)]
    sync: Sync,
    #[serde(default)]
    tokens: Vec<crate::api::tokens::Entry>,
    #[serde(default)]
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sync {
    #[serde(with = "humantime_serde")]
    router_deadline: Duration,
    #[serde(with = "humantime_serde")]
    lease: Duration,
    #[serde(with = "humantime_serde")]
    job_deadline: Duration,
    #[serde(with = "humantime_serde")]
    hold_expiry: Duration,
    full_lists_kept: u32,
}

impl Default for Sync {
    fn default() -> Self {
        let JobSettings { router_deadline, lease, job_deadline, hold_expiry, full_lists_kept, .. } =
            JobSettings::default();
        Self { router_deadline, lease, job_deadline, hold_expiry, full_lists_kept }
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
        let listen = file.listen.parse().unwrap_or_else(|_| {
            wrong.push(format!(
                "listen = {:?} must be an address and a port, such as \"0.0.0.0:8443\"",
                file.listen
            ));
            SocketAddr::from(([127, 0, 0, 1], 0))
        });
        let tls = Tls {
            certificate: folder.join(file.tls.certificate),
            key: folder.join(file.tls.key),
            client_ca: folder.join(file.tls.client_ca),
        };
        let files =
            [("tls.certificate", &tls.certificate), ("tls.key", &tls.key), ("tls.client_ca", &tls.client_ca)];
        for (key, path) in files {
            match std::fs::metadata(path) {
                Err(error) => wrong.push(format!(
                    "{key}: {}: {error}; `control-plane ca` makes these files",
                    path.display()
                )),
                Ok(file) if key == "tls.key" && file.permissions().mode() & 0o077 != 0 => {
                    wrong.push(format!(
                        "{key}: {} can be read by others; run chmod 600 on it",
                        path.display()
                    ));
                }
                Ok(_) => {}
            }
        }
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
        let Sync { router_deadline, lease, job_deadline, hold_expiry, full_lists_kept } = file.sync;
        if lease < SHORTEST_LEASE {
            wrong.push(format!(
                "sync.lease must be at least {SHORTEST_LEASE:?}: a replica renews it three times as often"
            ));
        }
        if !(1..=100).contains(&full_lists_kept) {
            wrong.push(format!("sync.full_lists_kept = {full_lists_kept} must be from 1 to 100"));
        }
        let defaults = JobSettings::default();
        let sync =
            JobSettings { router_deadline, lease, job_deadline, hold_expiry, full_lists_kept, ..defaults };
        let tokens = Issuer::all(file.tokens, folder, &mut wrong);
        if wrong.is_empty() {
            Ok(Self { listen, database, tls, sync, tokens, log: file.log })
        } else {
            Err(ConfigError(wrong))
        }
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
