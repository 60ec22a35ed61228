//! Starts the runs of schedules, and syncs that are due between them since a sign-in did not find a
//! user. Every replica looks; which of them carries a run out is settled in
//! the store. A run that was missed is carried out once, and the next one is planned from then on.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Inner;
use crate::model::{Actor, DueSchedule, RunOutcome, SourceId, TenantId, Timestamp};
use crate::schedule;
use crate::store::{NewJob, StoreError, Work};

/// How often to look.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Most runs carried out in one go.
const MAX_RUNS_PER_POLL: i64 = 64;
/// How often at most a sync of one source is queued because it is due.
const DUE_SYNC_INTERVAL: Duration = Duration::from_secs(3_600);
/// Who starts the job of a run.
const STARTED_BY: &str = "schedule";

pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        if let Err(error) = poll(&inner).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot look for schedules that are due"
            );
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

async fn poll(inner: &Arc<Inner>) -> Result<(), StoreError> {
    for due in inner.store.due_schedules(inner.clock.now(), MAX_RUNS_PER_POLL).await? {
        let (tenant, source) = (due.tenant.clone(), due.source.clone());
        match start_run(inner, due).await {
            Ok(None) => {}
            Ok(Some(outcome)) => tracing::info!(%tenant, %source, ?outcome, "scheduled run"),
            // One at a time, and its trouble is nobody else's.
            Err(error) => {
                tracing::warn!(%tenant, %source, error = &error as &dyn std::error::Error, "cannot carry out a scheduled run");
            }
        }
    }
    start_due_syncs(inner).await
}

/// Queues syncs of sources with a schedule where a sign-in did not find an enabled user.
async fn start_due_syncs(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let now = inner.clock.now();
    let since = now.minus(DUE_SYNC_INTERVAL);
    for (tenant, source) in inner.store.due_syncs(since, MAX_RUNS_PER_POLL).await? {
        let job = new_job(inner, &tenant, &source, now);
        match inner.store.run_due_sync(job, since).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(%tenant, %source, "a sync was due and is queued");
                inner.wake.notify_one();
            }
            // Its trouble is nobody else's.
            Err(error) => {
                tracing::warn!(%tenant, %source, error = &error as &dyn std::error::Error, "cannot queue a sync that is due");
            }
        }
    }
    Ok(())
}

fn new_job(inner: &Inner, tenant: &TenantId, source: &SourceId, now: Timestamp) -> NewJob {
    NewJob {
        id: Uuid::now_v7(),
        tenant: tenant.clone(),
        source: source.clone(),
        started_by: Actor { name: STARTED_BY.to_owned(), ..Actor::system() },
        request_id: None,
        work: Work::Sync,
        full_lists_kept: i64::from(inner.settings.full_lists_kept),
        now,
    }
}

async fn start_run(inner: &Arc<Inner>, due: DueSchedule) -> Result<Option<RunOutcome>, StoreError> {
    let now = inner.clock.now();
    let seed = format!("{}/{}", due.tenant, due.source);
    // Times before now are gone, however many there were: this run stands for all of them. A clock
    // that was set back repeats none.
    let after = now.max(due.run.planned);
    let next = schedule::next_run(&due.schedule, &seed, after)
        .map_err(|wrong| StoreError::Broken(Box::new(wrong)))?;
    let job = new_job(inner, &due.tenant, &due.source, now);
    let outcome = inner.store.run_schedule(&due, job, next, now).await?;
    if outcome == Some(RunOutcome::Started) {
        inner.wake.notify_one();
    }
    Ok(outcome)
}
