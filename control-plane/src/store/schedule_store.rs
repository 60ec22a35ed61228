//! Schedules of identity sources.

use async_trait::async_trait;

use super::{NewJob, Result};
use crate::model::{
    DueSchedule, PlannedRun, RunOutcome, Schedule, SourceId, SyncSchedule, TenantId, Timestamp,
};

/// What is kept of schedules.
#[async_trait]
pub trait ScheduleStore {
    /// The schedule of a source; the default one with version 0 if none was set.
    async fn schedule(&self, tenant: &TenantId, source: &SourceId) -> Result<SyncSchedule>;
    /// Sets the schedule of a source; at `version` if given.
    async fn set_schedule(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        version: Option<i64>,
        schedule: Schedule,
        next: Option<PlannedRun>,
    ) -> Result<SyncSchedule>;
    /// Schedules whose time has come, the longest overdue first. Those of suspended tenants wait.
    async fn due_schedules(&self, now: Timestamp, limit: i64) -> Result<Vec<DueSchedule>>;
    /// Carries a run out, unless another replica has done so: starts the job, or notes why not, and sets the next run.
    async fn run_schedule(
        &self,
        due: &DueSchedule,
        job: NewJob,
        next: Option<PlannedRun>,
        now: Timestamp,
    ) -> Result<Option<RunOutcome>>;
}
