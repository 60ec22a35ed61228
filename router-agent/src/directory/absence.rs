//! Whether the directory shows that a user is gone, or only that it is not seen. An answer without
//! the user is no proof: the id may be one that cannot be searched for, the entry or its container
//! hidden. So the search by id must be shown to work here, and the last known name is asked for:
//! only noSuchObject, with the parent as the nearest entry, in a container that is visible, says
//! that there is no such entry.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::join_all;
use ldap3::Scope;
use ldap3::controls::{PagedResults, RawControl};

use super::ReadRequest;
use super::connect::Connection;
use super::presence::Presence;
use super::references::ReferenceRule;
use super::result_code::{NO_SUCH_OBJECT, SIZE_LIMIT_EXCEEDED};
use super::root_dse::{Vendor, is_entry_of};
use super::search::{Answer, Interrupted, Search};
use crate::ldap_syntax::{is_same_name, normalize, parent};
use crate::record::{Entry, Mapping};

/// Questions that are under way on one connection.
const MAX_OUTSTANDING: usize = 32;
/// Entries that are read to find one with an id.
const SAMPLE: i32 = 5;
/// Most entries of an answer about one entry.
const MAX_ENTRIES: u32 = 200;

/// The name that a user was last known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastName {
    /// The order has none.
    Unknown,
    /// The router's policy does not allow asking for it.
    Denied,
    /// It may be asked for.
    Known(String),
}

/// A user whose visibility shows that a container's people are visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The container.
    pub container: String,
    /// The user's immutable id, as it travels.
    pub id: Bytes,
}

/// What helps to tell gone from hidden.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// The last known names, in the order of the ids; none is known of ids beyond its end.
    pub names: &'a [LastName],
    /// Witnesses of containers.
    pub witnesses: &'a [Witness],
}

/// Judges absences on one connection.
pub(super) struct Absences<'a> {
    pub(super) connection: &'a Connection,
    pub(super) request: &'a ReadRequest,
    pub(super) mapping: &'a Mapping,
    pub(super) evidence: Evidence<'a>,
    pub(super) timeout: std::time::Duration,
    /// Whether a root was not there, so that its people could not be seen.
    pub(super) is_root_missing: bool,
    /// Whether an entry was found by its id on this connection.
    pub(super) is_id_search_shown: bool,
}

impl Absences<'_> {
    /// What is known of users who were found by no search: the ids with their positions in the
    /// order.
    pub(super) async fn judge(&mut self, absent: &[(usize, Bytes)]) -> Result<Vec<Presence>, Interrupted> {
        if absent.is_empty() {
            return Ok(Vec::new());
        }
        let name_of = |at: usize| self.evidence.names.get(at).unwrap_or(&LastName::Unknown);
        let mut containers: HashMap<Vec<String>, bool> = HashMap::new();
        for (at, _) in absent {
            if let LastName::Known(name) = name_of(*at)
                && let Some(container) = parent(name)
                && let Some(key) = normalize(container)
                && !containers.contains_key(&key)
            {
                let is_visible = self.is_container_visible(container, &key).await?;
                containers.insert(key, is_visible);
            }
        }
        self.is_id_search_shown = self.is_id_search_shown || self.show_id_search().await?;
        let mut presences = Vec::with_capacity(absent.len());
        for chunk in absent.chunks(MAX_OUTSTANDING) {
            let judged = chunk.iter().map(|(at, id)| self.judge_one(id, name_of(*at), &containers));
            for presence in join_all(judged).await {
                presences.push(presence?);
            }
        }
        Ok(presences)
    }

    async fn judge_one(
        &self,
        id: &Bytes,
        name: &LastName,
        containers: &HashMap<Vec<String>, bool>,
    ) -> Result<Presence, Interrupted> {
        if !self.is_id_search_shown {
            return Ok(Presence::NotVisible);
        }
        let name = match name {
            LastName::Known(name) => name,
            LastName::Unknown if !self.is_root_missing => return Ok(Presence::NotFound),
            LastName::Unknown | LastName::Denied => return Ok(Presence::NotVisible),
        };
        let Some(container) = parent(name) else { return Ok(Presence::NotVisible) };
        let is_visible = normalize(container).is_some_and(|key| containers.get(&key) == Some(&true));
        let is_gone = is_visible && self.is_gone(id, name, container).await?;
        Ok(if is_gone { Presence::NotFound } else { Presence::NotVisible })
    }

    /// Whether the server says that there is no entry of this name, or shows another user there.
    async fn is_gone(&self, id: &Bytes, name: &str, container: &str) -> Result<bool, Interrupted> {
        let answer = self.search(name, Scope::Base, "(objectClass=*)").await?;
        if answer.referral.is_some() {
            return Ok(false);
        }
        if let (0, [entry]) = (answer.result.rc, &answer.entries[..]) {
            // An id that can be read, and is another: the name was given to somebody else.
            let other = self.mapping.immutable_id(entry).filter(|_| is_entry_of(entry, name));
            return Ok(other.is_some_and(|other| other != *id));
        }
        // Active Directory's kin says no nearest entry.
        let is_active_directory =
            self.connection.root_dse(self.timeout).await?.vendor == Vendor::ActiveDirectory;
        let is_nearest = is_active_directory && answer.result.matched.is_empty()
            || is_same_name(&answer.result.matched, container);
        Ok(answer.result.rc == NO_SUCH_OBJECT && is_nearest)
    }

    /// Whether a container answers on this connection, and one of its witnesses is seen there, if
    /// it has any.
    async fn is_container_visible(&mut self, container: &str, key: &[String]) -> Result<bool, Interrupted> {
        let own = self.search(container, Scope::Base, "(objectClass=*)").await?;
        let is_there = own.result.rc == 0 && own.entries.iter().any(|entry| is_entry_of(entry, container));
        if !is_there || own.referral.is_some() {
            return Ok(false);
        }
        let witnesses = self.evidence.witnesses;
        let own = witnesses.iter().filter(|witness| normalize(&witness.container).as_deref() == Some(key));
        let mut has_witness = false;
        for witness in own {
            has_witness = true;
            let Some(filter) = self.mapping.immutable_id_filter(&witness.id) else { continue };
            let answer = self.search(container, Scope::OneLevel, &filter).await?;
            let is_witness = |entry: &Entry| {
                let is_child = std::str::from_utf8(entry.dn())
                    .is_ok_and(|name| parent(name).is_some_and(|above| is_same_name(above, container)));
                is_child && self.mapping.immutable_id(entry).as_ref() == Some(&witness.id)
            };
            if answer.result.rc == 0 && answer.entries.iter().any(is_witness) {
                self.is_id_search_shown = true;
                return Ok(true);
            }
        }
        Ok(!has_witness)
    }

    /// Whether an entry that is there is found by its id: a witness, one of the source's entries,
    /// or a root itself.
    async fn show_id_search(&self) -> Result<bool, Interrupted> {
        for root in &self.request.roots {
            let own = self.search(root, Scope::Base, "(objectClass=*)").await?;
            if self.is_found_by_id(root, &own.entries).await? {
                return Ok(true);
            }
            let sample = self.sample(root).await?;
            let is_whole = matches!(sample.result.rc, 0 | SIZE_LIMIT_EXCEEDED);
            if is_whole && self.is_found_by_id(root, &sample.entries).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one of the first entries is found by its id.
    async fn is_found_by_id(&self, root: &str, entries: &[Entry]) -> Result<bool, Interrupted> {
        for id in entries.iter().filter_map(|entry| self.mapping.immutable_id(entry)).take(2) {
            let Some(filter) = self.mapping.immutable_id_filter(&id) else { continue };
            let answer = self.search(root, Scope::Subtree, &filter).await?;
            let has_id = |entry: &Entry| self.mapping.immutable_id(entry).as_ref() == Some(&id);
            if answer.result.rc == 0 && answer.entries.iter().any(has_id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A few of the source's entries below a root. Samba knows no size limit, so where it may be
    /// asked the first page is.
    async fn sample(&self, root: &str) -> Result<Answer, Interrupted> {
        let root_dse = self.connection.root_dse(self.timeout).await?;
        let page = || PagedResults { size: SAMPLE, cookie: Vec::new() }.into();
        let control = (root_dse.vendor == Vendor::ActiveDirectory).then(page);
        let (scope, filter) = (self.request.search_scope(), &self.request.filter);
        self.search_with(root, scope, filter, (SAMPLE, control)).await
    }

    async fn search(&self, base: &str, scope: Scope, filter: &str) -> Result<Answer, Interrupted> {
        self.search_with(base, scope, filter, (0, None)).await
    }

    async fn search_with(
        &self,
        base: &str,
        scope: Scope,
        filter: &str,
        (size_limit, control): (i32, Option<RawControl>),
    ) -> Result<Answer, Interrupted> {
        let attributes = [self.request.immutable_id_attribute.as_str()];
        let search = Search {
            base,
            scope,
            filter,
            attributes: &attributes,
            control,
            size_limit,
            max_entries: MAX_ENTRIES,
            allow_large: false,
            references: ReferenceRule::AllBut(&[]),
            timeout: self.timeout,
        };
        self.connection.search(search).await
    }
}
