//! Whom a complete read did not have: found by the bits of those it has seen, then looked up again by an identity router, on a new
//! connection and by immutable id, before anyone is disabled for it.

use roaring::RoaringTreemap;

use super::{Inner, Intake, Session};
use crate::model::{
    Absence, Absentee, Failure, FailureReason, Fence, ImmutableId, JobNo, Presence, SourceSettings, Status,
    UserNo,
};
use crate::reconcile::containers::{Containers, MANY};
use crate::store::StoreError;

/// Users a page of the look-up of absent ones.
const PAGE: i64 = 5_000;
/// Users an order to look up.
const LOOK_UP: usize = 500;
/// Most users that are looked up; where there are more, the job is held whatever its guard says.
const MOST_LOOK_UPS: u64 = 20_000;

/// Users in scope whom a read did not have, by what became of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Absent {
    pub(super) moved: RoaringTreemap,
    pub(super) deleted: RoaringTreemap,
    pub(super) unexplained: RoaringTreemap,
    /// Those of all of them who are enabled.
    enabled: RoaringTreemap,
    /// Users who were in scope after all when looked up.
    pub(super) still_in_scope: i64,
    /// Users who were too many to be looked up.
    pub(super) not_looked_up: i64,
}

/// Why users could not be looked up.
pub(super) enum LookUpError {
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

fn bit(user: UserNo) -> u64 {
    user.0.unsigned_abs()
}

fn user(bit: u64) -> UserNo {
    UserNo(i64::try_from(bit).unwrap_or(i64::MAX))
}

impl Absent {
    fn of(&mut self, absence: Absence) -> &mut RoaringTreemap {
        match absence {
            Absence::Moved => &mut self.moved,
            Absence::Deleted => &mut self.deleted,
            Absence::Unexplained => &mut self.unexplained,
        }
    }

    /// How many.
    pub(super) fn len(&self) -> i64 {
        count(self.moved.len() + self.deleted.len() + self.unexplained.len())
    }

    /// How many of them are enabled.
    pub(super) fn enabled(&self) -> i64 {
        count(self.enabled.len())
    }

    /// How many of the enabled ones nobody can say where they went.
    pub(super) fn unexplained_enabled(&self) -> i64 {
        count(self.enabled.intersection_len(&self.unexplained))
    }

    /// All of them, by number.
    pub(super) fn users(&self) -> impl Iterator<Item = (UserNo, Absence)> {
        let kinds = [
            (&self.moved, Absence::Moved),
            (&self.deleted, Absence::Deleted),
            (&self.unexplained, Absence::Unexplained),
        ];
        kinds.into_iter().flat_map(|(bits, absence)| bits.iter().map(move |bit| (user(bit), absence)))
    }

    /// Identifies the list: equal names mean equal lists.
    pub(super) fn etag(&self, job: JobNo) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&job.0.to_le_bytes());
        for (user, absence) in self.users() {
            hasher.update(&user.0.to_le_bytes()).update(&absence.number().to_le_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    /// Keeps only those who are in `noted`, too; returns how many are left out.
    pub(super) fn keep_only(&mut self, noted: &RoaringTreemap) -> i64 {
        let before = self.len();
        for bits in [&mut self.moved, &mut self.deleted, &mut self.unexplained, &mut self.enabled] {
            *bits &= noted;
        }
        before - self.len()
    }

    /// Sorts a user who was looked up.
    fn sort(&mut self, absentee: &Absentee, presence: Presence) {
        match presence.absence() {
            None => self.still_in_scope += 1,
            Some(absence) => self.add(absentee.user, absentee.status, absence),
        }
    }

    fn add(&mut self, user: UserNo, status: Status, absence: Absence) {
        self.of(absence).insert(bit(user));
        if status == Status::Enabled {
            self.enabled.insert(bit(user));
        }
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Users in scope whom the read has not seen, and which of them are enabled. Nobody is explained yet.
pub(super) async fn find(inner: &Inner, intake: &Intake) -> Result<Absent, StoreError> {
    let mut absent = Absent::default();
    let mut after = None;
    loop {
        let page = inner.store.users_in_scope(intake.fence(), after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(absent) };
        after = Some(*last);
        for (user, status) in page {
            if !intake.has_seen(user) {
                absent.add(user, status, Absence::Unexplained);
            }
        }
    }
}

/// Looks absent users up again.
pub(super) async fn look_up(
    inner: &Inner,
    fence: Fence,
    session: &Session,
    settings: &SourceSettings,
    absent: Absent,
) -> Result<Absent, LookUpError> {
    let mut sorted = Absent::default();
    let mut bits = absent.unexplained.iter();
    let mut asked = 0;
    loop {
        let chunk: Vec<UserNo> = bits.by_ref().take(LOOK_UP).map(user).collect();
        if chunk.is_empty() {
            return Ok(sorted);
        }
        if asked >= MOST_LOOK_UPS {
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
    // Nobody is asked for whoever has no immutable id.
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

/// Looks the users of a held list up again, and strikes those off who are in scope, or whom something changed since it was made.
pub(super) async fn look_up_held(
    inner: &Inner,
    start: &crate::store::ApprovedStart,
    session: &Session,
    settings: &SourceSettings,
) -> Result<Absent, LookUpError> {
    let mut sorted = Absent::default();
    let mut after = None;
    let (fence, store) = (start.fence, &inner.store);
    loop {
        let noted = store.noted_absent(fence, fence.job, after, count(LOOK_UP as u64)).await?;
        let Some((last, _)) = noted.last() else { return Ok(sorted) };
        after = Some(*last);
        let mut absentees = store.absentees(fence, noted.iter().map(|(user, _)| *user).collect()).await?;
        let (changed, unchanged) =
            absentees.drain(..).partition(|absentee: &Absentee| absentee.updated_at > start.held_at);
        absentees = unchanged;
        let mut struck: Vec<UserNo> = Vec::from_iter(Vec::<Absentee>::into_iter(changed).map(|one| one.user));
        for (absentee, presence) in
            absentees.iter().zip(presences(inner, session, settings, &absentees).await?)
        {
            if presence == Presence::InScope {
                struck.push(absentee.user);
            }
            sorted.sort(absentee, presence);
        }
        if !struck.is_empty() {
            store.strike_absent(fence, struck, inner.clock.now()).await?;
        }
    }
}

/// Containers that had many users and have none any more.
pub(super) async fn emptied(inner: &Inner, fence: Fence, absent: &Absent) -> Result<Vec<String>, StoreError> {
    if absent.enabled.len() < MANY {
        return Ok(Vec::new());
    }
    let gone = |user: UserNo| {
        [&absent.moved, &absent.deleted, &absent.unexplained].iter().any(|bits| bits.contains(bit(user)))
    };
    let mut containers = Containers::default();
    for pass in [true, false] {
        let mut after = None;
        loop {
            let page = inner.store.distinguished_names(fence, after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (user, name) in &page {
                match (pass, gone(*user)) {
                    (true, true) => containers.absent(name),
                    (false, false) => containers.present(name),
                    _ => {}
                }
            }
        }
        if !containers.suspicious() {
            break;
        }
    }
    Ok(containers.emptied())
}

/// Users whom an earlier job of the source noted as absent.
pub(super) async fn noted(inner: &Inner, fence: Fence, job: JobNo) -> Result<RoaringTreemap, StoreError> {
    let mut bits = RoaringTreemap::new();
    let mut after = None;
    loop {
        let page = inner.store.noted_absent(fence, job, after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(bits) };
        after = Some(*last);
        bits.extend(page.iter().map(|(user, _)| bit(*user)));
    }
}
