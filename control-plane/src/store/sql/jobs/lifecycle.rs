//! Sync jobs: queued, claimed, stopped, ended. Who may write for a job is in `seats`.

use std::time::Duration;

use uuid::Uuid;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::statement::sql;
use super::super::words::{JOB_FAILED, JOB_HELD, JOB_QUEUED, JOB_RUNNING, JOB_STOPPED};
use super::super::{codec, locks, statement};
use super::new_job::Noted;
use super::{absent_marks, details, holds, job, leftovers, new_job, outcomes, prune, warnings};
use crate::model::{
    Call, EventType, Failure, Fence, JobKind, JobNo, JobState, SourceId, SourceNo, SyncJob, SyncPlan,
    TenantId, Timestamp, spelled,
};
use crate::store::{NewJob, Outcome, Result, StoreError};

pub(crate) async fn create(connection: &mut Connection, new: &NewJob) -> Result<SyncJob> {
    let row = locks::lock_source(connection, &new.tenant, &new.source).await?;
    let source = row.source_no;
    if let Some(request) = &new.request_id {
        let same =
            statement::query_scalar("SELECT job_no FROM sync_jobs WHERE source_no = $1 AND request_id = $2");
        let same: Option<i64> =
            same.bind(source).bind(request.clone()).fetch_optional(&mut *connection).await?;
        if let Some(job) = same {
            return job::by_number(connection, JobNo(job)).await;
        }
    }
    let running = statement::query_scalar(sql!(
        "SELECT id FROM sync_jobs WHERE source_no = $1 AND state IN ({JOB_QUEUED}, {JOB_RUNNING})"
    ));
    let running: Option<Vec<u8>> = running.bind(source).fetch_optional(&mut *connection).await?;
    if let Some(job) = running {
        return Err(StoreError::JobRunning(codec::uuid(&job)?));
    }
    let revision = locks::lock_revision(connection, SourceNo(source)).await?;
    let Noted { kind, origin, settings } = new_job::check(connection, &row, new).await?;
    let superseded = match kind {
        JobKind::DryRun => None,
        _ => holds::supersede(connection, source, new.now).await?,
    };
    let tenant = locks::lock_served_tenant(connection, &new.tenant).await?;
    let number = locks::next_number(connection, "job").await?;
    statement::query(sql!(
        "INSERT INTO sync_jobs (job_no, id, tenant_no, source_no, state, revision, started_by, \
             request_id, created_at, kind, origin, settings) VALUES ($1, $2, $3, $4, {JOB_QUEUED}, \
             $5, $6, $7, $8, $9, $10, $11)"
    ))
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
        outcomes::of_hold(connection, kind, &job, &Call::system(new.now)).await?;
    }
    prune::prune(connection, source, number, new).await?;
    let job = job::by_number(connection, JobNo(number)).await?;
    let mut event = append::of_job(EventType::SyncStarted, &job)
        .with("revision", job.revision)
        .with("kind", spelled(job.kind));
    if let Some(origin) = job.origin {
        event = event.with("origin", origin);
    }
    let call = Call { by: new.started_by.clone(), now: new.now };
    append::record_of_job(connection, &job, &call, event).await?;
    Ok(job)
}

pub(crate) async fn stop(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    id: Option<Uuid>,
    call: &Call,
) -> Result<SyncJob> {
    let found = job::job(connection, tenant, source, id).await?;
    let stopped = end_stopped(connection, found.number, call).await?;
    leftovers::forget_absent(connection, found.number).await?;
    leftovers::forget_deferred(connection, found.number).await?;
    let job = job::by_number(connection, found.number).await?;
    if stopped {
        outcomes::stopped(connection, &job, call).await?;
    }
    Ok(job)
}

/// Ends a job as a stopped one. False if it has ended.
pub(crate) async fn end_stopped(connection: &mut Connection, job: JobNo, call: &Call) -> Result<bool> {
    let ended = statement::query(sql!(
        "UPDATE sync_jobs SET state = {JOB_STOPPED}, phase = NULL, stopped_by = $2, ended_at = \
             $3, waiting = 0 WHERE job_no = $1 AND state IN ({JOB_QUEUED}, {JOB_RUNNING}, \
             {JOB_HELD})"
    ))
    .bind(job.0)
    .bind(call.by.name.clone())
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    leftovers::forget_id_pairs(connection, job).await?;
    Ok(true)
}

/// Whoever had the job before can write nothing from here on: the epoch is another.
pub(crate) async fn claim(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    lease: Duration,
    now: Timestamp,
) -> Result<bool> {
    let claimed = statement::query(sql!(
        "UPDATE sync_jobs SET state = {JOB_RUNNING}, owner = $2, lease_expires_at = $3, epoch = \
         epoch + 1 WHERE job_no = $1 AND (state = {JOB_QUEUED} OR (state = {JOB_RUNNING} AND \
         lease_expires_at <= $4))"
    ))
    .bind(job.0)
    .bind(owner.to_owned())
    .bind(now.plus(lease).0)
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(claimed.rows_affected() == 1)
}

pub(crate) async fn renew(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    lease: Duration,
    now: Timestamp,
) -> Result<bool> {
    let renewed = statement::query(sql!(
        "UPDATE sync_jobs SET lease_expires_at = $3 WHERE job_no = $1 AND owner = $2 AND state \
             = {JOB_RUNNING}"
    ))
    .bind(job.0)
    .bind(owner.to_owned())
    .bind(now.plus(lease).0)
    .execute(connection)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

pub(crate) async fn fail(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    failure: &Failure,
    now: Timestamp,
) -> Result<()> {
    let failed = statement::query(sql!(
        "UPDATE sync_jobs SET state = {JOB_FAILED}, phase = NULL, failure_reason = $3, \
             failure_message = $4, ended_at = $5, waiting = 0 WHERE job_no = $1 AND owner = $2 AND \
             state = {JOB_RUNNING}"
    ))
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
    leftovers::forget_deferred(connection, job).await?;
    leftovers::forget_id_pairs(connection, job).await?;
    let job = job::by_number(connection, job).await?;
    outcomes::ended(connection, &job, now).await
}

async fn note_plan(connection: &mut Connection, fence: Fence, plan: &SyncPlan) -> Result<()> {
    let (reason, message) = plan.doubts.first().map(|check| (check.reason, check.message.clone())).unzip();
    statement::query(
        "UPDATE sync_jobs SET plan_expires_at = $2, plan_reason = $3, plan_message = $4, \
         hold_checks = $5 WHERE job_no = $1",
    )
    .bind(fence.job.0)
    .bind(plan.expires_at.0)
    .bind(reason.map(|reason| i64::from(reason.number())))
    .bind(message)
    .bind(codec::to_json(&plan.doubts)?)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn finish(
    connection: &mut Connection,
    fence: Fence,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<SyncJob> {
    let locked = locks::lock_job(connection, fence).await?;
    let (state, failure, withheld) = match outcome {
        Outcome::Succeeded { withheld, facts } => {
            locks::lock_same_revision(connection, fence).await?;
            if let Some(facts) = facts {
                statement::query(
                    "UPDATE identity_sources SET last_read = $2, last_read_revision = \
                     published_revision WHERE source_no = $1",
                )
                .bind(fence.source.0)
                .bind(codec::to_json(facts)?)
                .execute(&mut *connection)
                .await?;
                absent_marks::settle_due(connection, fence, locked.reads).await?;
            }
            (JobState::Succeeded, None, withheld.as_ref())
        }
        Outcome::Planned { plan, withheld } => {
            locks::lock_same_revision(connection, fence).await?;
            note_plan(connection, fence, plan).await?;
            (JobState::Succeeded, None, withheld.as_ref())
        }
        Outcome::Failed(failure) => (JobState::Failed, Some(failure), None),
    };
    statement::query(
        "UPDATE sync_jobs SET state = $2, phase = NULL, failure_reason = $3, failure_message = $4, \
         withheld_users = $5, withheld_message = $6, ended_at = $7, progress_at = $7, read_facts = \
         NULL, waiting = 0 WHERE job_no = $1",
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
        leftovers::forget_absent(connection, fence.job).await?;
    }
    leftovers::forget_deferred(connection, fence.job).await?;
    if state != JobState::Succeeded {
        leftovers::forget_id_pairs(connection, fence.job).await?;
    }
    if matches!(outcome, Outcome::Succeeded { .. }) {
        warnings::record(connection, fence).await?;
    }
    let job = job::by_number(connection, fence.job).await?;
    if job.kind == JobKind::Undo {
        details::name_details(connection, fence).await?;
    }
    outcomes::ended(connection, &job, now).await?;
    Ok(job)
}
