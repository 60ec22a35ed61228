//! Users of a source by their immutable ids, as an offer of records asks for them.

use super::super::dialect::Connection;
use super::super::locks;
use super::super::users::lookup;
use crate::model::{Fence, ImmutableId, KnownUser};
use crate::store::Result;

pub(crate) async fn known_users(
    connection: &mut Connection,
    fence: Fence,
    ids: &[ImmutableId],
) -> Result<Vec<Option<KnownUser>>> {
    locks::check_job(connection, fence).await?;
    let found = lookup::known_by_id(connection, fence.source, ids.iter()).await?;
    let found: std::collections::HashMap<_, _> =
        found.into_iter().map(|user| (user.id.clone(), user)).collect();
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}
