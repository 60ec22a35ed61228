//! Identity routers.

use sqlx::AssertSqlSafe;

use super::engine::Connection;
use super::tenants;
use crate::model::{IdentityRouter, RouterId, RouterState, SourceId, TenantId, Timestamp};
use crate::store::{Result, StoreError};

const ROUTER: &str = "SELECT r.id, r.state, r.state_message, r.version, r.connected, r.last_seen, r.created_at, r.certificate_expires, \
     r.generation, r.sources, r.recoveries, k.fingerprint FROM identity_routers r LEFT JOIN router_keys k \
     ON k.tenant_no = r.tenant_no AND k.router = r.id AND k.generation = r.generation WHERE r.tenant_no = $1";

#[derive(sqlx::FromRow)]
struct RouterRow {
    id: String,
    state: i64,
    state_message: String,
    version: String,
    connected: i64,
    last_seen: i64,
    created_at: i64,
    certificate_expires: i64,
    generation: i64,
    sources: String,
    recoveries: i64,
    fingerprint: Option<Vec<u8>>,
}

impl TryFrom<RouterRow> for IdentityRouter {
    type Error = StoreError;

    fn try_from(row: RouterRow) -> Result<Self> {
        Ok(Self {
            id: RouterId(row.id),
            state: match row.state {
                1 => RouterState::Active,
                2 => RouterState::Suspended,
                3 => RouterState::Revoked,
                _ => return Err(StoreError::Broken("a router with an unknown state".into())),
            },
            state_message: row.state_message,
            version: row.version,
            connected: row.connected != 0,
            last_seen: Timestamp(row.last_seen),
            created_at: Timestamp(row.created_at),
            certificate_expires: Timestamp(row.certificate_expires),
            generation: row.generation,
            key: row.fingerprint.and_then(|key| key.try_into().ok()).unwrap_or_default(),
            sources: sources(&row.sources)?,
            recoveries: row.recoveries,
        })
    }
}

fn sources(json: &str) -> Result<Vec<SourceId>> {
    let ids: Vec<String> = serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))?;
    Ok(ids.into_iter().map(SourceId).collect())
}

pub(super) async fn router_seen(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
    version: &str,
    certificate_expires: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let tenant = tenants::number(connection, tenant).await?;
    sqlx::query(
        "INSERT INTO identity_routers (tenant_no, id, version, connected, last_seen, certificate_expires, created_at) \
         VALUES ($1, $2, $3, 1, $4, $5, $4) ON CONFLICT (tenant_no, id) DO UPDATE SET version = excluded.version, connected = 1, \
         last_seen = excluded.last_seen, certificate_expires = excluded.certificate_expires",
    )
    .bind(tenant.0)
    .bind(router.0.clone())
    .bind(version.to_owned())
    .bind(now.0)
    .bind(certificate_expires.0)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn router_gone(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
    now: Timestamp,
) -> Result<()> {
    let tenant = tenants::number(connection, tenant).await?;
    sqlx::query("UPDATE identity_routers SET connected = 0, last_seen = $3 WHERE tenant_no = $1 AND id = $2")
        .bind(tenant.0)
        .bind(router.0.clone())
        .bind(now.0)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn list_routers(
    connection: &mut Connection,
    tenant: &TenantId,
    after: Option<&RouterId>,
    limit: i64,
) -> Result<Vec<IdentityRouter>> {
    let tenant = tenants::number(connection, tenant).await?;
    let rows: Vec<RouterRow> =
        sqlx::query_as(AssertSqlSafe(format!("{ROUTER} AND r.id > $2 ORDER BY r.id LIMIT $3")))
            .bind(tenant.0)
            .bind(after.map_or("", RouterId::as_str).to_owned())
            .bind(limit)
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(IdentityRouter::try_from).collect()
}
