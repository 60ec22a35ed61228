//! What a new job is to do: whether it can, and what is noted of it.

use super::super::codec::SourceRow;
use super::super::dialect::Connection;
use super::super::statement;
use super::super::statement::sql;
use super::super::words::KIND_DRY_RUN;
use super::job;
use super::prune::JOURNALS_KEPT;
use crate::model::{JobKind, JobNo, JobState, SyncJob, Timestamp};
use crate::store::{NewJob, Result, StoreError, Work};

/// What is noted of a job's work.
pub(crate) struct Noted {
    pub(crate) kind: JobKind,
    pub(crate) origin: Option<i64>,
    pub(crate) settings: Option<String>,
}

pub(crate) async fn check(connection: &mut Connection, row: &SourceRow, new: &NewJob) -> Result<Noted> {
    let noted = |kind, origin| Noted { kind, origin, settings: None };
    if row.published_revision == 0 && new.work != (Work::DryRun { draft: true }) {
        return Err(StoreError::SourceNotPublished);
    }
    match &new.work {
        Work::Sync => Ok(noted(JobKind::Sync, None)),
        Work::DryRun { draft: false } => Ok(noted(JobKind::DryRun, None)),
        Work::DryRun { draft: true } => {
            Ok(Noted { settings: Some(row.draft.clone()), ..noted(JobKind::DryRun, None) })
        }
        Work::Plan(id) => {
            let origin = job::job(connection, &new.tenant, &new.source, Some(*id)).await?;
            usable(connection, origin.number, new.now).await?;
            if origin.plan.is_some_and(|plan| plan.of_draft) {
                return Err(StoreError::PlanUnusable(
                    "The plan is of the draft: it shows what publishing would lead to. Publish the source, then make a plan of it, or synchronize.",
                ));
            }
            if i64::from(origin.revision) != row.published_revision {
                return Err(StoreError::ConfigChanged);
            }
            Ok(noted(JobKind::Plan, Some(origin.number.0)))
        }
        Work::Undo(id) => {
            let origin = job::job(connection, &new.tenant, &new.source, Some(*id)).await?;
            undoable(connection, &origin, new).await?;
            Ok(noted(JobKind::Undo, Some(origin.number.0)))
        }
    }
}

async fn undoable(connection: &mut Connection, origin: &SyncJob, new: &NewJob) -> Result<()> {
    if origin.kind == JobKind::DryRun {
        return Err(StoreError::NotUndoable(
            "The job is a dry run: it changed nobody, so there is nothing to undo.",
        ));
    }
    match origin.state {
        JobState::Succeeded | JobState::Stopped | JobState::Failed => {}
        JobState::Queued | JobState::Running => {
            return Err(StoreError::NotUndoable("The job has not ended. Stop it first: StopSync."));
        }
        JobState::Held => {
            return Err(StoreError::NotUndoable(
                "The job is held. Reject what it holds (RejectSyncJob) or stop it (StopSync) first.",
            ));
        }
    }
    let newer = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM sync_jobs WHERE source_no = $1 AND job_no > $2 AND kind <> \
         {KIND_DRY_RUN}"
    ));
    let newer: i64 = newer.bind(origin.source_no.0).bind(origin.number.0).fetch_one(connection).await?;
    if newer >= JOURNALS_KEPT.max(new.full_lists_kept) {
        return Err(StoreError::NotUndoable(
            "Too many jobs of the source have begun since: what users were before this one is no longer kept. Undo a newer job.",
        ));
    }
    Ok(())
}

/// Refuses a job that has no plan, or not any more.
pub(crate) async fn usable(connection: &mut Connection, job: JobNo, now: Timestamp) -> Result<()> {
    let query = statement::query_as("SELECT kind, state, plan_expires_at FROM sync_jobs WHERE job_no = $1");
    let job: Option<(i64, i64, Option<i64>)> = query.bind(job.0).fetch_optional(connection).await?;
    let (kind, state, expires_at) = job.ok_or(StoreError::NotFound("sync job"))?;
    if kind != i64::from(JobKind::DryRun.number()) {
        return Err(StoreError::PlanUnusable(
            "The job is no dry run, so it has no plan. Start one: StartSync with validate_only.",
        ));
    }
    match expires_at {
        Some(expires_at) if expires_at > now.0 => Ok(()),
        Some(_) => Err(StoreError::PlanUnusable(
            "The plan has expired. Make a new one: StartSync with validate_only.",
        )),
        None if state == i64::from(JobState::Running.number())
            || state == i64::from(JobState::Queued.number()) =>
        {
            Err(StoreError::PlanUnusable("The dry run has not ended yet. Wait for it: WatchSyncJob."))
        }
        None => Err(StoreError::PlanUnusable(
            "The dry run ended without a plan. GetSyncJob says why; start another one.",
        )),
    }
}
