//! Users that a complete read did not have.
//!
//! - `find`: finds them by the bits of those that the read has seen
//! - `look_up`: has a router look them up again, on a new connection and by immutable id
//! - `record`: records them in the store, or disables them

mod find;
mod look_up;
mod record;

use roaring::RoaringTreemap;

use crate::model::{Absence, Absentee, JobNo, Presence, Status, UserNo};

pub(super) use find::{emptied, find, recorded};
pub(super) use look_up::{LookUpError, look_up, look_up_held};
pub(super) use record::{disable_absent, record_absent};

/// Users in scope that a read did not have, by what became of them.
#[derive(Clone, Debug, Default)]
pub(super) struct AbsentUsers {
    moved: RoaringTreemap,
    deleted: RoaringTreemap,
    unexplained: RoaringTreemap,
    /// Those of all of them that are enabled.
    enabled: RoaringTreemap,
    /// Users that were in scope after all when looked up.
    pub(super) still_in_scope: i64,
    /// Users that were too many to be looked up.
    pub(super) not_looked_up: i64,
}

fn bit(user: UserNo) -> u64 {
    user.0.unsigned_abs()
}

fn user(bit: u64) -> UserNo {
    UserNo(i64::try_from(bit).unwrap_or(i64::MAX))
}

impl AbsentUsers {
    fn bits_of(&mut self, absence: Absence) -> &mut RoaringTreemap {
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

    /// How many of the enabled ones the directory does not explain.
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

    /// Keeps only those that are in `recorded`, too; returns how many are left out.
    pub(super) fn retain(&mut self, recorded: &RoaringTreemap) -> i64 {
        let before = self.len();
        for bits in [&mut self.moved, &mut self.deleted, &mut self.unexplained, &mut self.enabled] {
            *bits &= recorded;
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
        self.bits_of(absence).insert(bit(user));
        if status == Status::Enabled {
            self.enabled.insert(bit(user));
        }
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
