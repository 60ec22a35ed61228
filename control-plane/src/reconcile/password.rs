//! Passwords: how many wrong ones a name may have, and what it comes to that a directory did or did
//! not answer.

use std::time::Duration;

use crate::model::{FailureReason, Found, PasswordOutcome, Single, SingleOutcome, Timestamp};

use super::single_user;

/// So many wrong passwords lock a name.
const FREE: u32 = 5;
/// For so long; each further one for twice as long, at most eight times.
const LOCKED: Duration = Duration::from_secs(5 * 60);
const MOST_DOUBLINGS: u32 = 3;
/// Without one for so long, and not locked, those before are forgiven.
const FORGIVEN: Duration = Duration::from_secs(30 * 60);
/// So many of a tenant in [`MINUTE`] lock it until that is over.
const OF_TENANT: u32 = 200;
const MINUTE: Duration = Duration::from_secs(60);
/// How long to wait for tries that are under way.
const SOON: Duration = Duration::from_secs(1);

/// The tries with one name. In any half hour at most 7 are wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    failed: u32,
    last: Timestamp,
    under_way: u32,
}

impl Tries {
    fn locked(self) -> Duration {
        match self.failed.checked_sub(FREE) {
            Some(more) => LOCKED * 2u32.pow(more.min(MOST_DOUBLINGS)),
            None => Duration::ZERO,
        }
    }

    /// Whether nothing needs to be remembered of it any more.
    #[must_use]
    pub fn is_forgiven(self, now: Timestamp) -> bool {
        self.under_way == 0 && self.failed_by(now) == 0
    }

    fn failed_by(self, now: Timestamp) -> u32 {
        if now.since(self.last) >= FORGIVEN.max(self.locked()) { 0 } else { self.failed }
    }

    /// One more try begins, or how long to wait instead. What is under way counts as wrong until it
    /// is known to be right.
    ///
    /// # Errors
    /// If there were too many.
    pub fn begin(&mut self, now: Timestamp) -> Result<(), Duration> {
        self.failed = self.failed_by(now);
        let wait = self.locked().saturating_sub(now.since(self.last));
        if !wait.is_zero() {
            return Err(wait);
        }
        if self.failed.saturating_add(self.under_way) >= FREE.max(self.failed.saturating_add(1)) {
            return Err(SOON);
        }
        self.under_way += 1;
        Ok(())
    }

    /// A try ended; says how many were wrong before it, if it was right.
    pub fn end(&mut self, try_: Try, now: Timestamp) -> u32 {
        self.under_way = self.under_way.saturating_sub(1);
        match try_ {
            Try::Void => 0,
            Try::Wrong => {
                (self.failed, self.last) = (self.failed_by(now).saturating_add(1), now);
                0
            }
            Try::Right => std::mem::take(&mut self.failed),
        }
    }
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// The directory accepted the password.
    Right,
    /// It did not, or nobody knows whether it was asked, or there is nobody of the name.
    Wrong,
    /// Nobody was asked.
    Void,
}

/// The wrong passwords of a tenant in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    began: Timestamp,
    failed: u32,
}

impl Minute {
    /// How long to wait, if there were too many.
    #[must_use]
    pub fn wait(self, now: Timestamp) -> Option<Duration> {
        let left = MINUTE.saturating_sub(now.since(self.began));
        (self.failed >= OF_TENANT && !left.is_zero()).then_some(left)
    }

    /// One more.
    pub fn failed(&mut self, now: Timestamp) {
        if self.is_over(now) {
            *self = Self { began: now, failed: 0 };
        }
        self.failed = self.failed.saturating_add(1);
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        now.since(self.began) >= MINUTE
    }
}

/// What it comes to that a router could not ask, or had no answer.
#[must_use]
pub fn failed(reason: FailureReason) -> PasswordOutcome {
    match single_user::failed(reason) {
        SingleOutcome::NoRouter => PasswordOutcome::NoRouter,
        SingleOutcome::NotAllowed => PasswordOutcome::NotAllowed,
        SingleOutcome::DirectoryUnreachable => PasswordOutcome::DirectoryUnreachable,
        _ => PasswordOutcome::Internal,
    }
}

/// What an accepted password comes to: an account that the mapping says is disabled is one, though
/// the directory lets it bind.
#[must_use]
pub fn accepted(found: &Found) -> PasswordOutcome {
    match found {
        Found::Record(record) if record.disabled => PasswordOutcome::AccountDisabled,
        Found::Rejected(rejected) if rejected.disabled => PasswordOutcome::AccountDisabled,
        _ => PasswordOutcome::Verified,
    }
}

/// Whether the user may be let in.
#[must_use]
pub fn may_enter(outcome: PasswordOutcome, sync: Option<&Single>) -> bool {
    outcome == PasswordOutcome::Verified && sync.is_some_and(|sync| sync.allowed)
}

/// What happened and what to do next, for people.
#[must_use]
pub fn text(outcome: PasswordOutcome) -> &'static str {
    use PasswordOutcome as Outcome;
    match outcome {
        Outcome::Verified => "The directory has accepted the password.",
        Outcome::WrongPasswordOrUnknown => "The password is wrong, or there is no one user of this name.",
        Outcome::AccountDisabled => "The account is disabled. Enable it in the directory.",
        Outcome::AccountExpired => "The account has expired. Extend it in the directory.",
        Outcome::AccountLocked => {
            "The directory has locked the account. Wait until it unlocks it, or unlock it there."
        }
        Outcome::PasswordExpired => "The password has expired. Change it in the directory.",
        Outcome::MustChange => {
            "The password has to be changed before the first use. Change it in the directory."
        }
        Outcome::TooManyAttempts => {
            "There were too many wrong passwords; the directory was not asked. Wait, then try again."
        }
        Outcome::NotAllowed => {
            "Passwords are not verified: set verify_passwords in the source and publish it, and in the identity router's policy."
        }
        Outcome::DirectoryUnreachable => {
            "The directory did not answer in time. Check its servers, and that the identity router can reach them."
        }
        Outcome::NoRouter => {
            "No identity router that may read the source is connected to this replica, or it was lost meanwhile. Check router-agent on the premises."
        }
        Outcome::Internal => "A fault of the control plane or of its database. Its log has the cause.",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minutes: u64) -> Timestamp {
        Timestamp(1).plus(Duration::from_secs(60 * minutes))
    }

    fn wrong(tries: &mut Tries, now: Timestamp) -> Result<(), Duration> {
        tries.begin(now)?;
        tries.end(Try::Wrong, now);
        Ok(())
    }

    #[test]
    fn the_fifth_wrong_password_locks_for_five_minutes_and_each_further_one_for_twice_as_long() {
        let mut tries = Tries::default();
        for _ in 0..5 {
            assert_eq!(wrong(&mut tries, at(0)), Ok(()));
        }
        for (minute, lock) in [(0, 5), (5, 10), (15, 20), (35, 40)] {
            if minute > 0 {
                assert_eq!(wrong(&mut tries, at(minute)), Ok(()));
            }
            assert_eq!(tries.begin(at(minute)), Err(Duration::from_secs(60 * lock)), "at {minute}");
        }
        assert!(!tries.is_forgiven(at(74)) && tries.is_forgiven(at(75)));
        for _ in 0..5 {
            assert_eq!(wrong(&mut tries, at(75)), Ok(()));
        }
    }

    #[test]
    fn whoever_knows_the_password_is_forgiven_and_so_is_half_an_hour_without_a_wrong_one() {
        let mut tries = Tries::default();
        (0..4).for_each(|_| wrong(&mut tries, at(0)).expect("a try"));
        tries.begin(at(1)).expect("a try");
        assert_eq!(tries.end(Try::Right, at(1)), 4);
        (0..4).for_each(|_| wrong(&mut tries, at(2)).expect("a try"));
        assert_eq!(wrong(&mut tries, at(32)), Ok(()));
        assert_eq!(wrong(&mut tries, at(32)), Ok(()), "those of half an hour before are forgiven");
    }

    #[test]
    fn tries_at_the_same_time_are_no_more_than_tries_one_after_the_other() {
        let mut tries = Tries::default();
        (0..5).for_each(|_| tries.begin(at(0)).expect("a try"));
        assert_eq!(tries.begin(at(0)), Err(SOON));
        assert_eq!(tries.end(Try::Void, at(0)), 0);
        assert_eq!(tries.begin(at(0)), Ok(()), "nobody was asked");
        for _ in 0..5 {
            tries.end(Try::Wrong, at(0));
        }
        assert!(tries.begin(at(1)).is_err());
        assert_eq!(tries.begin(at(5)), Ok(()));
        assert_eq!(tries.begin(at(5)), Err(SOON), "behind a lock, one at a time");
    }

    #[test]
    fn a_tenant_with_too_many_wrong_passwords_waits_for_the_next_minute() {
        let mut minute = Minute::default();
        (0..OF_TENANT).for_each(|_| minute.failed(at(1)));
        assert_eq!(minute.wait(at(1)), Some(MINUTE));
        assert_eq!(minute.wait(at(2)), None);
        minute.failed(at(2));
        assert_eq!(minute.wait(at(2)), None);
    }

    #[test]
    fn every_outcome_says_what_to_do_and_only_a_verified_one_lets_in() {
        for outcome in PasswordOutcome::ALL {
            assert!(text(*outcome).ends_with('.'));
            assert!(!may_enter(*outcome, None));
        }
        for reason in FailureReason::ALL {
            assert_ne!(failed(*reason), PasswordOutcome::Verified);
        }
    }

    proptest! {
        /// Whenever somebody guesses, a directory hears of no more than 7 in half an hour.
        #[test]
        fn no_half_hour_has_more_than_seven_wrong_passwords(gaps in proptest::collection::vec(0u64..2_000, 1..400)) {
            let (mut tries, mut now, mut asked) = (Tries::default(), Timestamp(1), Vec::new());
            for gap in gaps {
                now = now.plus(Duration::from_secs(gap));
                if wrong(&mut tries, now).is_ok() {
                    asked.push(now);
                }
            }
            for from in &asked {
                let within = asked.iter().filter(|at| *at >= from && at.since(*from) < FORGIVEN).count();
                prop_assert!(within <= 7, "{within}");
            }
        }
    }
}
