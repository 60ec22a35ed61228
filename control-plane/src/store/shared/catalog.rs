//! Identity sources.

use sqlx::AssertSqlSafe;

use super::engine::{Connection, LOCK};
use super::{audit, next_number, purge, rekey, tenants};
use crate::model::{
    Actor, Event, EventType, IdentitySource, ReadFacts, SourceId, SourceNo, SourceSettings, TenantId,
    TenantNo, Timestamp, Trail, names,
};
use crate::store::{Result, SourceChange, StoreError};

const SOURCE: &str = "SELECT s.source_no, s.id, s.display_name, s.version, s.draft, s.published, s.published_revision, s.created_at, \
     s.updated_at, s.published_at FROM identity_sources s JOIN tenants t ON t.tenant_no = s.tenant_no WHERE t.id = $1";

#[derive(sqlx::FromRow)]
pub(super) struct SourceRow {
    pub(super) source_no: i64,
    id: String,
    display_name: String,
    version: i64,
    draft: String,
    pub(super) published: Option<String>,
    pub(super) published_revision: i64,
    created_at: i64,
    updated_at: i64,
    published_at: Option<i64>,
}

impl SourceRow {
    /// The draft, as JSON.
    pub(super) fn draft(&self) -> &str {
        &self.draft
    }
}

impl TryFrom<SourceRow> for IdentitySource {
    type Error = StoreError;

    fn try_from(row: SourceRow) -> Result<Self> {
        Ok(Self {
            id: SourceId(row.id),
            display_name: row.display_name,
            version: row.version,
            draft: settings(&row.draft)?,
            published: row.published.as_deref().map(settings).transpose()?,
            published_revision: i32::try_from(row.published_revision).unwrap_or(i32::MAX),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            published_at: row.published_at.map(Timestamp),
        })
    }
}

pub(super) fn settings(json: &str) -> Result<SourceSettings> {
    serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(super) fn facts(json: &str) -> Result<ReadFacts> {
    serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Broken(Box::new(error)))
}

pub(super) async fn row(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
    lock: bool,
) -> Result<SourceRow> {
    // Only the source is locked, not the tenant that it is joined with.
    let of = if lock && !LOCK.is_empty() { " FOR UPDATE OF s" } else { "" };
    let query = sqlx::query_as(AssertSqlSafe(format!("{SOURCE} AND s.id = $2{of}")));
    let row: Option<SourceRow> =
        query.bind(tenant.0.clone()).bind(source.0.clone()).fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("identity source"))
}

pub(super) async fn source(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
) -> Result<IdentitySource> {
    row(connection, tenant, source, false).await?.try_into()
}

pub(super) async fn list(
    connection: &mut Connection,
    tenant: &TenantId,
    after: Option<&SourceId>,
    limit: i64,
) -> Result<Vec<IdentitySource>> {
    tenants::number(connection, tenant).await?;
    let after = after.map_or("", SourceId::as_str).to_owned();
    let query = sqlx::query_as(AssertSqlSafe(format!("{SOURCE} AND s.id > $2 ORDER BY s.id LIMIT $3")));
    let rows: Vec<SourceRow> =
        query.bind(tenant.0.clone()).bind(after).bind(limit).fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) async fn create(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &SourceId,
    change: &SourceChange,
    most: i64,
    by: &Actor,
    now: Timestamp,
) -> Result<IdentitySource> {
    let tenant_no = lock_tenant(connection, tenant).await?;
    let count =
        sqlx::query_scalar("SELECT COUNT(*) FROM identity_sources WHERE tenant_no = $1").bind(tenant_no.0);
    let count: i64 = count.fetch_one(&mut *connection).await?;
    let there = sqlx::query_scalar("SELECT COUNT(*) FROM identity_sources WHERE tenant_no = $1 AND id = $2");
    let there: i64 = there.bind(tenant_no.0).bind(id.0.clone()).fetch_one(&mut *connection).await?;
    if there > 0 {
        return Err(StoreError::AlreadyExists("an identity source"));
    }
    if count >= most {
        return Err(StoreError::TooMany(most));
    }
    let number = next_number(connection, "source").await?;
    sqlx::query(
        "INSERT INTO identity_sources (source_no, tenant_no, id, display_name, version, draft, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, 1, $5, $6, $6)",
    )
    .bind(number)
    .bind(tenant_no.0)
    .bind(id.0.clone())
    .bind(change.display_name.clone())
    .bind(json(&change.draft)?)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    let made = source(connection, tenant, id).await?;
    let event = Event::done(EventType::SourceCreated, names::source(tenant, id));
    audit::record(connection, &Trail::Tenant(tenant.clone()), by, event, now).await?;
    Ok(made)
}

pub(super) async fn update(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &SourceId,
    version: i64,
    change: &SourceChange,
    by: &Actor,
    now: Timestamp,
) -> Result<IdentitySource> {
    let row = row(connection, tenant, id, true).await?;
    if row.version != version {
        return Err(StoreError::VersionMismatch);
    }
    sqlx::query(
        "UPDATE identity_sources SET display_name = $2, draft = $3, version = version + 1, updated_at = $4 WHERE source_no = $1",
    )
    .bind(row.source_no)
    .bind(change.display_name.clone())
    .bind(json(&change.draft)?)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    let updated = source(connection, tenant, id).await?;
    let mut changed = updated.draft.differs_in(&settings(&row.draft)?);
    if updated.display_name != row.display_name {
        changed.insert(0, "display_name");
    }
    let event = Event::done(EventType::SourceUpdated, names::source(tenant, id));
    let event = event.with("changed", changed.join(","));
    audit::record(connection, &Trail::Tenant(tenant.clone()), by, event, now).await?;
    Ok(updated)
}

pub(super) async fn publish(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &SourceId,
    version: Option<i64>,
    by: &Actor,
    now: Timestamp,
) -> Result<IdentitySource> {
    // Jobs before their source, as everywhere: a job that is writing has written, or does not write any more.
    let unlocked = row(connection, tenant, id, false).await?;
    if rekey::is_due(connection, &unlocked).await? {
        purge::lock_jobs(connection, SourceNo(unlocked.source_no)).await?;
    }
    let row = row(connection, tenant, id, true).await?;
    if version.is_some_and(|version| version != row.version) {
        return Err(StoreError::VersionMismatch);
    }
    let rekeyed = match rekey::is_due(connection, &row).await? {
        true => Some(rekey::rekey(connection, &row, now).await?),
        false => None,
    };
    // Each publish is a new revision, even of the same settings: it also confirms roots that became other entries.
    sqlx::query(
        "UPDATE identity_sources SET published = draft, published_revision = published_revision + 1, version = version + 1, \
         published_at = $2 WHERE source_no = $1",
    )
    .bind(row.source_no)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    let published = source(connection, tenant, id).await?;
    let event = Event::done(EventType::SourcePublished, names::source(tenant, id));
    let mut event = event.with("revision", published.published_revision);
    if let Some(users) = rekeyed {
        event = event.with("rekeyed", users);
    }
    audit::record(connection, &Trail::Tenant(tenant.clone()), by, event, now).await?;
    Ok(published)
}

pub(super) async fn delete(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &SourceId,
    with_users: bool,
    by: &Actor,
    now: Timestamp,
) -> Result<()> {
    let source_no = row(connection, tenant, id, true).await?.source_no;
    let running = sqlx::query_scalar("SELECT id FROM sync_jobs WHERE source_no = $1 AND state IN (1, 2)");
    let running: Option<Vec<u8>> = running.bind(source_no).fetch_optional(&mut *connection).await?;
    if let Some(job) = running {
        return Err(StoreError::JobRunning(super::jobs::uuid(&job)?));
    }
    let tenant_no = lock_tenant(connection, tenant).await?;
    let users = sqlx::query_as(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN status = 1 THEN 1 ELSE 0 END), 0) FROM users WHERE tenant_no = $1 AND source_no = $2",
    );
    let (users, enabled): (i64, i64) =
        users.bind(tenant_no.0).bind(source_no).fetch_one(&mut *connection).await?;
    if users > 0 && !with_users {
        return Err(StoreError::SourceHasUsers);
    }
    for (text, number) in [
        ("DELETE FROM users WHERE source_no = $1", source_no),
        ("DELETE FROM sync_jobs WHERE source_no = $1", source_no),
        ("DELETE FROM identity_sources WHERE source_no = $1", source_no),
    ] {
        sqlx::query(text).bind(number).execute(&mut *connection).await?;
    }
    let taken = super::seats::take(connection, tenant_no, None, -enabled).await?;
    let alarm = taken.tell_webhooks(connection, now).await?;
    let event = Event::done(EventType::SourceDeleted, names::source(tenant, id)).with("users", users);
    audit::record(connection, &Trail::Tenant(tenant.clone()), by, event, now).await?;
    alarm.record(connection, now).await
}

pub(super) async fn lock_tenant(connection: &mut Connection, tenant: &TenantId) -> Result<TenantNo> {
    let query =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT tenant_no FROM tenants WHERE id = $1{LOCK}")));
    let number = query.bind(tenant.0.clone()).fetch_optional(connection).await?;
    number.map(TenantNo).ok_or(StoreError::NotFound("tenant"))
}

/// The published revision of a source, which stays what it is until the end of the transaction.
pub(super) async fn locked_revision(connection: &mut Connection, source: SourceNo) -> Result<i64> {
    let text = format!("SELECT published_revision FROM identity_sources WHERE source_no = $1{LOCK}");
    let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(source.0);
    query.fetch_optional(connection).await?.ok_or(StoreError::NotFound("identity source"))
}
