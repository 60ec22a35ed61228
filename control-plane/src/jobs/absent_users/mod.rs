//! Users that a complete read did not have.
//!
//! - `find`: finds them by the bits of those that the read has seen
//! - `witnesses`: finds other users of their containers
//! - `look_up`: has a router look them up again, on a new connection and by immutable id
//! - `record`: records them in the store, or disables them
//! - `marks`: takes the marks of sign-ins off users that were seen

mod find;
mod look_up;
mod marks;
mod record;
mod witnesses;

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use crate::model::{Absence, Absentee, JobNo, Presence, Status, UserNo};

pub(super) use find::{emptied, find};
pub(super) use look_up::{LookUpError, look_up, look_up_held};
pub(super) use marks::clear_marks;
pub(super) use record::{disable_absent, leave_alone, record_absent};
pub(super) use witnesses::find_witnesses;

/// Users in scope that a read did not have, by what became of them.
#[derive(Clone, Debug, Default)]
pub(super) struct AbsentUsers {
    /// Users that may be disabled. None is in two of these.
    by_absence: BTreeMap<Absence, RoaringTreemap>,
    /// Users that the directory does not show to be gone: they are left alone.
    not_visible: RoaringTreemap,
    /// Those of all of them that are enabled.
    enabled: RoaringTreemap,
    /// Users that were in scope after all when looked up.
    pub(super) still_in_scope: i64,
    /// Those.
    found_again: RoaringTreemap,
}

fn bit(user: UserNo) -> u64 {
    user.0.unsigned_abs()
}

fn user(bit: u64) -> UserNo {
    UserNo(i64::try_from(bit).unwrap_or(i64::MAX))
}

impl AbsentUsers {
    fn bits(&self) -> impl Iterator<Item = &RoaringTreemap> {
        self.by_absence.values()
    }

    fn count(&self, counts: impl Fn(&RoaringTreemap) -> u64, which: impl Fn(Absence) -> bool) -> i64 {
        let bits = self.by_absence.iter().filter(|(absence, _)| which(**absence));
        count(bits.map(|(_, bits)| counts(bits)).sum())
    }

    /// How many may be disabled.
    pub(super) fn len(&self) -> i64 {
        self.count(RoaringTreemap::len, |_| true)
    }

    /// Whether there is none, not even one that is left alone.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.not_visible.is_empty()
    }

    /// How many of them are enabled.
    pub(super) fn enabled(&self) -> i64 {
        self.count(|bits| bits.intersection_len(&self.enabled), |_| true)
    }

    /// How many of the enabled ones the directory does not explain.
    pub(super) fn unexplained_enabled(&self) -> i64 {
        self.count(|bits| bits.intersection_len(&self.enabled), |absence| !absence.is_explained())
    }

    /// How many were not looked up.
    pub(super) fn not_looked_up(&self) -> i64 {
        self.count(RoaringTreemap::len, |absence| absence == Absence::NotLookedUp)
    }

    /// How many are left alone since the directory does not show that they are gone.
    pub(super) fn not_visible(&self) -> i64 {
        count(self.not_visible.len())
    }

    /// Those, by number.
    pub(super) fn users_not_visible(&self) -> impl Iterator<Item = UserNo> {
        self.not_visible.iter().map(user)
    }

    /// All that may be disabled, by what became of them and by number.
    pub(super) fn users(&self) -> impl Iterator<Item = (UserNo, Absence)> {
        let kinds = self.by_absence.iter();
        kinds.flat_map(|(absence, bits)| bits.iter().map(move |bit| (user(bit), *absence)))
    }

    /// Whether the read did not have this user.
    fn contains(&self, user: UserNo) -> bool {
        self.not_visible.contains(bit(user)) || self.bits().any(|bits| bits.contains(bit(user)))
    }

    /// Whether the read did not have this user, and the directory does not explain it.
    fn is_unexplained(&self, user: UserNo) -> bool {
        let unexplained = self.by_absence.iter().filter(|(absence, _)| !absence.is_explained());
        let mut bits = unexplained.map(|(_, bits)| bits).chain([&self.not_visible]);
        bits.any(|bits| bits.contains(bit(user)))
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

    /// Leaves out all that may be disabled.
    pub(super) fn forget_leavers(&mut self) {
        self.by_absence.clear();
    }

    /// Sorts a user who was looked up.
    fn sort(&mut self, absentee: &Absentee, presence: Presence) {
        match presence.absence() {
            None => {
                self.still_in_scope += 1;
                self.found_again.insert(bit(absentee.user));
            }
            Some(absence) => self.add(absentee.user, absentee.status, absence),
        }
    }

    fn add(&mut self, user: UserNo, status: Status, absence: Absence) {
        match absence {
            Absence::NotVisible => self.not_visible.insert(bit(user)),
            absence => self.by_absence.entry(absence).or_default().insert(bit(user)),
        };
        if status == Status::Enabled {
            self.enabled.insert(bit(user));
        }
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{ImmutableId, Timestamp};

    fn absentee(number: i64, status: Status) -> Absentee {
        Absentee {
            user: UserNo(number),
            id: ImmutableId(Bytes::from_static(b"id")),
            distinguished_name: String::new(),
            status,
            updated_at: Timestamp(0),
        }
    }

    #[test]
    fn users_who_are_not_visible_are_never_among_those_who_may_be_disabled() {
        let mut absent = AbsentUsers::default();
        for (number, presence) in [
            (1, Presence::NotVisible),
            (2, Presence::NotFound),
            (3, Presence::NotMatching),
            (4, Presence::InScope),
        ] {
            absent.sort(&absentee(number, Status::Enabled), presence);
        }
        absent.sort(&absentee(5, Status::DisabledInDirectory), Presence::NotFound);
        absent.add(UserNo(6), Status::Enabled, Absence::NotLookedUp);
        let users: Vec<_> = absent.users().collect();
        assert_eq!(
            users,
            [
                (UserNo(2), Absence::Unexplained),
                (UserNo(5), Absence::Unexplained),
                (UserNo(3), Absence::NotMatching),
                (UserNo(6), Absence::NotLookedUp),
            ]
        );
        assert_eq!((absent.len(), absent.enabled(), absent.unexplained_enabled()), (4, 3, 2));
        assert_eq!((absent.not_visible(), absent.not_looked_up(), absent.still_in_scope), (1, 1, 1));
        assert!(absent.is_unexplained(UserNo(1)) && !absent.is_unexplained(UserNo(3)));
        assert!(absent.contains(UserNo(1)) && !absent.contains(UserNo(4)));
        absent.forget_leavers();
        assert_eq!((absent.len(), absent.enabled(), absent.not_visible()), (0, 0, 1));
    }
}
