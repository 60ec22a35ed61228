//! What Test Connection says of the proofs: how the absence of the mark can be shown on this
//! server, or what to do where it cannot.

use super::super::connect::Connection;
use super::super::root_dse::Vendor;
use super::super::search::Interrupted;
use super::context::{MEMBER_OF, ProofContext};
use super::groups::read_members;
use super::{filters, replication};
use crate::record::is_always_present;

const NO_WAY: &str = "so an entry that does not show it enables no user. Let the bind account read it on every entry; \
    if it is set on few entries only, set assume_absent_mark in the mapping. Its danger: if the account loses the right to \
    read the attribute, disabled accounts are enabled.";

/// One sentence or two for each attribute of the mapping's rules; empty if there is no rule.
pub(in super::super) async fn describe(connection: &Connection, context: ProofContext<'_>) -> String {
    let mapping = context.mapping;
    let mut said: Vec<String> = Vec::new();
    for attribute in mapping.unseen_attributes(mapping.all_marks()) {
        let sentence = match describe_one(connection, context, attribute).await {
            Ok(sentence) => sentence,
            Err(_) => format!(
                "Whether {attribute} is absent or hidden cannot be shown, since the server did not answer."
            ),
        };
        if !said.contains(&sentence) {
            said.push(sentence);
        }
    }
    said.join(" ")
}

async fn describe_one(
    connection: &Connection,
    context: ProofContext<'_>,
    attribute: &str,
) -> Result<String, Interrupted> {
    let root_dse = connection.root_dse(context.timeout).await?;
    if is_always_present(attribute) {
        return Ok(format!(
            "Every account has {attribute}, so an entry that does not show it hides it and enables no user. Let the bind account read it on every entry."
        ));
    }
    if context.mapping.assumes_absent_mark() {
        return Ok(format!(
            "assume_absent_mark is set: an entry that does not show {attribute} counts as one that has none. If the bind account loses the right to read it, disabled accounts are enabled."
        ));
    }
    if attribute.eq_ignore_ascii_case(MEMBER_OF) {
        let groups = context.mapping.mark_groups().unwrap_or_default();
        let mut are_shown = !groups.is_empty();
        for group in groups {
            are_shown &= read_members(connection, context, group).await?.is_some();
        }
        return Ok(match are_shown {
            true => format!("The absence of {attribute} is proved by the members of the mapping's groups."),
            false => format!(
                "The mapping's groups do not show their members to the bind account, so the absence of {attribute} cannot be proved, {NO_WAY}"
            ),
        });
    }
    if root_dse.vendor == Vendor::ActiveDirectory {
        return Ok(match replication::can_show(connection, context, root_dse, attribute).await? {
            true => format!("The absence of {attribute} is proved by the replication metadata of the entry."),
            false => format!(
                "This Active Directory does not show whether {attribute} is absent or hidden, {NO_WAY}"
            ),
        });
    }
    let mut are_three_valued = true;
    for root in &context.request.roots {
        are_three_valued &= filters::are_three_valued(connection, context, root).await?;
    }
    Ok(match are_three_valued {
        true => format!(
            "The absence of {attribute} is proved by a filter: this server does not match a hidden attribute."
        ),
        false => format!(
            "This server does not show whether {attribute} is absent or hidden (the bind account's own entry must be in the same naming context, and have a password that it may not read), {NO_WAY}"
        ),
    })
}
