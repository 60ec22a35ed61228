//! Has a router look absent users up again before any of them is disabled.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::find::USERS_PER_PAGE;
use super::{AbsentUsers, bit, count, find_witnesses};
use crate::jobs::{Inner, Session};
use crate::model::{
    Absence, Absentee, Failure, FailureReason, Fence, LookUp, Presence, SourceSettings, Status, UserNo,
    Witness,
};
use crate::reconcile::containers::Witnesses;
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

/// What looks users up.
struct Searcher<'a> {
    inner: &'a Inner,
    fence: Fence,
    session: &'a Session,
    settings: &'a SourceSettings,
    witnesses: Witnesses,
}

/// Looks absent users up again.
pub(in crate::jobs) async fn look_up(
    inner: &Inner,
    fence: Fence,
    session: &Session,
    settings: &SourceSettings,
    absent: &AbsentUsers,
) -> Result<AbsentUsers, LookUpError> {
    let witnesses = find_witnesses(inner, fence, |user| absent.contains(user)).await?;
    let searcher = Searcher { inner, fence, session, settings, witnesses };
    let mut sorted = AbsentUsers::default();
    let mut users = absent.users().map(|(user, _)| user);
    let mut asked = 0;
    loop {
        let chunk: Vec<UserNo> = users.by_ref().take(USERS_PER_LOOK_UP).collect();
        if chunk.is_empty() {
            return Ok(sorted);
        }
        if asked >= MAX_LOOK_UPS {
            for one in chunk {
                let enabled = absent.enabled.contains(bit(one));
                let status = if enabled { Status::Enabled } else { Status::DisabledInDirectory };
                sorted.add(one, status, Absence::NotLookedUp);
            }
            continue;
        }
        asked += chunk.len() as u64;
        let absentees = inner.store.absentees(fence, chunk).await?;
        for (absentee, presence) in absentees.iter().zip(searcher.presences(&absentees).await?) {
            sorted.sort(absentee, presence);
        }
    }
}

impl Searcher<'_> {
    async fn presences(&self, absentees: &[Absentee]) -> Result<Vec<Presence>, LookUpError> {
        let known: Vec<&Absentee> = absentees.iter().filter(|one| !one.id.is_gone()).collect();
        // A user without immutable id cannot be asked for.
        let mut asked = match known.is_empty() {
            true => Vec::new(),
            false => ask(self.inner, self.session, self.settings, self.order(&known).await?).await?,
        }
        .into_iter();
        let presence = |one: &Absentee| match one.id.is_gone() {
            true => Presence::NotFound,
            false => asked.next().unwrap_or(Presence::NotVisible),
        };
        Ok(absentees.iter().map(presence).collect())
    }

    /// Whom to look up, their last known names, and a witness of each of their containers.
    async fn order(&self, absentees: &[&Absentee]) -> Result<LookUp, StoreError> {
        let mut containers: BTreeMap<UserNo, String> = BTreeMap::new();
        for absentee in absentees {
            if let Some((container, witness)) = self.witnesses.of(&absentee.distinguished_name) {
                containers.entry(witness).or_insert_with(|| container.to_owned());
            }
        }
        let users = self.inner.store.absentees(self.fence, containers.keys().copied().collect()).await?;
        let witness = |one: Absentee| {
            let container = containers.get(&one.user)?.clone();
            (!one.id.is_gone()).then_some(Witness { container, id: one.id })
        };
        Ok(LookUp {
            ids: absentees.iter().map(|one| one.id.clone()).collect(),
            distinguished_names: absentees.iter().map(|one| one.distinguished_name.clone()).collect(),
            witnesses: users.into_iter().filter_map(witness).collect(),
        })
    }
}

async fn ask(
    inner: &Inner,
    session: &Session,
    settings: &SourceSettings,
    users: LookUp,
) -> Result<Vec<Presence>, LookUpError> {
    let answer = tokio::time::timeout(inner.settings.test_deadline, session.look_up(settings, users)).await;
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

/// Looks the users of a held list up again, and removes from the list those that are in scope, are
/// not visible, or have changed since it was made.
pub(in crate::jobs) async fn look_up_held(
    inner: &Inner,
    start: &ApprovedStart,
    session: &Session,
    settings: &SourceSettings,
) -> Result<AbsentUsers, LookUpError> {
    let mut sorted = AbsentUsers::default();
    let mut after = None;
    let (fence, store) = (start.fence, &inner.store);
    let listed = recorded(inner, fence).await?;
    let witnesses = find_witnesses(inner, fence, |user| listed.contains(bit(user))).await?;
    let searcher = Searcher { inner, fence, session, settings, witnesses };
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
        let mut found = Vec::new();
        for (absentee, presence) in absentees.iter().zip(searcher.presences(&absentees).await?) {
            if presence == Presence::InScope {
                found.push(absentee.user);
            }
            sorted.sort(absentee, presence);
        }
        if !found.is_empty() {
            store.clear_absent_marks(fence, found.clone(), false).await?;
            removed.append(&mut found);
        }
        if !removed.is_empty() {
            store.remove_absent(fence, removed, inner.clock.now()).await?;
        }
    }
}

/// Users on the list of a held job.
async fn recorded(inner: &Inner, fence: Fence) -> Result<RoaringTreemap, StoreError> {
    let mut bits = RoaringTreemap::new();
    let mut after = None;
    loop {
        let page = inner.store.recorded_absent(fence, fence.job, after, USERS_PER_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(bits) };
        after = Some(*last);
        bits.extend(page.iter().map(|(user, _)| bit(*user)));
    }
}
