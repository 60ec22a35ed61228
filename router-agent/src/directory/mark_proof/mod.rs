//! Whether an attribute that an entry does not show is absent, or hidden from the bind account. An
//! entry that hides the mark of a disabled account must never enable a user.
//!
//! - `context`: what proofs are about, and the searches that they make
//! - `filters`: servers whose filters have three values (OpenLDAP, 389 Directory Server)
//! - `replication`: Active Directory, by the entry's replication metadata
//! - `groups`: a mark on `memberOf`, by the members of the group
//! - `prover`: a connection of its own for the proofs of a read
//! - `describe`: what Test Connection says of it

mod context;
mod describe;
mod filters;
mod groups;
mod prover;
mod replication;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;

use self::context::MEMBER_OF;
use self::groups::Members;
use super::connect::Connection;
use super::root_dse::{RootDse, Vendor};
use super::search::Interrupted;
use crate::ldap_syntax::{is_attribute, normalize};
use crate::record::{UnseenMarks, is_always_present};

pub(super) use context::ProofContext;
pub(super) use describe::describe;
pub use prover::MarkProver;

/// Entries that one search proves. Servers limit how long a filter may be.
const IDS_PER_SEARCH: usize = 50;
/// Searches for proofs that are under way on one connection.
const MAX_OUTSTANDING: usize = 8;

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
