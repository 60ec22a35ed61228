//! Finds jobs that nobody owns and that a router of this replica can read, and runs them. Any
//! replica may do so: whoever claims the lease in the store first has the job.

use std::sync::Arc;
use std::time::Duration;

use super::sessions::RouterChoice;
use super::{Inner, lease, run};
use crate::model::{Failure, FailureReason, JobKind, JobSummary};
use crate::store::StoreError;

/// How often to look without being woken: for jobs of other replicas that died.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Most jobs looked at in one go.
const MAX_JOBS_PER_POLL: i64 = 64;

pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        if let Err(error) = poll(&inner).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot look for sync jobs");
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

async fn poll(inner: &Arc<Inner>) -> Result<(), StoreError> {
    // One at a time, and its trouble is nobody else's.
    match inner.store.expire_holds(inner.clock.now()).await {
        Ok(0) => {}
        Ok(_) => inner.changed.notify_waiters(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot end holds that have expired");
        }
    }
    if let Err(error) = inner.store.expire_plans(inner.clock.now()).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot throw away plans that have expired");
    }
    for job in inner.store.unowned_jobs(inner.clock.now(), MAX_JOBS_PER_POLL).await? {
        dispatch_job(inner, &job).await?;
    }
    Ok(())
}

async fn dispatch_job(inner: &Arc<Inner>, job: &JobSummary) -> Result<(), StoreError> {
    let settings = inner.store.source(&job.tenant, &job.source).await?.published;
    let allowed = settings.map(|settings| settings.routers).unwrap_or_default();
    if job.kind == JobKind::Undo {
        // It needs no directory, so no router.
        if let Some(lease) = lease::claim(inner, job.number).await? {
            tokio::spawn(run::run(Arc::clone(inner), lease, None));
        }
        return Ok(());
    }
    let choice = RouterChoice { source: &job.source, allowed: &allowed, last: None, except: &[] };
    if inner.sessions.pick(&job.tenant, choice).is_some() {
        if let Some(lease) = lease::claim(inner, job.number).await? {
            tokio::spawn(run::run(Arc::clone(inner), lease, job.last_router.clone()));
        }
    } else if job.progress_at.plus(inner.settings.router_deadline) < inner.clock.now()
        && let Some(lease) = lease::claim(inner, job.number).await?
    {
        let failure = Failure::of(FailureReason::RouterLost);
        inner.store.fail_job(lease.job, &lease.owner, failure, inner.clock.now()).await?;
        inner.changed.notify_waiters();
    }
    Ok(())
}
