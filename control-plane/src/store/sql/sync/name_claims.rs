//! Who takes part in a contest for names, and what each held before the job. Who wins is decided
//! by `reconcile::name_contests`, and carried out by `names`.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;

use super::super::dialect::{Connection, IN_INTS_2};
use super::super::statement::sql;
use super::super::users::lookup;
use super::super::{codec, dialect, statement};
use crate::model::{Fence, ImmutableId, KnownUser, Record, Status, UserNo};
use crate::reconcile::enabling::may_enable;
use crate::reconcile::name_contests::{Name, NameClaim, Rank};
use crate::store::Result;

/// A user as the journal has it from before the job.
pub(crate) struct Before {
    pub(crate) status: Status,
    names: Vec<Name>,
}

impl Before {
    /// The names that it held.
    pub(crate) fn names(&self) -> &[Name] {
        &self.names
    }
}

/// Who takes part in the contest for names.
pub(crate) struct NameClaims {
    pub(crate) claims: Vec<NameClaim>,
    /// The user of each claim, if it is one now; for claims that this job applied already, its
    /// present row.
    pub(crate) users: Vec<Option<KnownUser>>,
    /// The record of each claim that waits.
    pub(crate) records: Vec<Option<Record>>,
    pub(crate) held: HashMap<Name, UserNo>,
    /// Users whom this job has disabled already, as the directory has them.
    gave_seat: HashSet<UserNo>,
}

impl NameClaims {
    /// The record and the user, if the directory disables a user who is enabled.
    pub(crate) fn to_disable(&self, position: usize) -> Option<(&Record, &KnownUser)> {
        let record = self.records[position].as_ref().filter(|record| record.disabled)?;
        let user = self.users[position].as_ref().filter(|user| user.status == Status::Enabled)?;
        Some((record, user))
    }

    /// Users of the claims at these positions.
    pub(crate) fn numbers<'a>(&'a self, positions: impl IntoIterator<Item = &'a usize>) -> Vec<i64> {
        positions.into_iter().filter_map(|at| self.users[*at].as_ref()).map(|user| user.number.0).collect()
    }

    /// A user that this job has disabled as the directory says stays disabled, and counted for
    /// that, when it gives names back.
    pub(crate) fn stays_disabled(&self, position: usize) -> bool {
        self.users[position].as_ref().is_some_and(|user| self.gave_seat.contains(&user.number))
    }

    /// Whoever could not have its former names back, since a user who was fetched alone meanwhile
    /// holds one, keeps what it got.
    fn keep_fixed(&mut self) {
        let fixed = |contested: &Self| {
            (0..contested.claims.len()).find(|at| {
                let had = &contested.claims[*at].had;
                contested.records[*at].is_none() && had.iter().any(|name| contested.held.contains_key(name))
            })
        };
        while let Some(at) = fixed(self) {
            self.records.remove(at);
            let (claim, user) = (self.claims.remove(at), self.users.remove(at));
            self.held
                .extend(user.iter().flat_map(|user| claim.wants.iter().map(|name| (*name, user.number))));
        }
    }

    /// Users in scope whom the directory enables again need a seat before they can move to other
    /// names; without one they are stuck. A user that the directory disables gives the seat
    /// up, whatever becomes of the names. Returns how many seats were given.
    pub(crate) fn give_seats(&mut self, free: i64) -> i64 {
        let needing: Vec<usize> = (0..self.claims.len())
            .filter(|at| {
                let disabled =
                    self.users[*at].as_ref().is_some_and(|user| user.status == Status::DisabledInDirectory);
                disabled && self.records[*at].as_ref().is_some_and(|record| !record.disabled)
            })
            .collect();
        // What disabled such a user came after its record, which need not show the mark.
        let (mut needing, hidden): (Vec<usize>, Vec<usize>) =
            needing.into_iter().partition(|at| self.records[*at].as_ref().is_some_and(may_enable));
        for at in hidden {
            self.claims[at].stuck = true;
        }
        let leaving = (0..self.claims.len()).filter(|at| self.to_disable(*at).is_some()).count();
        let free = usize::try_from(free + i64::try_from(leaving).unwrap_or_default()).unwrap_or_default();
        needing.sort_by(|one, other| self.claims[*one].id.cmp(&self.claims[*other].id));
        let given = free.min(needing.len());
        for at in &needing[given..] {
            self.claims[*at].stuck = true;
        }
        i64::try_from(given).unwrap_or_default()
    }
}

/// Brings together the records that wait, and whoever got one of their names by this job, and
/// whoever got one of those users' former names, and so on.
pub(crate) async fn gather(
    connection: &mut Connection,
    fence: Fence,
    records: Vec<Record>,
) -> Result<NameClaims> {
    let known =
        lookup::known_by_id(connection, fence.source, records.iter().map(|record| &record.id)).await?;
    let mut known: HashMap<ImmutableId, KnownUser> =
        known.into_iter().map(|user| (user.id.clone(), user)).collect();
    let mut contested = NameClaims {
        claims: Vec::new(),
        users: Vec::new(),
        records: Vec::new(),
        held: HashMap::new(),
        gave_seat: HashSet::new(),
    };
    let mut numbers = HashSet::new();
    let mut frontier = Vec::new();
    for record in records {
        let user = known.remove(&record.id);
        let (rank, had) = match &user {
            None => (Rank::New, Vec::new()),
            Some(user) if user.status == Status::OutOfScope => (Rank::Returning, Vec::new()),
            Some(user) => (Rank::Present, user.names().collect()),
        };
        numbers.extend(user.as_ref().map(|user| user.number));
        let claim =
            NameClaim { id: record.id.clone(), rank, had, wants: record.names().collect(), stuck: false };
        frontier.extend(claim.wants.iter().chain(&claim.had).copied());
        contested.claims.push(claim);
        contested.users.push(user);
        contested.records.push(Some(record));
    }
    while !frontier.is_empty() {
        let holders = lookup::known_by_name(connection, fence.tenant, &frontier).await?;
        let wanted: HashSet<Name> = frontier.drain(..).collect();
        let ours: Vec<i64> =
            holders.iter().filter(|user| user.counted_by(fence.job)).map(|user| user.number.0).collect();
        let before = journal(connection, fence, &ours).await?;
        for user in holders {
            if numbers.contains(&user.number) {
                continue;
            }
            let was = before.get(&user.number.0);
            // Whoever was fetched alone meanwhile keeps what it has.
            let fetched = user.fetched.0 == fence.job;
            let got = |name: &Name| match was {
                Some(was) => !was.names.contains(name),
                None => user.added_job == fence.job,
            };
            if !fetched && user.names().filter(|name| wanted.contains(name)).any(|name| got(&name)) {
                numbers.insert(user.number);
                if was.is_some_and(|was| was.status == Status::Enabled) && user.status != Status::Enabled {
                    contested.gave_seat.insert(user.number);
                }
                // It may have been met before, by a name that it only kept.
                contested.held.retain(|_, holder| *holder != user.number);
                let (rank, had) = match was {
                    None => (Rank::New, Vec::new()),
                    Some(was) if was.status == Status::OutOfScope => (Rank::Returning, Vec::new()),
                    Some(was) => (Rank::Present, was.names.clone()),
                };
                frontier.extend(had.iter().copied());
                contested.claims.push(NameClaim {
                    id: user.id.clone(),
                    rank,
                    had,
                    wants: user.names().collect(),
                    stuck: false,
                });
                contested.users.push(Some(user));
                contested.records.push(None);
            } else {
                contested.held.extend(
                    user.names().filter(|name| wanted.contains(name)).map(|name| (name, user.number)),
                );
            }
        }
    }
    contested.keep_fixed();
    Ok(contested)
}

/// What users were before the job.
pub(crate) async fn journal(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
) -> Result<HashMap<i64, Before>> {
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let text = sql!(
        "SELECT user_no, status, user_name_key, mail_key FROM user_changes WHERE job_no = $1 AND \
         user_no {IN_INTS_2}"
    );
    let query = statement::query(text).bind(fence.job.0);
    let rows = dialect::ints(query, users).fetch_all(connection).await?;
    let before = |row| -> Result<(i64, Before)> {
        let (user, number, user_name, mail): (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>) =
            FromRow::from_row(row)?;
        Ok((user, Before { status: codec::user_status(number)?, names: codec::name_keys(user_name, mail)? }))
    };
    rows.iter().map(before).collect()
}
