//! Schedules: set, found due, carried out. A run and the next one are written in the transaction
//! that queues the job, so that whatever dies in between, and however many replicas look, each run
//! happens once.

use uuid::Uuid;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::jobs::lifecycle;
use super::super::sources::source;
use super::super::statement::sql;
use super::super::{codec, locks, statement};
use crate::model::{
    Call, DueSchedule, Event, EventType, LastRun, PlannedRun, RunOutcome, Schedule, SourceId, SyncSchedule,
    TenantId, Timestamp, Trail, names,
};
use crate::store::{NewJob, Result, ScheduleChange, StoreError};

const COLUMNS: &str = "c.schedule, c.version, c.next_planned_at, c.next_run_at, c.last_planned_at, c.last_run_at, \
     c.last_outcome, c.last_job";

#[derive(sqlx::FromRow)]
struct ScheduleRow {
    schedule: String,
    version: i64,
    next_planned_at: Option<i64>,
    next_run_at: Option<i64>,
    last_planned_at: Option<i64>,
    last_run_at: Option<i64>,
    last_outcome: Option<i64>,
    last_job: Option<Vec<u8>>,
}

impl TryFrom<ScheduleRow> for SyncSchedule {
    type Error = StoreError;

    fn try_from(row: ScheduleRow) -> Result<Self> {
        let next = row.next_planned_at.zip(row.next_run_at);
        let last = match (
            row.last_planned_at,
            row.last_run_at,
            row.last_outcome.and_then(|number| i16::try_from(number).ok()).and_then(RunOutcome::from_number),
        ) {
            (Some(planned), Some(at), Some(outcome)) => Some(LastRun {
                planned: Timestamp(planned),
                at: Timestamp(at),
                outcome,
                job: row.last_job.as_deref().map(codec::uuid).transpose()?,
            }),
            _ => None,
        };
        Ok(Self {
            schedule: codec::schedule(&row.schedule)?,
            version: row.version,
            next: next.map(|(planned, at)| PlannedRun { planned: Timestamp(planned), at: Timestamp(at) }),
            last,
        })
    }
}

pub(crate) async fn schedule(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
) -> Result<SyncSchedule> {
    let source = source::row(connection, tenant, source).await?.source_no;
    by_source(connection, source).await
}

async fn by_source(connection: &mut Connection, source: i64) -> Result<SyncSchedule> {
    let text = sql!("SELECT {COLUMNS} FROM sync_schedules c WHERE c.source_no = $1");
    let row: Option<ScheduleRow> = statement::query_as(text).bind(source).fetch_optional(connection).await?;
    let none = SyncSchedule { schedule: Schedule::default(), version: 0, next: None, last: None };
    row.map_or(Ok(none), TryInto::try_into)
}

pub(crate) async fn set(
    connection: &mut Connection,
    tenant: &TenantId,
    source_id: &SourceId,
    change: &ScheduleChange,
    call: &Call,
) -> Result<SyncSchedule> {
    let ScheduleChange { version, schedule, next } = change;
    // The source's row is the lock.
    let source = locks::lock_source(connection, tenant, source_id).await?.source_no;
    let present = by_source(connection, source).await?;
    if version.is_some_and(|version| version != present.version) {
        return Err(StoreError::VersionMismatch);
    }
    statement::query(
        "INSERT INTO sync_schedules (source_no, schedule, version, next_planned_at, next_run_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (source_no) DO UPDATE SET schedule = \
         excluded.schedule, version = excluded.version, next_planned_at = \
         excluded.next_planned_at, next_run_at = excluded.next_run_at",
    )
    .bind(source)
    .bind(codec::to_json(schedule)?)
    .bind(present.version + 1)
    .bind(next.map(|run| run.planned.0))
    .bind(next.map(|run| run.at.0))
    .execute(&mut *connection)
    .await?;
    let set = by_source(connection, source).await?;
    let event = Event::done(EventType::ScheduleSet, names::source(tenant, source_id))
        .with("enabled", schedule.enabled);
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    Ok(set)
}

pub(crate) async fn due(connection: &mut Connection, now: Timestamp, limit: i64) -> Result<Vec<DueSchedule>> {
    let rows: Vec<(String, String, String, i64, i64, i64)> = statement::query_as(
        "SELECT t.id, s.id, c.schedule, c.version, c.next_planned_at, c.next_run_at FROM \
         sync_schedules c JOIN identity_sources s ON s.source_no = c.source_no JOIN tenants t ON \
         t.tenant_no = s.tenant_no WHERE c.next_run_at <= $1 AND t.suspended_at IS NULL ORDER BY \
         c.next_run_at LIMIT $2",
    )
    .bind(now.0)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(tenant, source, schedule, version, planned, at)| {
            Ok(DueSchedule {
                tenant: TenantId(tenant),
                source: SourceId(source),
                schedule: codec::schedule(&schedule)?,
                version,
                run: PlannedRun { planned: Timestamp(planned), at: Timestamp(at) },
            })
        })
        .collect()
}

pub(crate) async fn run(
    connection: &mut Connection,
    due: &DueSchedule,
    job: &NewJob,
    next: Option<PlannedRun>,
    now: Timestamp,
) -> Result<Option<RunOutcome>> {
    let source = locks::lock_source(connection, &due.tenant, &due.source).await?.source_no;
    let present = locks::lock_schedule(connection, source).await?;
    if present != Some((due.version, Some(due.run.at.0))) {
        return Ok(None);
    }
    let (outcome, job): (_, Option<Uuid>) = match lifecycle::create(connection, job).await {
        Ok(job) => (RunOutcome::Started, Some(job.id)),
        Err(StoreError::JobRunning(_)) => (RunOutcome::SkippedRunning, None),
        Err(StoreError::SourceNotPublished) => (RunOutcome::SkippedNotPublished, None),
        Err(error) => return Err(error),
    };
    statement::query(
        "UPDATE sync_schedules SET next_planned_at = $2, next_run_at = $3, last_planned_at = $4, \
         last_run_at = $5, last_outcome = $6, last_job = $7 WHERE source_no = $1",
    )
    .bind(source)
    .bind(next.map(|run| run.planned.0))
    .bind(next.map(|run| run.at.0))
    .bind(due.run.planned.0)
    .bind(now.0)
    .bind(i64::from(outcome.number()))
    .bind(job.map(|job| job.as_bytes().to_vec()))
    .execute(connection)
    .await?;
    Ok(Some(outcome))
}
