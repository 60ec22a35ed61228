//! Servers whose filters have three values (RFC 4511, 4.5.1.7): of an attribute that is hidden,
//! neither `(mark=*)` nor `(!(mark=*))` is true. There an entry that matches `(!(mark=*))` has
//! none.

use super::super::connect::Connection;
use super::super::root_dse::{RootDse, Vendor};
use super::super::search::Interrupted;
use super::context::{ProofContext, base_matches, search_entries};
use crate::ldap_syntax::{is_same_name, normalize};
use crate::record::Entry;

/// Whether this server's filters have three values, shown on this connection by the bind account's
/// own entry: it has a password, which it may not read. The entry must be in the naming context
/// that is read: behind one name may be several databases.
pub(super) async fn are_three_valued(
    connection: &Connection,
    context: ProofContext<'_>,
    root: &str,
) -> Result<bool, Interrupted> {
    let ProofContext { bind_dn, timeout, .. } = context;
    let root_dse = connection.root_dse(timeout).await?;
    let is_name = normalize(bind_dn).is_some_and(|rdns| !rdns.is_empty());
    let is_beside = is_same_name(root_dse.naming_context(root), root_dse.naming_context(bind_dn));
    if root_dse.vendor == Vendor::ActiveDirectory || !is_name || !is_beside {
        return Ok(false);
    }
    let show = || async {
        for (filter, expected) in
            [("(objectClass=*)", true), ("(userPassword=*)", false), ("(!(userPassword=*))", false)]
        {
            if base_matches(connection, context, (bind_dn, filter)).await? != Some(expected) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    connection.proofs.three_valued.get_or_try_init(show).await.copied()
}

/// The entries that have none of these attributes.
pub(super) async fn without(
    connection: &Connection,
    context: ProofContext<'_>,
    root_dse: &RootDse,
    (root, attributes): (&str, &[&str]),
    ids: &str,
) -> Result<Vec<Entry>, Interrupted> {
    let absent: String = attributes.iter().map(|attribute| format!("(!({attribute}=*))")).collect();
    let filter = format!("(&{ids}{absent})");
    let id = context.mapping.immutable_id_attribute();
    search_entries(connection, context, root_dse, (root, &filter), &[id]).await
}
