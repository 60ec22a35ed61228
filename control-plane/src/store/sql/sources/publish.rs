//! Publishes the draft of a source.

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::users::versions;
use super::super::{codec, locks, statement};
use super::{rekey, source};
use crate::model::{Call, Event, EventType, IdentitySource, SourceId, SourceNo, TenantId, Trail, names};
use crate::reconcile::entry_version;
use crate::store::{Result, StoreError};

pub(crate) async fn publish(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &SourceId,
    version: Option<i64>,
    call: &Call,
) -> Result<IdentitySource> {
    // Jobs before their source, as everywhere: a job that is writing has written, or does not write
    // any more.
    let unlocked = source::row(connection, tenant, id).await?;
    if rekey::is_due(connection, &unlocked).await? {
        locks::lock_open_jobs(connection, SourceNo(unlocked.source_no)).await?;
    }
    let row = locks::lock_source(connection, tenant, id).await?;
    if version.is_some_and(|version| version != row.version) {
        return Err(StoreError::VersionMismatch);
    }
    let rekeyed = match rekey::is_due(connection, &row).await? {
        true => Some(rekey::rekey(connection, &row, call.now).await?),
        false => None,
    };
    // Each publish is a new revision, even of the same settings: it also confirms roots that became
    // other entries.
    statement::query(
        "UPDATE identity_sources SET published = draft, published_revision = published_revision + \
         1, version = version + 1, published_at = $2 WHERE source_no = $1",
    )
    .bind(row.source_no)
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    let draft = codec::source_settings(&row.draft)?;
    let before = row.published.as_deref().map(codec::source_settings).transpose()?;
    if before.is_some_and(|before| !entry_version::is_same_directory(&before, &draft)) {
        versions::forget(connection, SourceNo(row.source_no), call.now).await?;
    }
    let published = source::source(connection, tenant, id).await?;
    let event = Event::done(EventType::SourcePublished, names::source(tenant, id));
    let mut event = event.with("revision", published.published_revision);
    if let Some(users) = rekeyed {
        event = event.with("rekeyed", users);
    }
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    Ok(published)
}
