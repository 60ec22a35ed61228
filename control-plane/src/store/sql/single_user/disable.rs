//! Takes one user out of scope, if the guard of its source allows one more.

use std::time::Duration;

use super::super::codec::SourceRow;
use super::super::dialect::Connection;
use super::super::license::seats;
use super::super::statement::sql;
use super::super::sync::absent_users;
use super::super::words::USER_OUT_OF_SCOPE;
use super::super::{codec, statement};
use super::apply::Begun;
use super::{apply, lookup, pending};
use crate::model::{Absence, Fence, SingleOutcome, SourceNo, Status, Timestamp, UserNo};
use crate::reconcile::guard;
use crate::store::{Observation, Result, SingleWrite, StoreError, Written};

/// How far back disables count for the guard.
const GUARD_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// Disables that no guard asks for any more.
const DISABLES_KEPT: Duration = Duration::from_secs(25 * 3_600);

/// Takes the user out of scope, if the guard allows it.
pub(crate) async fn disable(
    connection: &mut Connection,
    observation: &Observation,
    user: UserNo,
    absence: Absence,
) -> Result<SingleWrite> {
    let Some(Begun { fence, source, pending }) = apply::begin(connection, observation).await? else {
        return Ok(SingleWrite::AskAgain(Some(user)));
    };
    let before = lookup::by_number(connection, fence.tenant, user).await?;
    let Some(before) = before.filter(|now| Some(now.version) == observation.version) else {
        return Ok(SingleWrite::AskAgain(Some(user)));
    };
    let enabled = before.user.status == Status::Enabled;
    if before.user.status == Status::OutOfScope
        || enabled && !guard_allows(connection, observation, fence, &source, absence).await?
    {
        let held = before.user.status != Status::OutOfScope;
        let outcome = if held { SingleOutcome::Held } else { SingleOutcome::Unchanged };
        return Ok(pending::done(Written { outcome, message: None, user: Some(before), confirm: false }));
    }
    statement::query(sql!(
        "UPDATE users SET status = {USER_OUT_OF_SCOPE}, user_name_key = NULL, mail_key = NULL, \
             updated_at = $3, disabled_at = COALESCE(disabled_at, $3) WHERE tenant_no = $1 AND \
             user_no = $2"
    ))
    .bind(fence.tenant.0)
    .bind(user.0)
    .bind(observation.now.0)
    .execute(&mut *connection)
    .await?;
    pending::record_observation(connection, fence.tenant, user, observation.asked_at, pending, true).await?;
    let taken = seats::take(connection, fence.tenant, Some(fence.source), -i64::from(enabled)).await?;
    if enabled {
        record_disable(connection, fence.source, user, absence, observation.now).await?;
    }
    let alarm = taken.enqueue_messages(connection, observation.now).await?;
    let outcome = SingleOutcome::DisabledOutOfScope;
    apply::write_trail(connection, observation, user, outcome).await?;
    alarm.record(connection, observation.now).await?;
    let user = lookup::by_number(connection, fence.tenant, user).await?;
    let confirm = pending.is_some_and(|(_, runs)| runs);
    let message = Some(format!("The user was disabled: {}.", absence.text()));
    Ok(pending::done(Written { outcome, message, user, confirm }))
}

/// Whether the source's guard lets one more enabled user go.
async fn guard_allows(
    connection: &mut Connection,
    observation: &Observation,
    fence: Fence,
    source: &SourceRow,
    absence: Absence,
) -> Result<bool> {
    let published = source.published.as_deref().ok_or(StoreError::SourceNotPublished)?;
    let guard = codec::source_settings(published)?.disable_guard;
    let enabled = statement::query_scalar("SELECT enabled_users FROM identity_sources WHERE source_no = $1");
    let enabled: i64 = enabled.bind(fence.source.0).fetch_one(&mut *connection).await?;
    let recent =
        absent_users::recent_disables(connection, fence, observation.now.minus(GUARD_WINDOW)).await?;
    let unexplained = absence == Absence::Unexplained;
    Ok(guard::one_more(guard, enabled, (recent.all, recent.unexplained), unexplained))
}

/// Adds a disable to those of the day.
async fn record_disable(
    connection: &mut Connection,
    source: SourceNo,
    user: UserNo,
    absence: Absence,
    now: Timestamp,
) -> Result<()> {
    statement::query("DELETE FROM single_disables WHERE source_no = $1 AND disabled_at < $2")
        .bind(source.0)
        .bind(now.minus(DISABLES_KEPT).0)
        .execute(&mut *connection)
        .await?;
    statement::query(
        "INSERT INTO single_disables (source_no, disabled_at, user_no, unexplained) VALUES ($1, \
         $2, $3, $4) ON CONFLICT (source_no, disabled_at, user_no) DO NOTHING",
    )
    .bind(source.0)
    .bind(now.0)
    .bind(user.0)
    .bind(i64::from(absence == Absence::Unexplained))
    .execute(connection)
    .await?;
    Ok(())
}
