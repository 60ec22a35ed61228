//! Tenants and their licenses.

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::{codec, locks, statement};
use super::alarms::Taken;
use crate::model::{Call, Event, EventType, License, SourceId, SourceUse, TenantId, TenantNo, Trail, names};
use crate::store::{Result, StoreError};

pub(crate) async fn license(connection: &mut Connection, tenant: &TenantId) -> Result<License> {
    let row = statement::query_as(
        "SELECT tenant_no, license_limit, enabled_users, license_level FROM tenants WHERE id = $1",
    );
    let row: Option<(i64, i64, i64, i64)> =
        row.bind(tenant.0.clone()).fetch_optional(&mut *connection).await?;
    let (number, limit, used, level) = row.ok_or(StoreError::NotFound("tenant"))?;
    let sources = statement::query_as(
        "SELECT id, enabled_users FROM identity_sources WHERE tenant_no = $1 ORDER BY id",
    );
    let sources: Vec<(String, i64)> = sources.bind(number).fetch_all(connection).await?;
    let by_source = sources.into_iter().map(|(id, used)| SourceUse { source: SourceId(id), used }).collect();
    Ok(License { limit, used, by_source, level: codec::license_level(level)? })
}

/// Seats of a tenant.
pub(crate) struct Use {
    pub(crate) used: i64,
    pub(crate) limit: i64,
}

pub(crate) async fn use_of(connection: &mut Connection, tenant: TenantNo) -> Result<Use> {
    let row = statement::query_as("SELECT enabled_users, license_limit FROM tenants WHERE tenant_no = $1");
    let (used, limit): (i64, i64) = row.bind(tenant.0).fetch_one(connection).await?;
    Ok(Use { used, limit })
}

pub(crate) async fn set_limit(
    connection: &mut Connection,
    tenant: &TenantId,
    limit: i64,
    create: bool,
    call: &Call,
) -> Result<()> {
    let trail = Trail::Tenant(tenant.clone());
    let before = locks::lock_license_limit(connection, tenant).await?;
    if let Some(before) = before {
        let update = statement::query("UPDATE tenants SET license_limit = $2 WHERE id = $1");
        update.bind(tenant.0.clone()).bind(limit).execute(&mut *connection).await?;
        let event = Event::done(EventType::LicenseLimitSet, names::license(tenant));
        let event = event.with("from", before).with("to", limit);
        let number = locks::tenant_number(connection, tenant).await?;
        let alarm = Taken::of(number).enqueue_messages(connection, call.now).await?;
        append::record(connection, &trail, call, event).await?;
        return alarm.record(connection, call.now).await;
    }
    if !create {
        return Err(StoreError::NotFound("tenant"));
    }
    let number = locks::next_number(connection, "tenant").await?;
    statement::query(
        "INSERT INTO tenants (tenant_no, id, license_limit, created_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(number)
    .bind(tenant.0.clone())
    .bind(limit)
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    append::begin(connection, TenantNo(number)).await?;
    let event = Event::done(EventType::TenantCreated, names::tenant(tenant)).with("user_limit", limit);
    append::record(connection, &trail, call, event).await
}
