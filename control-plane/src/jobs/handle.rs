//! What other parts of the control plane ask of jobs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::remote_routers::{QuestionScope, RemoteRouters, Reply, RouterSearch};
use super::sessions::Sessions;
use super::{
    ConnectionTest, Inner, Intake, JobSettings, JobsError, Order, Session, deletion, dispatch, revocation,
    scheduler, single_user,
};
use crate::clock::Clock;
use crate::model::{
    Actor, Admitted, Failure, JobNo, RouterId, Single, SingleUserSettings, SourceId, SourceSettings, SyncJob,
    TenantId, TenantNo, Timestamp, UserSelector, Verification,
};
use crate::store::{JobName, NewJob, SignIn, Store, StoreError, Work};

/// The jobs of this replica. Clones share everything.
#[derive(Clone)]
pub struct Jobs {
    pub(super) inner: Arc<Inner>,
}

impl Jobs {
    /// Starts finding and running jobs until `shutdown`.
    #[must_use]
    pub fn start(
        store: Arc<Store>,
        settings: JobSettings,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Self {
        let inner = Arc::new(Inner {
            store,
            settings,
            clock,
            sessions: Sessions::default(),
            remote_routers: OnceLock::new(),
            routers_changed: Notify::new(),
            searches: single_user::SharedSearches::default(),
            settings_cache: single_user::SettingsCache::default(),
            sign_in_log: single_user::SignInLog::default(),
            password_attempts: Arc::default(),
            runs: Mutex::new(HashMap::new()),
            wake: Notify::new(),
            changed: Notify::new(),
            shutdown,
        });
        tokio::spawn(dispatch::run(Arc::clone(&inner)));
        tokio::spawn(scheduler::run(Arc::clone(&inner)));
        tokio::spawn(deletion::run(Arc::clone(&inner)));
        tokio::spawn(revocation::run(Arc::clone(&inner)));
        tokio::spawn(single_user::run_sign_in_log(Arc::clone(&inner)));
        Self { inner }
    }

    /// Synchronize Now, or another kind of work.
    ///
    /// # Errors
    /// If there is no router to read the source, the source is not published, a job of it runs, or
    /// the work cannot be done.
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
            self.check_router_connected(tenant, source, work == (Work::DryRun { draft: true })).await?;
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

    /// Checks that a router that may read the source is connected, to whichever replica.
    async fn check_router_connected(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        draft: bool,
    ) -> Result<(), JobsError> {
        let found = self.inner.store.source(tenant, source).await?;
        let settings = if draft { Some(found.draft) } else { found.published };
        let settings = settings.ok_or(StoreError::SourceNotPublished)?;
        match self.inner.has_connected_router(tenant, source, &settings).await? {
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

    /// Lets a held job resume with the disables that `etag` names.
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
        let job = self.inner.store.approve_job(tenant, source, id, etag, by, now).await?;
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
        let job = self.inner.store.reject_job(tenant, source, id, by, self.inner.clock.now()).await?;
        tracing::info!(job = %job.id, %tenant, %source, "held disables rejected");
        self.inner.changed.notify_waiters();
        Ok(job)
    }

    /// Cancels the runs of jobs that something else than Stop Sync has stopped, so that they end at
    /// once and not at their next write.
    pub fn cancel_runs(&self, jobs: &[JobNo]) {
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
        let scope = QuestionScope { tenant, number: None, source };
        let mut search = RouterSearch::new(inner, scope, &allowed);
        let tested = async {
            while let Some(router) = search.next().await {
                match router.test(settings.clone()).await {
                    Reply::Answer(servers) => {
                        return Ok(ConnectionTest { router: router.router().clone(), servers });
                    }
                    Reply::Lost => break,
                    Reply::NotAsked => {}
                }
            }
            Err(JobsError::NoRouterConnected)
        };
        let tested = tokio::time::timeout(inner.settings.test_deadline, tested).await;
        tested.unwrap_or(Err(JobsError::TestTimedOut))
    }

    /// From now on questions also go to routers of other replicas. Once.
    pub fn set_remote_routers(&self, by: Arc<dyn RemoteRouters>) {
        let _ = self.inner.remote_routers.set(by);
    }

    /// The routers of all tenants that are connected to this replica.
    #[must_use]
    pub fn all_connected(&self) -> Vec<(TenantId, RouterId)> {
        self.inner.sessions.all_connected()
    }

    /// Waits until a router's session has begun or ended.
    pub async fn wait_for_router_change(&self) {
        self.inner.routers_changed.notified().await;
    }

    /// The session of a router that is connected to this replica.
    #[must_use]
    pub fn session(&self, tenant: &TenantId, router: &RouterId) -> Option<Session> {
        self.inner.sessions.get(tenant, router)
    }

    /// Synchronizes one user. Calls for the same one at the same time are one search.
    pub async fn sync_user(
        &self,
        tenant: (&TenantId, TenantNo),
        whom: UserSelector,
        settings: SingleUserSettings,
        by: Actor,
    ) -> Arc<Single> {
        single_user::sync_user(&self.inner, tenant, (whom, None), settings, by).await
    }

    /// The same at a sign-in: where neither router nor directory answers, the settings may let the
    /// user in as last known. `whom` comes with the user, if it was found already.
    pub async fn sync_at_sign_in(
        &self,
        tenant: &TenantId,
        sign_in: SignIn,
        whom: UserSelector,
        by: Actor,
    ) -> Arc<Single> {
        single_user::sync_at_sign_in(&self.inner, tenant, sign_in, whom, by).await
    }

    /// Has the directory verify a password, and synchronizes the user if it is accepted. `typed` is
    /// a name and the password, `begun` when the call came.
    pub async fn verify_password(
        &self,
        tenant: &TenantId,
        sign_in: SignIn,
        typed: (String, SecretString),
        by: Actor,
        begun: Instant,
    ) -> Verification {
        Box::pin(single_user::verify(&self.inner, tenant, sign_in, typed, by, begun)).await
    }

    /// Writes the sign-ins that are not written yet: for the end of the program.
    pub async fn flush(&self) {
        single_user::write_sign_ins(&self.inner).await;
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
    ) -> (Session, mpsc::Receiver<Order>) {
        let opened = self.inner.sessions.open(tenant, router, admitted);
        self.inner.wake.notify_one();
        self.inner.routers_changed.notify_one();
        opened
    }

    /// Ends a router's session on this replica: it must not be connected any more. Other replicas
    /// find out by themselves.
    pub fn disconnect_router(&self, tenant: &TenantId, router: &RouterId) {
        self.inner.sessions.disconnect_where(|of, id, _| (of, id) == (tenant, router));
    }

    /// Forgets a session that ended. True if it was still the router's newest.
    #[must_use]
    pub fn router_disconnected(&self, session: &Session) -> bool {
        let newest = self.inner.sessions.close(session);
        self.inner.routers_changed.notify_one();
        newest
    }

    /// Gives a router the intake of a read that it was ordered; each can be opened once.
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
        failure: Failure,
    ) -> bool {
        let intake = self.inner.open_upload(tenant, router, job, epoch);
        intake.map(|intake| intake.failed(failure)).is_some()
    }
}
