//! Registration codes: made, listed, voided. Only the hash of a code's secret is kept.

use std::time::Duration;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::sources::source;
use super::super::{codec, locks, statement};
use super::router;
use crate::model::{
    Call, Event, EventType, NewCode, RegistrationCode, RouterId, RouterState, TenantId, TenantNo, Timestamp,
    Trail, names,
};
use crate::store::{Result, StoreError};

/// How long codes are kept after their end.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

#[derive(sqlx::FromRow)]
struct CodeRow {
    id: String,
    router: String,
    sources: String,
    created_by: String,
    created_at: i64,
    expires_at: i64,
    used_at: Option<i64>,
    voided_at: Option<i64>,
}

impl TryFrom<CodeRow> for RegistrationCode {
    type Error = StoreError;

    fn try_from(row: CodeRow) -> Result<Self> {
        Ok(Self {
            id: row.id,
            router: RouterId(row.router),
            sources: codec::source_ids(&row.sources)?,
            created_by: row.created_by,
            created_at: Timestamp(row.created_at),
            expires_at: Timestamp(row.expires_at),
            used_at: row.used_at.map(Timestamp),
            voided_at: row.voided_at.map(Timestamp),
        })
    }
}

/// Makes a code; an open one for the same router is voided.
pub(crate) async fn create(
    connection: &mut Connection,
    tenant: &TenantId,
    new: &NewCode,
    most: i64,
    call: &Call,
) -> Result<RegistrationCode> {
    // One code at a time, so that the count holds.
    let number = locks::lock_tenant(connection, tenant).await?.number;
    match router::router(connection, tenant, &new.router).await {
        Ok(router) if router.state == RouterState::Revoked => return Err(StoreError::RouterRevoked),
        Ok(_) | Err(StoreError::NotFound(_)) => {}
        Err(error) => return Err(error),
    }
    for source in &new.sources {
        source::source(connection, tenant, source).await?;
    }
    void_open_of(connection, number, &new.router, call.now).await?;
    statement::query("DELETE FROM registration_codes WHERE tenant_no = $1 AND expires_at < $2")
        .bind(number.0)
        .bind(call.now.minus(KEPT).0)
        .execute(&mut *connection)
        .await?;
    let open: i64 = statement::query_scalar(
        "SELECT COUNT(*) FROM registration_codes WHERE tenant_no = $1 AND used_at IS NULL AND \
         voided_at IS NULL AND expires_at >= $2",
    )
    .bind(number.0)
    .bind(call.now.0)
    .fetch_one(&mut *connection)
    .await?;
    if open >= most {
        return Err(StoreError::TooManyCodes(most));
    }
    statement::query(
        "INSERT INTO registration_codes (tenant_no, id, secret_hash, router, sources, created_by, \
         created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(number.0)
    .bind(new.id.clone())
    .bind(new.secret_hash.to_vec())
    .bind(new.router.0.clone())
    .bind(codec::to_json(&new.sources.iter().map(|source| source.0.as_str()).collect::<Vec<_>>())?)
    .bind(call.by.name.clone())
    .bind(call.now.0)
    .bind(new.expires_at.0)
    .execute(&mut *connection)
    .await?;
    let event = Event::done(EventType::CodeCreated, names::code(tenant, &new.id))
        .with("identity_router", &new.router)
        .with("expire_time", new.expires_at.0);
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    one(connection, number, &new.id).await
}

pub(crate) async fn list(
    connection: &mut Connection,
    tenant: &TenantId,
    before: Option<&str>,
    limit: i64,
) -> Result<Vec<RegistrationCode>> {
    let tenant = locks::tenant_number(connection, tenant).await?;
    // Ids ascend with the time.
    let rows: Vec<CodeRow> = statement::query_as(
        "SELECT id, router, sources, created_by, created_at, expires_at, used_at, voided_at FROM \
         registration_codes WHERE tenant_no = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT \
         $3",
    )
    .bind(tenant.0)
    .bind(before.unwrap_or_default().to_owned())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(crate) async fn void(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &str,
    call: &Call,
) -> Result<RegistrationCode> {
    let number = locks::tenant_number(connection, tenant).await?;
    let voided = statement::query(
        "UPDATE registration_codes SET voided_at = $3 WHERE tenant_no = $1 AND id = $2 AND used_at \
         IS NULL AND voided_at IS NULL AND expires_at >= $3",
    )
    .bind(number.0)
    .bind(id.to_owned())
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    let code = one(connection, number, id).await?;
    if voided.rows_affected() == 0 {
        return Err(StoreError::CodeEnded);
    }
    let event =
        Event::done(EventType::CodeVoided, names::code(tenant, id)).with("identity_router", &code.router);
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    Ok(code)
}

/// Voids every open code of every tenant. How many.
pub(crate) async fn void_all(connection: &mut Connection, call: &Call) -> Result<usize> {
    let open: Vec<(i64, String, String, String)> = statement::query_as(
        "SELECT c.tenant_no, t.id, c.id, c.router FROM registration_codes c JOIN tenants t ON \
         t.tenant_no = c.tenant_no WHERE c.used_at IS NULL AND c.voided_at IS NULL AND \
         c.expires_at >= $1 ORDER BY c.tenant_no, c.id",
    )
    .bind(call.now.0)
    .fetch_all(&mut *connection)
    .await?;
    for (tenant, _, id, _) in &open {
        statement::query("UPDATE registration_codes SET voided_at = $3 WHERE tenant_no = $1 AND id = $2")
            .bind(tenant)
            .bind(id.clone())
            .bind(call.now.0)
            .execute(&mut *connection)
            .await?;
    }
    let voided = open.len();
    for (_, tenant, id, router) in open {
        let tenant = TenantId(tenant);
        let event =
            Event::done(EventType::CodeVoided, names::code(&tenant, &id)).with("identity_router", router);
        append::record(connection, &Trail::Tenant(tenant), call, event).await?;
    }
    Ok(voided)
}

/// Voids what is open for a router.
pub(crate) async fn void_open_of(
    connection: &mut Connection,
    tenant: TenantNo,
    router: &RouterId,
    now: Timestamp,
) -> Result<()> {
    statement::query(
        "UPDATE registration_codes SET voided_at = $3 WHERE tenant_no = $1 AND router = $2 AND \
         used_at IS NULL AND voided_at IS NULL",
    )
    .bind(tenant.0)
    .bind(router.0.clone())
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(())
}

async fn one(connection: &mut Connection, tenant: TenantNo, id: &str) -> Result<RegistrationCode> {
    let row: Option<CodeRow> = statement::query_as(
        "SELECT id, router, sources, created_by, created_at, expires_at, used_at, voided_at FROM \
         registration_codes WHERE tenant_no = $1 AND id = $2",
    )
    .bind(tenant.0)
    .bind(id.to_owned())
    .fetch_optional(connection)
    .await?;
    row.ok_or(StoreError::NotFound("registration code"))?.try_into()
}
