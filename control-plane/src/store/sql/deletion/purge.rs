//! Deletes users: whatever is kept of them goes in one transaction, and what is left of them in the
//! work of jobs adds up afterwards.
//!
//! The source's jobs that have not ended are locked first, then the source, then the tenant, as
//! everywhere. So a deletion comes between two writes of a job, never into one: a record that a job
//! gets to see later is one of a new user; one that waited is given up, and counted as not
//! synchronized.

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::{locks, statement};
use super::forget::Doomed;
use super::{forget, marks, settings};
use crate::model::{
    Call, DuePurge, Event, EventType, SourceId, SourceNo, Status, TenantId, Timestamp, Trail, UserNo, names,
};
use crate::reconcile::deletion;
use crate::store::{DeletionLease, Purged, Result, StoreError};

/// Sources with users whose time has come.
pub(crate) async fn due(connection: &mut Connection, now: Timestamp, limit: i64) -> Result<Vec<DuePurge>> {
    // One look into an index a source.
    let rows: Vec<(String, String, i64)> = statement::query_as(
        "SELECT t.id, s.id, s.source_no FROM identity_sources s JOIN tenants t ON t.tenant_no = \
         s.tenant_no WHERE t.suspended_at IS NULL AND EXISTS (SELECT 1 FROM users u WHERE \
         u.source_no = s.source_no AND u.purge_at <= $1) ORDER BY s.source_no LIMIT $2",
    )
    .bind(now.0)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let due = |(tenant, source, number)| DuePurge {
        tenant: TenantId(tenant),
        source: SourceId(source),
        source_no: SourceNo(number),
    };
    Ok(rows.into_iter().map(due).collect())
}

/// Deletes the next users of a source whose time has come. None without the lease.
pub(crate) async fn purge(
    connection: &mut Connection,
    lease: &DeletionLease,
    due: &DuePurge,
    limit: i64,
    now: Timestamp,
) -> Result<Option<Purged>> {
    let jobs = locks::lock_open_jobs(connection, due.source_no).await?;
    match locks::lock_revision(connection, due.source_no).await {
        // Gone, and its users with it.
        Err(StoreError::NotFound(_)) => return Ok(Some(Purged::default())),
        other => other?,
    };
    let Some(tenant) = settings::take_lease(connection, &due.tenant, lease, now).await? else {
        return Ok(None);
    };
    let rows = locks::lock_due_users(connection, (tenant, due.source_no), now, limit).await?;
    let users = rows.into_iter().map(Doomed::try_from).collect::<Result<Vec<_>>>()?;
    let (gone, back): (Vec<_>, Vec<_>) = users.into_iter().partition(|user| deletion::holds(&user.standing));
    let numbers = |users: &[Doomed]| users.iter().map(|user| user.standing.user.0).collect::<Vec<i64>>();
    marks::remove_marks(connection, tenant, &numbers(&back), None).await?;
    forget::remove(connection, (tenant, due.source_no), &jobs, &gone, now).await?;
    let mut events = Vec::new();
    if !back.is_empty() {
        events.push(marks::batch_event(EventType::MarksLifted, names::tenant(&due.tenant), &numbers(&back)));
    }
    if !gone.is_empty() {
        let subject = names::source(&due.tenant, &due.source);
        events.push(marks::batch_event(EventType::UsersPurged, subject, &numbers(&gone)));
    }
    append::record_all(connection, &Trail::Tenant(due.tenant.clone()), &Call::system(now), events).await?;
    Ok(Some(Purged { deleted: gone.len(), lifted: back.len() }))
}

/// Delete Now.
pub(crate) async fn delete_now(
    connection: &mut Connection,
    tenant: &TenantId,
    user: UserNo,
    call: &Call,
) -> Result<()> {
    let number = locks::tenant_number(connection, tenant).await?;
    let source = statement::query_scalar("SELECT source_no FROM users WHERE tenant_no = $1 AND user_no = $2");
    let source: Option<i64> = source.bind(number.0).bind(user.0).fetch_optional(&mut *connection).await?;
    let source = SourceNo(source.ok_or(StoreError::NotFound("user"))?);
    let jobs = locks::lock_open_jobs(connection, source).await?;
    locks::lock_revision(connection, source).await?;
    locks::lock_served_tenant(connection, tenant).await?;
    let doomed = Doomed::try_from(locks::lock_user(connection, number, user).await?)?;
    if doomed.standing.status == Status::Enabled {
        return Err(StoreError::UserEnabled);
    }
    forget::remove(connection, (number, source), &jobs, &[doomed], call.now).await?;
    let event = Event::done(EventType::UserDeleted, names::user(tenant, user));
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await
}
