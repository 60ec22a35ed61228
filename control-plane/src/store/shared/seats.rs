//! The two locks that every write of a job takes: its own row, which is the fence, and the tenant's, which is the license.

use sqlx::AssertSqlSafe;

use super::alarms::Taken;
use super::engine::{Connection, LOCK};
use crate::model::{Counts, Fence, JobKind, SourceNo, TenantNo, Timestamp, UserNo};
use crate::store::{Result, StoreError};

/// A job's row, locked.
#[derive(sqlx::FromRow)]
pub(super) struct LockedJob {
    epoch: i64,
    state: i64,
    kind: i64,
    pub(super) reads: i64,
    pub(super) reserve: i64,
    pub(super) quota: i64,
    pub(super) sync_limit: i64,
    pub(super) doubts: i64,
    beyond_limit: Option<i64>,
    added: i64,
    updated: i64,
    unchanged: i64,
    disabled: i64,
    not_synchronized: i64,
    reenabled: i64,
    disabled_in_directory: i64,
    waiting: i64,
    still_in_scope: i64,
}

impl LockedJob {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            added: self.added,
            updated: self.updated,
            unchanged: self.unchanged,
            disabled: self.disabled,
            not_synchronized: self.not_synchronized,
            reenabled: self.reenabled,
            disabled_in_directory: self.disabled_in_directory,
            waiting: self.waiting,
            still_in_scope: self.still_in_scope,
        }
    }

    pub(super) fn kind(&self) -> JobKind {
        i16::try_from(self.kind).ok().and_then(JobKind::from_number).unwrap_or(JobKind::Sync)
    }

    pub(super) fn beyond_limit(&self) -> Option<UserNo> {
        self.beyond_limit.map(UserNo)
    }
}

const JOB: &str = "SELECT epoch, state, kind, reads, reserve, quota, sync_limit, doubts, beyond_limit, added, updated, unchanged, disabled, not_synchronized, \
     reenabled, disabled_in_directory, waiting, still_in_scope FROM sync_jobs WHERE job_no = $1";

/// Locks the job's row. [`StoreError::Fenced`] if the job has ended or another read of it has begun.
pub(super) async fn lock_job(connection: &mut Connection, fence: Fence) -> Result<LockedJob> {
    valid(connection, fence, LOCK).await
}

/// The same without the lock, for reading.
pub(super) async fn check_job(connection: &mut Connection, fence: Fence) -> Result<LockedJob> {
    valid(connection, fence, "").await
}

async fn valid(connection: &mut Connection, fence: Fence, lock: &'static str) -> Result<LockedJob> {
    let query = sqlx::query_as(AssertSqlSafe(format!("{JOB}{lock}"))).bind(fence.job.0);
    let job: Option<LockedJob> = query.fetch_optional(connection).await?;
    job.filter(|job| job.epoch == fence.epoch && job.state == 2).ok_or(StoreError::Fenced)
}

/// Locks the tenant's row and says how many seats are free; negative if the limit was lowered below the use.
pub(super) async fn lock(connection: &mut Connection, tenant: TenantNo) -> Result<i64> {
    let text = format!("SELECT license_limit - enabled_users FROM tenants WHERE tenant_no = $1{LOCK}");
    Ok(sqlx::query_scalar(AssertSqlSafe(text)).bind(tenant.0).fetch_one(connection).await?)
}

/// Takes seats, or with a negative number gives them back. What it returns is told at the end of the transaction.
pub(super) async fn take(
    connection: &mut Connection,
    tenant: TenantNo,
    source: Option<SourceNo>,
    seats: i64,
) -> Result<Taken> {
    let taken = Taken::of(tenant);
    if seats == 0 {
        return Ok(taken);
    }
    sqlx::query("UPDATE tenants SET enabled_users = enabled_users + $2 WHERE tenant_no = $1")
        .bind(tenant.0)
        .bind(seats)
        .execute(&mut *connection)
        .await?;
    if let Some(source) = source {
        sqlx::query("UPDATE identity_sources SET enabled_users = enabled_users + $2 WHERE source_no = $1")
            .bind(source.0)
            .bind(seats)
            .execute(connection)
            .await?;
    }
    Ok(taken)
}

/// Takes so many numbers for new users and returns the first.
pub(super) async fn take_numbers(connection: &mut Connection, tenant: TenantNo, count: usize) -> Result<i64> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let query = sqlx::query_scalar(
        "UPDATE tenants SET next_user_no = next_user_no + $2 WHERE tenant_no = $1 RETURNING next_user_no - $2",
    );
    Ok(query.bind(tenant.0).bind(count).fetch_one(connection).await?)
}

/// Adds to the job's counts and sets what is left of reserve and quota, in the transaction that writes what they count.
pub(super) async fn count(
    connection: &mut Connection,
    fence: Fence,
    counts: Counts,
    left: Option<(i64, i64)>,
    now: Timestamp,
) -> Result<()> {
    let (reserve, quota) = left.unwrap_or((-1, -1));
    sqlx::query(
        "UPDATE sync_jobs SET added = added + $2, updated = updated + $3, unchanged = unchanged + $4, disabled = disabled + $5, \
         not_synchronized = not_synchronized + $6, reenabled = reenabled + $7, disabled_in_directory = disabled_in_directory + $8, \
         waiting = waiting + $9, still_in_scope = still_in_scope + $12, \
         progress_at = CASE WHEN $13 > progress_at THEN $13 ELSE progress_at END, reserve = CASE WHEN $10 < 0 THEN reserve ELSE $10 END, \
         quota = CASE WHEN $11 < 0 THEN quota ELSE $11 END WHERE job_no = $1",
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
    .execute(connection)
    .await?;
    Ok(())
}
