//! Drops what is kept of a source's newest jobs only.

use std::time::Duration;

use super::super::dialect::Connection;
use super::super::statement;
use super::super::statement::sql;
use super::super::words::{CATEGORY_NOT_SYNCHRONIZED, KIND_DRY_RUN};
use crate::model::Timestamp;
use crate::store::{NewJob, Result};

/// Journals that are kept of a source's newest jobs.
pub(crate) const JOURNALS_KEPT: i64 = 10;

/// Jobs that are kept of a source.
const JOBS_KEPT: i64 = 100;

/// Jobs that are kept in any case.
const MIN_JOB_AGE: Duration = Duration::from_secs(25 * 3_600);

const OF_SOURCE: &str = "SELECT job_no FROM sync_jobs WHERE source_no = $1";
// What the new job undoes is kept while it does so.
const OLD: &str = "created_at < $3 AND COALESCE(plan_expires_at, 0) <= $4 AND job_no <> COALESCE((SELECT \
     n.origin FROM sync_jobs n WHERE n.job_no = $5), 0) AND job_no <";
const NEWEST: &str = "ORDER BY job_no DESC LIMIT $2) AS newest";

/// Syncs that are not among the newest $2.
const OLD_SYNCS: &str = sql!(
    "job_no IN ({OF_SOURCE} AND kind <> {KIND_DRY_RUN} AND {OLD} (SELECT MIN(job_no) FROM \
     ({OF_SOURCE} AND kind <> {KIND_DRY_RUN} {NEWEST}))"
);
/// The same of dry runs.
const OLD_DRY_RUNS: &str = sql!(
    "job_no IN ({OF_SOURCE} AND kind = {KIND_DRY_RUN} AND {OLD} (SELECT MIN(job_no) FROM \
     ({OF_SOURCE} AND kind = {KIND_DRY_RUN} {NEWEST}))"
);
/// The same of all jobs.
const OLD_JOBS: &str =
    sql!("job_no IN ({OF_SOURCE} AND {OLD} (SELECT MIN(job_no) FROM ({OF_SOURCE} {NEWEST}))");

/// Throws away what is kept of a source's newest jobs only.
pub(crate) async fn prune(connection: &mut Connection, source: i64, newest: i64, new: &NewJob) -> Result<()> {
    // A dry run is no sync: it replaces nothing, and its own lists stay until its plan expires.
    statement::query(sql!(
        "DELETE FROM job_details WHERE category < {CATEGORY_NOT_SYNCHRONIZED} AND job_no IN \
             (SELECT job_no FROM sync_jobs WHERE source_no = $1 AND job_no < $2 AND kind <> \
             {KIND_DRY_RUN}) AND EXISTS (SELECT 1 FROM sync_jobs WHERE job_no = $2 AND kind <> \
             {KIND_DRY_RUN})"
    ))
    .bind(source)
    .bind(newest)
    .execute(&mut *connection)
    .await?;
    let (lists, always) = (new.full_lists_kept, Timestamp(i64::MAX));
    for (text, keep, made_before, expired_by) in [
        (sql!("DELETE FROM user_changes WHERE {OLD_SYNCS}"), JOURNALS_KEPT.max(lists), always, always),
        (sql!("DELETE FROM job_details WHERE {OLD_SYNCS}"), lists, always, always),
        // Of a sync without its list nobody can tell whom it did not synchronize.
        (
            sql!("UPDATE sync_jobs SET lists_gone = 1 WHERE lists_gone = 0 AND {OLD_SYNCS}"),
            lists,
            always,
            always,
        ),
        // A plan that can still be applied keeps its lists.
        (sql!("DELETE FROM job_details WHERE {OLD_DRY_RUNS}"), lists, always, new.now),
        // Jobs of the last day are kept whatever their number: the disable guard adds up what they
        // disabled.
        (sql!("DELETE FROM sync_jobs WHERE {OLD_JOBS}"), JOBS_KEPT, new.now.minus(MIN_JOB_AGE), always),
    ] {
        let query = statement::query(text).bind(source).bind(keep).bind(made_before.0);
        query.bind(expired_by.0).bind(newest).execute(&mut *connection).await?;
    }
    Ok(())
}
