//! Runs a job that this replica has claimed, and ends without a word as soon as the job is no
//! longer this replica's.
//!
//! - `steps`: carries the job from its first read to its end
//! - `read`: orders one read, and waits for its end
//! - `routers`: which routers the run may use
//! - `job_run`: the job under the lease of the run, and how it ends
//! - `slot`: the jobs that this replica runs, and the reads that a router may open
//! - `interruption`: why a run ends before its job does

mod interruption;
mod job_run;
mod read;
mod routers;
mod slot;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Inner;
use super::lease::{self, Lease};
use crate::model::RouterId;
use interruption::Interruption;

pub(super) use routers::another_router_may;
pub(super) use slot::Slot;

/// Pause before a job is taken up again that the database interrupted.
const STORE_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Runs a job that this replica has claimed.
pub(super) async fn run(inner: Arc<Inner>, lease: Lease, last: Option<RouterId>) {
    let (number, lease) = (lease.job, Arc::new(lease));
    let cancel = inner.shutdown.child_token();
    let slot = Slot { lease: Arc::clone(&lease), cancel: cancel.clone(), waiting: None };
    if let Some(former) = inner.runs().insert(number, slot) {
        former.cancel.cancel();
    }
    let keeper =
        tokio::spawn(lease::renew_until_lost(Arc::clone(&inner), Arc::clone(&lease), cancel.clone()));
    // A panic ends this run only; its lease runs out and the job is taken up again.
    let work = tokio::spawn({
        let (inner, lease, cancel) = (Arc::clone(&inner), Arc::clone(&lease), cancel.clone());
        async move {
            tokio::select! {
                result = steps::carry_out(&inner, &lease, last) => result,
                () = cancel.cancelled() => Err(Interruption::NotOurs),
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
        Ok(Err(Interruption::NotOurs)) => {
            tracing::info!(job = number.0, "sync job left: stopped, or no longer this replica's")
        }
        Ok(Err(Interruption::Store(error))) => {
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
    inner.remove_run(&lease);
    cancel.cancel();
    let _ = keeper.await;
    lease::release(&inner, &lease).await;
    inner.changed.notify_waiters();
    inner.wake.notify_one();
}

async fn pause(cancel: &CancellationToken) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = tokio::time::sleep(STORE_RETRY_PAUSE) => {}
    }
}
