//! A sync job's life: queued, given to a router, read, reconciled, ended.
//!
//! Whatever must survive a crash is in the store; what is in here is only who is connected to this replica and which reads
//! it is taking in. `dispatch` finds jobs for this replica and claims a `lease`, `run` carries one from read to end, `intake` takes
//! the records in, `leavers` ends a complete read (with `absent`, who finds and looks up whom it did not have), `sessions` knows the connected routers, `elsewhere` the way to those of other replicas, `barred` ends those that must not be there, `watch` shows it live,
//! `scheduler` starts jobs by themselves. `planning` makes and applies the plans of dry runs, `undo` gives users back what they were.
//! `just_in_time` synchronizes single users, outside of any job; `deletion` deletes marked users and marks by itself.

mod absent;
mod barred;
mod deletion;
mod dispatch;
mod elsewhere;
mod intake;
mod just_in_time;
mod lease;
mod leavers;
mod planning;
mod run;
mod scheduler;
mod sessions;
mod undo;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::model::{
    Actor, Admitted, IdentityRouter, JitSettings, JobNo, RouterId, Sighting, Single, SourceId,
    SourceSettings, SyncJob, TenantId, TenantNo, Timestamp, Verification, Whom,
};
use crate::store::{JobName, NewJob, SignIn, Store, StoreError, Work};

pub use elsewhere::{About, Elsewhere, Heard};
pub use intake::{Completed, Intake, IntakeError, Paired, WINDOW};
pub use run::ReadEnd;
pub use sessions::{Answer, ConnectionTest, FetchOrder, Order, Session, SyncOrder, VerifyOrder};

/// A router that was last heard of longer ago than this is not connected, whatever the store says.
pub const ROUTER_SILENCE: Duration = Duration::from_secs(45);

/// How patient jobs are.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// How long a job waits for a router to come, or to come back.
    pub router_deadline: Duration,
    /// How long a replica that fell silent keeps its jobs.
    pub lease: Duration,
    /// How long a router may take to open the upload it was ordered.
    pub open_deadline: Duration,
    /// How long a directory may say nothing new.
    pub idle_deadline: Duration,
    /// How long a router may take to test a connection, or to look users up.
    pub test_deadline: Duration,
    /// How long a job may take.
    pub job_deadline: Duration,
    /// How long a held job waits for a decision.
    pub hold_expiry: Duration,
    /// How long the plan of a dry run can be applied.
    pub plan_expiry: Duration,
    /// Whole lists are kept of so many of a source's newest jobs.
    pub full_lists_kept: u32,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            router_deadline: Duration::from_secs(600),
            lease: Duration::from_secs(15),
            open_deadline: Duration::from_secs(30),
            idle_deadline: Duration::from_secs(300),
            test_deadline: Duration::from_secs(60),
            job_deadline: Duration::from_secs(12 * 3_600),
            hold_expiry: Duration::from_secs(24 * 3_600),
            plan_expiry: Duration::from_secs(24 * 3_600),
            full_lists_kept: 5,
        }
    }
}

/// Why a job call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tenant has no identity router.
    #[error("the tenant has no identity router")]
    NoRouter,
    /// None of them is connected.
    #[error("no identity router of the tenant is connected")]
    NoRouterConnected,
    /// The router did not answer in time.
    #[error("the identity router did not answer in time")]
    TestTimedOut,
}

/// The jobs of this replica. Clones share everything.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    settings: JobSettings,
    clock: Clock,
    sessions: sessions::Sessions,
    /// The way to routers of other replicas, if there is one.
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
    /// A router's session began or ended.
    moved: Notify,
    flights: just_in_time::Flights,
    published: just_in_time::Published,
    signed_in: just_in_time::SignedIn,
    attempts: Arc<just_in_time::Attempts>,
    runs: Mutex<HashMap<JobNo, run::Slot>>,
    /// Something happened that the dispatcher may care about.
    wake: Notify,
    /// A job changed.
    changed: Notify,
    shutdown: CancellationToken,
}

impl Jobs {
    /// Starts finding and running jobs until `shutdown`.
    #[must_use]
    pub fn start(
        store: Arc<dyn Store>,
        settings: JobSettings,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Self {
        let inner = Arc::new(Inner {
            store,
            settings,
            clock,
            sessions: sessions::Sessions::default(),
            elsewhere: OnceLock::new(),
            moved: Notify::new(),
            flights: just_in_time::Flights::default(),
            published: just_in_time::Published::default(),
            signed_in: just_in_time::SignedIn::default(),
            attempts: Arc::default(),
            runs: Mutex::new(HashMap::new()),
            wake: Notify::new(),
            changed: Notify::new(),
            shutdown,
        });
        tokio::spawn(dispatch::dispatch(Arc::clone(&inner)));
        tokio::spawn(scheduler::follow(Arc::clone(&inner)));
        tokio::spawn(deletion::follow(Arc::clone(&inner)));
        tokio::spawn(barred::watch(Arc::clone(&inner)));
        tokio::spawn(just_in_time::note_sign_ins(Arc::clone(&inner)));
        Self { inner }
    }

    /// Synchronize Now, or another kind of work.
    ///
    /// # Errors
    /// If there is no router to read the source, the source is not published, a job of it runs, or the work cannot be done.
    pub async fn start_sync(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        by: &Actor,
        request_id: Option<String>,
        work: Work,
    ) -> Result<SyncJob, JobsError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        if !matches!(work, Work::Undo(_)) {
            self.some_router_can_read(tenant, source, work == (Work::DryRun { draft: true })).await?;
        }
        let job = inner
            .store
            .create_job(NewJob {
                id: Uuid::now_v7(),
                tenant: tenant.clone(),
                source: source.clone(),
                started_by: by.clone(),
                request_id,
                work,
                full_lists_kept: i64::from(inner.settings.full_lists_kept),
                now,
            })
            .await?;
        tracing::info!(job = %job.id, kind = ?job.kind, %tenant, %source, "sync job queued");
        inner.wake.notify_one();
        Ok(job)
    }

    async fn some_router_can_read(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        draft: bool,
    ) -> Result<(), JobsError> {
        let found = self.inner.store.source(tenant, source).await?;
        let settings = if draft { Some(found.draft) } else { found.published };
        let settings = settings.ok_or(StoreError::SourceNotPublished)?;
        match self.inner.some_router(tenant, source, &settings).await? {
            None => Err(JobsError::NoRouter),
            Some(false) => Err(JobsError::NoRouterConnected),
            Some(true) => Ok(()),
        }
    }

    /// Stop Sync. After this has returned nothing of the job is applied any more.
    ///
    /// # Errors
    /// If there is no such job.
    pub async fn stop_sync(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        id: Option<Uuid>,
        by: &Actor,
    ) -> Result<SyncJob, JobsError> {
        let job = self.inner.store.stop_job(tenant, source, id, by, self.inner.clock.now()).await?;
        self.inner.cancel(job.number);
        tracing::info!(job = %job.id, %tenant, %source, state = ?job.state, "sync job stopped");
        Ok(job)
    }

    /// Lets a held job go on with the disables that `etag` names.
    ///
    /// # Errors
    /// If the job is not held, or holds another list.
    pub async fn approve(
        &self,
        (tenant, source, id): JobName<'_>,
        etag: &str,
        by: &Actor,
    ) -> Result<SyncJob, JobsError> {
        let now = self.inner.clock.now();
        let job = self.inner.store.approve_job((tenant, source, id), etag, by, now).await?;
        tracing::info!(job = %job.id, %tenant, %source, "held disables approved");
        self.inner.wake.notify_one();
        self.inner.changed.notify_waiters();
        Ok(job)
    }

    /// Ends a held job without its disables.
    ///
    /// # Errors
    /// If the job is not held.
    pub async fn reject(&self, (tenant, source, id): JobName<'_>, by: &Actor) -> Result<SyncJob, JobsError> {
        let job = self.inner.store.reject_job((tenant, source, id), by, self.inner.clock.now()).await?;
        tracing::info!(job = %job.id, %tenant, %source, "held disables rejected");
        self.inner.changed.notify_waiters();
        Ok(job)
    }

    /// These jobs were stopped by something else than Stop Sync: whoever works on them here need not find out by trying to write.
    pub fn stopped(&self, jobs: &[JobNo]) {
        for job in jobs {
            self.inner.cancel(*job);
        }
    }

    /// The time that jobs go by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Is canceled when this replica shuts down.
    #[must_use]
    pub fn shutdown(&self) -> &CancellationToken {
        &self.inner.shutdown
    }

    /// How many of a source's newest jobs have whole lists.
    #[must_use]
    pub fn full_lists_kept(&self) -> i64 {
        i64::from(self.inner.settings.full_lists_kept)
    }

    /// Tests the connection to every directory server of these settings from a connected router.
    ///
    /// # Errors
    /// If there is no such router, or it does not answer in time.
    pub async fn test_connection(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        settings: SourceSettings,
        router: Option<RouterId>,
    ) -> Result<ConnectionTest, JobsError> {
        let inner = &self.inner;
        if inner.store.list_routers(tenant, None, 1).await?.is_empty() {
            return Err(JobsError::NoRouter);
        }
        let allowed = router.map_or_else(|| settings.routers.clone(), |router| vec![router.0]);
        let about = About { tenant, number: None, source };
        let mut search = elsewhere::Search::new(inner, about, &allowed);
        let tested = async {
            while let Some(router) = search.next().await {
                match router.test(settings.clone()).await {
                    Heard::Answer(servers) => {
                        return Ok(ConnectionTest { router: router.router().clone(), servers });
                    }
                    Heard::Lost => break,
                    Heard::NotAsked => {}
                }
            }
            Err(JobsError::NoRouterConnected)
        };
        let tested = tokio::time::timeout(inner.settings.test_deadline, tested).await;
        tested.unwrap_or(Err(JobsError::TestTimedOut))
    }

    /// From now on questions also go to routers of other replicas. Once.
    pub fn reach_others(&self, by: Arc<dyn Elsewhere>) {
        let _ = self.inner.elsewhere.set(by);
    }

    /// The routers of all tenants that are connected to this replica.
    #[must_use]
    pub fn all_connected(&self) -> Vec<(TenantId, RouterId)> {
        self.inner.sessions.all()
    }

    /// Waits until a router's session has begun or ended.
    pub async fn a_router_moved(&self) {
        self.inner.moved.notified().await;
    }

    /// The session of a router that is connected to this replica.
    #[must_use]
    pub fn session(&self, tenant: &TenantId, router: &RouterId) -> Option<Session> {
        self.inner.sessions.of(tenant, router)
    }

    /// Synchronizes one user. Calls for the same one at the same time are one search.
    pub async fn sync_user(
        &self,
        tenant: (&TenantId, TenantNo),
        whom: Whom,
        settings: JitSettings,
        by: Actor,
    ) -> Arc<Single> {
        just_in_time::sync_user(&self.inner, tenant, (whom, None), settings, by).await
    }

    /// The same at a sign-in: where neither router nor directory answer, the settings may let in who was last known. `whom` comes with the
    /// user, if it was found already.
    pub async fn sync_at_sign_in(
        &self,
        tenant: (&TenantId, TenantNo),
        whom: (Whom, Option<Sighting>),
        settings: JitSettings,
        by: Actor,
    ) -> Arc<Single> {
        just_in_time::sync_at_sign_in(&self.inner, tenant, whom, settings, by).await
    }

    /// Has the directory verify a password, and synchronizes whose it is if it accepts it. `typed` is a name and the password, `begun`
    /// when the call came.
    pub async fn verify_password(
        &self,
        tenant: &TenantId,
        sign_in: SignIn,
        typed: (String, SecretString),
        by: Actor,
        begun: Instant,
    ) -> Verification {
        Box::pin(just_in_time::verify(&self.inner, tenant, sign_in, typed, by, begun)).await
    }

    /// Writes down who was let in and is not written down yet: for the end of the program.
    pub async fn flush(&self) {
        just_in_time::write_sign_ins(&self.inner).await;
    }

    /// How long an upload may be silent.
    #[must_use]
    pub fn idle_deadline(&self) -> Duration {
        self.inner.settings.idle_deadline
    }

    /// The routers of a tenant that are connected to this replica.
    #[must_use]
    pub fn connected(&self, tenant: &TenantId) -> Vec<RouterId> {
        self.inner.sessions.connected(tenant)
    }

    /// Registers a router's new session; an older one of the same router is closed.
    #[must_use]
    pub fn router_connected(
        &self,
        tenant: TenantId,
        router: RouterId,
        admitted: Admitted,
    ) -> (Session, tokio::sync::mpsc::Receiver<Order>) {
        let opened = self.inner.sessions.open(tenant, router, admitted);
        self.inner.wake.notify_one();
        self.inner.moved.notify_one();
        opened
    }

    /// Ends a router's session here: it must not be connected any more. Other replicas find out by themselves.
    pub fn router_barred(&self, tenant: &TenantId, router: &RouterId) {
        self.inner.sessions.bar(|of, id, _| (of, id) == (tenant, router));
    }

    /// Forgets a session that ended. True if it was still the router's newest.
    #[must_use]
    pub fn router_disconnected(&self, session: &Session) -> bool {
        let newest = self.inner.sessions.close(session);
        self.inner.moved.notify_one();
        newest
    }

    /// Gives a router the intake of a read that it was ordered; each can be taken once.
    #[must_use]
    pub fn open_upload(&self, tenant: &TenantId, router: &RouterId, job: Uuid, epoch: i64) -> Option<Intake> {
        self.inner.open_upload(tenant, router, job, epoch)
    }

    /// A router cannot begin a read that it was ordered. True if it was.
    pub fn read_refused(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        job: Uuid,
        epoch: i64,
        failure: crate::model::Failure,
    ) -> bool {
        let intake = self.inner.open_upload(tenant, router, job, epoch);
        intake.map(|intake| intake.failed(failure)).is_some()
    }
}

impl Inner {
    /// Whether a router that may read the source is connected, to whichever replica; none if the tenant has no router at all.
    async fn some_router(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        settings: &SourceSettings,
    ) -> Result<Option<bool>, StoreError> {
        let routers = self.store.list_routers(tenant, None, i64::from(u16::MAX)).await?;
        let oldest = self.clock.now().minus(ROUTER_SILENCE);
        let can = |router: &IdentityRouter| {
            (settings.routers.is_empty() || settings.routers.contains(&router.id.0))
                && (router.sources.is_empty() || router.sources.contains(source))
                && router.connected
                && router.last_seen >= oldest
        };
        Ok((!routers.is_empty()).then(|| routers.iter().any(can)))
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<JobNo, run::Slot>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel(&self, job: JobNo) {
        if let Some(slot) = self.runs().get(&job) {
            slot.cancel.cancel();
        }
        self.changed.notify_waiters();
    }
}
