//! A job under the lease of a run, and how it ends.

use crate::jobs::Inner;
use crate::jobs::lease::Lease;
use crate::jobs::reconcile_end::ReconcileEnd;
use crate::model::{Failure, FailureReason, Fence, SourceSettings, SyncJob};
use crate::store::{Outcome, StoreError};

use super::interruption::Interruption;

/// A job that reads its source, under the lease of a run.
#[derive(Clone, Copy)]
pub(super) struct JobRun<'a> {
    pub(super) inner: &'a Inner,
    pub(super) lease: &'a Lease,
    pub(super) job: &'a SyncJob,
    pub(super) settings: &'a SourceSettings,
}

impl JobRun<'_> {
    /// Ends the job with a failure.
    pub(super) async fn fail(&self, failure: Failure) -> Result<SyncJob, Interruption> {
        fail(self.inner, self.lease, failure).await
    }
}

/// Ends the job as its reconciliation says; none if that was lost with its router.
pub(super) async fn finish(
    inner: &Inner,
    fence: Fence,
    end: Result<ReconcileEnd, StoreError>,
) -> Result<Option<SyncJob>, Interruption> {
    let failed = || Outcome::Failed(Failure::of(FailureReason::ConfigChanged));
    let outcome = match end {
        Err(StoreError::ConfigChanged) => failed(),
        Err(error) => return Err(error.into()),
        Ok(ReconcileEnd::Held(job)) => return Ok(Some(*job)),
        Ok(ReconcileEnd::Lost) => return Ok(None),
        Ok(ReconcileEnd::Finish(outcome)) => outcome,
    };
    let job = match inner.store.finish_job(fence, outcome, inner.clock.now()).await {
        Err(StoreError::ConfigChanged) => inner.store.finish_job(fence, failed(), inner.clock.now()).await?,
        other => other?,
    };
    Ok(Some(job))
}

/// Ends the job with a failure.
pub(super) async fn fail(inner: &Inner, lease: &Lease, failure: Failure) -> Result<SyncJob, Interruption> {
    inner.store.fail_job(lease.job, &lease.owner, failure, inner.clock.now()).await?;
    Ok(inner.store.job_by_number(lease.job).await?)
}
