//! What to read, as plain data: servers, roots, filter, attributes. Pure.

use rollcall_proto::admin::v1::{IdentitySourceSettings, identity_source_settings};

use super::{DirectoryError, Server};
use crate::ldap_syntax::normalize;
use crate::record::{Entry, Mapping};

/// How far below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Subtree,
    /// Direct children.
    OneLevel,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
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

impl ReadRequest {
    /// The request for these settings.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn new(settings: &IdentitySourceSettings, mapping: &Mapping) -> Result<Self, DirectoryError> {
        let invalid =
            |what: &str| DirectoryError::SourceInvalid(format!("{what}; correct the source and publish it"));
        let servers =
            settings.directory_servers.iter().map(Server::from_settings).collect::<Option<Vec<_>>>();
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
        Ok(Self {
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

    /// Whether an entry's name is where a read of this root looks.
    pub(super) fn covers(&self, root: &str, entry: &Entry) -> bool {
        self.coverage(root).has(entry)
    }

    /// The same for many entries.
    pub(super) fn coverage(&self, root: &str) -> Coverage {
        Coverage { root: normalize(root), scope: self.scope }
    }

    /// The scope of a search of a root.
    pub(super) fn search_scope(&self) -> ldap3::Scope {
        match self.scope {
            Scope::Subtree => ldap3::Scope::Subtree,
            Scope::OneLevel => ldap3::Scope::OneLevel,
        }
    }
}

/// Where a read of one root looks.
pub(super) struct Coverage {
    root: Option<Vec<String>>,
    scope: Scope,
}

impl Coverage {
    pub(super) fn has(&self, entry: &Entry) -> bool {
        std::str::from_utf8(entry.dn()).is_ok_and(|name| self.has_name(name))
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        let (Some(name), Some(root)) = (normalize(name), &self.root) else { return false };
        let is_deep_enough = match self.scope {
            Scope::Subtree => true,
            Scope::OneLevel => name.len() == root.len() + 1,
        };
        is_deep_enough && name.ends_with(root)
    }
}
