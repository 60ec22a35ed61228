//! Drops what is kept of a source's newest jobs only.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::super::dialect::Connection;
use crate::model::Timestamp;
use crate::store::{NewJob, Result};

/// Journals that are kept of a source's newest jobs.
pub(crate) const JOURNALS: i64 = 10;

/// Jobs that are kept of a source.
const JOBS: i64 = 100;

/// Jobs that are kept in any case.
const JOBS_KEPT: Duration = Duration::from_secs(25 * 3_600);

/// Throws away what is kept of a source's newest jobs only.
pub(crate) async fn prune(connection: &mut Connection, source: i64, newest: i64, new: &NewJob) -> Result<()> {
    // A dry run is no sync: it replaces nothing, and its own lists stay until its plan expires.
    sqlx::query(
        "DELETE FROM job_details WHERE category < 4 AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND job_no < $2 \
         AND kind <> 2) AND EXISTS (SELECT 1 FROM sync_jobs WHERE job_no = $2 AND kind <> 2)",
    )
    .bind(source)
    .bind(newest)
    .execute(&mut *connection)
    .await?;
    let (lists, always) = (new.full_lists_kept, Timestamp(i64::MAX));
    for (change, of, keep, made_before, expired_by) in [
        ("DELETE FROM user_changes WHERE", "kind <> 2", JOURNALS.max(lists), always, always),
        ("DELETE FROM job_details WHERE", "kind <> 2", lists, always, always),
        // Of a sync without its list nobody can tell whom it did not synchronize.
        ("UPDATE sync_jobs SET lists_gone = 1 WHERE lists_gone = 0 AND", "kind <> 2", lists, always, always),
        // A plan that can still be applied keeps its lists.
        ("DELETE FROM job_details WHERE", "kind = 2", lists, always, new.now),
        // Jobs of the last day are kept whatever their number: the disable guard adds up what they disabled.
        ("DELETE FROM sync_jobs WHERE", "kind > 0", JOBS, new.now.minus(JOBS_KEPT), always),
    ] {
        // What the new job undoes is kept while it does so.
        let text = format!(
            "{change} job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND {of} AND created_at < $3 \
             AND COALESCE(plan_expires_at, 0) <= $4 AND job_no <> COALESCE((SELECT n.origin FROM sync_jobs n WHERE n.job_no = $5), 0) AND \
             job_no < (SELECT MIN(job_no) FROM (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND {of} ORDER BY job_no DESC LIMIT $2) AS newest))"
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(source).bind(keep).bind(made_before.0);
        query.bind(expired_by.0).bind(newest).execute(&mut *connection).await?;
    }
    Ok(())
}
