//! The jobs that this replica runs, and the reads that a router may open.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::jobs::lease::Lease;
use crate::jobs::{Inner, Intake};
use crate::model::{RouterId, TenantId};

/// A job that this replica runs.
pub(in crate::jobs) struct Slot {
    /// The lease that it runs under.
    pub(super) lease: Arc<Lease>,
    /// Ends the run.
    pub(in crate::jobs) cancel: CancellationToken,
    /// The read that a router may open, until it does.
    pub(super) waiting: Option<PendingRead>,
}

/// A read that was ordered and is not opened yet.
pub(super) struct PendingRead {
    pub(super) tenant: TenantId,
    pub(super) router: RouterId,
    pub(super) job: Uuid,
    pub(super) epoch: i64,
    pub(super) intake: Intake,
    pub(super) opened: oneshot::Sender<()>,
}

impl Inner {
    pub(in crate::jobs) fn open_upload(
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

    /// Removes a run that ended, unless another run of the job has taken its place.
    pub(super) fn remove_run(&self, lease: &Lease) {
        let mut runs = self.runs();
        if runs.get(&lease.job).is_some_and(|slot| slot.lease.owner == lease.owner) {
            runs.remove(&lease.job);
        }
    }
}
