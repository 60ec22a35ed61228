//! Identity sources.

use super::super::audit::append;
use super::super::codec::{SOURCE, SourceRow};
use super::super::dialect::Connection;
use super::super::license::seats;
use super::super::statement::sql;
use super::super::words::{JOB_QUEUED, JOB_RUNNING, USER_ENABLED};
use super::super::{codec, locks, statement};
use crate::model::{Call, Event, EventType, IdentitySource, SourceId, TenantId, Timestamp, Trail, names};
use crate::store::{Result, SourceChange, StoreError};

impl TryFrom<SourceRow> for IdentitySource {
    type Error = StoreError;

    fn try_from(row: SourceRow) -> Result<Self> {
        Ok(Self {
            id: SourceId(row.id),
            display_name: row.display_name,
            version: row.version,
            draft: codec::source_settings(&row.draft)?,
            published: row.published.as_deref().map(codec::source_settings).transpose()?,
            published_revision: i32::try_from(row.published_revision).unwrap_or(i32::MAX),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            published_at: row.published_at.map(Timestamp),
            sync_due_at: row.sync_due_at.map(Timestamp),
        })
    }
}

/// A source as a row. A transaction that changes it locks it instead: [`locks::lock_source`].
pub(crate) async fn row(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
) -> Result<SourceRow> {
    let row = statement::query_as(sql!("{SOURCE} AND s.id = $2")).bind(tenant.0.clone());
    let row = row.bind(source.0.clone()).fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("identity source"))
}

pub(crate) async fn source(
    connection: &mut Connection,
    tenant: &TenantId,
    source: &SourceId,
) -> Result<IdentitySource> {
    row(connection, tenant, source).await?.try_into()
}

pub(crate) async fn list(
    connection: &mut Connection,
    tenant: &TenantId,
    after: Option<&SourceId>,
    limit: i64,
) -> Result<Vec<IdentitySource>> {
    locks::tenant_number(connection, tenant).await?;
    let after = after.map_or("", SourceId::as_str).to_owned();
    let query = statement::query_as(sql!("{SOURCE} AND s.id > $2 ORDER BY s.id LIMIT $3"));
    let rows: Vec<SourceRow> =
        query.bind(tenant.0.clone()).bind(after).bind(limit).fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(crate) async fn create(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &SourceId,
    change: &SourceChange,
    most: i64,
    call: &Call,
) -> Result<IdentitySource> {
    let tenant_no = locks::lock_tenant(connection, tenant).await?.number;
    let count = statement::query_scalar("SELECT COUNT(*) FROM identity_sources WHERE tenant_no = $1")
        .bind(tenant_no.0);
    let count: i64 = count.fetch_one(&mut *connection).await?;
    let there =
        statement::query_scalar("SELECT COUNT(*) FROM identity_sources WHERE tenant_no = $1 AND id = $2");
    let there: i64 = there.bind(tenant_no.0).bind(id.0.clone()).fetch_one(&mut *connection).await?;
    if there > 0 {
        return Err(StoreError::AlreadyExists("an identity source"));
    }
    if count >= most {
        return Err(StoreError::TooMany(most));
    }
    let number = locks::next_number(connection, "source").await?;
    statement::query(
        "INSERT INTO identity_sources (source_no, tenant_no, id, display_name, version, draft, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, 1, $5, $6, $6)",
    )
    .bind(number)
    .bind(tenant_no.0)
    .bind(id.0.clone())
    .bind(change.display_name.clone())
    .bind(codec::to_json(&change.draft)?)
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    let made = source(connection, tenant, id).await?;
    let event = Event::done(EventType::SourceCreated, names::source(tenant, id));
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    Ok(made)
}

pub(crate) async fn update(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &SourceId,
    version: i64,
    change: &SourceChange,
    call: &Call,
) -> Result<IdentitySource> {
    let row = locks::lock_source(connection, tenant, id).await?;
    if row.version != version {
        return Err(StoreError::VersionMismatch);
    }
    statement::query(
        "UPDATE identity_sources SET display_name = $2, draft = $3, version = version + 1, \
         updated_at = $4 WHERE source_no = $1",
    )
    .bind(row.source_no)
    .bind(change.display_name.clone())
    .bind(codec::to_json(&change.draft)?)
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    let updated = source(connection, tenant, id).await?;
    let mut changed = updated.draft.differs_in(&codec::source_settings(&row.draft)?);
    if updated.display_name != row.display_name {
        changed.insert(0, "display_name");
    }
    let event = Event::done(EventType::SourceUpdated, names::source(tenant, id));
    let event = event.with("changed", changed.join(","));
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    Ok(updated)
}

pub(crate) async fn delete(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &SourceId,
    with_users: bool,
    call: &Call,
) -> Result<()> {
    let source_no = locks::lock_source(connection, tenant, id).await?.source_no;
    let running = statement::query_scalar(sql!(
        "SELECT id FROM sync_jobs WHERE source_no = $1 AND state IN ({JOB_QUEUED}, {JOB_RUNNING})"
    ));
    let running: Option<Vec<u8>> = running.bind(source_no).fetch_optional(&mut *connection).await?;
    if let Some(job) = running {
        return Err(StoreError::JobRunning(codec::uuid(&job)?));
    }
    let tenant_no = locks::lock_tenant(connection, tenant).await?.number;
    let users = statement::query_as(sql!(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN status = {USER_ENABLED} THEN 1 ELSE 0 END), 0) \
         FROM users WHERE tenant_no = $1 AND source_no = $2"
    ));
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
        statement::query(text).bind(number).execute(&mut *connection).await?;
    }
    let taken = seats::take(connection, tenant_no, None, -enabled).await?;
    let alarm = taken.enqueue_messages(connection, call.now).await?;
    let event = Event::done(EventType::SourceDeleted, names::source(tenant, id)).with("users", users);
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    alarm.record(connection, call.now).await
}
