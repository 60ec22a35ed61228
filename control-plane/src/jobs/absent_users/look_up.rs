//! Has a router look absent users up again before any of them is disabled.

use super::{AbsentUsers, bit, count, user};
use crate::jobs::{Inner, Session};
use crate::model::{
    Absence, Absentee, Failure, FailureReason, Fence, ImmutableId, Presence, SourceSettings, Status, UserNo,
};
use crate::store::{ApprovedStart, StoreError};

/// Users an order to look up.
const USERS_PER_LOOK_UP: usize = 500;
/// Most users that are looked up; where there are more, the job is held whatever its guard says.
const MAX_LOOK_UPS: u64 = 20_000;

/// Why users could not be looked up.
pub(in crate::jobs) enum LookUpError {
    /// The router or its link is lost.
    Lost,
    /// The router says why.
    Failed(Failure),
    /// The store's reason.
    Store(StoreError),
}

impl From<StoreError> for LookUpError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Looks absent users up again.
pub(in crate::jobs) async fn look_up(
    inner: &Inner,
    fence: Fence,
    session: &Session,
    settings: &SourceSettings,
    absent: AbsentUsers,
) -> Result<AbsentUsers, LookUpError> {
    let mut sorted = AbsentUsers::default();
    let mut bits = absent.unexplained.iter();
    let mut asked = 0;
    loop {
        let chunk: Vec<UserNo> = bits.by_ref().take(USERS_PER_LOOK_UP).map(user).collect();
        if chunk.is_empty() {
            return Ok(sorted);
        }
        if asked >= MAX_LOOK_UPS {
            sorted.not_looked_up += count(chunk.len() as u64);
            for one in chunk {
                let enabled = absent.enabled.contains(bit(one));
                let status = if enabled { Status::Enabled } else { Status::DisabledInDirectory };
                sorted.add(one, status, Absence::Unexplained);
            }
            continue;
        }
        asked += chunk.len() as u64;
        let absentees = inner.store.absentees(fence, chunk).await?;
        for (absentee, presence) in
            absentees.iter().zip(presences(inner, session, settings, &absentees).await?)
        {
            sorted.sort(absentee, presence);
        }
    }
}

async fn presences(
    inner: &Inner,
    session: &Session,
    settings: &SourceSettings,
    absentees: &[Absentee],
) -> Result<Vec<Presence>, LookUpError> {
    let ids: Vec<_> =
        absentees.iter().filter(|one| !one.id.is_gone()).map(|absentee| absentee.id.clone()).collect();
    // A user without immutable id cannot be asked for.
    let mut asked = match ids.is_empty() {
        true => Vec::new(),
        false => ask(inner, session, settings, ids).await?,
    }
    .into_iter();
    let presence = |one: &Absentee| match one.id.is_gone() {
        true => Presence::NotFound,
        false => asked.next().unwrap_or(Presence::NotFound),
    };
    Ok(absentees.iter().map(presence).collect())
}

async fn ask(
    inner: &Inner,
    session: &Session,
    settings: &SourceSettings,
    ids: Vec<ImmutableId>,
) -> Result<Vec<Presence>, LookUpError> {
    let answer = tokio::time::timeout(inner.settings.test_deadline, session.look_up(settings, ids)).await;
    match answer {
        Ok(Some(Ok(presences))) => Ok(presences),
        Ok(Some(Err(failure))) => Err(LookUpError::Failed(failure)),
        Ok(None) => Err(LookUpError::Lost),
        Err(_) => Err(LookUpError::Failed(Failure {
            reason: FailureReason::ReadIncomplete,
            message: format!(
                "The directory did not answer within {} s. Index the attribute of the immutable id there, then synchronize again.",
                inner.settings.test_deadline.as_secs()
            ),
        })),
    }
}

/// Looks the users of a held list up again, and removes from the list those that are in scope or
/// have changed since it was made.
pub(in crate::jobs) async fn look_up_held(
    inner: &Inner,
    start: &ApprovedStart,
    session: &Session,
    settings: &SourceSettings,
) -> Result<AbsentUsers, LookUpError> {
    let mut sorted = AbsentUsers::default();
    let mut after = None;
    let (fence, store) = (start.fence, &inner.store);
    loop {
        let recorded =
            store.recorded_absent(fence, fence.job, after, count(USERS_PER_LOOK_UP as u64)).await?;
        let Some((last, _)) = recorded.last() else { return Ok(sorted) };
        after = Some(*last);
        let mut absentees = store.absentees(fence, recorded.iter().map(|(user, _)| *user).collect()).await?;
        let (changed, unchanged) =
            absentees.drain(..).partition(|absentee: &Absentee| absentee.updated_at > start.held_at);
        absentees = unchanged;
        let mut removed: Vec<UserNo> =
            Vec::from_iter(Vec::<Absentee>::into_iter(changed).map(|one| one.user));
        for (absentee, presence) in
            absentees.iter().zip(presences(inner, session, settings, &absentees).await?)
        {
            if presence == Presence::InScope {
                removed.push(absentee.user);
            }
            sorted.sort(absentee, presence);
        }
        if !removed.is_empty() {
            store.remove_absent(fence, removed, inner.clock.now()).await?;
        }
    }
}
