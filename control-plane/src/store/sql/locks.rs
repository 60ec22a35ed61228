//! Every lock of a row. No other file of the store locks one.
//!
//! A transaction locks rows in this order, which is the order of this file: counters, job, source,
//! schedule, tenant, registration code, router, users, webhooks, the head of the audit trail. Two
//! transactions that keep to it never wait for each other in a circle. A lock lasts until the end
//! of its transaction. SQLite has one writer, so that its statements lock nothing by themselves.

use sqlx::FromRow;

use super::codec::{self, SOURCE, SourceRow, StandingRow};
use super::dialect::{Connection, LOCK, LOCK_CODE, LOCK_SOURCE, LOCK_USERS, SHARE};
use super::statement::{query_as, query_scalar, sql};
use super::words::{DECISION_APPROVED, JOB_HELD, JOB_QUEUED, JOB_RUNNING, WEBHOOK_ACTIVE};
use crate::enroll::admission::RouterStatus;
use crate::model::{
    AuditHead, Counts, Fence, JobKind, JobNo, JobState, Phase, RouterId, RouterState, SourceId, SourceNo,
    TenantId, TenantNo, Timestamp, UserNo, WebhookNo,
};
use crate::store::{Result, StoreError};

// --- counters ---

/// The next number of a kind.
pub(crate) async fn next_number(connection: &mut Connection, kind: &'static str) -> Result<i64> {
    let next = query_scalar("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value");
    Ok(next.bind(kind).fetch_one(&mut *connection).await?)
}

// --- jobs ---

/// A job's row, locked.
#[derive(FromRow)]
pub(crate) struct LockedJob {
    epoch: i64,
    state: i64,
    kind: i64,
    pub(crate) reads: i64,
    pub(crate) reserve: i64,
    pub(crate) quota: i64,
    pub(crate) sync_limit: i64,
    pub(crate) doubts: i64,
    pub(crate) expected: i64,
    both_ids: i64,
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
    not_visible: i64,
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
            warnings: None,
            not_visible: self.not_visible,
        }
    }

    pub(crate) fn kind(&self) -> JobKind {
        i16::try_from(self.kind).ok().and_then(JobKind::from_number).unwrap_or(JobKind::Sync)
    }

    /// Whether each entry is read with two ids; pairs have rules of their own.
    pub(crate) fn reads_both_ids(&self) -> bool {
        self.both_ids != 0
    }

    pub(crate) fn beyond_limit(&self) -> Option<UserNo> {
        self.beyond_limit.map(UserNo)
    }
}

const JOB: &str = "SELECT epoch, state, kind, reads, reserve, quota, sync_limit, doubts, expected, \
     both_ids, beyond_limit, added, updated, unchanged, disabled, not_synchronized, reenabled, disabled_in_directory, waiting, \
     still_in_scope, not_visible FROM sync_jobs WHERE job_no = $1";

/// Locks the job's row. [`StoreError::Fenced`] if the job has ended or another read of it has
/// begun.
pub(crate) async fn lock_job(connection: &mut Connection, fence: Fence) -> Result<LockedJob> {
    valid_job(connection, fence, sql!("{JOB}{LOCK}")).await
}

/// The same without the lock, for reading.
pub(crate) async fn check_job(connection: &mut Connection, fence: Fence) -> Result<LockedJob> {
    valid_job(connection, fence, JOB).await
}

async fn valid_job(connection: &mut Connection, fence: Fence, text: &'static str) -> Result<LockedJob> {
    let job: Option<LockedJob> = query_as(text).bind(fence.job.0).fetch_optional(connection).await?;
    let running = i64::from(JobState::Running.number());
    job.filter(|job| job.epoch == fence.epoch && job.state == running).ok_or(StoreError::Fenced)
}

/// A running job, as its owner holds it.
#[derive(FromRow)]
pub(crate) struct OwnedJob {
    pub(crate) tenant_no: i64,
    pub(crate) source_no: i64,
    pub(crate) epoch: i64,
    pub(crate) revision: i64,
    pub(crate) reads: i64,
    pub(crate) kind: i64,
    pub(crate) settings: Option<String>,
    pub(crate) origin: Option<i64>,
}

/// Locks the row of a job that its owner has. [`StoreError::Fenced`] if it has the job no longer.
pub(crate) async fn lock_owned_job(connection: &mut Connection, job: JobNo, owner: &str) -> Result<OwnedJob> {
    let text = sql!(
        "SELECT tenant_no, source_no, epoch, revision, reads, kind, settings, origin FROM \
         sync_jobs WHERE job_no = $1 AND owner = $2 AND state = {JOB_RUNNING}{LOCK}"
    );
    let owned = query_as(text).bind(job.0).bind(owner.to_owned()).fetch_optional(connection).await?;
    owned.ok_or(StoreError::Fenced)
}

/// A held job that an administrator has approved.
#[derive(FromRow)]
pub(crate) struct ApprovedJob {
    pub(crate) tenant_no: i64,
    pub(crate) source_no: i64,
    pub(crate) epoch: i64,
    pub(crate) held_at: Option<i64>,
    pub(crate) read_facts: Option<String>,
}

/// The same for a job that was approved.
pub(crate) async fn lock_approved_job(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
) -> Result<ApprovedJob> {
    let text = sql!(
        "SELECT tenant_no, source_no, epoch, held_at, read_facts FROM sync_jobs WHERE job_no = $1 \
         AND owner = $2 AND state = {JOB_RUNNING} AND hold_decision = {DECISION_APPROVED}{LOCK}"
    );
    let approved = query_as(text).bind(job.0).bind(owner.to_owned()).fetch_optional(connection).await?;
    approved.ok_or(StoreError::Fenced)
}

/// Locks a job's row, whoever has it, and says whether it is held.
pub(crate) async fn lock_is_held(connection: &mut Connection, job: JobNo) -> Result<bool> {
    let state = query_scalar(sql!("SELECT state FROM sync_jobs WHERE job_no = $1{LOCK}")).bind(job.0);
    let state: i64 = state.fetch_one(connection).await?;
    Ok(state == i64::from(JobState::Held.number()))
}

/// A job that has not ended.
pub(crate) struct OpenJob {
    pub(crate) job: JobNo,
    /// It reads, and not for the first time.
    pub(crate) reads_again: bool,
}

/// Locks the jobs of a source that have not ended. One that is queued meanwhile cannot write a
/// record before the source is free.
pub(crate) async fn lock_open_jobs(connection: &mut Connection, source: SourceNo) -> Result<Vec<OpenJob>> {
    let text = sql!(
        "SELECT job_no, state, phase, reads FROM sync_jobs WHERE source_no = $1 AND state IN \
         ({JOB_QUEUED}, {JOB_RUNNING}, {JOB_HELD}) ORDER BY job_no{LOCK}"
    );
    let jobs: Vec<(i64, i64, Option<i64>, i64)> = query_as(text).bind(source.0).fetch_all(connection).await?;
    let (running, reading) = (i64::from(JobState::Running.number()), i64::from(Phase::Reading.number()));
    let open = |(job, state, phase, reads): (i64, i64, Option<i64>, i64)| OpenJob {
        job: JobNo(job),
        reads_again: state == running && phase == Some(reading) && reads > 1,
    };
    Ok(jobs.into_iter().map(open).collect())
}

/// Locks the running jobs of a tenant.
pub(crate) async fn lock_running_jobs(connection: &mut Connection, tenant: TenantNo) -> Result<()> {
    let text = sql!(
        "SELECT job_no FROM sync_jobs WHERE tenant_no = $1 AND state = {JOB_RUNNING} ORDER BY \
         job_no{LOCK}"
    );
    let _: Vec<i64> = query_scalar(text).bind(tenant.0).fetch_all(connection).await?;
    Ok(())
}

// --- sources and their schedules ---

/// Locks the row of a source, not that of the tenant that it is joined with.
pub(crate) async fn lock_source(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
) -> Result<SourceRow> {
    let row = query_as(sql!("{SOURCE} AND s.id = $2{LOCK_SOURCE}")).bind(tenant.0.clone());
    let row = row.bind(source.0.clone()).fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("identity source"))
}

/// The published revision of a source, which stays what it is until the end of the transaction.
pub(crate) async fn lock_revision(connection: &mut Connection, source: SourceNo) -> Result<i64> {
    let text = sql!("SELECT published_revision FROM identity_sources WHERE source_no = $1{LOCK}");
    let revision = query_scalar(text).bind(source.0).fetch_optional(connection).await?;
    revision.ok_or(StoreError::NotFound("identity source"))
}

/// Whether the source is still published as the job read it; holds until the end of the
/// transaction.
pub(crate) async fn lock_same_revision(connection: &mut Connection, fence: Fence) -> Result<()> {
    let read = query_as(
        "SELECT revision, kind, settings IS NOT NULL AND both_ids = 0 FROM sync_jobs WHERE job_no \
         = $1",
    );
    let (revision, kind, of_draft): (i64, i64, bool) =
        read.bind(fence.job.0).fetch_one(&mut *connection).await?;
    // A dry run of the draft does not read what is published, unless its users are found by another
    // id, and an undo reads nothing.
    let other = of_draft || kind == i64::from(JobKind::Undo.number());
    if lock_revision(connection, fence.source).await? == revision || other {
        Ok(())
    } else {
        Err(StoreError::ConfigChanged)
    }
}

/// Locks a source's schedule, if it has one: its version, and when it runs next.
pub(crate) async fn lock_schedule(
    connection: &mut Connection,
    source: i64,
) -> Result<Option<(i64, Option<i64>)>> {
    let text = sql!("SELECT version, next_run_at FROM sync_schedules WHERE source_no = $1{LOCK}");
    Ok(query_as(text).bind(source).fetch_optional(connection).await?)
}

// --- tenants ---

/// A tenant's number, without a lock: it never changes.
pub(crate) async fn tenant_number(connection: &mut Connection, tenant: &TenantId) -> Result<TenantNo> {
    let number = query_scalar("SELECT tenant_no FROM tenants WHERE id = $1").bind(tenant.0.clone());
    number.fetch_optional(connection).await?.map(TenantNo).ok_or(StoreError::NotFound("tenant"))
}

/// A tenant's row, locked.
pub(crate) struct LockedTenant {
    pub(crate) number: TenantNo,
    pub(crate) is_suspended: bool,
}

/// Locks a tenant's row, whether it is suspended or not.
pub(crate) async fn lock_tenant(connection: &mut Connection, tenant: &TenantId) -> Result<LockedTenant> {
    let text = sql!("SELECT tenant_no, suspended_at FROM tenants WHERE id = $1{LOCK}");
    let row: Option<(i64, Option<i64>)> =
        query_as(text).bind(tenant.0.clone()).fetch_optional(connection).await?;
    let (number, suspended_at) = row.ok_or(StoreError::NotFound("tenant"))?;
    Ok(LockedTenant { number: TenantNo(number), is_suspended: suspended_at.is_some() })
}

/// The number of a tenant that is served; it stays so until the end of the transaction.
pub(crate) async fn lock_served_tenant(connection: &mut Connection, tenant: &TenantId) -> Result<TenantNo> {
    match lock_tenant(connection, tenant).await? {
        LockedTenant { is_suspended: true, .. } => Err(StoreError::TenantSuspended),
        LockedTenant { number, .. } => Ok(number),
    }
}

/// Locks the tenant's row and says how many seats are free; negative if the limit was lowered below
/// the use.
pub(crate) async fn lock_seats(connection: &mut Connection, tenant: TenantNo) -> Result<i64> {
    let text = sql!("SELECT license_limit - enabled_users FROM tenants WHERE tenant_no = $1{LOCK}");
    Ok(query_scalar(text).bind(tenant.0).fetch_one(connection).await?)
}

/// Locks the tenant's row for a new license limit and says what it is so far; none without a
/// tenant.
pub(crate) async fn lock_license_limit(
    connection: &mut Connection,
    tenant: &TenantId,
) -> Result<Option<i64>> {
    let text = sql!("SELECT license_limit FROM tenants WHERE id = $1{LOCK}");
    Ok(query_scalar(text).bind(tenant.0.clone()).fetch_optional(connection).await?)
}

/// The use of a license, with the tenant's row locked.
#[derive(FromRow)]
pub(crate) struct LicenseUse {
    pub(crate) id: String,
    pub(crate) enabled_users: i64,
    pub(crate) license_limit: i64,
    pub(crate) license_level: i64,
}

/// Locks the tenant's row and says how much of its license is used.
pub(crate) async fn lock_license(connection: &mut Connection, tenant: TenantNo) -> Result<LicenseUse> {
    let text = sql!(
        "SELECT id, enabled_users, license_limit, license_level FROM tenants WHERE tenant_no = \
         $1{LOCK}"
    );
    Ok(query_as(text).bind(tenant.0).fetch_one(connection).await?)
}

/// Who deletes users of a tenant, and until when, with its row locked.
#[derive(FromRow)]
pub(crate) struct DeletionLeaseRow {
    pub(crate) tenant_no: i64,
    pub(crate) deletion_owner: String,
    pub(crate) deletion_lease_expires_at: i64,
    pub(crate) suspended_at: Option<i64>,
}

/// Locks the tenant's row for its deletion lease.
pub(crate) async fn lock_deletion_lease(
    connection: &mut Connection,
    tenant: &TenantId,
) -> Result<DeletionLeaseRow> {
    let text = sql!(
        "SELECT tenant_no, deletion_owner, deletion_lease_expires_at, suspended_at FROM tenants \
         WHERE id = $1{LOCK}"
    );
    let row = query_as(text).bind(tenant.0.clone()).fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("tenant"))
}

// --- registration codes and routers ---

/// A registration code with its tenant.
#[derive(FromRow)]
pub(crate) struct LockedCode {
    pub(crate) tenant_no: i64,
    pub(crate) tenant: String,
    pub(crate) suspended_at: Option<i64>,
    pub(crate) id: String,
    pub(crate) router: String,
    pub(crate) sources: String,
    pub(crate) expires_at: i64,
    pub(crate) used_key: Option<Vec<u8>>,
    pub(crate) voided_at: Option<i64>,
}

/// Locks the code whose secret has this hash, not its tenant.
pub(crate) async fn lock_code(
    connection: &mut Connection,
    secret_hash: [u8; 32],
) -> Result<Option<LockedCode>> {
    let text = sql!(
        "SELECT c.tenant_no, t.id AS tenant, t.suspended_at, c.id, c.router, c.sources, \
         c.expires_at, c.used_key, c.voided_at FROM registration_codes c JOIN tenants t ON \
         t.tenant_no = c.tenant_no WHERE c.secret_hash = $1{LOCK_CODE}"
    );
    Ok(query_as(text).bind(secret_hash.to_vec()).fetch_optional(connection).await?)
}

/// A router's row, locked.
pub(crate) struct LockedRouter {
    pub(crate) tenant: TenantNo,
    pub(crate) standing: RouterStatus,
    pub(crate) sources: Vec<SourceId>,
}

/// Locks a router's row, if there is one.
pub(crate) async fn lock_router(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
) -> Result<Option<LockedRouter>> {
    let text = sql!(
        "SELECT state, generation, confirmed, enrolled_generation, recoveries, sources FROM \
         identity_routers WHERE tenant_no = $1 AND id = $2{LOCK}"
    );
    let row: Option<(i64, i64, i64, i64, i64, String)> =
        query_as(text).bind(tenant.0).bind(router.0.clone()).fetch_optional(connection).await?;
    row.map(|(state, newest, confirmed, enrolled, recoveries, sources)| {
        let standing =
            RouterStatus { state: codec::router_state(state)?, newest, confirmed, enrolled, recoveries };
        Ok(LockedRouter { tenant, standing, sources: codec::source_ids(&sources)? })
    })
    .transpose()
}

/// Checks that a router may still connect; holds until the end of the transaction. A revocation
/// voids the reads that are there, so no read may begin meanwhile.
pub(crate) async fn share_router(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
) -> Result<()> {
    let text = sql!("SELECT state FROM identity_routers WHERE tenant_no = $1 AND id = $2{SHARE}");
    let found: Option<i64> =
        query_scalar(text).bind(tenant.0).bind(router.0.clone()).fetch_optional(connection).await?;
    // A router is never deleted: one that is not there was never revoked.
    match found.map(codec::router_state).transpose()? {
        None | Some(RouterState::Active) => Ok(()),
        Some(RouterState::Suspended | RouterState::Revoked) => Err(StoreError::RouterInactive),
    }
}

// --- users ---

/// A user that may be deleted.
#[derive(FromRow)]
pub(crate) struct DoomedRow {
    #[sqlx(flatten)]
    pub(crate) standing: StandingRow,
    pub(crate) immutable_id: Vec<u8>,
    pub(crate) user_name: String,
    pub(crate) mail: String,
    pub(crate) added_job: i64,
    pub(crate) changed_job: i64,
}

const DOOMED: &str = sql!(
    "SELECT {STANDING}, u.immutable_id, u.user_name, u.mail, u.added_job, u.changed_job FROM users \
     u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1",
    STANDING = codec::STANDING
);

/// Locks the next users of a source whose time has come: a sign-in that comes now finds nothing
/// afterwards.
pub(crate) async fn lock_due_users(
    connection: &mut Connection,
    (tenant, source): (TenantNo, SourceNo),
    now: Timestamp,
    limit: i64,
) -> Result<Vec<DoomedRow>> {
    let text = sql!(
        "{DOOMED} AND u.source_no = $2 AND u.purge_at <= $3 ORDER BY u.purge_at, u.user_no LIMIT \
         $4{LOCK_USERS}"
    );
    let due = query_as(text).bind(tenant.0).bind(source.0).bind(now.0).bind(limit);
    Ok(due.fetch_all(connection).await?)
}

/// Locks one user.
pub(crate) async fn lock_user(
    connection: &mut Connection,
    tenant: TenantNo,
    user: UserNo,
) -> Result<DoomedRow> {
    let row = query_as(sql!("{DOOMED} AND u.user_no = $2{LOCK_USERS}")).bind(tenant.0).bind(user.0);
    row.fetch_optional(connection).await?.ok_or(StoreError::NotFound("user"))
}

// --- webhooks ---

/// An active webhook, to which messages may be written.
#[derive(FromRow)]
pub(crate) struct LockedWebhook {
    pub(crate) webhook_no: i64,
    pub(crate) uid: Vec<u8>,
    pub(crate) events: String,
    pub(crate) pending: i64,
    pub(crate) last_message: i64,
}

/// Locks the active webhooks of a tenant, in the order of their numbers.
pub(crate) async fn lock_webhooks(
    connection: &mut Connection,
    tenant: TenantNo,
) -> Result<Vec<LockedWebhook>> {
    let text = sql!(
        "SELECT webhook_no, uid, events, pending, last_message FROM webhooks WHERE tenant_no = $1 \
         AND state = {WEBHOOK_ACTIVE} ORDER BY webhook_no{LOCK}"
    );
    Ok(query_as(text).bind(tenant.0).fetch_all(connection).await?)
}

/// Locks a webhook: its version and its state; none if it was deleted meanwhile.
pub(crate) async fn lock_webhook(
    connection: &mut Connection,
    webhook: WebhookNo,
) -> Result<Option<(i64, i64)>> {
    let text = sql!("SELECT version, state FROM webhooks WHERE webhook_no = $1{LOCK}");
    Ok(query_as(text).bind(webhook.0).fetch_optional(connection).await?)
}

// --- the audit trail ---

/// Locks the head of a trail. The last lock of a transaction.
pub(crate) async fn lock_audit_head(connection: &mut Connection, trail: TenantNo) -> Result<AuditHead> {
    let text = sql!("SELECT sequence, hash FROM audit_heads WHERE tenant_no = $1{LOCK}");
    let (sequence, hash) = query_as(text).bind(trail.0).fetch_one(connection).await?;
    codec::audit_head(sequence, hash)
}
