//! Starts the runs of schedules. Every replica looks; which of them carries a run out is settled in
//! the store. A run that was missed is carried out once, and the next one is planned from then on.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Inner;
use crate::model::{Actor, DueSchedule, RunOutcome};
use crate::schedule;
use crate::store::{NewJob, StoreError, Work};

/// How often to look.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Most runs carried out in one go.
const MAX_RUNS_PER_POLL: i64 = 64;
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
    Ok(())
}

async fn start_run(inner: &Arc<Inner>, due: DueSchedule) -> Result<Option<RunOutcome>, StoreError> {
    let now = inner.clock.now();
    let seed = format!("{}/{}", due.tenant, due.source);
    // Times before now are gone, however many there were: this run stands for all of them. A clock
    // that was set back repeats none.
    let after = now.max(due.run.planned);
    let next = schedule::next_run(&due.schedule, &seed, after)
        .map_err(|wrong| StoreError::Broken(Box::new(wrong)))?;
    let job = NewJob {
        id: Uuid::now_v7(),
        tenant: due.tenant.clone(),
        source: due.source.clone(),
        started_by: Actor { name: STARTED_BY.to_owned(), ..Actor::system() },
        request_id: None,
        work: Work::Sync,
        full_lists_kept: i64::from(inner.settings.full_lists_kept),
        now,
    };
    let outcome = inner.store.run_schedule(&due, job, next, now).await?;
    if outcome == Some(RunOutcome::Started) {
        inner.wake.notify_one();
    }
    Ok(outcome)
}
