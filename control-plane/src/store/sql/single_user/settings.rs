//! The settings of just-in-time sync: columns of the tenant's row.

use std::time::Duration;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::statement;
use super::super::statement::sql;
use crate::model::{Call, Event, EventType, SingleUserSettings, TenantId, TenantNo, Trail, names};
use crate::store::{Result, StoreError};

/// Columns of a [`SettingsRow`], of tenants `t`.
pub(crate) const COLUMNS: &str =
    "t.tenant_no, t.jit_enabled, t.jit_deadline, t.jit_last_known_max_age, t.suspended_at";

#[derive(sqlx::FromRow)]
pub(crate) struct SettingsRow {
    tenant_no: i64,
    jit_enabled: i64,
    jit_deadline: i64,
    jit_last_known_max_age: i64,
    suspended_at: Option<i64>,
}

impl From<SettingsRow> for (TenantNo, SingleUserSettings, bool) {
    fn from(row: SettingsRow) -> Self {
        let micros = |number: i64| Duration::from_micros(number.unsigned_abs());
        let settings = SingleUserSettings {
            enabled: row.jit_enabled != 0,
            deadline: micros(row.jit_deadline),
            last_known_max_age: micros(row.jit_last_known_max_age),
        };
        (TenantNo(row.tenant_no), settings, row.suspended_at.is_some())
    }
}

/// The tenant's number, its settings, and whether it is suspended.
pub(crate) async fn get(
    connection: &mut Connection,
    tenant: &TenantId,
) -> Result<(TenantNo, SingleUserSettings, bool)> {
    let text = sql!("SELECT {COLUMNS} FROM tenants t WHERE t.id = $1");
    let query = statement::query_as(text).bind(tenant.0.clone());
    let row: Option<SettingsRow> = query.fetch_optional(connection).await?;
    Ok(row.ok_or(StoreError::NotFound("tenant"))?.into())
}

/// The same without whether it is suspended.
pub(crate) async fn settings(
    connection: &mut Connection,
    tenant: &TenantId,
) -> Result<(TenantNo, SingleUserSettings)> {
    get(connection, tenant).await.map(|(number, settings, _)| (number, settings))
}

pub(crate) async fn set(
    connection: &mut Connection,
    tenant: &TenantId,
    settings: &SingleUserSettings,
    call: &Call,
) -> Result<()> {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let query = statement::query(
        "UPDATE tenants SET jit_enabled = $2, jit_deadline = $3, jit_last_known_max_age = $4 WHERE \
         id = $1",
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
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await
}
