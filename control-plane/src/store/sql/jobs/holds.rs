//! Disables that wait for an administrator: noted user by user, held, and then approved, rejected
//! or left until they expire.

use uuid::Uuid;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::statement::sql;
use super::super::transaction::Engine;
use super::super::users::versions;
use super::super::words::{DECISION_APPROVED, JOB_HELD, JOB_RUNNING, JOB_SUCCEEDED, PHASE_RECONCILING};
use super::super::{codec, locks, statement};
use super::{job, leftovers, outcomes, warnings};
use crate::model::{
    Call, Decision, EventType, Fence, Hold, HoldReason, JobNo, ReadFacts, SourceId, SourceNo, SyncJob,
    TenantId, TenantNo, Timestamp, Withheld,
};
use crate::store::{ApprovedStart, Result, StoreError};

/// Holds a job: what it has applied stays, nobody owns it any more, and its list waits.
pub(crate) async fn hold(
    connection: &mut Connection,
    fence: Fence,
    hold: &Hold,
    facts: &ReadFacts,
) -> Result<SyncJob> {
    locks::lock_job(connection, fence).await?;
    locks::lock_same_revision(connection, fence).await?;
    statement::query(sql!(
        "UPDATE sync_jobs SET state = {JOB_HELD}, phase = NULL, owner = '', lease_expires_at = \
             0, hold_reason = $2, hold_message = $3, hold_users = $4, hold_etag = $5, held_at = \
             $6, hold_expires_at = $7, read_facts = $8, progress_at = $6, hold_checks = $9 WHERE \
             job_no = $1"
    ))
    .bind(fence.job.0)
    .bind(i64::from(hold.reason.number()))
    .bind(hold.message.clone())
    .bind(hold.users)
    .bind(hold.etag.clone())
    .bind(hold.since.0)
    .bind(hold.expires_at.0)
    .bind(codec::to_json(facts)?)
    .bind(codec::to_json(&hold.broken)?)
    .execute(&mut *connection)
    .await?;
    let is_guard = |reason| matches!(reason, HoldReason::DisableGuard | HoldReason::UnexplainedAbsences);
    if is_guard(hold.reason) && hold.broken.iter().all(|check| is_guard(check.reason)) {
        // The read itself is beyond doubt. If it is the first of its revision, the next one is
        // compared with it whatever is decided.
        statement::query(
            "UPDATE identity_sources SET last_read = $2, last_read_revision = published_revision \
             WHERE source_no = $1 AND last_read_revision <> published_revision",
        )
        .bind(fence.source.0)
        .bind(codec::to_json(facts)?)
        .execute(&mut *connection)
        .await?;
    }
    warnings::record(connection, fence).await?;
    let job = job::by_number(connection, fence.job).await?;
    outcomes::of_hold(connection, EventType::SyncHeld, &job, &Call::system(hold.since)).await?;
    Ok(job)
}

/// A job's row, locked, if the job is held.
async fn locked(connection: &mut Connection, job: &SyncJob) -> Result<Hold> {
    match (&job.hold, locks::lock_is_held(connection, job.number).await?) {
        (Some(hold), true) => Ok(hold.clone()),
        _ => Err(StoreError::NotHeld),
    }
}

/// The same where it is no error that somebody was quicker. Any other error is one: a lost race
/// must undo the whole transaction.
async fn still_held(connection: &mut Connection, job: &SyncJob) -> Result<Option<Hold>> {
    match locked(connection, job).await {
        Err(StoreError::NotHeld) => Ok(None),
        other => other.map(Some),
    }
}

/// Lets a held job go on, exactly with the list that `etag` names.
pub(crate) async fn approve(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    id: Option<Uuid>,
    etag: &str,
    call: &Call,
) -> Result<SyncJob> {
    let job = job::job(connection, tenant, source, id).await?;
    let hold = locked(connection, &job).await?;
    if hold.etag != etag {
        return Err(StoreError::HoldChanged);
    }
    if hold.expires_at <= call.now {
        return Err(StoreError::HoldExpired);
    }
    if locks::lock_revision(connection, job.source_no).await? != i64::from(job.revision) {
        return Err(StoreError::ConfigChanged);
    }
    statement::query(sql!(
        "UPDATE sync_jobs SET state = {JOB_RUNNING}, phase = {PHASE_RECONCILING}, \
             hold_decision = {DECISION_APPROVED}, hold_decided_by = $2, epoch = epoch + 1, \
             progress_at = $3 WHERE job_no = $1"
    ))
    .bind(job.number.0)
    .bind(call.by.name.clone())
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    // The directory's state is the true one from now on, whatever was seen before.
    let reasons = hold.broken.iter().map(|check| check.reason).chain([hold.reason]);
    if reasons.into_iter().any(|reason| reason == HoldReason::OlderServer) {
        versions::forget(connection, job.source_no, call.now).await?;
    }
    let event = append::of_job(EventType::SyncApproved, &job).with("users", hold.users).with("etag", etag);
    let job = job::by_number(connection, job.number).await?;
    append::record_of_job(connection, &job, call, event).await?;
    Ok(job)
}

/// Ends a held job without its disables.
pub(crate) async fn reject(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    id: Option<Uuid>,
    call: &Call,
) -> Result<SyncJob> {
    let job = job::job(connection, tenant, source, id).await?;
    let hold = locked(connection, &job).await?;
    release(connection, job.number, &hold, Decision::Rejected, &call.by.name, call.now).await?;
    let job = job::by_number(connection, job.number).await?;
    outcomes::of_hold(connection, EventType::SyncRejected, &job, call).await?;
    Ok(job)
}

/// Ends the next held job that nobody decided on in time. How many.
pub(crate) async fn expire_due(engine: &Engine, now: Timestamp) -> Result<usize> {
    // Asked every second, and there is hardly ever one: reading keeps nobody from writing.
    if expired(&mut *engine.reader().await?, now).await?.is_none() {
        return Ok(0);
    }
    engine.write(now, |connection, now| Box::pin(expire(connection, *now))).await
}

/// A held job that nobody decided on in time.
pub(crate) async fn expired(connection: &mut Connection, now: Timestamp) -> Result<Option<i64>> {
    let due = statement::query_scalar(sql!(
        "SELECT job_no FROM sync_jobs WHERE state = {JOB_HELD} AND hold_expires_at <= $1 LIMIT 1"
    ));
    Ok(due.bind(now.0).fetch_optional(connection).await?)
}

/// Ends the next such job. How many.
pub(crate) async fn expire(connection: &mut Connection, now: Timestamp) -> Result<usize> {
    let Some(job) = expired(connection, now).await? else { return Ok(0) };
    let job = job::by_number(connection, JobNo(job)).await?;
    let Some(hold) = still_held(connection, &job).await? else { return Ok(0) };
    release(connection, job.number, &hold, Decision::Expired, "", now).await?;
    let job = job::by_number(connection, job.number).await?;
    outcomes::of_hold(connection, EventType::SyncHoldExpired, &job, &Call::system(now)).await?;
    Ok(1)
}

/// Ends the held job of a source, if there is one, since a later one begins. Returns it: that it
/// ended is to be told.
pub(crate) async fn supersede(
    connection: &mut Connection,
    source: i64,
    now: Timestamp,
) -> Result<Option<SyncJob>> {
    let held = statement::query_scalar(sql!(
        "SELECT job_no FROM sync_jobs WHERE source_no = $1 AND state = {JOB_HELD}"
    ))
    .bind(source);
    let held: Option<i64> = held.fetch_optional(&mut *connection).await?;
    if let Some(job) = held {
        let job = job::by_number(connection, JobNo(job)).await?;
        if let Some(hold) = still_held(connection, &job).await? {
            release(connection, job.number, &hold, Decision::Superseded, "", now).await?;
            return job::by_number(connection, job.number).await.map(Some);
        }
    }
    Ok(None)
}

async fn release(
    connection: &mut Connection,
    job: JobNo,
    hold: &Hold,
    decision: Decision,
    by: &str,
    now: Timestamp,
) -> Result<()> {
    let message = match decision {
        Decision::Rejected => "An administrator rejected what the job would do.",
        Decision::Expired => {
            "No administrator decided in time. Synchronize again to see what is to be done now."
        }
        _ => "A later sync of the source took over.",
    };
    // A job that is held for what it would enable has disabled what it would.
    let withheld = Some(Withheld { users: hold.users, message: message.to_owned() })
        .filter(|_| hold.reason != HoldReason::MassEnable);
    let (users, message) = withheld.map(|withheld| (withheld.users, withheld.message)).unzip();
    statement::query(sql!(
        "UPDATE sync_jobs SET state = {JOB_SUCCEEDED}, phase = NULL, hold_decision = $2, \
             hold_decided_by = $3, withheld_users = $4, withheld_message = $5, ended_at = $6, \
             waiting = 0 WHERE job_no = $1 AND state = {JOB_HELD}"
    ))
    .bind(job.0)
    .bind(i64::from(decision.number()))
    .bind(by.to_owned())
    .bind(users)
    .bind(message)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    leftovers::forget_absent(connection, job).await?;
    leftovers::forget_deferred(connection, job).await
}

/// Takes up an approved job: whoever had it before can write nothing any more.
pub(crate) async fn begin_approved(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    now: Timestamp,
) -> Result<ApprovedStart> {
    let approved = locks::lock_approved_job(connection, job, owner).await?;
    statement::query(sql!(
        "UPDATE sync_jobs SET epoch = epoch + 1, phase = {PHASE_RECONCILING}, progress_at = $2 \
         WHERE job_no = $1"
    ))
    .bind(job.0)
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(ApprovedStart {
        fence: Fence {
            job,
            epoch: approved.epoch + 1,
            tenant: TenantNo(approved.tenant_no),
            source: SourceNo(approved.source_no),
        },
        held_at: Timestamp(approved.held_at.unwrap_or_default()),
        facts: approved.read_facts.as_deref().map(codec::read_facts).transpose()?.unwrap_or_default(),
    })
}
