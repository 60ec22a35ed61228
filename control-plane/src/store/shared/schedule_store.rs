//! [`ScheduleStore`] over the statements of `schedules`.

use async_trait::async_trait;

use super::{Engine, audit, schedules};
use crate::model::{
    Actor, DueSchedule, Event, EventType, PlannedRun, RunOutcome, SourceId, SyncSchedule, TenantId,
    Timestamp, Trail, names,
};
use crate::store::{NewJob, Result, ScheduleChange, ScheduleStore};

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
        change: ScheduleChange,
        by: &Actor,
        now: Timestamp,
    ) -> Result<SyncSchedule> {
        let (tenant, source, by) = (tenant.clone(), source.clone(), by.clone());
        self.write(move |c| {
            let (tenant, source, change, by) = (tenant.clone(), source.clone(), change.clone(), by.clone());
            Box::pin(async move {
                let set = schedules::set(c, &tenant, &source, &change).await?;
                let event = Event::done(EventType::ScheduleSet, names::source(&tenant, &source))
                    .with("enabled", change.schedule.enabled);
                audit::record(c, &Trail::Tenant(tenant), &by, event, now).await?;
                Ok(set)
            })
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
