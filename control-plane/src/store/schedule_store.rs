//! Schedules of identity sources.

use async_trait::async_trait;

use super::{NewJob, Result};
use crate::model::{
    Actor, DueSchedule, PlannedRun, RunOutcome, Schedule, SourceId, SyncSchedule, TenantId, Timestamp,
};

/// A schedule to be set.
#[derive(Clone, Debug)]
pub struct ScheduleChange {
    /// The version that it replaces; none for whichever is there.
    pub version: Option<i64>,
    /// The schedule.
    pub schedule: Schedule,
    /// Its next run.
    pub next: Option<PlannedRun>,
}

/// What is kept of schedules.
#[async_trait]
pub trait ScheduleStore {
    /// The schedule of a source; the default one with version 0 if none was set.
    async fn schedule(&self, tenant: &TenantId, source: &SourceId) -> Result<SyncSchedule>;
    /// Sets the schedule of a source.
    async fn set_schedule(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        change: ScheduleChange,
        by: &Actor,
        now: Timestamp,
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
