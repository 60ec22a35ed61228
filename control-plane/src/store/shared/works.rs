//! What a new job is to do: whether it can, and what is noted of it.

use super::catalog::SourceRow;
use super::engine::Connection;
use super::jobs::{self, JOURNALS};
use super::plans;
use crate::model::{JobKind, JobState, SyncJob};
use crate::store::{NewJob, Result, StoreError, Work};

/// What is noted of a job's work.
pub(super) struct Noted {
    pub(super) kind: JobKind,
    pub(super) origin: Option<i64>,
    pub(super) settings: Option<String>,
}

pub(super) async fn check(connection: &mut Connection, row: &SourceRow, new: &NewJob) -> Result<Noted> {
    let noted = |kind, origin| Noted { kind, origin, settings: None };
    if row.published_revision == 0 && new.work != (Work::DryRun { draft: true }) {
        return Err(StoreError::SourceNotPublished);
    }
    match &new.work {
        Work::Sync => Ok(noted(JobKind::Sync, None)),
        Work::DryRun { draft: false } => Ok(noted(JobKind::DryRun, None)),
        Work::DryRun { draft: true } => {
            Ok(Noted { settings: Some(row.draft().to_owned()), ..noted(JobKind::DryRun, None) })
        }
        Work::Plan(id) => {
            let origin = jobs::job(connection, &new.tenant, &new.source, Some(*id)).await?;
            plans::usable(connection, origin.number, new.now).await?;
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
            let origin = jobs::job(connection, &new.tenant, &new.source, Some(*id)).await?;
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
    let newer = sqlx::query_scalar(
        "SELECT COUNT(*) FROM sync_jobs WHERE source_no = $1 AND job_no > $2 AND kind <> 2",
    );
    let newer: i64 = newer.bind(origin.source_no.0).bind(origin.number.0).fetch_one(connection).await?;
    if newer >= JOURNALS.max(new.full_lists_kept) {
        return Err(StoreError::NotUndoable(
            "Too many jobs of the source have begun since: what users were before this one is no longer kept. Undo a newer job.",
        ));
    }
    Ok(())
}
