//! Carries one job from its first read to its end: picks a router, orders the read, waits for it, reads again after a loss,
//! reconciles, finishes. Ends without a word as soon as the job is no longer this replica's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lease::{self, Lease};
use super::{Completed, Inner, Intake, Order, Session, SyncOrder, leavers};
use crate::model::{Failure, FailureReason, RouterId, SourceSettings, SyncJob, TenantId};
use crate::store::{Outcome, StoreError};

/// How often a directory that broke off in the middle is read from its beginning.
const READS: u32 = 3;
/// How often a job is claimed and its reads begun, in all, before it must be the job's own fault.
const ATTEMPTS: i64 = 100;
/// Pause before a read is repeated.
const PAUSE: Duration = Duration::from_secs(1);

/// How a read ended.
pub enum ReadEnd {
    /// The router said so, and its numbers are right.
    Complete(Box<Intake>, Completed),
    /// The router said why not.
    Failed(Failure),
}

/// A job that this replica runs.
pub(super) struct Slot {
    /// By which lease.
    lease: Arc<Lease>,
    /// Ends the run.
    pub(super) cancel: CancellationToken,
    /// The read that a router may open, until it does.
    waiting: Option<Waiting>,
}

struct Waiting {
    tenant: TenantId,
    router: RouterId,
    job: Uuid,
    epoch: i64,
    intake: Intake,
    opened: oneshot::Sender<()>,
}

impl Inner {
    pub(super) fn open_upload(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        job: Uuid,
        epoch: i64,
    ) -> Option<Intake> {
        let mut runs = self.runs();
        let slot = runs.values_mut().find(|slot| {
            slot.waiting.as_ref().is_some_and(|waiting| {
                (&waiting.tenant, &waiting.router, waiting.job, waiting.epoch) == (tenant, router, job, epoch)
            })
        })?;
        let waiting = slot.waiting.take()?;
        let _ = waiting.opened.send(());
        Some(waiting.intake)
    }

    /// Forgets a run that ended, unless another run of the job has taken its place.
    fn leave(&self, lease: &Lease) {
        let mut runs = self.runs();
        if runs.get(&lease.job).is_some_and(|slot| slot.lease.owner == lease.owner) {
            runs.remove(&lease.job);
        }
    }
}

/// Why a run ends without having ended the job.
enum Gone {
    /// The job was stopped, lost to another replica, or this one shuts down.
    NotOurs,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Gone {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::NotOurs,
            other => Self::Store(other),
        }
    }
}

/// Runs a job that this replica has claimed.
pub(super) async fn run(inner: Arc<Inner>, lease: Lease) {
    let (number, lease) = (lease.job, Arc::new(lease));
    let cancel = inner.shutdown.child_token();
    let slot = Slot { lease: Arc::clone(&lease), cancel: cancel.clone(), waiting: None };
    if let Some(former) = inner.runs().insert(number, slot) {
        former.cancel.cancel();
    }
    let keeper = tokio::spawn(lease::keep(Arc::clone(&inner), Arc::clone(&lease), cancel.clone()));
    // A panic ends this run only; its lease runs out and the job is taken up again.
    let work = tokio::spawn({
        let (inner, lease, cancel) = (Arc::clone(&inner), Arc::clone(&lease), cancel.clone());
        async move {
            tokio::select! {
                result = carry(&inner, &lease) => result,
                () = cancel.cancelled() => Err(Gone::NotOurs),
            }
        }
    });
    match work.await {
        Ok(Ok(job)) => {
            tracing::info!(job = %job.id, state = ?job.state, counts = ?job.counts, "sync job ended")
        }
        Ok(Err(Gone::NotOurs)) => {
            tracing::info!(job = number.0, "sync job left: stopped, or no longer this replica's")
        }
        Ok(Err(Gone::Store(error))) => {
            tracing::error!(
                job = number.0,
                error = &error as &dyn std::error::Error,
                "sync job interrupted; it will be taken up again"
            );
        }
        Err(panic) => tracing::error!(job = number.0, %panic, "sync job panicked; it will be taken up again"),
    }
    inner.leave(&lease);
    cancel.cancel();
    let _ = keeper.await;
    lease::release(&inner, &lease).await;
    inner.changed.notify_waiters();
    inner.wake.notify_one();
}

async fn carry(inner: &Arc<Inner>, lease: &Lease) -> Result<SyncJob, Gone> {
    let job = inner.store.job_by_number(lease.job).await?;
    let source = inner.store.source(&job.tenant, &job.source).await?;
    let settings = match source.published {
        Some(settings) if source.published_revision == job.revision => settings,
        _ => return fail(inner, lease, Failure::of(FailureReason::ConfigChanged)).await,
    };
    let mut broken_off = 0;
    loop {
        let Some(session) = wait_for_router(inner, &job.tenant, &settings.routers).await else {
            return fail(inner, lease, Failure::of(FailureReason::RouterLost)).await;
        };
        match read(inner, lease, &job, &session, &settings).await? {
            None => tracing::info!(job = %job.id, "read lost with its router or link; reading again"),
            Some(ReadEnd::Failed(failure)) => {
                broken_off += 1;
                if failure.reason != FailureReason::ReadIncomplete || broken_off >= READS {
                    return fail(inner, lease, failure).await;
                }
                tracing::info!(job = %job.id, reason = ?failure.reason, "read broke off; reading again");
            }
            Some(ReadEnd::Complete(intake, completed)) => {
                let fence = intake.fence();
                let outcome =
                    match leavers::reconcile(inner, &intake, &completed, settings.disable_guard).await {
                        Err(StoreError::ConfigChanged) => {
                            Outcome::Failed(Failure::of(FailureReason::ConfigChanged))
                        }
                        other => other?,
                    };
                return Ok(match inner.store.finish_job(fence, outcome, inner.clock.now()).await {
                    Err(StoreError::ConfigChanged) => {
                        let failed = Outcome::Failed(Failure::of(FailureReason::ConfigChanged));
                        inner.store.finish_job(fence, failed, inner.clock.now()).await?
                    }
                    other => other?,
                });
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn fail(inner: &Inner, lease: &Lease, failure: Failure) -> Result<SyncJob, Gone> {
    inner.store.fail_job(lease.job, &lease.owner, failure, inner.clock.now()).await?;
    Ok(inner.store.job_by_number(lease.job).await?)
}

async fn wait_for_router(inner: &Inner, tenant: &TenantId, preferred: &[String]) -> Option<Session> {
    let deadline = Instant::now() + inner.settings.router_deadline;
    loop {
        if let Some(session) = inner.sessions.pick(tenant, preferred) {
            return Some(session);
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Orders one read and waits for its end; none if the router or its link is lost.
async fn read(
    inner: &Inner,
    lease: &Lease,
    job: &SyncJob,
    session: &Session,
    settings: &SourceSettings,
) -> Result<Option<ReadEnd>, Gone> {
    let start = inner.store.begin_read(lease.job, &lease.owner, session.router(), inner.clock.now()).await?;
    let epoch = start.fence.epoch;
    if epoch > ATTEMPTS {
        let failure = Failure::of(FailureReason::Internal);
        return Ok(Some(ReadEnd::Failed(failure)));
    }
    let records_only = start.known == 0;
    let (opened, was_opened) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let roots = settings.roots.clone();
    let intake = Intake::new(Arc::clone(&inner.store), inner.clock.clone(), start, roots, records_only, end);
    let waiting = Waiting {
        tenant: job.tenant.clone(),
        router: session.router().clone(),
        job: job.id,
        epoch,
        intake,
        opened,
    };
    match inner.runs().get_mut(&lease.job) {
        Some(slot) if slot.lease.owner == lease.owner => slot.waiting = Some(waiting),
        _ => return Err(Gone::NotOurs),
    }
    // Whatever ends this read, by whichever way out, the router stops reading for it.
    let _canceled = CancelOnDrop { session: session.clone(), source: job.source.clone(), job: job.id, epoch };
    let order = SyncOrder {
        source: job.source.clone(),
        job: job.id,
        epoch,
        settings: settings.clone(),
        revision: job.revision,
        records_only,
    };
    if !session.order(Order::Sync(Box::new(order))) {
        return Ok(None);
    }
    let opened_in_time = tokio::time::timeout(inner.settings.open_deadline, was_opened);
    tokio::select! {
        () = session.closed().cancelled() => return Ok(None),
        opened = opened_in_time => if !matches!(opened, Ok(Ok(()))) { return Ok(None) },
    }
    tokio::select! {
        () = session.closed().cancelled() => Ok(None),
        end = ended => Ok(end.ok()),
    }
}

struct CancelOnDrop {
    session: Session,
    source: crate::model::SourceId,
    job: Uuid,
    epoch: i64,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.session.order(Order::Cancel { source: self.source.clone(), job: self.job, epoch: self.epoch });
    }
}
