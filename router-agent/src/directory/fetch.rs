//! Reads one person, by name or by immutable id: one search in each root, on a connection that is kept for it. What it finds is what a read of
//! the whole source would find: the same filter, the same attributes, the same checks of codes, references and places. Exactly one
//! entry is a person; of two with the same name nobody can say who was meant.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ldap3::{LdapResult, Scope as LdapScope};
use tokio::time::Instant;

use super::error::search_hint;
use super::lookup::look_up_on;
use super::search::{Interrupted, Search};
use super::warm::{Entrance, Lease};
use super::{Credential, DirectoryError, Plan, Presence, Scope, Timeouts, Wanted, Warm};
use crate::ldap_syntax::normalize;
use crate::record::{Entry, Mapping, NameQuery};

/// How many entries a server is asked to leave it at. More than two, since it may find some that have another name by our rule.
const LIMIT: i32 = 10;
/// Most entries an answer may have: a server may not know the limit.
const MOST_ENTRIES: u32 = 200;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const REFERRAL: u32 = 10;
const NO_SUCH_OBJECT: u32 = 32;
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

/// Where people are read, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Servers, roots, filter, attributes.
    pub plan: &'a Plan,
    /// The source's mapping.
    pub mapping: &'a Mapping,
    /// What to bind with.
    pub credential: &'a Credential,
    /// Authority of the servers' certificates; the system's if there is none.
    pub ca_file: Option<&'a Path>,
    /// Whether who is not in scope is searched in the naming context, by immutable id.
    pub look_up_moved: bool,
}

/// Whom to fetch.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// Who has a name.
    Named(&'a NameQuery<'a>),
    /// Who has this immutable id, as it travels.
    Id(&'a Bytes),
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// Exactly one entry in scope.
    Entry(Entry),
    /// None in scope. By name it is never known to be anywhere else.
    Absent(Presence),
    /// So many entries in scope have the name, or more.
    Ambiguous(usize),
}

/// Fetches one person within this time. Also says which server answered.
///
/// # Errors
/// If anything at all went wrong: then nothing is known.
pub async fn fetch(
    warm: &Warm,
    source: Source<'_>,
    whom: Whom<'_>,
    within: Duration,
) -> Result<(String, Fetched), DirectoryError> {
    let own = own_filter(source.mapping, whom)?;
    let search = Fetch { source, whom, filter: format!("(&{}{own})", source.plan.filter) };
    if ldap3::parse_filter(&search.filter).is_err() {
        return Err(invalid("the mapping's attributes cannot be searched for"));
    }
    let Source { plan, credential, ca_file, .. } = source;
    let entrance = Entrance { servers: &plan.servers, credential, ca_file };
    let mut attempts = warm.attempts(entrance, Instant::now() + within).await?;
    loop {
        let lease = attempts.lease().await?;
        match search.on(&lease).await {
            Ok(fetched) => {
                let server = lease.server.to_string();
                attempts.keep(lease);
                return Ok((server, fetched));
            }
            Err(Failed { error, lost }) => attempts.failed(lease, error, lost)?,
        }
    }
}

fn own_filter(mapping: &Mapping, whom: Whom<'_>) -> Result<String, DirectoryError> {
    match whom {
        Whom::Named(asked) => Ok(asked.filter()),
        Whom::Id(id) => mapping
            .immutable_id_filter(id)
            .ok_or_else(|| invalid("the immutable id does not have the form that the source's mapping says")),
    }
}

fn invalid(what: &str) -> DirectoryError {
    DirectoryError::SourceInvalid(format!("{what}; correct the mapping and publish the source"))
}

/// Why nothing is known.
struct Failed {
    error: DirectoryError,
    /// Because of the connection or the server's state, not because of an answer.
    lost: bool,
}

impl From<DirectoryError> for Failed {
    fn from(error: DirectoryError) -> Self {
        Self { error, lost: false }
    }
}

struct Fetch<'a> {
    source: Source<'a>,
    whom: Whom<'a>,
    filter: String,
}

impl Fetch<'_> {
    async fn on(&self, lease: &Lease) -> Result<Fetched, Failed> {
        let mut found = self.in_scope(lease).await?;
        if found.is_empty()
            && let Whom::Id(id) = self.whom
        {
            let presence = self.beyond(lease, id).await?;
            if presence != Presence::InScope {
                return Ok(Fetched::Absent(presence));
            }
            // It moved into another root while that was searched.
            found = self.in_scope(lease).await?;
            if found.is_empty() {
                let (server, why) = (lease.server.to_string(), "it moves while it is searched".to_owned());
                return Err(DirectoryError::FetchFailed { server, why }.into());
            }
        }
        Ok(match (found.len(), found.pop()) {
            (1, Some(entry)) => Fetched::Entry(entry),
            (0, _) | (_, None) => Fetched::Absent(Presence::NotFound),
            (more, _) => Fetched::Ambiguous(more),
        })
    }

    /// The entries of the source that have the name or the id, each once where one root lies in another.
    async fn in_scope(&self, lease: &Lease) -> Result<Vec<Entry>, Failed> {
        let plan = self.source.plan;
        let (mut found, mut missing): (Vec<Entry>, _) = (Vec::new(), 0);
        for root in &plan.roots {
            let search = Search {
                base: root,
                scope: match plan.scope {
                    Scope::Subtree => LdapScope::Subtree,
                    Scope::OneLevel => LdapScope::OneLevel,
                },
                filter: &self.filter,
                attributes: &plan.attributes,
                control: None,
                limit: LIMIT,
                most: MOST_ENTRIES,
                large: true,
                covering: &[root],
                timeout: lease.left(),
            };
            let answer = lease.connection().search(search).await.map_err(|why| interrupted(lease, why))?;
            // As in a read: one of several roots may be missing.
            if answer.result.rc == NO_SUCH_OBJECT {
                missing += 1;
                continue;
            }
            let cut = answer.result.rc == SIZE_LIMIT_EXCEEDED;
            if !cut {
                code(lease, root, &answer.result)?;
            }
            if let Some(target) = answer.elsewhere {
                return Err(refers(lease, root, target).into());
            }
            for entry in answer.entries {
                if !plan.covers(root, &entry) {
                    let why = format!("it found an entry outside of {root} there");
                    return Err(DirectoryError::Protocol { server: lease.server.to_string(), why }.into());
                }
                if self.is_asked_for(&entry) && !found.iter().any(|other| is_same(other, &entry)) {
                    found.push(entry);
                }
            }
            // Two are enough to know that it is nobody's alone. Otherwise the rest may have the one that was meant.
            if cut && found.len() < 2 {
                code(lease, root, &answer.result)?;
            }
        }
        if missing == plan.roots.len() {
            let root = plan.roots.first().cloned().unwrap_or_default();
            return Err(DirectoryError::RootNotFound { server: lease.server.to_string(), root }.into());
        }
        Ok(found)
    }

    /// Others prove nothing: a comparison may know no case or no accents, or the server lies.
    fn is_asked_for(&self, entry: &Entry) -> bool {
        match self.whom {
            Whom::Named(asked) => asked.matches_entry(entry),
            Whom::Id(id) => {
                entry.is_too_large() || self.source.mapping.immutable_id(entry).is_some_and(|own| own == *id)
            }
        }
    }

    /// Where who is not in scope is, as far as the policy lets it be known.
    async fn beyond(&self, lease: &Lease, id: &Bytes) -> Result<Presence, Failed> {
        let Source { plan, mapping, look_up_moved, .. } = self.source;
        if !look_up_moved {
            return Ok(Presence::NotFound);
        }
        let left = lease.left();
        let timeouts = Timeouts { connect: left, operation: left, page: left };
        let wanted = Wanted { ids: std::slice::from_ref(id), mapping, moved: true };
        let server = lease.server.clone();
        let looked_up = look_up_on(&server, lease.connection(), plan, wanted, &timeouts).await;
        match looked_up {
            Ok(presences) => Ok(presences.first().copied().unwrap_or(Presence::NotFound)),
            Err(error) => Err(Failed { lost: !lease.connection().is_quiet(), error }),
        }
    }
}

/// Whether two entries are one, found below two roots.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let name = |entry: &Entry| std::str::from_utf8(entry.dn()).ok().and_then(normalize);
    one.dn() == other.dn() || name(one).is_some_and(|names| Some(names) == name(other))
}

fn code(lease: &Lease, root: &str, result: &LdapResult) -> Result<(), Failed> {
    let server = lease.server.to_string();
    match result.rc {
        0 => Ok(()),
        REFERRAL => Err(refers(lease, root, "another server".to_owned()).into()),
        code => {
            let why = format!("result code {code}{}", search_hint(code));
            let error = DirectoryError::FetchFailed { server, why };
            Err(Failed { error, lost: matches!(code, BUSY | UNAVAILABLE) })
        }
    }
}

fn refers(lease: &Lease, root: &str, target: String) -> DirectoryError {
    DirectoryError::Referral { server: lease.server.to_string(), root: root.to_owned(), target }
}

fn interrupted(lease: &Lease, why: Interrupted) -> Failed {
    let server = lease.server.to_string();
    match why {
        Interrupted::Protocol(why) => DirectoryError::Protocol { server, why }.into(),
        Interrupted::Broken(why) => Failed { error: DirectoryError::FetchFailed { server, why }, lost: true },
    }
}
