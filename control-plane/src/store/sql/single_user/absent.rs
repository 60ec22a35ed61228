//! Writes down that a user was not found when the directory was asked for it alone. One search
//! proves no absence: the user is marked, and a sync of its source is due. Only a tombstone takes
//! the user out of scope.

use super::super::dialect::Connection;
use super::super::statement;
use super::super::transaction::Engine;
use super::apply::Begun;
use super::{apply, disable, lookup, pending};
use crate::model::{JobNo, Presence, SingleOutcome, Status, UserNo, UserSnapshot};
use crate::reconcile::single_user::{self, Sight};
use crate::store::{Observation, Result, SingleWrite, Written};

/// Writes down what a look-up by immutable id says of a user that a search did not find. A user
/// that is marked already mostly costs no write.
pub(crate) async fn observe(
    engine: &Engine,
    observation: Observation,
    user: UserNo,
    presence: Presence,
) -> Result<SingleWrite> {
    if single_user::sight(presence) == Sight::NotFound {
        let known = pending::absent_already(&mut *engine.reader().await?, &observation, user).await?;
        if let Some(known) = known {
            return Ok(denied(SingleOutcome::Absent, presence, known));
        }
    }
    let arguments = (observation, user, presence);
    engine
        .write(arguments, |connection, (observation, user, presence)| {
            Box::pin(write_down(connection, observation, *user, *presence))
        })
        .await
}

async fn write_down(
    connection: &mut Connection,
    observation: &Observation,
    user: UserNo,
    presence: Presence,
) -> Result<SingleWrite> {
    let Some(begun) = apply::begin(connection, observation).await? else {
        return Ok(SingleWrite::AskAgain(Some(user)));
    };
    let before = lookup::by_number(connection, begun.fence.tenant, user).await?;
    let Some(before) = before.filter(|now| Some(now.version) == observation.version) else {
        return Ok(SingleWrite::AskAgain(Some(user)));
    };
    match (single_user::sight(presence), before.user.status) {
        (Sight::Here, _) => Ok(SingleWrite::AskAgain(Some(user))),
        (_, Status::OutOfScope) => {
            let message = Some(format!("The user is disabled. {}", single_user::whereabouts(presence)));
            let outcome = SingleOutcome::Unchanged;
            Ok(pending::done(Written { outcome, message, user: Some(before), confirm: false }))
        }
        (Sight::Deleted, Status::DisabledInDirectory) => {
            disable::disable(connection, observation, &begun, &before).await
        }
        (Sight::Deleted, Status::Enabled) => {
            if disable::guard_allows(connection, observation, &begun).await? {
                return disable::disable(connection, observation, &begun, &before).await;
            }
            let marked = mark(connection, observation, &begun, before, SingleOutcome::Held).await?;
            let outcome = SingleOutcome::Held;
            Ok(pending::done(Written { outcome, message: None, user: marked, confirm: false }))
        }
        (Sight::NotFound, Status::DisabledInDirectory) => Ok(denied(SingleOutcome::Absent, presence, before)),
        (Sight::NotFound, Status::Enabled) => {
            let outcome = SingleOutcome::Absent;
            let user = mark(connection, observation, &begun, before, outcome).await?;
            let message = Some(single_user::absent_text(presence));
            Ok(pending::done(Written { outcome, message, user, confirm: false }))
        }
    }
}

fn denied(outcome: SingleOutcome, presence: Presence, user: UserSnapshot) -> SingleWrite {
    let message = Some(single_user::absent_text(presence));
    pending::done(Written { outcome, message, user: Some(user), confirm: false })
}

/// Marks an enabled user as not found, and its source as one that is to be synchronized. The first
/// time counts for both. The job that is under way or held is noted, so that what its read had of
/// the user before takes no mark off.
async fn mark(
    connection: &mut Connection,
    observation: &Observation,
    begun: &Begun,
    before: UserSnapshot,
    outcome: SingleOutcome,
) -> Result<Option<UserSnapshot>> {
    let (tenant, user) = (begun.fence.tenant, before.user.number);
    let (job, stage) = begun.pending.map_or((JobNo(0), 0), |(stage, _)| stage);
    statement::query(
        "UPDATE users SET absent_since = COALESCE(absent_since, $3), absent_job = $4, absent_stage = \
         $5 WHERE tenant_no = $1 AND user_no = $2",
    )
    .bind(tenant.0)
    .bind(user.0)
    .bind(observation.asked_at.0)
    .bind(job.0)
    .bind(stage)
    .execute(&mut *connection)
    .await?;
    statement::query(
        "UPDATE identity_sources SET sync_due_at = COALESCE(sync_due_at, $2) WHERE source_no = $1",
    )
    .bind(begun.fence.source.0)
    .bind(observation.now.0)
    .execute(&mut *connection)
    .await?;
    if before.user.absent_since.is_none() {
        apply::write_trail(connection, observation, user, outcome).await?;
    }
    lookup::by_number(connection, tenant, user).await
}
