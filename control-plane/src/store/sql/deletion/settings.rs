//! When users of a tenant are deleted: columns of the tenant's row, and the lease of whoever does
//! it by itself.

use std::time::Duration;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::statement::sql;
use super::super::{locks, statement};
use crate::model::{Call, DeletionSettings, Event, EventType, TenantId, TenantNo, Timestamp, Trail, names};
use crate::store::{DeletionLease, Result, StoreError};

/// Columns of a [`SettingsRow`].
pub(crate) const COLUMNS: &str = "deletion_pending_period, deletion_disabled_for, deletion_unused_for";

#[derive(sqlx::FromRow)]
pub(crate) struct SettingsRow {
    deletion_pending_period: i64,
    deletion_disabled_for: Option<i64>,
    deletion_unused_for: Option<i64>,
}

impl From<SettingsRow> for DeletionSettings {
    fn from(row: SettingsRow) -> Self {
        let micros = |number: i64| Duration::from_micros(number.unsigned_abs());
        Self {
            pending_period: micros(row.deletion_pending_period),
            disabled_for: row.deletion_disabled_for.map(micros),
            unused_for: row.deletion_unused_for.map(micros),
        }
    }
}

pub(crate) async fn get(connection: &mut Connection, tenant: &TenantId) -> Result<DeletionSettings> {
    let query = statement::query_as(sql!("SELECT {COLUMNS} FROM tenants WHERE id = $1"));
    let row: Option<SettingsRow> = query.bind(tenant.0.clone()).fetch_optional(connection).await?;
    row.map(Into::into).ok_or(StoreError::NotFound("tenant"))
}

pub(crate) async fn set(
    connection: &mut Connection,
    tenant: &TenantId,
    settings: &DeletionSettings,
    call: &Call,
) -> Result<()> {
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let DeletionSettings { pending_period, disabled_for, unused_for } = *settings;
    let set = statement::query(
        "UPDATE tenants SET deletion_pending_period = $2, deletion_disabled_for = $3, \
         deletion_unused_for = $4 WHERE id = $1",
    )
    .bind(tenant.0.clone())
    .bind(micros(pending_period))
    .bind(disabled_for.map(micros))
    .bind(unused_for.map(micros))
    .execute(&mut *connection)
    .await?;
    if set.rows_affected() == 0 {
        return Err(StoreError::NotFound("tenant"));
    }
    let mut event = Event::done(EventType::DeletionSet, names::deletion_settings(tenant))
        .with("pending_period", pending_period.as_secs());
    for (name, value) in [("disabled_for", disabled_for), ("unused_for", unused_for)] {
        if let Some(value) = value {
            event = event.with(name, value.as_secs());
        }
    }
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await
}

/// Locks the tenant's row and takes the lease, or keeps it. None if another has it, or the tenant
/// is not served.
pub(crate) async fn take_lease(
    connection: &mut Connection,
    tenant: &TenantId,
    lease: &DeletionLease,
    now: Timestamp,
) -> Result<Option<TenantNo>> {
    let held = locks::lock_deletion_lease(connection, tenant).await?;
    let is_free = held.deletion_owner == lease.owner || held.deletion_lease_expires_at <= now.0;
    if held.suspended_at.is_some() || !is_free {
        return Ok(None);
    }
    statement::query(
        "UPDATE tenants SET deletion_owner = $2, deletion_lease_expires_at = $3 WHERE tenant_no = \
         $1",
    )
    .bind(held.tenant_no)
    .bind(lease.owner.clone())
    .bind(now.plus(lease.lease).0)
    .execute(connection)
    .await?;
    Ok(Some(TenantNo(held.tenant_no)))
}
