//! What proofs are about, and the searches that they make.

use std::time::Duration;

use super::super::ReadRequest;
use super::super::connect::Connection;
use super::super::references::ReferenceRule;
use super::super::root_dse::RootDse;
use super::super::search::{Interrupted, Search};
use crate::record::{Entry, Mapping};

/// Most entries of an answer: ids are unique, but a directory may not know that.
const MAX_ENTRIES: u32 = 200;
pub(super) const MEMBER_OF: &str = "memberOf";

/// What the proofs are about.
#[derive(Clone, Copy)]
pub(in super::super) struct ProofContext<'a> {
    pub(in super::super) request: &'a ReadRequest,
    pub(in super::super) mapping: &'a Mapping,
    pub(in super::super) bind_dn: &'a str,
    /// The server's port: a global catalog has a part of the attributes.
    pub(in super::super) port: u16,
    /// For each search.
    pub(in super::super) timeout: Duration,
}

/// The entries below a root that match; none if the answer is not whole.
pub(super) async fn search_entries(
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
pub(super) async fn base_matches(
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
