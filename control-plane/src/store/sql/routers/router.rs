//! Identity routers, as far as they are looked at. How they come to certificates is in
//! `enrollment`.

use super::super::dialect::Connection;
use super::super::statement::sql;
use super::super::{codec, locks, statement};
use crate::model::{ChangedRouter, IdentityRouter, RouterId, TenantId, Timestamp};
use crate::store::{Result, StoreError};

const ROUTER: &str = "SELECT r.id, r.state, r.state_message, r.version, r.connected, r.last_seen, r.created_at, \
     r.certificate_expires, r.generation, r.sources, r.recoveries, k.fingerprint FROM \
     identity_routers r LEFT JOIN router_keys k ON k.tenant_no = r.tenant_no AND k.router = r.id \
     AND k.generation = r.generation WHERE r.tenant_no = $1";

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
            state: codec::router_state(row.state)?,
            state_message: row.state_message,
            version: row.version,
            connected: row.connected != 0,
            last_seen: Timestamp(row.last_seen),
            created_at: Timestamp(row.created_at),
            certificate_expires: Timestamp(row.certificate_expires),
            generation: row.generation,
            key: row.fingerprint.and_then(|key| key.try_into().ok()).unwrap_or_default(),
            sources: codec::source_ids(&row.sources)?,
            recoveries: row.recoveries,
        })
    }
}

pub(crate) async fn router_seen(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
    version: &str,
    now: Timestamp,
) -> Result<()> {
    let tenant = locks::tenant_number(connection, tenant).await?;
    statement::query(
        "UPDATE identity_routers SET version = $3, connected = 1, last_seen = $4 WHERE tenant_no = \
         $1 AND id = $2",
    )
    .bind(tenant.0)
    .bind(router.0.clone())
    .bind(version.to_owned())
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn router_gone(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
    now: Timestamp,
) -> Result<()> {
    let tenant = locks::tenant_number(connection, tenant).await?;
    statement::query(
        "UPDATE identity_routers SET connected = 0, last_seen = $3 WHERE tenant_no = $1 AND id = \
         $2",
    )
    .bind(tenant.0)
    .bind(router.0.clone())
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn list_routers(
    connection: &mut Connection,
    tenant: &TenantId,
    after: Option<&RouterId>,
    limit: i64,
) -> Result<Vec<IdentityRouter>> {
    let tenant = locks::tenant_number(connection, tenant).await?;
    let rows: Vec<RouterRow> = statement::query_as(sql!("{ROUTER} AND r.id > $2 ORDER BY r.id LIMIT $3"))
        .bind(tenant.0)
        .bind(after.map_or("", RouterId::as_str).to_owned())
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(IdentityRouter::try_from).collect()
}

pub(crate) async fn router(
    connection: &mut Connection,
    tenant: &TenantId,
    router: &RouterId,
) -> Result<IdentityRouter> {
    let tenant = locks::tenant_number(connection, tenant).await?;
    let query = statement::query_as(sql!("{ROUTER} AND r.id = $2"));
    let row: Option<RouterRow> =
        query.bind(tenant.0).bind(router.0.clone()).fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("identity router"))?.try_into()
}

pub(crate) async fn changed(connection: &mut Connection, since: Timestamp) -> Result<Vec<ChangedRouter>> {
    let rows: Vec<(String, String, i64, i64)> = statement::query_as(
        "SELECT t.id, r.id, r.state, r.enrolled_generation FROM identity_routers r JOIN tenants t \
         ON t.tenant_no = r.tenant_no WHERE r.state_changed_at >= $1",
    )
    .bind(since.0)
    .fetch_all(connection)
    .await?;
    let rows = rows.into_iter().map(|(tenant, router, number, enrolled)| {
        Ok(ChangedRouter {
            tenant: TenantId(tenant),
            router: RouterId(router),
            state: codec::router_state(number)?,
            enrolled,
        })
    });
    rows.collect()
}

pub(crate) async fn tenants(connection: &mut Connection) -> Result<Vec<TenantId>> {
    let query = statement::query_scalar(
        "SELECT DISTINCT t.id FROM tenants t JOIN identity_routers r ON r.tenant_no = t.tenant_no \
         ORDER BY t.id",
    );
    let ids: Vec<String> = query.fetch_all(connection).await?;
    Ok(ids.into_iter().map(TenantId).collect())
}
