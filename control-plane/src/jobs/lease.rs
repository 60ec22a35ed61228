//! The right to run a job for a while. Each run has a lease of its own, not each replica: a replica
//! that was suspended and claims its job again must not be mistaken for its former self. The data
//! is protected by the fence; this keeps two from working for nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Inner;
use crate::model::JobNo;
use crate::store::StoreError;

/// A claimed job.
pub(super) struct Lease {
    pub(super) job: JobNo,
    /// The replica that the store knows as the job's owner.
    pub(super) owner: String,
}

/// Claims a job that nobody owns; none if someone else was quicker.
pub(super) async fn claim(inner: &Inner, job: JobNo) -> Result<Option<Lease>, StoreError> {
    let lease = Lease { job, owner: Uuid::now_v7().to_string() };
    let claimed = inner.store.claim_job(job, &lease.owner, inner.settings.lease, inner.clock.now()).await?;
    Ok(claimed.then_some(lease))
}

/// A job that has not got on for so long is said to stand still.
const STALL_WARNING_AFTER: Duration = Duration::from_secs(600);

/// Renews the lease until `lost` is canceled, or cancels it once the lease is someone else's or
/// cannot be renewed in time.
pub(super) async fn renew_until_lost(inner: Arc<Inner>, lease: Arc<Lease>, lost: CancellationToken) {
    let (mut renewed, mut warned) = (Instant::now(), Instant::now());
    loop {
        tokio::select! {
            () = lost.cancelled() => return,
            () = tokio::time::sleep(inner.settings.lease / 3) => {}
        }
        let now = inner.clock.now();
        match inner.store.renew_lease(lease.job, &lease.owner, inner.settings.lease, now).await {
            Ok(true) => {
                renewed = Instant::now();
                if warned.elapsed() > STALL_WARNING_AFTER {
                    warned = Instant::now();
                    warn_if_stalled(&inner, &lease).await;
                }
            }
            Ok(false) => return lost.cancel(),
            Err(_) if renewed.elapsed() > inner.settings.lease => return lost.cancel(),
            Err(_) => {}
        }
    }
}

async fn warn_if_stalled(inner: &Inner, lease: &Lease) {
    let Ok(job) = inner.store.job_by_number(lease.job).await else { return };
    if job.progress_at.plus(STALL_WARNING_AFTER) < inner.clock.now() {
        let (id, router, phase) = (job.id, job.router, job.phase);
        tracing::warn!(job = %id, ?router, ?phase, "sync job stands still: its router, directory or database does not answer");
    }
}

/// Gives the lease back, so that whoever takes the job up need not wait for its end. A job that has
/// ended has none.
pub(super) async fn release(inner: &Inner, lease: &Lease) {
    let _ = inner.store.renew_lease(lease.job, &lease.owner, Duration::ZERO, inner.clock.now()).await;
}
