//! Schedules of sources.

use super::operations::operations;
use super::{NewJob, ScheduleChange};
use crate::model::{Actor, DueSchedule, PlannedRun, RunOutcome, SourceId, SyncSchedule, TenantId, Timestamp};

operations! {
    /// The schedule of a source; the default one with version 0 if none was set.
    read fn schedule(
        tenant: &TenantId,
        source: &SourceId,
    ) -> SyncSchedule = schedules::schedule::schedule;
    /// Sets the schedule of a source.
    write fn set_schedule(
        tenant: &TenantId,
        source: &SourceId,
        change: move ScheduleChange,
        by: &Actor,
        now: Timestamp,
    ) -> SyncSchedule = schedules::schedule::set;
    /// Schedules whose time has come, the longest overdue first. Those of suspended tenants wait.
    read fn due_schedules(
        now: Timestamp,
        limit: i64,
    ) -> Vec<DueSchedule> = schedules::schedule::due;
    /// Carries a run out, unless another replica has done so: starts the job, or notes why not, and
    /// sets the next run.
    write fn run_schedule(
        due: &DueSchedule,
        job: move NewJob,
        next: Option<PlannedRun>,
        now: Timestamp,
    ) -> Option<RunOutcome> = schedules::schedule::run;
}
