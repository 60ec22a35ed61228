//! Carries one job from its first read to its end: picks a router, orders the read, reads again
//! after a loss, reconciles, finishes.

use std::sync::Arc;
use std::time::Duration;

use super::interruption::{Interruption, MAX_ATTEMPTS, StoreFailures};
use super::job_run::{JobRun, fail, finish};
use super::read::read;
use super::routers::{Routers, another_router_may};
use crate::jobs::directory_retry::DirectoryRetry;
use crate::jobs::lease::Lease;
use crate::jobs::reconcile_end::ReconcileEnd;
use crate::jobs::{Inner, ReadEnd, leavers, undo};
use crate::model::{Decision, Failure, FailureReason, JobKind, RouterId, SyncJob};
use crate::store::{Outcome, StoreError};

/// Reads lost in a row after which the pause is long: it is not a link that flickers.
const MAX_QUICK_RETRIES: u32 = 10;
/// Pause before a read is repeated.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a read is repeated that was lost many times in a row.
const LONG_RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Carries a job from its first read to its end.
pub(super) async fn carry_out(
    inner: &Arc<Inner>,
    lease: &Lease,
    last: Option<RouterId>,
) -> Result<SyncJob, Interruption> {
    let job = inner.store.job_by_number(lease.job).await?;
    if job.kind == JobKind::Undo {
        return run_undo(inner, lease, &job).await;
    }
    let source = inner.store.source(&job.tenant, &job.source).await?;
    let settings = match (inner.store.draft_of(lease.job).await?, source.published) {
        (Some(draft), _) => draft,
        (None, Some(settings)) if source.published_revision == job.revision => settings,
        _ => return fail(inner, lease, Failure::of(FailureReason::ConfigChanged)).await,
    };
    let approved = job.hold.as_ref().filter(|hold| hold.decision == Decision::Approved);
    // An approval comes before its hold expires: a bound that does not move.
    let begun = approved.map_or(job.created_at, |hold| hold.expires_at);
    let approved = approved.is_some();
    let left = begun.plus(inner.settings.job_deadline).0.saturating_sub(inner.clock.now().0);
    let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
    let run = JobRun { inner, lease, job: &job, settings: &settings };
    let mut routers = Routers::new(&job, &settings, last);
    let work = async {
        if approved {
            resume_approved(&run, &mut routers).await
        } else {
            read_and_reconcile(&run, &mut routers).await
        }
    };
    match tokio::time::timeout(left, work).await {
        Ok(ended) => ended,
        Err(_) => run.fail(Failure::of(FailureReason::Stuck)).await,
    }
}

/// Undoes a job, again after a refusal of the store.
async fn run_undo(inner: &Arc<Inner>, lease: &Lease, job: &SyncJob) -> Result<SyncJob, Interruption> {
    let mut failures = StoreFailures::default();
    loop {
        let (fence, end) = undo::undo(inner, lease).await?;
        match finish(inner, fence, end).await {
            Err(Interruption::Store(error)) => failures.record_error(error)?,
            Ok(Some(job)) => return Ok(job),
            Ok(None) => {}
            Err(interruption) => return Err(interruption),
        }
        tracing::info!(job = %job.id, "undoing again");
        if failures.are_too_many() {
            return fail(inner, lease, Failure::of(FailureReason::Internal)).await;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Reads until a read is complete or has failed for good.
async fn read_and_reconcile(run: &JobRun<'_>, routers: &mut Routers) -> Result<SyncJob, Interruption> {
    let JobRun { inner, job, settings, .. } = *run;
    let (mut incomplete, mut lost, mut failures) = (0, 0, StoreFailures::default());
    let mut retry = DirectoryRetry::new(inner.settings.directory_deadline);
    loop {
        let mut wait_for_directory = None;
        let session = routers.wait(inner).await?;
        match read(run, &session).await? {
            None => {
                tracing::info!(job = %job.id, "read lost with its router or link; reading again");
                routers.record_lost(session.router());
                lost += 1;
            }
            Some(ReadEnd::Interrupted(error)) => failures.record_error(error)?,
            Some(ReadEnd::Failed(failure)) if another_router_may(failure.reason) => {
                tracing::info!(job = %job.id, reason = ?failure.reason, router = %session.router(), "router cannot read the source");
                if !routers.record_unable(inner, session.router()) {
                    return run.fail(failure).await;
                }
            }
            Some(ReadEnd::BrokenOff(failure)) => {
                wait_for_directory = retry.broken_off();
                if wait_for_directory.is_none() {
                    return run.fail(failure).await;
                }
                tracing::info!(job = %job.id, wait = ?wait_for_directory, "the directory broke off a read; reading again");
            }
            Some(ReadEnd::Failed(failure)) if failure.reason == FailureReason::ReadIncomplete => {
                incomplete += 1;
                if incomplete >= MAX_ATTEMPTS {
                    return run.fail(failure).await;
                }
                tracing::info!(job = %job.id, "read incomplete; reading again");
            }
            Some(ReadEnd::Failed(failure)) => {
                wait_for_directory = retry.failed(failure.reason);
                if wait_for_directory.is_none() {
                    return run.fail(failure).await;
                }
                tracing::info!(job = %job.id, wait = ?wait_for_directory, "the directory is not back; reading again");
            }
            Some(ReadEnd::Complete(intake, completed)) => {
                let fence = intake.fence();
                let facts = completed.facts;
                let end = leavers::reconcile(inner, &intake, &session, (settings, facts), &mut retry).await;
                match finish(inner, fence, end).await {
                    Ok(Some(job)) => return Ok(job),
                    Ok(None) => {
                        routers.record_lost(session.router());
                        lost += 1;
                    }
                    Err(Interruption::Store(error)) => failures.record_error(error)?,
                    Err(interruption) => return Err(interruption),
                }
            }
        }
        if failures.are_too_many() {
            return run.fail(Failure::of(FailureReason::Internal)).await;
        }
        let usual = if lost < MAX_QUICK_RETRIES { RETRY_PAUSE } else { LONG_RETRY_PAUSE };
        tokio::time::sleep(wait_for_directory.unwrap_or(usual)).await;
    }
}

/// Resumes a job that an administrator approved.
async fn resume_approved(run: &JobRun<'_>, routers: &mut Routers) -> Result<SyncJob, Interruption> {
    let JobRun { inner, lease, settings, .. } = *run;
    let (mut attempts, mut failures) = (0, StoreFailures::default());
    let mut retry = DirectoryRetry::new(inner.settings.directory_deadline);
    loop {
        let mut wait_for_directory = None;
        let session = routers.wait(inner).await?;
        let start = inner.store.begin_approved(lease.job, &lease.owner, inner.clock.now()).await?;
        match leavers::disable_approved(inner, &start, &session, settings).await {
            // A directory that hiccups, or a router that may not: the approval is not lost for it.
            Ok(ReconcileEnd::Finish(Outcome::Failed(failure))) if another_router_may(failure.reason) => {
                if !routers.record_unable(inner, session.router()) {
                    return run.fail(failure).await;
                }
            }
            Ok(ReconcileEnd::Finish(Outcome::Failed(failure))) => {
                wait_for_directory = retry.unreachable(failure.reason);
                attempts += 1;
                if wait_for_directory.is_none() && attempts >= MAX_ATTEMPTS {
                    return run.fail(failure).await;
                }
            }
            Err(error @ StoreError::Broken(_)) => failures.record_error(error)?,
            end => {
                if let Some(job) = finish(inner, start.fence, end).await? {
                    return Ok(job);
                }
                routers.record_lost(session.router());
            }
        }
        if failures.are_too_many() {
            return run.fail(Failure::of(FailureReason::Internal)).await;
        }
        tokio::time::sleep(wait_for_directory.unwrap_or(RETRY_PAUSE)).await;
    }
}
