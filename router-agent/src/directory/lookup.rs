//! Looks single people up by immutable id, before anyone is disabled for not having been read: on a
//! connection of its own, first where the source reads, then in the whole naming context, then by
//! their last known names. Says of each only whether it is there, and where; whatever goes wrong is
//! an error, and then nothing is said of anyone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ldap3::controls::RawControl;
use ldap3::{LdapResult, Scope as LdapScope};
use rustls::ClientConfig;

use super::absence::Absences;
use super::connect::{Connection, connect_first};
use super::references::ReferenceRule;
use super::result_code::{BUSY, NO_SUCH_OBJECT, UNAVAILABLE, search_hint};
use super::root_dse::RootDse;
use super::search::{Answer, Interrupted, Search};
use super::{Credential, DirectoryError, Evidence, Freshness, Presence, ReadRequest, Server, Timeouts};
use crate::ldap_syntax::is_within;
use crate::record::{Entry, Mapping};

/// Most ids an order.
const MAX_IDS: usize = 1_000;
/// Ids a filter. Servers limit how long a filter may be.
const IDS_PER_FILTER: usize = 50;
/// Most entries an answer: ids are unique, but a directory may not know that.
const MAX_ENTRIES: u32 = 200;
/// Active Directory: show what was deleted, too. Others ignore it, so it is not critical.
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
const IS_DELETED: &str = "isDeleted";

/// Which users to look up.
#[derive(Clone, Copy, Debug)]
pub struct LookupRequest<'a> {
    /// Immutable ids, as they travel; 1 to 1000.
    pub ids: &'a [Bytes],
    /// The source's mapping.
    pub mapping: &'a Mapping,
    /// Whether whoever is not in scope is searched in the naming context, too.
    pub include_moved: bool,
    /// What helps to tell who is gone from who is hidden.
    pub evidence: Evidence<'a>,
}

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupAnswer {
    /// The server that answered.
    pub server: String,
    /// How recent the server's data was before the first search.
    pub freshness: Freshness,
    /// One an id, in the order of the ids.
    pub presences: Vec<Presence>,
}

/// Looks these people up, on the first server of the request that can be bound to.
///
/// # Errors
/// If anything at all went wrong: then nothing is known of anyone.
pub async fn lookup(
    source: &ReadRequest,
    wanted: LookupRequest<'_>,
    credential: &Credential,
    tls: Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<LookupAnswer, DirectoryError> {
    if !(1..=MAX_IDS).contains(&wanted.ids.len()) {
        return Err(DirectoryError::SourceInvalid(format!(
            "{} immutable ids cannot be looked up at once; 1 to {MAX_IDS} can",
            wanted.ids.len()
        )));
    }
    // Before anyone is asked: one id that cannot be looked up fails all.
    ids_filter(wanted.mapping, wanted.ids)?;
    let (server, connection) = connect_first(&source.servers, credential, &tls, timeouts).await?;
    let freshness = connection.freshness(&source.roots, timeouts.operation).await;
    let freshness = freshness.map_err(|why| interruption(&server, "the root DSE", why))?;
    let presences = look_up_on(&server, &connection, source, wanted, timeouts).await?;
    Ok(LookupAnswer { server: server.to_string(), freshness, presences })
}

/// Looks these people up on a connection that stands.
pub(super) async fn look_up_on(
    server: &Server,
    connection: &Connection,
    source: &ReadRequest,
    wanted: LookupRequest<'_>,
    timeouts: &Timeouts,
) -> Result<Vec<Presence>, DirectoryError> {
    let root_dse = connection.root_dse(timeouts.operation).await;
    let root_dse = root_dse.map_err(|why| interruption(server, "the root DSE", why))?;
    let mut lookup =
        Lookup { source, wanted, timeouts, server, connection, root_dse, is_root_missing: false };
    let mut presences = Vec::with_capacity(wanted.ids.len());
    for ids in wanted.ids.chunks(IDS_PER_FILTER) {
        presences.extend(lookup.look_up_chunk(ids).await?);
    }
    let absent = presences.iter().enumerate().filter(|(_, presence)| presence.is_none());
    let absent: Vec<_> = absent.map(|(at, _)| (at, wanted.ids[at].clone())).collect();
    let mut absences = Absences {
        connection,
        request: source,
        mapping: wanted.mapping,
        evidence: wanted.evidence,
        timeout: timeouts.page,
        is_root_missing: lookup.is_root_missing,
        is_id_search_shown: absent.len() < presences.len(),
    };
    let judged = absences.judge(&absent).await;
    let mut judged = judged.map_err(|why| interruption(server, "the last known names", why))?.into_iter();
    let presences = presences.into_iter().map(|known| known.or_else(|| judged.next()));
    Ok(presences.map(|presence| presence.unwrap_or(Presence::NotVisible)).collect())
}

/// A filter for these ids.
fn ids_filter(mapping: &Mapping, ids: &[Bytes]) -> Result<String, DirectoryError> {
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
    source: &'a ReadRequest,
    wanted: LookupRequest<'a>,
    timeouts: &'a Timeouts,
    server: &'a Server,
    connection: &'a Connection,
    root_dse: &'a RootDse,
    is_root_missing: bool,
}

/// An entry seen outside of the source's own searches.
#[derive(Clone, Copy)]
struct SeenOutside {
    is_deleted: bool,
    /// Its name is below a root: it does not match the filter, or it came while it was searched.
    is_below_root: bool,
}

impl Lookup<'_> {
    /// Where these are; none for those that no search found.
    async fn look_up_chunk(&mut self, ids: &[Bytes]) -> Result<Vec<Option<Presence>>, DirectoryError> {
        let mut in_scope = self.in_scope(ids).await?;
        let mut seen = HashMap::new();
        let rest = without(ids, &in_scope);
        if self.wanted.include_moved && !rest.is_empty() {
            seen = self.outside_scope(&rest).await?;
            // Who moves from one root to another while both are searched is in neither. So those
            // who turned up there are searched again.
            let there = |id: &Bytes| seen.get(id).is_some_and(|seen| seen.is_below_root && !seen.is_deleted);
            let again: Vec<_> = rest.into_iter().filter(there).collect();
            if !again.is_empty() {
                in_scope.extend(self.in_scope(&again).await?);
            }
        }
        let presence = |id: &Bytes| match seen.get(id) {
            _ if in_scope.contains(id) => Some(Presence::InScope),
            Some(seen) if seen.is_deleted => Some(Presence::Deleted),
            Some(seen) if seen.is_below_root => Some(Presence::NotMatching),
            Some(_) => Some(Presence::OutOfScope),
            None => None,
        };
        Ok(ids.iter().map(presence).collect())
    }

    /// Which of these the source would read.
    async fn in_scope(&mut self, ids: &[Bytes]) -> Result<HashSet<Bytes>, DirectoryError> {
        let source = self.source;
        let filter = format!("(&{}{})", source.filter, ids_filter(self.wanted.mapping, ids)?);
        let (scope, rule) = (source.search_scope(), self.root_dse.references());
        let (mut found, mut missing) = (HashSet::new(), 0);
        for root in &source.roots {
            let answer = self.search(root, scope, &filter, None, rule).await?;
            // As in a read: one of several roots may be missing.
            if answer.result.rc == NO_SUCH_OBJECT {
                missing += 1;
                continue;
            }
            self.check_result(root, &answer.result)?;
            // Success with nothing, where the root itself is hidden.
            if answer.entries.is_empty() && !self.is_root_there(root).await? {
                missing += 1;
                continue;
            }
            for (id, entry) in self.with_requested_id(&answer.entries, ids) {
                if !source.covers(root, entry) {
                    return Err(self.protocol(format!("it found an entry outside of {root} there")));
                }
                found.insert(id);
            }
        }
        self.is_root_missing |= missing > 0;
        if missing == source.roots.len() {
            let root = source.roots.first().cloned().unwrap_or_default();
            return Err(DirectoryError::RootNotFound { server: self.server.to_string(), root });
        }
        Ok(found)
    }

    async fn is_root_there(&self, root: &str) -> Result<bool, DirectoryError> {
        let base = self.connection.read_entry(root, &["1.1"], self.timeouts.operation).await;
        Ok(base.map_err(|why| interruption(self.server, root, why))?.is_some())
    }

    /// Where these are in the naming contexts that hold the roots.
    async fn outside_scope(&mut self, ids: &[Bytes]) -> Result<HashMap<Bytes, SeenOutside>, DirectoryError> {
        let source = self.source;
        let filter = ids_filter(self.wanted.mapping, ids)?;
        let mut contexts = Vec::new();
        for root in &source.roots {
            let context = self.root_dse.naming_context(root).to_owned();
            if !contexts.contains(&context) {
                contexts.push(context);
            }
        }
        let mut found: HashMap<Bytes, SeenOutside> = HashMap::new();
        for context in &contexts {
            let control = RawControl { ctype: SHOW_DELETED.to_owned(), crit: false, val: None };
            // The scope was searched before. A context may have other references, such as child
            // domains.
            let rule = self.root_dse.references_beyond(&source.roots);
            let answer = self.search(context, LdapScope::Subtree, &filter, Some(control), rule).await?;
            // The bind account may see nothing outside of the roots. Then nobody is found there,
            // which says little of anyone.
            if answer.result.rc == NO_SUCH_OBJECT {
                continue;
            }
            self.check_result(context, &answer.result)?;
            for (id, entry) in self.with_requested_id(&answer.entries, ids) {
                if !std::str::from_utf8(entry.dn()).is_ok_and(|name| is_within(name, context)) {
                    return Err(self.protocol(format!("it found an entry outside of {context} there")));
                }
                let seen = SeenOutside {
                    is_deleted: entry.values(IS_DELETED).any(|value| value.eq_ignore_ascii_case(b"TRUE")),
                    is_below_root: source.roots.iter().any(|root| source.covers(root, entry)),
                };
                // Found twice: the one that is not deleted counts.
                if found
                    .get(&id)
                    .is_none_or(|before| before.is_deleted || seen.is_below_root && !seen.is_deleted)
                {
                    found.insert(id, seen);
                }
            }
        }
        Ok(found)
    }

    async fn search(
        &self,
        base: &str,
        scope: LdapScope,
        filter: &str,
        control: Option<RawControl>,
        references: ReferenceRule<'_>,
    ) -> Result<Answer, DirectoryError> {
        let attributes = [self.source.immutable_id_attribute.as_str(), IS_DELETED];
        let search = Search {
            base,
            scope,
            filter,
            attributes: &attributes,
            control,
            size_limit: 0,
            max_entries: MAX_ENTRIES,
            allow_large: false,
            references,
            timeout: self.timeouts.page,
        };
        let answer =
            self.connection.search(search).await.map_err(|why| interruption(self.server, base, why))?;
        match &answer.referral {
            Some(referral) => Err(DirectoryError::referral(self.server, base, referral)),
            None => Ok(answer),
        }
    }

    /// The entries with an id that was asked for. Others prove nothing: a comparison may know no
    /// case, or the server lies.
    fn with_requested_id<'e>(&self, entries: &'e [Entry], ids: &[Bytes]) -> Vec<(Bytes, &'e Entry)> {
        let with_id =
            entries.iter().filter_map(|entry| Some((self.wanted.mapping.immutable_id(entry)?, entry)));
        with_id.filter(|(id, _)| ids.contains(id)).collect()
    }

    fn check_result(&self, base: &str, result: &LdapResult) -> Result<(), DirectoryError> {
        match result.rc {
            0 => Ok(()),
            code => Err(DirectoryError::LookupFailed {
                server: self.server.to_string(),
                base: base.to_owned(),
                why: format!("result code {code}{}", search_hint(code)),
                interrupted: matches!(code, BUSY | UNAVAILABLE),
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

fn interruption(server: &Server, base: &str, interrupted: Interrupted) -> DirectoryError {
    let server = server.to_string();
    match interrupted {
        Interrupted::Protocol(why) => DirectoryError::Protocol { server, why },
        Interrupted::Broken(why) => {
            DirectoryError::LookupFailed { server, base: base.to_owned(), why, interrupted: true }
        }
    }
}
