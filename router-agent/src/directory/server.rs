//! A directory server, how it is protected, and what a connection to it needs.

use std::time::Duration;

use rollcall_proto::admin::v1::{DirectoryServer, directory_server};
use secrecy::SecretString;

/// A directory server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Host name or address, as in its certificate.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Protection.
    pub security: Security,
}

impl Server {
    /// The server that the settings name; none if they have no usable host and port.
    pub(super) fn from_settings(server: &DirectoryServer) -> Option<Self> {
        let security = match server.security() {
            directory_server::Security::Starttls => Security::StartTls,
            directory_server::Security::Plain => Security::Plain,
            directory_server::Security::Ldaps | directory_server::Security::Unspecified => Security::Ldaps,
        };
        let port = match (u16::try_from(server.port).ok()?, security) {
            (0, Security::Ldaps) => 636,
            (0, _) => 389,
            (port, _) => port,
        };
        (!server.host.is_empty()).then(|| Self { host: server.host.clone(), port, security })
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Ldaps,
    /// StartTLS before anything else is said.
    StartTls,
    /// None.
    Plain,
}

/// What the router binds with.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Bind DN, or whatever the directory takes for one.
    pub bind_dn: String,
    /// Password.
    pub password: SecretString,
}

/// How long a step at a directory may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, and then TLS.
    pub connect: Duration,
    /// A bind or the look-up of one entry.
    pub operation: Duration,
    /// A page.
    pub page: Duration,
}

impl Timeouts {
    /// Of steps that have so much time together.
    pub(super) fn within(share: Duration) -> Self {
        Self { connect: share.min(Self::default().connect), operation: share, page: share }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            operation: Duration::from_secs(30),
            page: Duration::from_secs(60),
        }
    }
}
