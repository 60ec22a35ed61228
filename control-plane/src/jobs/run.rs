//! Carries one job from its first read to its end: picks a router, orders the read, waits for it, reads again after a loss,
//! reconciles, finishes. Ends without a word as soon as the job is no longer this replica's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lease::{self, Lease};
use super::leavers::{self, End};
use super::sessions::Choice;
use super::{Completed, Inner, Intake, Order, Session, SyncOrder, undo};
use crate::model::{
    Decision, Failure, FailureReason, Fence, JobKind, RouterId, SourceId, SourceSettings, SyncJob, TenantId,
};
use crate::store::{Outcome, StoreError};

/// How often a directory that broke off in the middle is read from its beginning.
const READS: u32 = 3;
/// Reads lost in a row from which on a run takes its time: it is not a link that flickers.
const LOST: u32 = 10;
/// Pause before a read is repeated.
const PAUSE: Duration = Duration::from_secs(1);
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// Pause before a job is taken up again that the database interrupted.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// How long a run waits for a router before it leaves the job to whichever replica has one.
const PATIENCE: Duration = Duration::from_secs(3);

/// How a read ended.
pub enum ReadEnd {
    /// The router said so, and its numbers are right.
    Complete(Box<Intake>, Completed),
    /// The router said why not.
    Failed(Failure),
    /// The store could not take it in.
    Interrupted(StoreError),
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
pub(super) async fn run(inner: Arc<Inner>, lease: Lease, last: Option<RouterId>) {
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
                result = carry(&inner, &lease, last) => result,
                () = cancel.cancelled() => Err(Gone::NotOurs),
            }
        }
    });
    match work.await {
        Ok(Ok(job)) => match job.hold.filter(|_| !job.state.ended()) {
            Some(hold) => {
                tracing::warn!(job = %job.id, reason = ?hold.reason, users = hold.users, "sync job held")
            }
            None => {
                tracing::info!(job = %job.id, state = ?job.state, counts = ?job.counts, "sync job ended");
            }
        },
        Ok(Err(Gone::NotOurs)) => {
            tracing::info!(job = number.0, "sync job left: stopped, or no longer this replica's")
        }
        Ok(Err(Gone::Store(error))) => {
            tracing::error!(
                job = number.0,
                error = &error as &dyn std::error::Error,
                "sync job interrupted; it will be taken up again"
            );
            pause(&cancel).await;
        }
        Err(panic) => {
            tracing::error!(job = number.0, %panic, "sync job panicked; it will be taken up again");
            pause(&cancel).await;
        }
    }
    inner.leave(&lease);
    cancel.cancel();
    let _ = keeper.await;
    lease::release(&inner, &lease).await;
    inner.changed.notify_waiters();
    inner.wake.notify_one();
}

async fn pause(cancel: &CancellationToken) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = tokio::time::sleep(STORE_PAUSE) => {}
    }
}

async fn carry(inner: &Arc<Inner>, lease: &Lease, last: Option<RouterId>) -> Result<SyncJob, Gone> {
    let job = inner.store.job_by_number(lease.job).await?;
    if job.kind == JobKind::Undo {
        return undone(inner, lease, &job).await;
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
    let mut routers = Routers {
        source: job.source.clone(),
        allowed: settings.routers.clone(),
        last,
        unable: Vec::new(),
        lost: None,
    };
    let work = async {
        if approved {
            go_on(inner, lease, &job, &settings, &mut routers).await
        } else {
            begin(inner, lease, &job, &settings, &mut routers).await
        }
    };
    match tokio::time::timeout(left, work).await {
        Ok(ended) => ended,
        Err(_) => fail(inner, lease, Failure::of(FailureReason::Stuck)).await,
    }
}

async fn undone(inner: &Arc<Inner>, lease: &Lease, job: &SyncJob) -> Result<SyncJob, Gone> {
    let mut broken = Broken(0);
    loop {
        let (fence, end) = undo::undo(inner, lease).await?;
        match finish(inner, fence, end).await {
            Err(Gone::Store(error)) => broken.hear(error)?,
            Ok(Some(job)) => return Ok(job),
            Ok(None) => {}
            Err(gone) => return Err(gone),
        }
        tracing::info!(job = %job.id, "undoing again");
        if broken.0 >= READS {
            return fail(inner, lease, Failure::of(FailureReason::Internal)).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads until a read is complete or has failed for good.
async fn begin(
    inner: &Arc<Inner>,
    lease: &Lease,
    job: &SyncJob,
    settings: &SourceSettings,
    routers: &mut Routers,
) -> Result<SyncJob, Gone> {
    let (mut broken_off, mut lost, mut broken) = (0, 0, Broken(0));
    loop {
        let session = routers.wait(inner, &job.tenant).await?;
        match read(inner, lease, job, &session, settings).await? {
            None => {
                tracing::info!(job = %job.id, "read lost with its router or link; reading again");
                routers.lost = Some(session.router().clone());
                lost += 1;
            }
            Some(ReadEnd::Interrupted(error)) => broken.hear(error)?,
            Some(ReadEnd::Failed(failure)) if of_the_router(failure.reason) => {
                tracing::info!(job = %job.id, reason = ?failure.reason, router = %session.router(), "router cannot read the source");
                routers.unable.push(session.router().clone());
                if routers.pick(inner, &job.tenant).is_none() {
                    return fail(inner, lease, failure).await;
                }
            }
            Some(ReadEnd::Failed(failure)) => {
                broken_off += 1;
                if failure.reason != FailureReason::ReadIncomplete || broken_off >= READS {
                    return fail(inner, lease, failure).await;
                }
                tracing::info!(job = %job.id, reason = ?failure.reason, "read broke off; reading again");
            }
            Some(ReadEnd::Complete(intake, completed)) => {
                let fence = intake.fence();
                let end = leavers::reconcile(inner, &intake, &session, settings, completed.facts).await;
                match finish(inner, fence, end).await {
                    Ok(Some(job)) => return Ok(job),
                    Ok(None) => {
                        routers.lost = Some(session.router().clone());
                        lost += 1;
                    }
                    Err(Gone::Store(error)) => broken.hear(error)?,
                    Err(gone) => return Err(gone),
                }
            }
        }
        if broken.0 >= READS {
            return fail(inner, lease, Failure::of(FailureReason::Internal)).await;
        }
        tokio::time::sleep(if lost < LOST { PAUSE } else { LONG_PAUSE }).await;
    }
}

/// How often the store refused for a reason that waiting does not mend.
struct Broken(u32);

impl Broken {
    /// Counts a refusal that will come again; a passing trouble ends the run instead, and the job is taken up again later.
    fn hear(&mut self, error: StoreError) -> Result<(), Gone> {
        if !matches!(error, StoreError::Broken(_)) {
            return Err(Gone::Store(error));
        }
        tracing::error!(error = &error as &dyn std::error::Error, "the store refused what a sync job does");
        self.0 += 1;
        Ok(())
    }
}

/// Goes on with a job that an administrator approved.
async fn go_on(
    inner: &Arc<Inner>,
    lease: &Lease,
    job: &SyncJob,
    settings: &SourceSettings,
    routers: &mut Routers,
) -> Result<SyncJob, Gone> {
    let (mut tries, mut broken) = (0, Broken(0));
    loop {
        let session = routers.wait(inner, &job.tenant).await?;
        let start = inner.store.begin_approved(lease.job, &lease.owner, inner.clock.now()).await?;
        match leavers::approved(inner, &start, &session, settings).await {
            // A directory that hiccups, or a router that may not: the approval is not lost for it.
            Ok(End::Finish(Outcome::Failed(failure))) if of_the_router(failure.reason) => {
                routers.unable.push(session.router().clone());
                if routers.pick(inner, &job.tenant).is_none() {
                    return fail(inner, lease, failure).await;
                }
            }
            Ok(End::Finish(Outcome::Failed(failure))) => {
                tries += 1;
                if tries >= READS {
                    return fail(inner, lease, failure).await;
                }
            }
            Err(error @ StoreError::Broken(_)) => broken.hear(error)?,
            end => {
                if let Some(job) = finish(inner, start.fence, end).await? {
                    return Ok(job);
                }
                routers.lost = Some(session.router().clone());
            }
        }
        if broken.0 >= READS {
            return fail(inner, lease, Failure::of(FailureReason::Internal)).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ends the job as its reconciliation says; none if that was lost with its router.
async fn finish(inner: &Inner, fence: Fence, end: Result<End, StoreError>) -> Result<Option<SyncJob>, Gone> {
    let failed = || Outcome::Failed(Failure::of(FailureReason::ConfigChanged));
    let outcome = match end {
        Err(StoreError::ConfigChanged) => failed(),
        Err(error) => return Err(error.into()),
        Ok(End::Held(job)) => return Ok(Some(*job)),
        Ok(End::Lost) => return Ok(None),
        Ok(End::Finish(outcome)) => outcome,
    };
    let job = match inner.store.finish_job(fence, outcome, inner.clock.now()).await {
        Err(StoreError::ConfigChanged) => inner.store.finish_job(fence, failed(), inner.clock.now()).await?,
        other => other?,
    };
    Ok(Some(job))
}

async fn fail(inner: &Inner, lease: &Lease, failure: Failure) -> Result<SyncJob, Gone> {
    inner.store.fail_job(lease.job, &lease.owner, failure, inner.clock.now()).await?;
    Ok(inner.store.job_by_number(lease.job).await?)
}

/// Whether another router may succeed where this one cannot.
pub(super) fn of_the_router(reason: FailureReason) -> bool {
    matches!(reason, FailureReason::RouterPolicy | FailureReason::CredentialMissing)
}

/// Which routers a run may use.
struct Routers {
    source: SourceId,
    allowed: Vec<String>,
    last: Option<RouterId>,
    /// Those that said that they cannot.
    unable: Vec<RouterId>,
    /// The one that was lost last: another one is tried first.
    lost: Option<RouterId>,
}

impl Routers {
    fn pick(&self, inner: &Inner, tenant: &TenantId) -> Option<Session> {
        let mut except = self.unable.clone();
        except.extend(self.lost.clone());
        let choice = Choice {
            source: &self.source,
            allowed: &self.allowed,
            last: self.last.as_ref(),
            except: &except,
        };
        let other = inner.sessions.pick(tenant, choice);
        other.or_else(|| inner.sessions.pick(tenant, Choice { except: &self.unable, ..choice }))
    }

    /// Waits for a router for a short while; then the job is for whichever replica has one first.
    async fn wait(&self, inner: &Inner, tenant: &TenantId) -> Result<Session, Gone> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(session) = self.pick(inner, tenant) {
                return Ok(session);
            }
            if Instant::now() >= deadline {
                return Err(Gone::NotOurs);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
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
    let begun = inner.store.begin_read(lease.job, &lease.owner, session.router(), inner.clock.now()).await;
    let start = match begun {
        // It was revoked or suspended a moment ago.
        Err(StoreError::RouterInactive) => {
            session.closed().cancel();
            return Ok(None);
        }
        begun => begun?,
    };
    let epoch = start.fence.epoch;
    let former = start.former.clone();
    // By another immutable id all digests are other ones: nothing would be gained by offering them first.
    let records_only = start.known == 0 || former.is_some();
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
        former,
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
