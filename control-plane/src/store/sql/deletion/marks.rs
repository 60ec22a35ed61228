//! Marks for deletion: put on and taken off by administrators, and by themselves. Whoever changes
//! them holds the tenant's row, as every write of users does.

use super::super::audit::append;
use super::super::codec::{STANDING, StandingRow};
use super::super::dialect::{Connection, IN_INTS_3, IN_INTS_6};
use super::super::statement::sql;
use super::super::users::user;
use super::super::words::{MARKED_BY_ADMINISTRATOR, USER_OUT_OF_SCOPE};
use super::super::{dialect, locks, statement};
use super::settings::{COLUMNS as SETTINGS_COLUMNS, SettingsRow};
use super::{settings, standing};
use crate::model::{
    Actor, Call, DeletionSettings, Event, EventType, MarkReason, Marking, TenantId, TenantNo, Timestamp,
    Trail, User, UserNo, UserStanding, names, spelled,
};
use crate::reconcile::deletion;
use crate::store::{DeletionLease, Result};

/// Marks users on an administrator's behalf.
pub(crate) async fn mark(
    connection: &mut Connection,
    tenant: &TenantId,
    users: &[UserNo],
    call: &Call,
) -> Result<Vec<User>> {
    let number = locks::lock_served_tenant(connection, tenant).await?;
    let settings = settings::get(connection, tenant).await?;
    let theirs = |user: &UserStanding| matches!(user.mark, Some((MarkReason::Administrator, _)));
    let unmarked = standing::all_of(connection, number, users).await?;
    let unmarked: Vec<i64> = unmarked.iter().filter(|user| !theirs(user)).map(|user| user.user.0).collect();
    set_marks(connection, number, &unmarked, (MarkReason::Administrator, &call.by.name), &settings, call.now)
        .await?;
    let marked = user::by_numbers(connection, number, users).await?;
    let purge_at = call.now.plus(settings.pending_period).0;
    let event = |user: &i64| {
        Event::done(EventType::UserMarked, names::user(tenant, UserNo(*user))).with("purge_time", purge_at)
    };
    let events = unmarked.iter().map(event).collect();
    append::record_all(connection, &Trail::Tenant(tenant.clone()), call, events).await?;
    Ok(marked)
}

/// Takes the marks off users on an administrator's behalf.
pub(crate) async fn undelete(
    connection: &mut Connection,
    tenant: &TenantId,
    users: &[UserNo],
    call: &Call,
) -> Result<Vec<User>> {
    let number = locks::lock_served_tenant(connection, tenant).await?;
    let marked = standing::all_of(connection, number, users).await?;
    let marked: Vec<i64> = marked.iter().filter(|user| user.mark.is_some()).map(|user| user.user.0).collect();
    remove_marks(connection, number, &marked, Some(call.now)).await?;
    let undeleted = user::by_numbers(connection, number, users).await?;
    let event = |user: &i64| Event::done(EventType::UserUndeleted, names::user(tenant, UserNo(*user)));
    let events = marked.iter().map(event).collect();
    append::record_all(connection, &Trail::Tenant(tenant.clone()), call, events).await?;
    Ok(undeleted)
}

async fn set_marks(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[i64],
    (reason, by): (MarkReason, &str),
    settings: &DeletionSettings,
    now: Timestamp,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = sql!(
        "UPDATE users SET marked_at = $2, purge_at = $3, marked_by = $4, mark_reason = $5 WHERE \
         tenant_no = $1 AND user_no {IN_INTS_6}"
    );
    let query = statement::query(text)
        .bind(tenant.0)
        .bind(now.0)
        .bind(now.plus(settings.pending_period).0)
        .bind(by.to_owned())
        .bind(i64::from(reason.number()));
    dialect::ints(query, users).execute(connection).await?;
    Ok(())
}

/// `undeleted_at` where an administrator does it: automatic marks count from then on.
pub(crate) async fn remove_marks(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[i64],
    undeleted_at: Option<Timestamp>,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = sql!(
        "UPDATE users SET marked_at = NULL, purge_at = NULL, marked_by = NULL, mark_reason = NULL, \
         undeleted_at = COALESCE($2, undeleted_at) WHERE tenant_no = $1 AND user_no {IN_INTS_3}"
    );
    let query = statement::query(text).bind(tenant.0).bind(undeleted_at.map(|at| at.0));
    dialect::ints(query, users).execute(connection).await?;
    Ok(())
}

/// Tenants in which users are, or are to be, marked by themselves.
pub(crate) async fn markings(
    connection: &mut Connection,
    after: Option<TenantNo>,
    limit: i64,
) -> Result<Vec<Marking>> {
    let text = sql!(
        "SELECT t.id, t.tenant_no, {SETTINGS_COLUMNS} FROM tenants t WHERE t.suspended_at IS NULL \
         AND t.tenant_no > $1 AND (t.deletion_disabled_for IS NOT NULL OR t.deletion_unused_for IS \
         NOT NULL OR EXISTS (SELECT 1 FROM users u WHERE u.tenant_no = t.tenant_no AND \
         u.mark_reason > {MARKED_BY_ADMINISTRATOR})) ORDER BY t.tenant_no LIMIT $2"
    );
    let query = statement::query_as(text);
    let rows: Vec<MarkingRow> =
        query.bind(after.map_or(0, |after| after.0)).bind(limit).fetch_all(connection).await?;
    Ok(rows.into_iter().map(MarkingRow::into).collect())
}

#[derive(sqlx::FromRow)]
struct MarkingRow {
    id: String,
    tenant_no: i64,
    #[sqlx(flatten)]
    settings: SettingsRow,
}

impl From<MarkingRow> for Marking {
    fn from(row: MarkingRow) -> Self {
        Self { tenant: TenantId(row.id), number: TenantNo(row.tenant_no), settings: row.settings.into() }
    }
}

/// Users without a mark who may be due for one. More may be named than are.
pub(crate) async fn candidates(
    connection: &mut Connection,
    marking: &Marking,
    after: Option<UserNo>,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<UserStanding>> {
    let before = |period: Option<std::time::Duration>| period.map_or(-1, |period| now.minus(period).0);
    // In the order of the primary key: a page goes on where the one before ended.
    let text = sql!(
        "SELECT {STANDING} FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE \
         u.tenant_no = $1 AND u.user_no > $2 AND u.marked_at IS NULL AND (u.disabled_at <= $3 OR \
         (u.last_sign_in_at IS NULL AND u.created_at <= $4 AND u.updated_at <= $4 AND \
         u.observed_at <= $4 AND (u.status = {USER_OUT_OF_SCOPE} OR COALESCE(s.synced_at, 0) <= \
         $4))) ORDER BY u.tenant_no, u.user_no LIMIT $5"
    );
    let rows: Vec<StandingRow> = statement::query_as(text)
        .bind(marking.number.0)
        .bind(after.map_or(0, |after| after.0))
        .bind(before(marking.settings.disabled_for))
        .bind(before(marking.settings.unused_for))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Users with automatic marks, by number.
pub(crate) async fn automatic(
    connection: &mut Connection,
    marking: &Marking,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<UserStanding>> {
    let text = sql!(
        "SELECT {STANDING} FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE \
         u.tenant_no = $1 AND u.user_no > $2 AND u.mark_reason > {MARKED_BY_ADMINISTRATOR} ORDER \
         BY u.tenant_no, u.user_no LIMIT $3"
    );
    let query = statement::query_as(text).bind(marking.number.0);
    let rows: Vec<StandingRow> =
        query.bind(after.map_or(0, |after| after.0)).bind(limit).fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Marks whoever of these is due, and takes automatic marks off whoever came back. How many; none
/// without the lease.
pub(crate) async fn review(
    connection: &mut Connection,
    lease: &DeletionLease,
    tenant: &TenantId,
    users: &[UserNo],
    now: Timestamp,
) -> Result<Option<usize>> {
    let Some(number) = settings::take_lease(connection, tenant, lease, now).await? else {
        return Ok(None);
    };
    let settings = settings::get(connection, tenant).await?;
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let found = standing::standings(connection, number, &numbers).await?;
    let system = Actor::system();
    let mut events = Vec::new();
    for reason in [MarkReason::LongDisabled, MarkReason::LongUnused] {
        let due = found.iter().filter(|user| deletion::due(&settings, user, now) == Some(reason));
        let due: Vec<i64> = due.map(|user| user.user.0).collect();
        set_marks(connection, number, &due, (reason, &system.name), &settings, now).await?;
        if !due.is_empty() {
            let event = batch_event(EventType::UsersMarked, names::tenant(tenant), &due);
            events.push(event.with("reason", spelled(reason)));
        }
    }
    let back = found.iter().filter(|user| user.mark.is_some() && !deletion::holds(user));
    let back: Vec<i64> = back.map(|user| user.user.0).collect();
    remove_marks(connection, number, &back, None).await?;
    if !back.is_empty() {
        events.push(batch_event(EventType::MarksLifted, names::tenant(tenant), &back));
    }
    let changed = events.iter().filter_map(|event| event.details.get("users")?.parse::<usize>().ok()).sum();
    append::record_all(connection, &Trail::Tenant(tenant.clone()), &Call::system(now), events).await?;
    Ok(Some(changed))
}

/// Something that happened to several users.
pub(crate) fn batch_event(kind: EventType, subject: String, users: &[i64]) -> Event {
    let numbers: Vec<String> = users.iter().map(i64::to_string).collect();
    Event::done(kind, subject).with("users", users.len()).with("numbers", numbers.join(","))
}
