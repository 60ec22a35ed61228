//! [`ScheduleStore`] over the statements of `schedules`.

use async_trait::async_trait;

use super::{Engine, schedules};
use crate::model::{
    DueSchedule, PlannedRun, RunOutcome, Schedule, SourceId, SyncSchedule, TenantId, Timestamp,
};
use crate::store::{NewJob, Result, ScheduleStore};

#[async_trait]
impl ScheduleStore for Engine {
    async fn schedule(&self, tenant: &TenantId, source: &SourceId) -> Result<SyncSchedule> {
        let (tenant, source) = (tenant.clone(), source.clone());
        self.read(move |c| Box::pin(async move { schedules::schedule(c, &tenant, &source).await })).await
    }

    async fn set_schedule(
        &self,
        tenant: &TenantId,
        source: &SourceId,
        version: Option<i64>,
        schedule: Schedule,
        next: Option<PlannedRun>,
    ) -> Result<SyncSchedule> {
        let (tenant, source) = (tenant.clone(), source.clone());
        self.write(move |c| {
            let (tenant, source, schedule) = (tenant.clone(), source.clone(), schedule.clone());
            Box::pin(async move { schedules::set(c, &tenant, &source, version, &schedule, next).await })
        })
        .await
    }

    async fn due_schedules(&self, now: Timestamp, limit: i64) -> Result<Vec<DueSchedule>> {
        self.read(move |c| Box::pin(async move { schedules::due(c, now, limit).await })).await
    }

    async fn run_schedule(
        &self,
        due: &DueSchedule,
        job: NewJob,
        next: Option<PlannedRun>,
        now: Timestamp,
    ) -> Result<Option<RunOutcome>> {
        let due = due.clone();
        self.write(move |c| {
            let (due, job) = (due.clone(), job.clone());
            Box::pin(async move { schedules::run(c, &due, &job, next, now).await })
        })
        .await
    }
}
