//! Syncs that are due between the runs of a schedule, since a sign-in did not find an enabled user.

use super::super::dialect::Connection;
use super::super::jobs::lifecycle;
use super::super::statement::sql;
use super::super::words::{JOB_HELD, JOB_QUEUED, JOB_RUNNING};
use super::super::{locks, statement};
use crate::model::{SourceId, TenantId, Timestamp};
use crate::store::{NewJob, Result, StoreError};

/// Sources `s` for which a sync is to be queued. A job that is held waits for an administrator, and
/// a new one would take its list away.
const DUE: &str = sql!(
    "FROM identity_sources s JOIN sync_schedules c ON c.source_no = s.source_no JOIN tenants t ON \
     t.tenant_no = s.tenant_no WHERE s.sync_due_at IS NOT NULL AND s.due_queued_at <= $1 AND \
     s.published IS NOT NULL AND c.next_run_at IS NOT NULL AND t.suspended_at IS NULL AND NOT \
     EXISTS (SELECT 1 FROM sync_jobs j WHERE j.source_no = s.source_no AND j.state IN \
     ({JOB_QUEUED}, {JOB_RUNNING}, {JOB_HELD}))"
);

pub(crate) async fn due(
    connection: &mut Connection,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<(TenantId, SourceId)>> {
    let text = sql!("SELECT t.id, s.id {DUE} ORDER BY s.sync_due_at LIMIT $2");
    let due: Vec<(String, String)> =
        statement::query_as(text).bind(since.0).bind(limit).fetch_all(connection).await?;
    Ok(due.into_iter().map(|(tenant, source)| (TenantId(tenant), SourceId(source))).collect())
}

pub(crate) async fn run(connection: &mut Connection, job: &NewJob, since: Timestamp) -> Result<bool> {
    let source = locks::lock_source(connection, &job.tenant, &job.source).await?.source_no;
    let still = statement::query_scalar(sql!("SELECT COUNT(*) {DUE} AND s.source_no = $2"));
    let still: i64 = still.bind(since.0).bind(source).fetch_one(&mut *connection).await?;
    if still == 0 {
        return Ok(false);
    }
    match lifecycle::create(connection, job).await {
        Ok(_) => {}
        Err(StoreError::JobRunning(_) | StoreError::SourceNotPublished) => return Ok(false),
        Err(error) => return Err(error),
    }
    statement::query("UPDATE identity_sources SET due_queued_at = $2 WHERE source_no = $1")
        .bind(source)
        .bind(job.now.0)
        .execute(connection)
        .await?;
    Ok(true)
}
