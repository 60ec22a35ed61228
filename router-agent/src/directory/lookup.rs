//! Looks single people up by immutable id, before anyone is disabled for not having been read: on a connection of its own, first where the
//! source reads, then in the whole naming context. Says of each only whether it is there, and where; whatever goes wrong is an error, and
//! then nothing is said of anyone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ldap3::controls::RawControl;
use ldap3::{LdapResult, Scope as LdapScope};
use rustls::ClientConfig;

use super::connect::{self, Connection};
use super::error::search_hint;
use super::root_dse::RootDse;
use super::search::{Answer, Interrupted, Search};
use super::{Credential, DirectoryError, Plan, Scope, Server, Timeouts};
use crate::ldap_syntax::is_within;
use crate::record::{Entry, Mapping};

/// Most ids an order.
const MOST_IDS: usize = 1_000;
/// Ids a filter. Servers limit how long a filter may be.
const PORTION: usize = 50;
/// Most entries an answer: ids are unique, but a directory may not know that.
const MOST_ENTRIES: u32 = 200;
/// Active Directory: show what was deleted, too. Others ignore it, so it is not critical.
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
const IS_DELETED: &str = "isDeleted";
const NO_SUCH_OBJECT: u32 = 32;

/// Whom to look up.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Immutable ids, as they travel; 1 to 1000.
    pub ids: &'a [Bytes],
    /// The source's mapping.
    pub mapping: &'a Mapping,
    /// Whether whoever is not in scope is searched in the naming context, too.
    pub moved: bool,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Within a root and matching the filter.
    InScope,
    /// In the naming context, but outside of the roots or not matching the filter.
    OutOfScope,
    /// Deleted, as the directory shows.
    Deleted,
    /// Not visible to the bind account.
    NotFound,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// The server that answered.
    pub server: String,
    /// One an id, in the order of the ids.
    pub presences: Vec<Presence>,
}

/// Looks these people up, on the first server of the plan that can be bound to.
///
/// # Errors
/// If anything at all went wrong: then nothing is known of anyone.
pub async fn lookup(
    plan: &Plan,
    wanted: Wanted<'_>,
    credential: &Credential,
    tls: Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<LookedUp, DirectoryError> {
    if !(1..=MOST_IDS).contains(&wanted.ids.len()) {
        return Err(DirectoryError::SourceInvalid(format!(
            "{} immutable ids cannot be looked up at once; 1 to {MOST_IDS} can",
            wanted.ids.len()
        )));
    }
    // Before anyone is asked: one id that cannot be looked up fails all.
    any_of(wanted.mapping, wanted.ids)?;
    let (server, connection) = connect::first(&plan.servers, credential, &tls, timeouts).await?;
    let presences = look_up_on(&server, &connection, plan, wanted, timeouts).await?;
    Ok(LookedUp { server: server.to_string(), presences })
}

/// Looks these people up on a connection that stands.
pub(super) async fn look_up_on(
    server: &Server,
    connection: &Connection,
    plan: &Plan,
    wanted: Wanted<'_>,
    timeouts: &Timeouts,
) -> Result<Vec<Presence>, DirectoryError> {
    let root_dse = match wanted.moved {
        true => connection
            .root_dse(timeouts.operation)
            .await
            .map_err(|why| interrupted(server, "the root DSE", why))?,
        false => RootDse::default(),
    };
    let mut lookup = Lookup { plan, wanted, timeouts, server, connection, root_dse };
    let mut presences = Vec::with_capacity(wanted.ids.len());
    for ids in wanted.ids.chunks(PORTION) {
        presences.extend(lookup.portion(ids).await?);
    }
    Ok(presences)
}

/// A filter for these ids.
fn any_of(mapping: &Mapping, ids: &[Bytes]) -> Result<String, DirectoryError> {
    let filters: Option<String> = ids.iter().map(|id| mapping.immutable_id_filter(id)).collect();
    filters.map(|filters| format!("(|{filters})")).filter(|filter| ldap3::parse_filter(filter).is_ok()).ok_or_else(
        || {
            DirectoryError::SourceInvalid(
                "an immutable id does not have the form that the source's mapping says; correct the mapping and publish the source"
                    .to_owned(),
            )
        },
    )
}

struct Lookup<'a> {
    plan: &'a Plan,
    wanted: Wanted<'a>,
    timeouts: &'a Timeouts,
    server: &'a Server,
    connection: &'a Connection,
    root_dse: RootDse,
}

/// An entry seen outside of the source's own searches.
#[derive(Clone, Copy)]
struct Seen {
    deleted: bool,
    /// Its name is below a root: it does not match the filter, or it came while it was searched.
    below_a_root: bool,
}

impl Lookup<'_> {
    async fn portion(&mut self, ids: &[Bytes]) -> Result<Vec<Presence>, DirectoryError> {
        let mut in_scope = self.in_scope(ids).await?;
        let mut seen = HashMap::new();
        let rest = without(ids, &in_scope);
        if self.wanted.moved && !rest.is_empty() {
            seen = self.beyond(&rest).await?;
            // Who moves from one root to another while both are searched is in neither. So those who turned up there are searched again.
            let there = |id: &Bytes| seen.get(id).is_some_and(|seen| seen.below_a_root && !seen.deleted);
            let again: Vec<_> = rest.into_iter().filter(there).collect();
            if !again.is_empty() {
                in_scope.extend(self.in_scope(&again).await?);
            }
        }
        let presence = |id: &Bytes| match seen.get(id) {
            _ if in_scope.contains(id) => Presence::InScope,
            Some(seen) if seen.deleted => Presence::Deleted,
            Some(_) => Presence::OutOfScope,
            None => Presence::NotFound,
        };
        Ok(ids.iter().map(presence).collect())
    }

    /// Which of these the source would read.
    async fn in_scope(&mut self, ids: &[Bytes]) -> Result<HashSet<Bytes>, DirectoryError> {
        let plan = self.plan;
        let filter = format!("(&{}{})", plan.filter, any_of(self.wanted.mapping, ids)?);
        let scope = match plan.scope {
            Scope::Subtree => LdapScope::Subtree,
            Scope::OneLevel => LdapScope::OneLevel,
        };
        let (mut found, mut missing) = (HashSet::new(), 0);
        for root in &plan.roots {
            let answer = self.search(root, scope, &filter, None, &[root]).await?;
            // As in a read: one of several roots may be missing.
            if answer.result.rc == NO_SUCH_OBJECT {
                missing += 1;
                continue;
            }
            self.code(root, &answer.result)?;
            for (id, entry) in self.asked_for(&answer.entries, ids) {
                if !plan.covers(root, entry) {
                    return Err(self.protocol(format!("it found an entry outside of {root} there")));
                }
                found.insert(id);
            }
        }
        if missing == plan.roots.len() {
            let root = plan.roots.first().cloned().unwrap_or_default();
            return Err(DirectoryError::RootNotFound { server: self.server.to_string(), root });
        }
        Ok(found)
    }

    /// Where these are in the naming contexts that hold the roots.
    async fn beyond(&mut self, ids: &[Bytes]) -> Result<HashMap<Bytes, Seen>, DirectoryError> {
        let plan = self.plan;
        let roots: Vec<_> = plan.roots.iter().map(String::as_str).collect();
        let filter = any_of(self.wanted.mapping, ids)?;
        let mut contexts = Vec::new();
        for root in &plan.roots {
            let context = self.root_dse.naming_context(root).to_owned();
            if !contexts.contains(&context) {
                contexts.push(context);
            }
        }
        let mut found: HashMap<Bytes, Seen> = HashMap::new();
        for context in &contexts {
            let control = RawControl { ctype: SHOW_DELETED.to_owned(), crit: false, val: None };
            // References count only where they may hide a part of the scope: a context may have others, such as child domains.
            let answer = self.search(context, LdapScope::Subtree, &filter, Some(control), &roots).await?;
            // The bind account may see nothing outside of the roots. Then nobody is found there, which says little of anyone.
            if answer.result.rc == NO_SUCH_OBJECT {
                continue;
            }
            self.code(context, &answer.result)?;
            for (id, entry) in self.asked_for(&answer.entries, ids) {
                if !std::str::from_utf8(entry.dn()).is_ok_and(|name| is_within(name, context)) {
                    return Err(self.protocol(format!("it found an entry outside of {context} there")));
                }
                let seen = Seen {
                    deleted: entry.values(IS_DELETED).any(|value| value.eq_ignore_ascii_case(b"TRUE")),
                    below_a_root: plan.roots.iter().any(|root| plan.covers(root, entry)),
                };
                // Found twice: the one that is not deleted counts.
                if found.get(&id).is_none_or(|before| before.deleted || seen.below_a_root && !seen.deleted) {
                    found.insert(id, seen);
                }
            }
        }
        Ok(found)
    }

    async fn search(
        &mut self,
        base: &str,
        scope: LdapScope,
        filter: &str,
        control: Option<RawControl>,
        covering: &[&str],
    ) -> Result<Answer, DirectoryError> {
        let attributes = [self.plan.immutable_id_attribute.as_str(), IS_DELETED];
        let search = Search {
            base,
            scope,
            filter,
            attributes: &attributes,
            control,
            limit: 0,
            most: MOST_ENTRIES,
            large: false,
            covering,
            timeout: self.timeouts.page,
        };
        let answer =
            self.connection.search(search).await.map_err(|why| interrupted(self.server, base, why))?;
        match answer.elsewhere {
            Some(target) => Err(DirectoryError::Referral {
                server: self.server.to_string(),
                root: base.to_owned(),
                target,
            }),
            None => Ok(answer),
        }
    }

    /// The entries with an id that was asked for. Others prove nothing: a comparison may know no case, or the server lies.
    fn asked_for<'e>(&self, entries: &'e [Entry], ids: &[Bytes]) -> Vec<(Bytes, &'e Entry)> {
        let with_id =
            entries.iter().filter_map(|entry| Some((self.wanted.mapping.immutable_id(entry)?, entry)));
        with_id.filter(|(id, _)| ids.contains(id)).collect()
    }

    fn code(&self, base: &str, result: &LdapResult) -> Result<(), DirectoryError> {
        match result.rc {
            0 => Ok(()),
            code => Err(DirectoryError::LookupFailed {
                server: self.server.to_string(),
                base: base.to_owned(),
                why: format!("result code {code}{}", search_hint(code)),
            }),
        }
    }

    fn protocol(&self, why: String) -> DirectoryError {
        DirectoryError::Protocol { server: self.server.to_string(), why }
    }
}

fn without(ids: &[Bytes], found: &HashSet<Bytes>) -> Vec<Bytes> {
    ids.iter().filter(|id| !found.contains(*id)).cloned().collect()
}

fn interrupted(server: &Server, base: &str, interrupted: Interrupted) -> DirectoryError {
    let server = server.to_string();
    match interrupted {
        Interrupted::Protocol(why) => DirectoryError::Protocol { server, why },
        Interrupted::Broken(why) => DirectoryError::LookupFailed { server, base: base.to_owned(), why },
    }
}
