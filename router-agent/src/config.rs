//! The configuration file. Everything wrong with it, with the policy and with the files that both
//! name is said at once.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use crate::config_error::{ConfigError, check_readable};
use crate::directory::Credential;
use crate::identity::{self, IDENTITY_FILE, StateError, StateFolder};
use crate::policy::Policy;

/// What the file says, with paths made absolute.
#[derive(Clone, Debug)]
pub struct Config {
    /// Host of the control plane.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The state folder: the router's identity.
    pub state: PathBuf,
    /// Credentials by name.
    pub credentials: BTreeMap<String, CredentialSource>,
    /// What may leave the house.
    pub policy: Policy,
    /// Logs.
    pub log: Log,
}

/// Where a credential comes from. The password is read anew at each connect, so that it can be
/// changed without a restart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialSource {
    bind_dn: String,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    /// Name of a systemd credential.
    credential: Option<String>,
}

/// How to log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// Such as `info` or `router_agent=debug,info`.
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
    control_plane: String,
    policy: PathBuf,
    state: PathBuf,
    credentials: BTreeMap<String, CredentialSource>,
    #[serde(default)]
    log: Log,
}

impl Config {
    /// Reads a file; relative paths in it start from its folder.
    ///
    /// # Errors
    /// All mistakes.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let fatal = |why: String| ConfigError(vec![format!("{}: {why}", path.display())]);
        let text = std::fs::read_to_string(path).map_err(|error| fatal(error.to_string()))?;
        let mut file: File = toml::from_str(&text).map_err(|error| fatal(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut mistakes = Vec::new();
        let (host, port) = parse_address(&file.control_plane).unwrap_or_else(|| {
            mistakes.push(format!(
                "control_plane = {:?} must look like \"https://rollcall.example.com:8443\"",
                file.control_plane
            ));
            (String::new(), 0)
        });
        let state = folder.join(file.state);
        if let Err(why) = check_enrolled(&state) {
            mistakes.push(format!("state: {why}"));
        }
        if file.credentials.is_empty() {
            mistakes.push("credentials: name at least one, such as [credentials.directory]".to_owned());
        }
        for (name, credential) in &mut file.credentials {
            credential.password_file = credential.password_file.take().map(|path| folder.join(path));
            let before = mistakes.len();
            if let Some(path) = &credential.password_file {
                check_private(&mut mistakes, &format!("credentials.{name}.password_file"), path);
            }
            if mistakes.len() == before
                && let Err(why) = credential.read()
            {
                mistakes.push(format!("credentials.{name}: {why}"));
            }
        }
        let policy = Policy::read(&folder.join(file.policy)).unwrap_or_else(|ConfigError(more)| {
            mistakes.extend(more);
            Policy::default()
        });
        if mistakes.is_empty() {
            Ok(Self { host, port, state, credentials: file.credentials, policy, log: file.log })
        } else {
            Err(ConfigError(mistakes))
        }
    }
}

impl CredentialSource {
    /// Reads the password as it is now.
    ///
    /// # Errors
    /// If there is none; the message says where it was looked for.
    pub fn read(&self) -> Result<Credential, String> {
        let password = match (&self.password_file, &self.password_env, &self.credential) {
            (Some(path), None, None) => {
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            (None, Some(name), None) => {
                std::env::var(name).map_err(|_| format!("the environment has no variable {name}"))?
            }
            (None, None, Some(name)) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or("there is no CREDENTIALS_DIRECTORY; set LoadCredential= in the systemd unit")?;
                let path = Path::new(&folder).join(name);
                std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?
            }
            _ => return Err("needs exactly one of password_file, password_env and credential".to_owned()),
        };
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() || self.bind_dn.trim().is_empty() {
            return Err(
                "bind_dn and password must not be empty: directories take that for an anonymous bind"
                    .to_owned(),
            );
        }
        Ok(Credential { bind_dn: self.bind_dn.clone(), password: SecretString::from(password) })
    }
}

/// A state folder with an identity.
fn check_enrolled(folder: &Path) -> Result<(), String> {
    let why = |error: StateError| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let state = StateFolder::open(folder).map_err(why)?;
    match identity::load(&state).map_err(why)? {
        Some(_) => Ok(()),
        None => Err(StateError::Missing(state.path(IDENTITY_FILE)).to_string()),
    }
}

/// Host and port of a control plane; none if that is no address of one.
pub(crate) fn parse_address(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("https://")?.trim_end_matches('/');
    let (host, port) =
        rest.rsplit_once(':').map_or((rest, Some(443)), |(host, port)| (host, port.parse().ok()));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port?;
    (!host.is_empty() && !host.contains('/')).then(|| (host.to_owned(), port))
}

/// A file that must be there and that nobody else may read.
fn check_private(mistakes: &mut Vec<String>, key: &str, path: &Path) {
    match std::fs::metadata(path) {
        Err(error) => mistakes.push(format!("{key}: {}: {error}", path.display())),
        Ok(file) if file.permissions().mode() & 0o077 != 0 => {
            mistakes.push(format!("{key}: {} can be read by others; run chmod 600 on it", path.display()));
        }
        Ok(_) => check_readable(mistakes, key, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_and_may_leave_out_the_port() {
        assert_eq!(parse_address("https://cp.example.com:8443"), Some(("cp.example.com".to_owned(), 8443)));
        assert_eq!(parse_address("https://cp.example.com/"), Some(("cp.example.com".to_owned(), 443)));
        assert_eq!(parse_address("http://cp.example.com"), None);
        assert_eq!(parse_address("https://cp.example.com:port"), None);
    }

    #[test]
    fn an_empty_name_or_password_is_no_credential() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        for (bind_dn, password, fine) in
            [("cn=a", "secret\n", true), ("cn=a", "", false), ("cn=a", "\r\n", false), (" ", "secret", false)]
        {
            std::fs::write(&path, password).expect("a file");
            let source = CredentialSource {
                bind_dn: bind_dn.to_owned(),
                password_file: Some(path.clone()),
                password_env: None,
                credential: None,
            };
            assert_eq!(source.read().is_ok(), fine, "{bind_dn:?} with {password:?}");
        }
    }

    #[test]
    fn every_mistake_is_said_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("router.toml");
        let text = "control_plane = \"cp\"\npolicy = \"none.toml\"\nstate = \"nowhere\"\n\
                    [credentials.x]\nbind_dn = \"cn=x\"\n";
        std::fs::write(&path, text).expect("a file");
        let ConfigError(wrong) = Config::read(&path).expect_err("mistakes");
        for key in ["control_plane", "state: ", "router-agent enroll", "credentials.x", "none.toml"] {
            assert!(wrong.iter().any(|line| line.contains(key)), "{key} in {wrong:?}");
        }
    }
}
