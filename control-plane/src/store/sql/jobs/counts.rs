//! The counts of a job, changed in the transaction that writes what they count.

use super::super::dialect::Connection;
use super::super::statement;
use crate::model::{Counts, Fence, Timestamp};
use crate::store::Result;

/// Adds to the job's counts and sets what is left of reserve and quota, in the transaction that
/// writes what they count.
pub(crate) async fn count(
    connection: &mut Connection,
    fence: Fence,
    counts: Counts,
    left: Option<(i64, i64)>,
    now: Timestamp,
) -> Result<()> {
    let (reserve, quota) = left.unwrap_or((-1, -1));
    statement::query(
        "UPDATE sync_jobs SET added = added + $2, updated = updated + $3, unchanged = unchanged + \
         $4, disabled = disabled + $5, not_synchronized = not_synchronized + $6, reenabled = \
         reenabled + $7, disabled_in_directory = disabled_in_directory + $8, waiting = waiting + \
         $9, still_in_scope = still_in_scope + $12, not_visible = not_visible + $14, progress_at = CASE WHEN $13 > progress_at THEN \
         $13 ELSE progress_at END, reserve = CASE WHEN $10 < 0 THEN reserve ELSE $10 END, quota = \
         CASE WHEN $11 < 0 THEN quota ELSE $11 END WHERE job_no = $1",
    )
    .bind(fence.job.0)
    .bind(counts.added)
    .bind(counts.updated)
    .bind(counts.unchanged)
    .bind(counts.disabled)
    .bind(counts.not_synchronized)
    .bind(counts.reenabled)
    .bind(counts.disabled_in_directory)
    .bind(counts.waiting)
    .bind(reserve)
    .bind(quota)
    .bind(counts.still_in_scope)
    .bind(now.0)
    .bind(counts.not_visible)
    .execute(connection)
    .await?;
    Ok(())
}
