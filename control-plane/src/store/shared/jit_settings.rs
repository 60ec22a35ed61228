//! The settings of just-in-time sync: columns of the tenant's row.

use std::time::Duration;

use super::audit;
use super::engine::Connection;
use crate::model::{Actor, Event, EventType, JitSettings, TenantId, TenantNo, Timestamp, Trail, names};
use crate::store::{Result, StoreError};

/// The tenant's number, its settings, and whether it is suspended.
pub(super) async fn get(
    connection: &mut Connection,
    tenant: &TenantId,
) -> Result<(TenantNo, JitSettings, bool)> {
    let query = sqlx::query_as(
        "SELECT tenant_no, jit_enabled, jit_deadline, jit_last_known_max_age, suspended_at FROM tenants WHERE id = $1",
    );
    let query = query.bind(tenant.0.clone());
    let row: Option<(i64, i64, i64, i64, Option<i64>)> = query.fetch_optional(connection).await?;
    let (number, enabled, deadline, age, suspended) = row.ok_or(StoreError::NotFound("tenant"))?;
    let micros = |number: i64| Duration::from_micros(number.unsigned_abs());
    let settings =
        JitSettings { enabled: enabled != 0, deadline: micros(deadline), last_known_max_age: micros(age) };
    Ok((TenantNo(number), settings, suspended.is_some()))
}

pub(super) async fn set(
    connection: &mut Connection,
    tenant: &TenantId,
    settings: &JitSettings,
    by: &Actor,
    now: Timestamp,
) -> Result<()> {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let query = sqlx::query(
        "UPDATE tenants SET jit_enabled = $2, jit_deadline = $3, jit_last_known_max_age = $4 WHERE id = $1",
    );
    let set = query
        .bind(tenant.0.clone())
        .bind(i64::from(settings.enabled))
        .bind(micros(settings.deadline))
        .bind(micros(settings.last_known_max_age))
        .execute(&mut *connection)
        .await?;
    if set.rows_affected() == 0 {
        return Err(StoreError::NotFound("tenant"));
    }
    let event = Event::done(EventType::JustInTimeSet, names::just_in_time_settings(tenant))
        .with("enabled", settings.enabled);
    audit::record(connection, &Trail::Tenant(tenant.clone()), by, event, now).await
}
