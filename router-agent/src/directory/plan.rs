//! What to read, as plain data: servers, roots, filter, attributes. Pure.

use std::time::Duration;

use rollcall_proto::admin::v1::{IdentitySourceSettings, directory_server, identity_source_settings};
use secrecy::SecretString;

use super::DirectoryError;
use crate::ldap_syntax::{is_within, normalize};
use crate::record::{Entry, Mapping};

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

/// How far below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Subtree,
    /// Direct children.
    OneLevel,
}

/// What the router binds with.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Bind DN, or whatever the directory takes for one.
    pub bind_dn: String,
    /// Password.
    pub password: SecretString,
}

/// How patient a read is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, and then TLS.
    pub connect: Duration,
    /// A bind or the look-up of one entry.
    pub operation: Duration,
    /// A page.
    pub page: Duration,
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

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In fail-over order.
    pub servers: Vec<Server>,
    /// Base DNs.
    pub roots: Vec<String>,
    /// Scope below each.
    pub scope: Scope,
    /// RFC 4515.
    pub filter: String,
    /// Entries a page.
    pub page_size: u32,
    /// Attributes to ask for.
    pub attributes: Vec<String>,
    /// The one with the immutable id.
    pub immutable_id_attribute: String,
}

impl Plan {
    /// Whether an entry's name is where a read of this root looks.
    pub(super) fn covers(&self, root: &str, entry: &Entry) -> bool {
        let Ok(name) = std::str::from_utf8(entry.dn()) else { return false };
        let depth = |name| normalize(name).map_or(0, |names| names.len());
        match self.scope {
            Scope::Subtree => is_within(name, root),
            Scope::OneLevel => is_within(name, root) && depth(name) == depth(root) + 1,
        }
    }
}

/// The plan for these settings.
///
/// # Errors
/// If they cannot be used.
pub fn plan(settings: &IdentitySourceSettings, mapping: &Mapping) -> Result<Plan, DirectoryError> {
    let invalid =
        |what: &str| DirectoryError::SourceInvalid(format!("{what}; correct the source and publish it"));
    let servers = settings.directory_servers.iter().map(server).collect::<Option<Vec<_>>>();
    let servers = servers
        .filter(|servers| !servers.is_empty())
        .ok_or_else(|| invalid("a directory server has no usable host and port"))?;
    if settings.roots.is_empty() {
        return Err(invalid("the source has no root"));
    }
    if settings.object_class.is_empty() {
        return Err(invalid("the source has no object class"));
    }
    let class = format!("(objectClass={})", ldap3::ldap_escape(settings.object_class.as_str()));
    let filter = match settings.extra_filter.trim() {
        "" => class,
        extra => {
            // Parsed alone first: `(a=b))(|(c=*)` must not close the AND around it.
            if ldap3::parse_filter(extra).is_err() {
                return Err(invalid("extra_filter is not an RFC 4515 filter"));
            }
            format!("(&{class}{extra})")
        }
    };
    if ldap3::parse_filter(&filter).is_err() {
        return Err(invalid("object class and extra_filter together are not an RFC 4515 filter"));
    }
    Ok(Plan {
        servers,
        roots: settings.roots.clone(),
        scope: match settings.scope() {
            identity_source_settings::Scope::OneLevel => Scope::OneLevel,
            _ => Scope::Subtree,
        },
        filter,
        page_size: u32::try_from(settings.page_size).unwrap_or_default().clamp(1, 5_000),
        attributes: mapping.attributes().to_vec(),
        immutable_id_attribute: mapping.immutable_id_attribute().to_owned(),
    })
}

fn server(server: &rollcall_proto::admin::v1::DirectoryServer) -> Option<Server> {
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
    (!server.host.is_empty()).then(|| Server { host: server.host.clone(), port, security })
}
