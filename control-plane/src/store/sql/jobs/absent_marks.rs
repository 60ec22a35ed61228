//! What a complete read does to the marks of users that sign-ins did not find, and to the sync that
//! is due for them.

use super::super::dialect::{Connection, IN_INTS_5};
use super::super::statement::sql;
use super::super::{dialect, locks, statement};
use crate::model::{Fence, UserNo};
use crate::store::Result;

/// Users of the source that are marked, by number, after `after`.
pub(crate) async fn marked(
    connection: &mut Connection,
    fence: Fence,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<UserNo>> {
    locks::check_job(connection, fence).await?;
    let users = statement::query_scalar(
        "SELECT user_no FROM users WHERE source_no = $1 AND absent_since IS NOT NULL AND user_no > \
         $2 ORDER BY user_no LIMIT $3",
    );
    let users = users.bind(fence.source.0).bind(after.map_or(0, |after| after.0)).bind(limit);
    let users: Vec<i64> = users.fetch_all(connection).await?;
    Ok(users.into_iter().map(UserNo).collect())
}

/// Takes the mark off users that the job has seen: in its read, then a user that was not found
/// after that began keeps it, since what the read had may be older; or in a later look-up.
pub(crate) async fn clear(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
    in_read: bool,
) -> Result<()> {
    let job = locks::lock_job(connection, fence).await?;
    locks::lock_same_revision(connection, fence).await?;
    let text = sql!(
        "UPDATE users SET absent_since = NULL WHERE tenant_no = $1 AND source_no = $2 AND NOT \
         (absent_job = $3 AND absent_stage >= $4) AND user_no {IN_INTS_5}"
    );
    let query = statement::query(text).bind(fence.tenant.0).bind(fence.source.0);
    let stage = if in_read { 2 * job.reads } else { i64::MAX };
    let query = query.bind(fence.job.0).bind(stage);
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    dialect::ints(query, &numbers).execute(connection).await?;
    Ok(())
}

/// After a sync none is due, except for users that were not found after its read began.
pub(crate) async fn settle_due(connection: &mut Connection, fence: Fence, reads: i64) -> Result<()> {
    statement::query(
        "UPDATE identity_sources SET sync_due_at = (SELECT MIN(u.absent_since) FROM users u WHERE \
         u.source_no = $1 AND u.absent_since IS NOT NULL AND u.absent_job = $2 AND u.absent_stage \
         >= $3) WHERE source_no = $1 AND sync_due_at IS NOT NULL",
    )
    .bind(fence.source.0)
    .bind(fence.job.0)
    .bind(2 * reads)
    .execute(connection)
    .await?;
    Ok(())
}
