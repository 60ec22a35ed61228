//! How often this router asks a directory about passwords in vain, whoever orders it: a control
//! plane that was taken over can neither guess one nor lock accounts in the directory. Counted by
//! entry and in all, over all sessions, in memory: as many as there were in the last [`PERIOD`], so
//! some thousands. Knows no password and no name, only hashes of names.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ldap_syntax::normalize;

/// Most of one entry in [`PERIOD`]. Below the 10 at which directories usually lock an account.
const MAX_FAILURES_PER_ENTRY: usize = 8;
const PERIOD: Duration = Duration::from_secs(30 * 60);
/// Most of all entries in [`MINUTE`].
const MAX_FAILURES_PER_MINUTE: u32 = 200;
const MINUTE: Duration = Duration::from_secs(60);
/// Entries from which on those that are forgiven are forgotten.
const SWEEP_FROM_ENTRIES: usize = 10_000;

type Key = [u8; 32];

/// What was asked in vain, and what is being asked.
#[derive(Debug, Default)]
pub(in crate::link) struct PasswordAttempts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// When the current minute began, and how many it has.
    minute: Option<(Instant, u32)>,
}

#[derive(Debug, Default)]
struct Entry {
    failed: VecDeque<Instant>,
    under_way: usize,
}

impl Entry {
    fn forget_old(&mut self, now: Instant) {
        while self.failed.front().is_some_and(|at| now.saturating_duration_since(*at) >= PERIOD) {
            self.failed.pop_front();
        }
    }
}

impl PasswordAttempts {
    /// A try with the password of the entry with this name; none if there were too many. It counts
    /// as one in vain until it is known to be another.
    pub(in crate::link) fn begin(self: &Arc<Self>, dn: &str, now: Instant) -> Option<PasswordAttempt> {
        let mut state = self.lock();
        let minute = state.minute.filter(|(began, _)| now.saturating_duration_since(*began) < MINUTE);
        if minute.is_some_and(|(_, failed)| failed >= MAX_FAILURES_PER_MINUTE) {
            return None;
        }
        if state.entries.len() >= SWEEP_FROM_ENTRIES {
            state.entries.retain(|_, entry| {
                entry.forget_old(now);
                entry.under_way > 0 || !entry.failed.is_empty()
            });
        }
        let key = entry_key(dn);
        let entry = state.entries.entry(key).or_default();
        entry.forget_old(now);
        if entry.failed.len() + entry.under_way >= MAX_FAILURES_PER_ENTRY {
            return None;
        }
        entry.under_way += 1;
        Some(PasswordAttempt { all: Arc::clone(self), key, at: now, failed: true })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However the name is written.
fn entry_key(dn: &str) -> Key {
    let mut hasher = blake3::Hasher::new();
    match normalize(dn) {
        Some(names) => hasher.update(format!("{names:?}").as_bytes()),
        None => hasher.update(dn.as_bytes()),
    };
    *hasher.finalize().as_bytes()
}

/// A try under way. Dropped, it was one in vain: whoever gives up early saves nothing.
#[derive(Debug)]
pub(in crate::link) struct PasswordAttempt {
    all: Arc<PasswordAttempts>,
    key: Key,
    at: Instant,
    failed: bool,
}

impl PasswordAttempt {
    /// The password was accepted: those before are forgiven.
    pub(in crate::link) fn accepted(mut self) {
        self.failed = false;
        if let Some(entry) = self.all.lock().entries.get_mut(&self.key) {
            entry.failed.clear();
        }
    }
}

impl Drop for PasswordAttempt {
    fn drop(&mut self) {
        let mut state = self.all.lock();
        if self.failed {
            let minute = state.minute.filter(|(began, _)| self.at.saturating_duration_since(*began) < MINUTE);
            let (began, failed) = minute.unwrap_or((self.at, 0));
            state.minute = Some((began, failed + 1));
        }
        let Some(entry) = state.entries.get_mut(&self.key) else { return };
        entry.under_way -= 1;
        if self.failed {
            entry.failed.push_back(self.at);
        } else if entry.failed.is_empty() && entry.under_way == 0 {
            state.entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: &str = "uid=anna,dc=example,dc=com";

    #[test]
    fn nobody_can_have_one_entry_asked_about_more_often_than_its_directory_bears() {
        let (attempts, start) = (Arc::new(PasswordAttempts::default()), Instant::now());
        for _ in 0..MAX_FAILURES_PER_ENTRY {
            assert!(attempts.begin(ANNA, start).is_some());
        }
        for spelled in [ANNA, "UID=Anna, DC=example,DC=COM"] {
            assert!(attempts.begin(spelled, start).is_none(), "{spelled}");
        }
        assert!(attempts.begin("uid=ben,dc=example,dc=com", start).is_some(), "others are");
        assert!(attempts.begin(ANNA, start + PERIOD - Duration::from_secs(1)).is_none());
        assert!(attempts.begin(ANNA, start + PERIOD).is_some());
    }

    #[test]
    fn whoever_knows_the_password_is_forgiven_and_what_is_under_way_counts() {
        let (attempts, start) = (Arc::new(PasswordAttempts::default()), Instant::now());
        let mut under_way: Vec<_> =
            (0..MAX_FAILURES_PER_ENTRY).filter_map(|_| attempts.begin(ANNA, start)).collect();
        assert!(attempts.begin(ANNA, start).is_none(), "as many at once are as many");
        under_way.pop().expect("one").accepted();
        assert!(attempts.begin(ANNA, start).is_some(), "one is over, and was right");
        drop(under_way);
        assert!(attempts.begin(ANNA, start).is_none(), "whoever gives up has tried");
    }

    #[test]
    fn whoever_tries_one_password_with_everybody_does_not_get_far() {
        let (attempts, start) = (Arc::new(PasswordAttempts::default()), Instant::now());
        let anyone = |number: u32| format!("uid={number},dc=example,dc=com");
        let tried = (0..10 * MAX_FAILURES_PER_MINUTE)
            .filter(|number| attempts.begin(&anyone(*number), start).is_some())
            .count();
        assert_eq!(tried, MAX_FAILURES_PER_MINUTE as usize);
        assert!(attempts.begin(ANNA, start + MINUTE).is_some(), "the minute is over");
        for minute in 1..100 {
            for number in 0..MAX_FAILURES_PER_MINUTE {
                attempts.begin(&anyone(minute * MAX_FAILURES_PER_MINUTE + number), start + minute * MINUTE);
            }
        }
        assert!(
            attempts.lock().entries.len() <= SWEEP_FROM_ENTRIES + MAX_FAILURES_PER_MINUTE as usize,
            "{}",
            attempts.lock().entries.len()
        );
    }
}
