//! Takes one user out of scope whose tombstone was read, if the guard of its source allows one
//! more.

use std::time::Duration;

use super::super::dialect::Connection;
use super::super::license::seats;
use super::super::statement::sql;
use super::super::sync::absent_users;
use super::super::words::USER_OUT_OF_SCOPE;
use super::super::{codec, statement};
use super::apply::Begun;
use super::{apply, lookup, pending};
use crate::model::{Absence, SingleOutcome, SourceNo, Status, Timestamp, UserNo, UserSnapshot};
use crate::reconcile::guard;
use crate::store::{Observation, Result, SingleWrite, StoreError, Written};

/// How far back disables count for the guard.
const GUARD_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// Disables that no guard asks for any more.
const DISABLES_KEPT: Duration = Duration::from_secs(25 * 3_600);

/// Takes the user out of scope.
pub(crate) async fn disable(
    connection: &mut Connection,
    observation: &Observation,
    Begun { fence, pending, .. }: &Begun,
    before: &UserSnapshot,
) -> Result<SingleWrite> {
    let (user, enabled) = (before.user.number, before.user.status == Status::Enabled);
    statement::query(sql!(
        "UPDATE users SET status = {USER_OUT_OF_SCOPE}, user_name_key = NULL, mail_key = NULL, \
             updated_at = $3, disabled_at = COALESCE(disabled_at, $3), absence = $4, absent_since = \
             NULL WHERE tenant_no = $1 AND user_no = $2"
    ))
    .bind(fence.tenant.0)
    .bind(user.0)
    .bind(observation.now.0)
    .bind(i64::from(Absence::Deleted.number()))
    .execute(&mut *connection)
    .await?;
    let asked_at = observation.asked_at;
    pending::record_observation(connection, fence.tenant, user, asked_at, *pending, true).await?;
    let taken = seats::take(connection, fence.tenant, Some(fence.source), -i64::from(enabled)).await?;
    if enabled {
        record_disable(connection, fence.source, user, observation.now).await?;
    }
    let alarm = taken.enqueue_messages(connection, observation.now).await?;
    let outcome = SingleOutcome::DisabledOutOfScope;
    apply::write_trail(connection, observation, user, outcome).await?;
    alarm.record(connection, observation.now).await?;
    let user = lookup::by_number(connection, fence.tenant, user).await?;
    let confirm = pending.is_some_and(|(_, runs)| runs);
    let message = Some(format!("The user was disabled: {}.", Absence::Deleted.text()));
    Ok(pending::done(Written { outcome, message, user, confirm }))
}

/// Whether the source's guard lets one more enabled user go.
pub(crate) async fn guard_allows(
    connection: &mut Connection,
    observation: &Observation,
    Begun { fence, source, .. }: &Begun,
) -> Result<bool> {
    let published = source.published.as_deref().ok_or(StoreError::SourceNotPublished)?;
    let guard = codec::source_settings(published)?.disable_guard;
    let enabled = statement::query_scalar("SELECT enabled_users FROM identity_sources WHERE source_no = $1");
    let enabled: i64 = enabled.bind(fence.source.0).fetch_one(&mut *connection).await?;
    let recent =
        absent_users::recent_disables(connection, *fence, observation.now.minus(GUARD_WINDOW)).await?;
    Ok(guard::one_more(guard, enabled, (recent.all, recent.unexplained), false))
}

/// Adds a disable to those of the day.
async fn record_disable(
    connection: &mut Connection,
    source: SourceNo,
    user: UserNo,
    now: Timestamp,
) -> Result<()> {
    statement::query("DELETE FROM single_disables WHERE source_no = $1 AND disabled_at < $2")
        .bind(source.0)
        .bind(now.minus(DISABLES_KEPT).0)
        .execute(&mut *connection)
        .await?;
    // What a tombstone shows is explained.
    statement::query(
        "INSERT INTO single_disables (source_no, disabled_at, user_no, unexplained) VALUES ($1, \
         $2, $3, 0) ON CONFLICT (source_no, disabled_at, user_no) DO NOTHING",
    )
    .bind(source.0)
    .bind(now.0)
    .bind(user.0)
    .execute(connection)
    .await?;
    Ok(())
}
