//! Orders one read, and waits for its end.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::interruption::Interruption;
use super::job_run::JobRun;
use super::slot::PendingRead;
use crate::jobs::{Intake, Order, ReadEnd, Session, SyncOrder};
use crate::model::SourceId;
use crate::store::StoreError;

/// Orders one read and waits for its end; none if the router or its link is lost.
pub(super) async fn read(run: &JobRun<'_>, session: &Session) -> Result<Option<ReadEnd>, Interruption> {
    let JobRun { inner, lease, job, settings } = run;
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
    // By another immutable id all digests are other ones: nothing would be gained by offering them
    // first.
    let records_only = start.known == 0 || former.is_some();
    let (opened, was_opened) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let roots = settings.roots.clone();
    let intake = Intake::new(Arc::clone(&inner.store), inner.clock.clone(), start, roots, records_only, end);
    let pending = PendingRead {
        tenant: job.tenant.clone(),
        router: session.router().clone(),
        job: job.id,
        epoch,
        intake,
        opened,
    };
    match inner.runs().get_mut(&lease.job) {
        Some(slot) if slot.lease.owner == lease.owner => slot.waiting = Some(pending),
        _ => return Err(Interruption::NotOurs),
    }
    // Whatever ends this read, by whichever way out, the router stops reading for it.
    let _canceled = CancelOnDrop { session: session.clone(), source: job.source.clone(), job: job.id, epoch };
    let order = SyncOrder {
        source: job.source.clone(),
        job: job.id,
        epoch,
        settings: (*settings).clone(),
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
    source: SourceId,
    job: Uuid,
    epoch: i64,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.session.order(Order::Cancel { source: self.source.clone(), job: self.job, epoch: self.epoch });
    }
}
