//! Whether an attribute that an entry does not show is absent, or hidden from the bind account. An
//! entry that hides the mark of a disabled account must never enable a user.
//!
//! - `filters`: servers whose filters have three values (OpenLDAP, 389 Directory Server)
//! - `replication`: Active Directory, by the entry's replication metadata
//! - `groups`: a mark on `memberOf`, by the members of the group
//! - `prover`: a connection of its own for the proofs of a read
//! - `describe`: what Test Connection says of it

mod describe;
mod filters;
mod groups;
mod prover;
mod replication;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::OnceCell;

use self::groups::Members;
use self::replication::Replicated;
use super::ReadRequest;
use super::connect::Connection;
use super::references::ReferenceRule;
use super::root_dse::{RootDse, Vendor};
use super::search::{Interrupted, Search};
use crate::ldap_syntax::{is_attribute, normalize};
use crate::record::{Entry, Mapping, UnseenMarks, is_always_present};

pub(super) use describe::describe;
pub use prover::MarkProver;

/// Entries that one search proves. Servers limit how long a filter may be.
const IDS_PER_SEARCH: usize = 50;
/// Searches for proofs that are under way on one connection.
const MAX_OUTSTANDING: usize = 8;
/// Most entries of an answer: ids are unique, but a directory may not know that.
const MAX_ENTRIES: u32 = 200;
const MEMBER_OF: &str = "memberOf";

/// An entry whose mark is to be proved absent.
#[derive(Clone, Debug)]
pub struct Unproved {
    /// The immutable id, as it travels.
    pub id: Bytes,
    /// The entry's name.
    pub dn: String,
    /// The rules that the entry does not show.
    pub unseen: UnseenMarks,
}

/// What the proofs are about.
#[derive(Clone, Copy)]
pub(super) struct ProofContext<'a> {
    pub(super) request: &'a ReadRequest,
    pub(super) mapping: &'a Mapping,
    pub(super) bind_dn: &'a str,
    /// The server's port: a global catalog has a part of the attributes.
    pub(super) port: u16,
    /// For each search.
    pub(super) timeout: Duration,
}

/// What was shown on a connection, once for all proofs on it.
#[derive(Debug, Default)]
pub(super) struct ProofCache {
    three_valued: OnceCell<bool>,
    replicated: Mutex<HashMap<String, Option<Replicated>>>,
}

/// Which of these entries are proved to have no mark.
pub(super) async fn prove(
    connection: &Connection,
    context: ProofContext<'_>,
    unproved: &[Unproved],
) -> Result<Vec<bool>, Interrupted> {
    let ProofContext { request, mapping, timeout, .. } = context;
    let root_dse = connection.root_dse(timeout).await?;
    let mut proved = vec![true; unproved.len()];
    let mut members = Members::default();
    let coverages: Vec<_> = request.roots.iter().map(|root| request.coverage(root)).collect();
    // Entries below one root that lack the same attributes are asked for together.
    let mut together: BTreeMap<(usize, Vec<&str>), Vec<usize>> = BTreeMap::new();
    for (at, one) in unproved.iter().enumerate() {
        let mut attributes = Vec::new();
        for attribute in mapping.unseen_attributes(one.unseen) {
            if is_always_present(attribute) || !is_attribute(attribute) {
                proved[at] = false;
            } else if attribute.eq_ignore_ascii_case(MEMBER_OF) {
                proved[at] &= members.exclude(connection, context, &one.dn).await?;
            } else {
                attributes.push(attribute);
            }
        }
        if !proved[at] || attributes.is_empty() {
            continue;
        }
        attributes.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
        match coverages.iter().position(|coverage| coverage.has_name(&one.dn)) {
            Some(root) => together.entry((root, attributes)).or_default().push(at),
            None => proved[at] = false,
        }
    }
    let mut searches = Vec::new();
    for ((root, attributes), positions) in &together {
        for chunk in positions.chunks(IDS_PER_SEARCH) {
            searches.push((&*request.roots[*root], &attributes[..], chunk));
        }
    }
    for some in searches.chunks(MAX_OUTSTANDING) {
        let asked = some.iter().map(|(root, attributes, chunk)| {
            prove_chunk(connection, context, root_dse, (root, attributes), unproved, chunk)
        });
        for ((_, _, chunk), shown) in some.iter().zip(join_all(asked).await) {
            let shown = shown?;
            chunk.iter().zip(shown).for_each(|(at, shown)| proved[*at] = shown);
        }
    }
    Ok(proved)
}

/// The same for a few entries below one root that lack the same attributes.
async fn prove_chunk(
    connection: &Connection,
    context: ProofContext<'_>,
    root_dse: &RootDse,
    (root, attributes): (&str, &[&str]),
    unproved: &[Unproved],
    chunk: &[usize],
) -> Result<Vec<bool>, Interrupted> {
    let none = vec![false; chunk.len()];
    let ids = chunk.iter().map(|at| context.mapping.immutable_id_filter(&unproved[*at].id));
    let Some(ids) = ids.collect::<Option<String>>() else { return Ok(none) };
    let ids = format!("(|{ids})");
    let found = if root_dse.vendor == Vendor::ActiveDirectory {
        replication::without(connection, context, root_dse, (root, attributes), &ids).await?
    } else if filters::are_three_valued(connection, context, root).await? {
        filters::without(connection, context, root_dse, (root, attributes), &ids).await?
    } else {
        return Ok(none);
    };
    // By id and by name: of two entries with one id neither speaks for the other.
    let found: Vec<_> = found
        .iter()
        .filter_map(|entry| {
            let name = normalize(std::str::from_utf8(entry.dn()).ok()?)?;
            Some((context.mapping.immutable_id(entry)?, name))
        })
        .collect();
    Ok(chunk
        .iter()
        .map(|at| {
            let Unproved { id, dn, .. } = &unproved[*at];
            normalize(dn).is_some_and(|name| found.contains(&(id.clone(), name)))
        })
        .collect())
}

/// The entries below a root that match; none if the answer is not whole.
async fn search_entries(
    connection: &Connection,
    context: ProofContext<'_>,
    root_dse: &RootDse,
    (root, filter): (&str, &str),
    attributes: &[&str],
) -> Result<Vec<Entry>, Interrupted> {
    if ldap3::parse_filter(filter).is_err() {
        return Ok(Vec::new());
    }
    let search = Search {
        base: root,
        scope: context.request.search_scope(),
        filter,
        attributes,
        control: None,
        size_limit: 0,
        max_entries: MAX_ENTRIES,
        allow_large: true,
        references: root_dse.references(),
        timeout: context.timeout,
    };
    let answer = connection.search(search).await?;
    let is_whole = answer.result.rc == 0 && answer.referral.is_none();
    Ok(if is_whole { answer.entries } else { Vec::new() })
}

/// Whether a base search answers with success, and with the entry or without it; none if it does
/// not answer with success.
async fn base_matches(
    connection: &Connection,
    context: ProofContext<'_>,
    (name, filter): (&str, &str),
) -> Result<Option<bool>, Interrupted> {
    let search = Search {
        base: name,
        scope: ldap3::Scope::Base,
        filter,
        attributes: &["1.1"],
        control: None,
        size_limit: 0,
        max_entries: 1,
        allow_large: false,
        references: ReferenceRule::AllBut(&[]),
        timeout: context.timeout,
    };
    let answer = connection.search(search).await?;
    let is_whole = answer.result.rc == 0 && answer.referral.is_none();
    Ok(is_whole.then_some(!answer.entries.is_empty()))
}
