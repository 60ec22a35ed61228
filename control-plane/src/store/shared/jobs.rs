//! Sync jobs: queued, claimed, stopped, ended. Who may write for a job is in `seats`.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::engine::Connection;
use super::works::{self, Noted};
use super::{audit, catalog, holds, next_number, outcomes, pairs, reads, seats, standing, undo};
use crate::model::{
    Actor, Counts, Decision, EventType, Failure, FailureReason, Fence, Hold, HoldReason, JobKind, JobNo,
    JobState, JobSummary, Phase, RouterId, SourceId, SourceNo, SyncJob, SyncPlan, TenantId, TenantNo,
    Timestamp, Withheld, spelled,
};
use crate::store::{NewJob, Outcome, Result, StoreError};

/// Journals that are kept of a source's newest jobs.
pub(super) const JOURNALS: i64 = 10;
/// Jobs that are kept of a source.
const JOBS: i64 = 100;
/// Jobs that are kept in any case.
const JOBS_KEPT: Duration = Duration::from_secs(25 * 3_600);

const JOB: &str = "SELECT j.job_no, j.id, t.id AS tenant, j.tenant_no, s.id AS source, j.source_no, j.state, j.phase, j.revision, \
     j.router, j.reads, j.added, j.updated, j.unchanged, j.disabled, j.not_synchronized, j.reenabled, j.disabled_in_directory, \
     j.waiting, j.still_in_scope, j.expected, j.failure_reason, j.failure_message, j.withheld_users, j.withheld_message, j.hold_reason, \
     j.hold_message, j.hold_users, j.hold_etag, j.held_at, j.hold_expires_at, j.hold_decision, j.hold_decided_by, j.started_by, \
     j.stopped_by, j.created_at, j.started_at, j.progress_at, j.ended_at, j.kind, o.id AS origin, j.plan_expires_at, j.plan_reason, \
     j.plan_message, j.settings IS NOT NULL AS of_draft FROM sync_jobs j LEFT JOIN sync_jobs o ON o.job_no = j.origin JOIN tenants t ON t.tenant_no = j.tenant_no \
     JOIN identity_sources s ON s.source_no = j.source_no";

#[derive(sqlx::FromRow)]
struct JobRow {
    job_no: i64,
    id: Vec<u8>,
    tenant: String,
    tenant_no: i64,
    source: String,
    source_no: i64,
    state: i64,
    phase: Option<i64>,
    revision: i64,
    router: Option<String>,
    reads: i64,
    added: i64,
    updated: i64,
    unchanged: i64,
    disabled: i64,
    not_synchronized: i64,
    reenabled: i64,
    disabled_in_directory: i64,
    waiting: i64,
    still_in_scope: i64,
    expected: i64,
    failure_reason: Option<i64>,
    failure_message: Option<String>,
    withheld_users: Option<i64>,
    withheld_message: Option<String>,
    hold_reason: Option<i64>,
    hold_message: Option<String>,
    hold_users: Option<i64>,
    hold_etag: Option<String>,
    held_at: Option<i64>,
    hold_expires_at: Option<i64>,
    hold_decision: i64,
    hold_decided_by: String,
    started_by: String,
    stopped_by: String,
    created_at: i64,
    started_at: Option<i64>,
    progress_at: i64,
    ended_at: Option<i64>,
    kind: i64,
    origin: Option<Vec<u8>>,
    plan_expires_at: Option<i64>,
    plan_reason: Option<i64>,
    plan_message: Option<String>,
    of_draft: bool,
}

pub(super) fn small(number: i64) -> i16 {
    i16::try_from(number).unwrap_or_default()
}

impl TryFrom<JobRow> for SyncJob {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<Self> {
        let unknown = || StoreError::Broken("a job with an unknown state".into());
        let failure = row.failure_reason.map(|reason| Failure {
            reason: FailureReason::from_number(small(reason)).unwrap_or(FailureReason::Internal),
            message: row.failure_message.unwrap_or_default(),
        });
        let withheld = row
            .withheld_users
            .map(|users| Withheld { users, message: row.withheld_message.unwrap_or_default() });
        let hold =
            row.hold_reason.and_then(|reason| HoldReason::from_number(small(reason))).map(|reason| Hold {
                reason,
                message: row.hold_message.unwrap_or_default(),
                users: row.hold_users.unwrap_or_default(),
                etag: row.hold_etag.unwrap_or_default(),
                since: Timestamp(row.held_at.unwrap_or_default()),
                expires_at: Timestamp(row.hold_expires_at.unwrap_or_default()),
                decision: Decision::from_number(small(row.hold_decision)).unwrap_or(Decision::Pending),
                decided_by: row.hold_decided_by,
            });
        let doubt = row.plan_reason.and_then(|reason| HoldReason::from_number(small(reason)));
        let plan = row.plan_expires_at.map(|expires_at| SyncPlan {
            expires_at: Timestamp(expires_at),
            doubt: doubt.map(|reason| (reason, row.plan_message.unwrap_or_default())),
            of_draft: row.of_draft,
        });
        Ok(Self {
            kind: JobKind::from_number(small(row.kind)).ok_or_else(unknown)?,
            origin: row.origin.as_deref().map(uuid).transpose()?,
            plan,
            number: JobNo(row.job_no),
            id: uuid(&row.id)?,
            tenant: TenantId(row.tenant),
            tenant_no: TenantNo(row.tenant_no),
            source: SourceId(row.source),
            source_no: SourceNo(row.source_no),
            state: JobState::from_number(small(row.state)).ok_or_else(unknown)?,
            phase: row.phase.map(|phase| Phase::from_number(small(phase)).ok_or_else(unknown)).transpose()?,
            counts: Counts {
                added: row.added,
                updated: row.updated,
                unchanged: row.unchanged,
                disabled: row.disabled,
                not_synchronized: row.not_synchronized,
                reenabled: row.reenabled,
                disabled_in_directory: row.disabled_in_directory,
                waiting: row.waiting,
                still_in_scope: row.still_in_scope,
            },
            expected: row.expected,
            failure,
            withheld,
            hold,
            revision: i32::try_from(row.revision).unwrap_or(i32::MAX),
            router: row.router.map(RouterId),
            reads: row.reads,
            started_by: row.started_by,
            stopped_by: row.stopped_by,
            created_at: Timestamp(row.created_at),
            started_at: row.started_at.map(Timestamp),
            progress_at: Timestamp(row.progress_at.max(row.created_at)),
            ended_at: row.ended_at.map(Timestamp),
        })
    }
}

pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(super) async fn by_number(connection: &mut Connection, job: JobNo) -> Result<SyncJob> {
    let query = sqlx::query_as(AssertSqlSafe(format!("{JOB} WHERE j.job_no = $1"))).bind(job.0);
    let row: Option<JobRow> = query.fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("sync job"))?.try_into()
}

pub(super) async fn job(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    id: Option<Uuid>,
) -> Result<SyncJob> {
    let source = catalog::row(connection, tenant, source, false).await?.source_no;
    let row: Option<JobRow> = match id {
        Some(id) => {
            let query = sqlx::query_as(AssertSqlSafe(format!("{JOB} WHERE j.source_no = $1 AND j.id = $2")));
            query.bind(source).bind(id.as_bytes().to_vec()).fetch_optional(connection).await?
        }
        None => {
            let text = format!("{JOB} WHERE j.source_no = $1 ORDER BY j.job_no DESC LIMIT 1");
            sqlx::query_as(AssertSqlSafe(text)).bind(source).fetch_optional(connection).await?
        }
    };
    row.ok_or(StoreError::NotFound("sync job"))?.try_into()
}

pub(super) async fn list(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    before: Option<JobNo>,
    limit: i64,
) -> Result<Vec<SyncJob>> {
    let source = catalog::row(connection, tenant, source, false).await?.source_no;
    let text = format!("{JOB} WHERE j.source_no = $1 AND j.job_no < $2 ORDER BY j.job_no DESC LIMIT $3");
    let query = sqlx::query_as(AssertSqlSafe(text))
        .bind(source)
        .bind(before.map_or(i64::MAX, |job| job.0))
        .bind(limit);
    let rows: Vec<JobRow> = query.fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn create(connection: &mut Connection, new: &NewJob) -> Result<SyncJob> {
    let row = catalog::row(connection, &new.tenant, &new.source, true).await?;
    let source = row.source_no;
    if let Some(request) = &new.request_id {
        let same =
            sqlx::query_scalar("SELECT job_no FROM sync_jobs WHERE source_no = $1 AND request_id = $2");
        let same: Option<i64> =
            same.bind(source).bind(request.clone()).fetch_optional(&mut *connection).await?;
        if let Some(job) = same {
            return by_number(connection, JobNo(job)).await;
        }
    }
    let running = sqlx::query_scalar("SELECT id FROM sync_jobs WHERE source_no = $1 AND state IN (1, 2)");
    let running: Option<Vec<u8>> = running.bind(source).fetch_optional(&mut *connection).await?;
    if let Some(job) = running {
        return Err(StoreError::JobRunning(uuid(&job)?));
    }
    let revision = catalog::locked_revision(connection, SourceNo(source)).await?;
    let Noted { kind, origin, settings } = works::check(connection, &row, new).await?;
    let superseded = match kind {
        JobKind::DryRun => None,
        _ => holds::supersede(connection, source, new.now).await?,
    };
    let tenant = standing::served(connection, &new.tenant).await?;
    let number = next_number(connection, "job").await?;
    sqlx::query(
        "INSERT INTO sync_jobs (job_no, id, tenant_no, source_no, state, revision, started_by, request_id, created_at, kind, origin, \
         settings) VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(number)
    .bind(new.id.as_bytes().to_vec())
    .bind(tenant.0)
    .bind(source)
    .bind(revision)
    .bind(new.started_by.name.clone())
    .bind(new.request_id.clone())
    .bind(new.now.0)
    .bind(i64::from(kind.number()))
    .bind(origin)
    .bind(settings)
    .execute(&mut *connection)
    .await?;
    // Told before its details are thrown away.
    if let Some(job) = superseded {
        let kind = EventType::SyncHoldSuperseded;
        outcomes::of_hold(connection, kind, &job, &Actor::system(), new.now).await?;
    }
    prune(connection, source, number, new).await?;
    let job = by_number(connection, JobNo(number)).await?;
    let mut event = audit::of_job(EventType::SyncStarted, &job)
        .with("revision", job.revision)
        .with("kind", spelled(job.kind));
    if let Some(origin) = job.origin {
        event = event.with("origin", origin);
    }
    audit::record_of_job(connection, &job, &new.started_by, event, new.now).await?;
    Ok(job)
}

/// Throws away what is kept of a source's newest jobs only.
async fn prune(connection: &mut Connection, source: i64, newest: i64, new: &NewJob) -> Result<()> {
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

pub(super) async fn stop(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    id: Option<Uuid>,
    by: &Actor,
    now: Timestamp,
) -> Result<SyncJob> {
    let found = job(connection, tenant, source, id).await?;
    let stopped = end_stopped(connection, found.number, by, now).await?;
    holds::forget(connection, found.number).await?;
    forget_deferred(connection, found.number).await?;
    let job = by_number(connection, found.number).await?;
    if stopped {
        outcomes::stopped(connection, &job, by, now).await?;
    }
    Ok(job)
}

/// Ends a job as a stopped one. False if it has ended.
pub(super) async fn end_stopped(
    connection: &mut Connection,
    job: JobNo,
    by: &Actor,
    now: Timestamp,
) -> Result<bool> {
    let ended = sqlx::query(
        "UPDATE sync_jobs SET state = 4, phase = NULL, stopped_by = $2, ended_at = $3, waiting = 0 \
         WHERE job_no = $1 AND state IN (1, 2, 6)",
    )
    .bind(job.0)
    .bind(by.name.clone())
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    pairs::forget(connection, job).await?;
    Ok(true)
}

pub(super) async fn forget_deferred(connection: &mut Connection, job: JobNo) -> Result<()> {
    sqlx::query("DELETE FROM deferred_records WHERE job_no = $1").bind(job.0).execute(connection).await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct SummaryRow {
    job_no: i64,
    tenant: String,
    source: String,
    created_at: i64,
    progress_at: i64,
    kind: i64,
    last_router: Option<String>,
}

pub(super) async fn unowned(
    connection: &mut Connection,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<JobSummary>> {
    let rows: Vec<SummaryRow> = sqlx::query_as(
        "SELECT j.job_no, t.id AS tenant, s.id AS source, j.created_at, j.progress_at, j.kind, (SELECT l.router FROM sync_jobs l \
         WHERE l.source_no = j.source_no AND l.router IS NOT NULL ORDER BY l.job_no DESC LIMIT 1) AS last_router \
         FROM sync_jobs j JOIN tenants t ON t.tenant_no = j.tenant_no JOIN identity_sources s ON s.source_no = j.source_no \
         WHERE j.state = 1 OR (j.state = 2 AND j.lease_expires_at <= $1) ORDER BY j.job_no LIMIT $2",
    )
    .bind(now.0)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let summary = |row: SummaryRow| JobSummary {
        number: JobNo(row.job_no),
        tenant: TenantId(row.tenant),
        source: SourceId(row.source),
        kind: JobKind::from_number(small(row.kind)).unwrap_or(JobKind::Sync),
        progress_at: Timestamp(row.progress_at.max(row.created_at)),
        last_router: row.last_router.map(RouterId),
    };
    Ok(rows.into_iter().map(summary).collect())
}

/// Whoever had the job before can write nothing from here on: the epoch is another.
pub(super) async fn claim(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    lease: Duration,
    now: Timestamp,
) -> Result<bool> {
    let claimed = sqlx::query(
        "UPDATE sync_jobs SET state = 2, owner = $2, lease_expires_at = $3, epoch = epoch + 1 \
         WHERE job_no = $1 AND (state = 1 OR (state = 2 AND lease_expires_at <= $4))",
    )
    .bind(job.0)
    .bind(owner.to_owned())
    .bind(now.plus(lease).0)
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

pub(super) async fn renew(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    lease: Duration,
    now: Timestamp,
) -> Result<bool> {
    let renewed = sqlx::query(
        "UPDATE sync_jobs SET lease_expires_at = $3 WHERE job_no = $1 AND owner = $2 AND state = 2",
    )
    .bind(job.0)
    .bind(owner.to_owned())
    .bind(now.plus(lease).0)
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

pub(super) async fn fail(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    failure: &Failure,
    now: Timestamp,
) -> Result<()> {
    let failed = sqlx::query(
        "UPDATE sync_jobs SET state = 5, phase = NULL, failure_reason = $3, failure_message = $4, ended_at = $5, waiting = 0 \
         WHERE job_no = $1 AND owner = $2 AND state = 2",
    )
    .bind(job.0)
    .bind(owner.to_owned())
    .bind(i64::from(failure.reason.number()))
    .bind(failure.message.clone())
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    if failed.rows_affected() == 0 {
        return Err(StoreError::Fenced);
    }
    forget_deferred(connection, job).await?;
    pairs::forget(connection, job).await?;
    let job = by_number(connection, job).await?;
    outcomes::ended(connection, &job, now).await
}

async fn note_plan(connection: &mut Connection, fence: Fence, plan: &SyncPlan) -> Result<()> {
    let (reason, message) = plan.doubt.clone().unzip();
    sqlx::query(
        "UPDATE sync_jobs SET plan_expires_at = $2, plan_reason = $3, plan_message = $4 WHERE job_no = $1",
    )
    .bind(fence.job.0)
    .bind(plan.expires_at.0)
    .bind(reason.map(|reason| i64::from(reason.number())))
    .bind(message)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn finish(
    connection: &mut Connection,
    fence: Fence,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<SyncJob> {
    seats::lock_job(connection, fence).await?;
    let (state, failure, withheld) = match outcome {
        Outcome::Succeeded { withheld, facts } => {
            reads::same_revision(connection, fence).await?;
            if let Some(facts) = facts {
                sqlx::query(
                    "UPDATE identity_sources SET last_read = $2, last_read_revision = published_revision WHERE source_no = $1",
                )
                .bind(fence.source.0)
                .bind(catalog::json(facts)?)
                .execute(&mut *connection)
                .await?;
            }
            (JobState::Succeeded, None, withheld.as_ref())
        }
        Outcome::Planned { plan, withheld } => {
            reads::same_revision(connection, fence).await?;
            note_plan(connection, fence, plan).await?;
            (JobState::Succeeded, None, withheld.as_ref())
        }
        Outcome::Failed(failure) => (JobState::Failed, Some(failure), None),
    };
    sqlx::query(
        "UPDATE sync_jobs SET state = $2, phase = NULL, failure_reason = $3, failure_message = $4, withheld_users = $5, \
         withheld_message = $6, ended_at = $7, progress_at = $7, read_facts = NULL, waiting = 0 WHERE job_no = $1",
    )
    .bind(fence.job.0)
    .bind(i64::from(state.number()))
    .bind(failure.map(|failure| i64::from(failure.reason.number())))
    .bind(failure.map(|failure| failure.message.clone()))
    .bind(withheld.map(|withheld| withheld.users))
    .bind(withheld.map(|withheld| withheld.message.clone()))
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    // Those of a job that is not trusted are what the next one is compared with.
    if !matches!(outcome, Outcome::Succeeded { withheld: Some(_), .. }) {
        holds::forget(connection, fence.job).await?;
    }
    forget_deferred(connection, fence.job).await?;
    if state != JobState::Succeeded {
        pairs::forget(connection, fence.job).await?;
    }
    let job = by_number(connection, fence.job).await?;
    if job.kind == JobKind::Undo {
        undo::name_details(connection, fence).await?;
    }
    outcomes::ended(connection, &job, now).await?;
    Ok(job)
}
