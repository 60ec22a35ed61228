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
    /// Sources with a schedule for which a sync is due, since a sign-in did not find a user, and
    /// none was queued for that since `since`, the longest due first. A source whose job has not
    /// ended, or waits for an administrator, is left out.
    read fn due_syncs(
        since: Timestamp,
        limit: i64,
    ) -> Vec<(TenantId, SourceId)> = schedules::due_sync::due;
    /// Queues a sync of such a source, unless another replica has done so. True if it did.
    write fn run_due_sync(
        job: move NewJob,
        since: Timestamp,
    ) -> bool = schedules::due_sync::run;
    /// Carries a run out, unless another replica has done so: starts the job, or notes why not, and
    /// sets the next run.
    write fn run_schedule(
        due: &DueSchedule,
        job: move NewJob,
        next: Option<PlannedRun>,
        now: Timestamp,
    ) -> Option<RunOutcome> = schedules::schedule::run;
}
