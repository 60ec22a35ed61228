//! The store, written once and compiled for each engine: `super` is the engine, with its types, its few peculiarities of SQL and its
//! ways to bind many values at once.
//!
//! Each transaction runs in a task of its own, so that a caller that goes away cannot cancel it half-way, and is repeated if it lost
//! against another one. Locks are taken in one order: job, source, tenant, users, webhooks, trail.

use sqlx::AssertSqlSafe;

use super::codec;
use super::dialect::{Connection, LOCK};
use crate::enroll::admission::Standing;
use crate::model::{
    Counts, Fence, JobKind, JobNo, RouterId, RouterState, SourceId, SourceNo, TenantId, TenantNo, UserNo,
};
use crate::store::{Result, StoreError};

/// A job's row, locked.
#[derive(sqlx::FromRow)]
pub(crate) struct LockedJob {
    epoch: i64,
    state: i64,
    kind: i64,
    pub(crate) reads: i64,
    pub(crate) reserve: i64,
    pub(crate) quota: i64,
    pub(crate) sync_limit: i64,
    pub(crate) doubts: i64,
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
    pub(crate) fn counts(&self) -> Counts {
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

    pub(crate) fn kind(&self) -> JobKind {
        i16::try_from(self.kind).ok().and_then(JobKind::from_number).unwrap_or(JobKind::Sync)
    }

    pub(crate) fn beyond_limit(&self) -> Option<UserNo> {
        self.beyond_limit.map(UserNo)
    }
}

const LOCKED_JOB: &str = "SELECT epoch, state, kind, reads, reserve, quota, sync_limit, doubts, beyond_limit, added, updated, unchanged, disabled, not_synchronized, \
     reenabled, disabled_in_directory, waiting, still_in_scope FROM sync_jobs WHERE job_no = $1";

/// Locks the job's row. [`StoreError::Fenced`] if the job has ended or another read of it has begun.
pub(crate) async fn lock_job(connection: &mut Connection, fence: Fence) -> Result<LockedJob> {
    valid_job(connection, fence, LOCK).await
}

/// The same without the lock, for reading.
pub(crate) async fn check_job(connection: &mut Connection, fence: Fence) -> Result<LockedJob> {
    valid_job(connection, fence, "").await
}

async fn valid_job(connection: &mut Connection, fence: Fence, lock: &'static str) -> Result<LockedJob> {
    let query = sqlx::query_as(AssertSqlSafe(format!("{LOCKED_JOB}{lock}"))).bind(fence.job.0);
    let job: Option<LockedJob> = query.fetch_optional(connection).await?;
    job.filter(|job| job.epoch == fence.epoch && job.state == 2).ok_or(StoreError::Fenced)
}

/// Locks the tenant's row and says how many seats are free; negative if the limit was lowered below the use.
pub(crate) async fn lock_seats(connection: &mut Connection, tenant: TenantNo) -> Result<i64> {
    let text = format!("SELECT license_limit - enabled_users FROM tenants WHERE tenant_no = $1{LOCK}");
    Ok(sqlx::query_scalar(AssertSqlSafe(text)).bind(tenant.0).fetch_one(connection).await?)
}

/// Whether the source is still published as the job read it; holds until the end of the transaction.
pub(crate) async fn lock_same_revision(connection: &mut Connection, fence: Fence) -> Result<()> {
    let query = sqlx::query_as(
        "SELECT revision, kind, settings IS NOT NULL AND both_ids = 0 FROM sync_jobs WHERE job_no = $1",
    );
    let (revision, kind, of_draft): (i64, i64, bool) =
        query.bind(fence.job.0).fetch_one(&mut *connection).await?;
    // A dry run of the draft does not read what is published, unless its users are found by another id, and an undo reads nothing.
    let other = of_draft || kind == i64::from(JobKind::Undo.number());
    if lock_revision(connection, fence.source).await? == revision || other {
        Ok(())
    } else {
        Err(StoreError::ConfigChanged)
    }
}

/// A job that has not ended.
pub(crate) struct OpenJob {
    pub(crate) job: JobNo,
    /// It reads, and not for the first time.
    pub(crate) reads_again: bool,
}

/// The jobs of a source that have not ended, locked. One that is queued meanwhile cannot write a record before the source is free.
pub(crate) async fn lock_open_jobs(connection: &mut Connection, source: SourceNo) -> Result<Vec<OpenJob>> {
    let text = format!(
        "SELECT job_no, state, phase, reads FROM sync_jobs WHERE source_no = $1 AND state IN (1, 2, 6) ORDER BY job_no{LOCK}"
    );
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(source.0);
    let jobs: Vec<(i64, i64, Option<i64>, i64)> = query.fetch_all(connection).await?;
    let open = |(job, state, phase, reads): (i64, i64, Option<i64>, i64)| OpenJob {
        job: JobNo(job),
        reads_again: state == 2 && phase == Some(1) && reads > 1,
    };
    Ok(jobs.into_iter().map(open).collect())
}

/// Checks that a router may still connect; holds until the end of the transaction. Whoever revokes it voids reads that are there, so
/// there must be none that begins meanwhile.
pub(crate) async fn share_router(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
) -> Result<()> {
    let lock = if LOCK.is_empty() { "" } else { " FOR SHARE" };
    let text = format!("SELECT state FROM identity_routers WHERE tenant_no = $1 AND id = $2{lock}");
    let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(tenant.0).bind(router.0.clone());
    let found: Option<i64> = query.fetch_optional(connection).await?;
    // A router is never deleted: one that is not there was never revoked.
    match found.map(codec::router_state).transpose()? {
        None | Some(RouterState::Active) => Ok(()),
        Some(RouterState::Suspended | RouterState::Revoked) => Err(StoreError::RouterInactive),
    }
}

pub(crate) async fn lock_tenant(connection: &mut Connection, tenant: &TenantId) -> Result<TenantNo> {
    let query =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT tenant_no FROM tenants WHERE id = $1{LOCK}")));
    let number = query.bind(tenant.0.clone()).fetch_optional(connection).await?;
    number.map(TenantNo).ok_or(StoreError::NotFound("tenant"))
}

/// The published revision of a source, which stays what it is until the end of the transaction.
pub(crate) async fn lock_revision(connection: &mut Connection, source: SourceNo) -> Result<i64> {
    let text = format!("SELECT published_revision FROM identity_sources WHERE source_no = $1{LOCK}");
    let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(source.0);
    query.fetch_optional(connection).await?.ok_or(StoreError::NotFound("identity source"))
}

/// The next number of a kind.
pub(crate) async fn next_number(connection: &mut Connection, kind: &'static str) -> Result<i64> {
    let query = sqlx::query_scalar("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value")
        .bind(kind);
    Ok(query.fetch_one(&mut *connection).await?)
}

/// A tenant's number.
pub(crate) async fn tenant_number(connection: &mut Connection, tenant: &TenantId) -> Result<TenantNo> {
    let number = sqlx::query_scalar("SELECT tenant_no FROM tenants WHERE id = $1").bind(tenant.0.clone());
    number.fetch_optional(connection).await?.map(TenantNo).ok_or(StoreError::NotFound("tenant"))
}

/// A router's row, locked.
pub(crate) struct LockedRouter {
    pub(crate) tenant: TenantNo,
    pub(crate) standing: Standing,
    pub(crate) sources: Vec<SourceId>,
}

pub(crate) async fn lock_router(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
) -> Result<Option<LockedRouter>> {
    let text = format!(
        "SELECT state, generation, confirmed, enrolled_generation, recoveries, sources FROM identity_routers \
         WHERE tenant_no = $1 AND id = $2{LOCK}"
    );
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(tenant.0).bind(router.0.clone());
    let row: Option<(i64, i64, i64, i64, i64, String)> = query.fetch_optional(connection).await?;
    row.map(|(state, newest, confirmed, enrolled, recoveries, sources)| {
        let standing =
            Standing { state: codec::router_state(state)?, newest, confirmed, enrolled, recoveries };
        Ok(LockedRouter { tenant, standing, sources: codec::source_ids(&sources)? })
    })
    .transpose()
}
