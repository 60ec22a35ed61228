//! Reads one person, by name or by immutable id: one search in each root, on a connection that is
//! kept for it. What it finds is what a read of the whole source would find: the same filter, the
//! same attributes, the same checks of codes, references and places. Exactly one entry is a person;
//! of two with the same name nobody can say who was meant.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ldap3::LdapResult;
use rollcall_proto::router::v1::EntryVersion;
use tokio::time::Instant;

use super::lookup::look_up_on;
use super::mark_proof::{ProofContext, Unproved, prove};
use super::pool::{Lease, PoolTarget};
use super::references::Referral;
use super::result_code::{BUSY, NO_SUCH_OBJECT, REFERRAL, SIZE_LIMIT_EXCEEDED, UNAVAILABLE, search_hint};
use super::search::{Interrupted, Search};
use super::{Credential, DirectoryError, Evidence, LookupRequest, Pool, Presence, ReadRequest, Timeouts};
use crate::ldap_syntax::normalize;
use crate::record::{Entry, Mapping, NameQuery, unseen_marks};

/// How many entries a server is asked to leave it at. More than two, since it may find some that
/// have another name by our rule.
const SIZE_LIMIT: i32 = 10;
/// Most entries an answer may have: a server may not know the limit.
const MAX_ENTRIES: u32 = 200;

/// Where people are read, and with what.
#[derive(Clone, Copy, Debug)]
pub struct FetchSource<'a> {
    /// Servers, roots, filter, attributes.
    pub request: &'a ReadRequest,
    /// The source's mapping.
    pub mapping: &'a Mapping,
    /// What to bind with.
    pub credential: &'a Credential,
    /// Authority of the servers' certificates; the system's if there is none.
    pub ca_file: Option<&'a Path>,
    /// Whether who is not in scope is searched in the naming context, by immutable id.
    pub look_up_moved: bool,
    /// Whether the absence of a mark that the entry does not show is to be proved.
    pub prove_mark: bool,
}

/// Which entry to fetch.
#[derive(Clone, Copy, Debug)]
pub enum UserSelector<'a> {
    /// Who has a name.
    ByName(&'a NameQuery<'a>),
    /// Who has this immutable id, as it travels.
    ById(&'a Bytes),
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// Exactly one entry in scope.
    Entry(FetchedEntry),
    /// None in scope. By name it is never known to be anywhere else.
    Absent(Presence),
    /// So many entries in scope have the name, or more.
    Ambiguous(usize),
}

/// An entry, and what else its server shows of it.
#[derive(Clone, Debug, Default)]
pub struct FetchedEntry {
    entry: Entry,
    /// Whether the marks that the entry does not show are proved absent. Only where it was asked
    /// for.
    pub is_mark_absent: bool,
    /// Which version of the entry it is.
    pub version: Option<EntryVersion>,
}

impl std::ops::Deref for FetchedEntry {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

/// Fetches one person within this time. Also says which server answered.
///
/// # Errors
/// If anything at all went wrong: then nothing is known.
pub async fn fetch(
    pool: &Pool,
    source: FetchSource<'_>,
    selector: UserSelector<'_>,
    within: Duration,
) -> Result<(String, Fetched), DirectoryError> {
    let own = selector_filter(source.mapping, selector)?;
    let search = UserSearch { source, selector, filter: format!("(&{}{own})", source.request.filter) };
    if ldap3::parse_filter(&search.filter).is_err() {
        return Err(invalid("the mapping's attributes cannot be searched for"));
    }
    let FetchSource { request, credential, ca_file, .. } = source;
    let target = PoolTarget { servers: &request.servers, credential, ca_file };
    let mut failover = pool.failover(target, Instant::now() + within).await?;
    loop {
        let lease = failover.lease().await?;
        match search.run(&lease).await {
            Ok(fetched) => {
                let lease = match fetched {
                    Fetched::Absent(_) => failover.accept_absence(lease),
                    _ => Some(lease),
                };
                let Some(lease) = lease else { continue };
                let server = lease.server.to_string();
                failover.keep(lease);
                return Ok((server, fetched));
            }
            Err(FetchFailure { error, is_connection_lost }) => {
                failover.record_failure(lease, error, is_connection_lost)?
            }
        }
    }
}

fn selector_filter(mapping: &Mapping, selector: UserSelector<'_>) -> Result<String, DirectoryError> {
    match selector {
        UserSelector::ByName(asked) => Ok(asked.filter()),
        UserSelector::ById(id) => mapping
            .immutable_id_filter(id)
            .ok_or_else(|| invalid("the immutable id does not have the form that the source's mapping says")),
    }
}

fn invalid(what: &str) -> DirectoryError {
    DirectoryError::SourceInvalid(format!("{what}; correct the mapping and publish the source"))
}

/// Why nothing is known.
struct FetchFailure {
    error: DirectoryError,
    /// Because of the connection or the server's state, not because of an answer.
    is_connection_lost: bool,
}

impl From<DirectoryError> for FetchFailure {
    fn from(error: DirectoryError) -> Self {
        Self { error, is_connection_lost: false }
    }
}

struct UserSearch<'a> {
    source: FetchSource<'a>,
    selector: UserSelector<'a>,
    filter: String,
}

impl UserSearch<'_> {
    async fn run(&self, lease: &Lease) -> Result<Fetched, FetchFailure> {
        let mut found = self.in_scope(lease).await?;
        if found.is_empty()
            && let UserSelector::ById(id) = self.selector
        {
            let presence = self.presence_outside_scope(lease, id).await?;
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
            (1, Some(entry)) => Fetched::Entry(self.with_evidence(lease, entry).await?),
            (0, _) | (_, None) => Fetched::Absent(Presence::NotFound),
            (more, _) => Fetched::Ambiguous(more),
        })
    }

    /// The entry with its version, and with the proof that it has no mark, if that was asked for.
    async fn with_evidence(&self, lease: &Lease, entry: Entry) -> Result<FetchedEntry, FetchFailure> {
        let FetchSource { request, mapping, credential, prove_mark, .. } = self.source;
        let connection = lease.connection();
        let versions = connection.version_source(lease.remaining()).await;
        let version = versions.map_err(|why| interruption(lease, why))?.version_of(&entry);
        let unseen = unseen_marks(mapping, &entry);
        let mut is_mark_absent = false;
        if prove_mark
            && !unseen.is_empty()
            && let (Some(id), Ok(dn)) = (mapping.immutable_id(&entry), std::str::from_utf8(entry.dn()))
        {
            let bind_dn = &credential.bind_dn;
            let context = ProofContext {
                request,
                mapping,
                bind_dn,
                port: lease.server.port,
                timeout: lease.remaining(),
            };
            let unproved = [Unproved { id, dn: dn.to_owned(), unseen }];
            // A search for the proof that fails proves nothing, and costs nobody the answer.
            let proved = prove(connection, context, &unproved).await.unwrap_or_default();
            is_mark_absent = proved == [true];
        }
        Ok(FetchedEntry { entry, is_mark_absent, version })
    }

    /// The entries of the source that have the name or the id, each once where one root lies in
    /// another.
    async fn in_scope(&self, lease: &Lease) -> Result<Vec<Entry>, FetchFailure> {
        let request = self.source.request;
        let (mut found, mut missing): (Vec<Entry>, _) = (Vec::new(), 0);
        let connection = lease.connection();
        let root_dse =
            connection.root_dse(lease.remaining()).await.map_err(|why| interruption(lease, why))?;
        let versions = connection.version_source(lease.remaining()).await;
        let versions = versions.map_err(|why| interruption(lease, why))?;
        let attributes: Vec<_> =
            request.attributes.iter().map(String::as_str).chain(versions.attributes()).collect();
        for root in &request.roots {
            let search = Search {
                base: root,
                scope: request.search_scope(),
                filter: &self.filter,
                attributes: &attributes,
                control: None,
                size_limit: SIZE_LIMIT,
                max_entries: MAX_ENTRIES,
                allow_large: true,
                references: root_dse.references(),
                timeout: lease.remaining(),
            };
            let answer = connection.search(search).await.map_err(|why| interruption(lease, why))?;
            // As in a read: one of several roots may be missing.
            if answer.result.rc == NO_SUCH_OBJECT {
                missing += 1;
                continue;
            }
            let cut = answer.result.rc == SIZE_LIMIT_EXCEEDED;
            if !cut {
                check_result(lease, root, &answer.result)?;
            }
            if let Some(referral) = &answer.referral {
                return Err(DirectoryError::referral(&lease.server, root, referral).into());
            }
            // Success with nothing, where the root itself is hidden.
            if answer.entries.is_empty() {
                let base = connection.read_entry(root, &["1.1"], lease.remaining()).await;
                if base.map_err(|why| interruption(lease, why))?.is_none() {
                    missing += 1;
                    continue;
                }
            }
            for entry in answer.entries {
                if !request.covers(root, &entry) {
                    let why = format!("it found an entry outside of {root} there");
                    return Err(DirectoryError::Protocol { server: lease.server.to_string(), why }.into());
                }
                if self.matches(&entry) && !found.iter().any(|other| is_same_entry(other, &entry)) {
                    found.push(entry);
                }
            }
            // Two are enough to know that it is nobody's alone. Otherwise the rest may have the one
            // that was meant.
            if cut && found.len() < 2 {
                check_result(lease, root, &answer.result)?;
            }
        }
        // Of a user who is known it is then found out what the directory shows of it: nothing.
        if missing == request.roots.len() && matches!(self.selector, UserSelector::ByName(_)) {
            let root = request.roots.first().cloned().unwrap_or_default();
            return Err(DirectoryError::RootNotFound { server: lease.server.to_string(), root }.into());
        }
        Ok(found)
    }

    /// Others prove nothing: a comparison may know no case or no accents, or the server lies.
    fn matches(&self, entry: &Entry) -> bool {
        match self.selector {
            UserSelector::ByName(asked) => asked.matches_entry(entry),
            UserSelector::ById(id) => {
                entry.is_too_large() || self.source.mapping.immutable_id(entry).is_some_and(|own| own == *id)
            }
        }
    }

    /// Where who is not in scope is, as far as the policy lets it be known.
    async fn presence_outside_scope(&self, lease: &Lease, id: &Bytes) -> Result<Presence, FetchFailure> {
        let FetchSource { request, mapping, look_up_moved, .. } = self.source;
        let left = lease.remaining();
        let timeouts = Timeouts::within(left);
        let wanted = LookupRequest {
            ids: std::slice::from_ref(id),
            mapping,
            include_moved: look_up_moved,
            evidence: Evidence::default(),
        };
        let server = lease.server.clone();
        let looked_up = look_up_on(&server, lease.connection(), request, wanted, &timeouts).await;
        match looked_up {
            Ok(presences) => Ok(presences.first().copied().unwrap_or(Presence::NotFound)),
            // Where no root is there, no entry is seen.
            Err(DirectoryError::RootNotFound { .. }) => Ok(Presence::NotVisible),
            Err(error) => Err(FetchFailure { is_connection_lost: !lease.connection().is_healthy(), error }),
        }
    }
}

/// Whether two entries are one, found below two roots.
fn is_same_entry(one: &Entry, other: &Entry) -> bool {
    let name = |entry: &Entry| std::str::from_utf8(entry.dn()).ok().and_then(normalize);
    one.dn() == other.dn() || name(one).is_some_and(|names| Some(names) == name(other))
}

fn check_result(lease: &Lease, root: &str, result: &LdapResult) -> Result<(), FetchFailure> {
    let server = lease.server.to_string();
    match result.rc {
        0 => Ok(()),
        REFERRAL => {
            let referral = result.refs.first().map_or_else(Referral::unknown, |url| Referral::parse(url));
            Err(DirectoryError::referral(&lease.server, root, &referral).into())
        }
        code => {
            let why = format!("result code {code}{}", search_hint(code));
            let error = DirectoryError::FetchFailed { server, why };
            Err(FetchFailure { error, is_connection_lost: matches!(code, BUSY | UNAVAILABLE) })
        }
    }
}

fn interruption(lease: &Lease, why: Interrupted) -> FetchFailure {
    let server = lease.server.to_string();
    match why {
        Interrupted::Protocol(why) => DirectoryError::Protocol { server, why }.into(),
        Interrupted::Broken(why) => {
            FetchFailure { error: DirectoryError::FetchFailed { server, why }, is_connection_lost: true }
        }
    }
}
