//! Writes down that a user's entry is there and cannot be used. Whatever else is wrong with it, its
//! mark counts: an account that the directory disables is disabled here.

use std::collections::HashMap;

use super::super::dialect::Connection;
use super::super::license::seats;
use super::super::users::versions::{self, Seen};
use super::super::users::{lookup as users, write};
use super::apply::Begun;
use super::{apply, lookup, pending};
use crate::model::{Fence, Rejected, SingleOutcome, Status};
use crate::store::{Observation, Result, SingleWrite, Written};

/// Disables the user of an entry whose mark says so; in any case the user was seen.
pub(crate) async fn observe(
    connection: &mut Connection,
    observation: &Observation,
    entry: &Rejected,
) -> Result<SingleWrite> {
    let nothing = || Written { outcome: SingleOutcome::Unchanged, message: None, user: None, confirm: false };
    let Some(id) = &entry.id else { return Ok(pending::done(nothing())) };
    let Some(Begun { fence, pending, .. }) = apply::begin(connection, observation).await? else {
        return Ok(SingleWrite::AskAgain(observation.version.map(|version| version.user)));
    };
    let known = users::known_by_id(connection, fence.source, std::iter::once(id)).await?.pop();
    let before = match &known {
        Some(user) => lookup::by_number(connection, fence.tenant, user.number).await?,
        None => None,
    };
    if before.as_ref().map(|user| user.version) != observation.version {
        return Ok(SingleWrite::AskAgain(known.map(|user| user.number)));
    }
    let view: HashMap<_, _> = known.iter().map(|user| (user.id.clone(), user.clone())).collect();
    let seen = Seen::of_rejected(entry, &view, None).into_iter().collect();
    let older = versions::compare(connection, fence.tenant, seen).await?.older;
    let user = known.filter(|user| entry.disabled && user.status == Status::Enabled);
    let Some(user) = user.filter(|_| older.is_empty()) else {
        let user = match before {
            Some(before) => Some(pending::seen(connection, fence.tenant, before).await?),
            None => None,
        };
        return Ok(pending::done(Written { user, ..nothing() }));
    };
    let by_its_job = Fence { job: user.changed_job, ..fence };
    let status_job = apply::status_job(connection, fence.tenant, user.number).await?;
    write::disable_in_directory(connection, by_its_job, &[user.number.0], observation.now).await?;
    apply::restore_status_job(connection, fence.tenant, user.number, status_job, 0).await?;
    let version = entry.version.as_ref();
    versions::keep(connection, fence.tenant, user.number, version, observation.now).await?;
    let taken = seats::take(connection, fence.tenant, Some(fence.source), -1).await?;
    let asked_at = observation.asked_at;
    pending::record_observation(connection, fence.tenant, user.number, asked_at, pending, true).await?;
    let alarm = taken.enqueue_messages(connection, observation.now).await?;
    let outcome = SingleOutcome::DisabledInDirectory;
    apply::write_trail(connection, observation, user.number, outcome).await?;
    alarm.record(connection, observation.now).await?;
    let user = lookup::by_number(connection, fence.tenant, user.number).await?;
    let confirm = pending.is_some_and(|(_, runs)| runs);
    Ok(pending::done(Written { outcome, message: None, user, confirm }))
}
