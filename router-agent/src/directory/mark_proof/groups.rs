//! A mark on `memberOf`: the groups that mark an account show that an entry is not their member.

use std::collections::{HashMap, HashSet};

use super::super::connect::Connection;
use super::super::references::ReferenceRule;
use super::super::search::{Interrupted, Search};
use super::context::ProofContext;
use crate::ldap_syntax::normalize;
use crate::record::Entry;

const MEMBER_ATTRIBUTES: [&str; 2] = ["member", "uniqueMember"];
/// Ranges of one group that are read: 300,000 members, as Active Directory sends them.
const MAX_RANGES: usize = 200;

type Name = Vec<String>;

/// The members of groups, each read once.
#[derive(Default)]
pub(super) struct Members {
    /// None where a group does not show its members.
    groups: HashMap<String, Option<HashSet<Name>>>,
}

impl Members {
    /// Whether each group of the rule shows its members, and the entry is none of them.
    pub(super) async fn exclude(
        &mut self,
        connection: &Connection,
        context: ProofContext<'_>,
        dn: &str,
    ) -> Result<bool, Interrupted> {
        let (Some(groups), Some(name)) = (context.mapping.mark_groups(), normalize(dn)) else {
            return Ok(false);
        };
        for group in groups {
            if !self.groups.contains_key(group) {
                let members = read_members(connection, context, group).await?;
                self.groups.insert(group.clone(), members);
            }
            let members = self.groups.get(group).and_then(Option::as_ref);
            if members.is_none_or(|members| members.contains(&name)) {
                return Ok(false);
            }
        }
        Ok(!groups.is_empty())
    }
}

/// All members of a group; none if it does not show any, or not all can be read.
pub(super) async fn read_members(
    connection: &Connection,
    context: ProofContext<'_>,
    group: &str,
) -> Result<Option<HashSet<Name>>, Interrupted> {
    if normalize(group).is_none_or(|rdns| rdns.is_empty()) {
        return Ok(None);
    }
    let mut members = HashSet::new();
    let mut wanted: Vec<String> = MEMBER_ATTRIBUTES.map(str::to_owned).to_vec();
    for _ in 0..MAX_RANGES {
        let Some(entry) = read_group(connection, context, group, &wanted).await? else { return Ok(None) };
        wanted.clear();
        for attribute in MEMBER_ATTRIBUTES {
            for value in entry.values(attribute).chain(entry.range_values(attribute)) {
                let Some(name) = std::str::from_utf8(value).ok().and_then(member_name) else {
                    return Ok(None);
                };
                members.insert(name);
            }
            for range in entry.ranges(attribute) {
                let end = std::str::from_utf8(range).ok().and_then(|range| range.split_once('-'));
                match end.map(|(_, end)| (end, end.parse::<u64>())) {
                    Some(("*", _)) => {}
                    Some((_, Ok(last))) => {
                        wanted.push(format!("{attribute};range={}-*", last.saturating_add(1)))
                    }
                    _ => return Ok(None),
                }
            }
        }
        if wanted.is_empty() {
            return Ok((!members.is_empty()).then_some(members));
        }
    }
    Ok(None)
}

/// A member's name; that of `uniqueMember` may have a unique identifier behind (RFC 4517, 3.3.21).
fn member_name(value: &str) -> Option<Name> {
    let name = match value.rsplit_once('#') {
        Some((name, identifier)) if identifier.starts_with('\'') && identifier.ends_with("'B") => name,
        _ => value,
    };
    normalize(name)
}

async fn read_group(
    connection: &Connection,
    context: ProofContext<'_>,
    group: &str,
    attributes: &[String],
) -> Result<Option<Entry>, Interrupted> {
    let search = Search {
        base: group,
        scope: ldap3::Scope::Base,
        filter: "(objectClass=*)",
        attributes,
        control: None,
        size_limit: 0,
        max_entries: 1,
        allow_large: true,
        references: ReferenceRule::AllBut(&[]),
        timeout: context.timeout,
    };
    let answer = connection.search(search).await?;
    let is_whole = answer.result.rc == 0 && answer.referral.is_none();
    let group = normalize(group);
    Ok(answer.entries.into_iter().next().filter(|entry| {
        let name = std::str::from_utf8(entry.dn()).ok().and_then(normalize);
        is_whole && !entry.is_too_large() && name == group
    }))
}
