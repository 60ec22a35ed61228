//! Tenants: made, shown, suspended. A suspension stops the tenant's jobs in the same transaction,
//! and a new one needs the tenant's row, so none can slip through.

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::jobs::{job, leftovers, lifecycle, outcomes};
use super::super::statement::sql;
use super::super::words::{JOB_HELD, JOB_QUEUED, JOB_RUNNING};
use super::super::{locks, statement};
use crate::model::{
    Call, Event, EventType, JobNo, SyncJob, Tenant, TenantId, TenantNo, Timestamp, Trail, names,
};
use crate::store::{Result, StoreError};

const TENANT: &str = "SELECT id, created_at, suspended_at FROM tenants";

#[derive(sqlx::FromRow)]
struct TenantRow {
    id: String,
    created_at: i64,
    suspended_at: Option<i64>,
}

impl From<TenantRow> for Tenant {
    fn from(row: TenantRow) -> Self {
        Self {
            id: TenantId(row.id),
            created_at: Timestamp(row.created_at),
            suspended_at: row.suspended_at.map(Timestamp),
        }
    }
}

pub(crate) async fn tenant(connection: &mut Connection, tenant: &TenantId) -> Result<Tenant> {
    let row = statement::query_as(sql!("{TENANT} WHERE id = $1")).bind(tenant.0.clone());
    let row: Option<TenantRow> = row.fetch_optional(connection).await?;
    row.map(Tenant::from).ok_or(StoreError::NotFound("tenant"))
}

pub(crate) async fn list(
    connection: &mut Connection,
    after: Option<&TenantId>,
    limit: i64,
) -> Result<Vec<Tenant>> {
    let query = statement::query_as(sql!("{TENANT} WHERE id > $1 ORDER BY id LIMIT $2"));
    let rows: Vec<TenantRow> =
        query.bind(after.map_or("", TenantId::as_str).to_owned()).bind(limit).fetch_all(connection).await?;
    Ok(rows.into_iter().map(Tenant::from).collect())
}

/// Whether there is such a tenant.
pub(crate) async fn exists(connection: &mut Connection, tenant: &TenantId) -> Result<bool> {
    match locks::tenant_number(connection, tenant).await {
        Err(StoreError::NotFound(_)) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Those that are not served.
pub(crate) async fn suspended(connection: &mut Connection) -> Result<Vec<TenantId>> {
    let query = statement::query_scalar("SELECT id FROM tenants WHERE suspended_at IS NOT NULL");
    let ids: Vec<String> = query.fetch_all(connection).await?;
    Ok(ids.into_iter().map(TenantId).collect())
}

pub(crate) async fn create(
    connection: &mut Connection,
    id: &TenantId,
    limit: i64,
    call: &Call,
) -> Result<Tenant> {
    let number = locks::next_number(connection, "tenant").await?;
    let made = statement::query(
        "INSERT INTO tenants (tenant_no, id, license_limit, created_at) VALUES ($1, $2, $3, $4) ON \
         CONFLICT (id) DO NOTHING",
    );
    let made =
        made.bind(number).bind(id.0.clone()).bind(limit).bind(call.now.0).execute(&mut *connection).await?;
    if made.rows_affected() == 0 {
        return Err(StoreError::AlreadyExists("a tenant"));
    }
    append::begin(connection, TenantNo(number)).await?;
    let event = Event::done(EventType::TenantCreated, names::tenant(id)).with("user_limit", limit);
    append::record(connection, &Trail::Tenant(id.clone()), call, event).await?;
    tenant(connection, id).await
}

/// Suspends a tenant that is served, and stops its jobs in any case. Also says which jobs.
pub(crate) async fn suspend(
    connection: &mut Connection,
    id: &TenantId,
    reason: &str,
    call: &Call,
) -> Result<(Tenant, Vec<JobNo>)> {
    let number = locks::tenant_number(connection, id).await?;
    // Jobs are locked before their tenant. Those that were begun meanwhile are few or none, and
    // from then on there are no more.
    let mut stopped = stop_jobs(connection, number, call).await?;
    let was = locks::lock_tenant(connection, id).await?;
    if !was.is_suspended {
        let suspend = statement::query("UPDATE tenants SET suspended_at = $2 WHERE tenant_no = $1");
        suspend.bind(number.0).bind(call.now.0).execute(&mut *connection).await?;
    }
    stopped.extend(stop_jobs(connection, number, call).await?);
    let trail = Trail::Tenant(id.clone());
    for job in &stopped {
        outcomes::stopped(connection, job, call).await?;
    }
    if !was.is_suspended {
        let event = Event::done(EventType::TenantSuspended, names::tenant(id));
        let event = event.with("reason", reason).with("stopped_jobs", stopped.len());
        append::record(connection, &trail, call, event).await?;
    }
    let jobs = stopped.into_iter().map(|job| job.number).collect();
    Ok((tenant(connection, id).await?, jobs))
}

pub(crate) async fn resume(connection: &mut Connection, id: &TenantId, call: &Call) -> Result<Tenant> {
    let was = locks::lock_tenant(connection, id).await?;
    if was.is_suspended {
        let resume = statement::query("UPDATE tenants SET suspended_at = NULL WHERE tenant_no = $1");
        resume.bind(was.number.0).execute(&mut *connection).await?;
        let event = Event::done(EventType::TenantResumed, names::tenant(id));
        append::record(connection, &Trail::Tenant(id.clone()), call, event).await?;
    }
    tenant(connection, id).await
}

/// Ends every job of a tenant that has not ended: whoever has one can write nothing of it any more.
async fn stop_jobs(connection: &mut Connection, tenant: TenantNo, call: &Call) -> Result<Vec<SyncJob>> {
    let open = statement::query_scalar(sql!(
        "SELECT job_no FROM sync_jobs WHERE tenant_no = $1 AND state IN ({JOB_QUEUED}, \
         {JOB_RUNNING}, {JOB_HELD}) ORDER BY job_no"
    ));
    let open: Vec<i64> = open.bind(tenant.0).fetch_all(&mut *connection).await?;
    let mut stopped = Vec::new();
    for job in open.into_iter().map(JobNo) {
        if lifecycle::end_stopped(connection, job, call).await? {
            leftovers::forget_absent(connection, job).await?;
            leftovers::forget_deferred(connection, job).await?;
            stopped.push(job::by_number(connection, job).await?);
        }
    }
    Ok(stopped)
}
