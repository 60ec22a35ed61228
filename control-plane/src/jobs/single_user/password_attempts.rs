//! Counts wrong passwords by name and by tenant: in memory, on each replica, so that a sign-in
//! costs no write. The name is what was typed, folded, whether or not a user has it, so the count
//! reveals nothing. A name that is not locked is forgotten after half an hour, and a tenant has 200
//! attempts a minute, so a tenant has some thousands of names at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::model::{NameKey, NameKind, TenantNo};
use crate::reconcile::names;
use crate::reconcile::password::{Minute, Tries, Try};

/// Names from which on forgiven ones are forgotten.
const MAX_NAMES_BEFORE_PRUNING: usize = 10_000;

/// The wrong passwords at this replica.
#[derive(Default)]
pub(in crate::jobs) struct PasswordAttempts(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    names: HashMap<NameKey, Tries>,
    tenants: HashMap<TenantNo, Minute>,
    /// Names from which on forgiven ones are looked for again.
    prune_at: usize,
}

impl PasswordAttempts {
    /// Begins an attempt, or returns how long to wait instead.
    pub(super) fn begin(
        self: &Arc<Self>,
        tenant: TenantNo,
        login: &str,
        clock: &Clock,
    ) -> Result<PasswordAttempt, Duration> {
        let now = clock.now();
        // One key for what was typed, whether it is meant as a user name or as an address.
        let name = names::key(tenant, NameKind::UserName, login);
        let mut counts = self.lock();
        if let Some(wait) = counts.tenants.get(&tenant).and_then(|minute| minute.wait(now)) {
            return Err(wait);
        }
        if counts.names.len() >= counts.prune_at.max(MAX_NAMES_BEFORE_PRUNING) {
            counts.names.retain(|_, tries| !tries.is_forgiven(now));
            counts.tenants.retain(|_, minute| !minute.is_over(now));
            counts.prune_at = 2 * counts.names.len();
        }
        counts.names.entry(name).or_default().begin(now)?;
        Ok(PasswordAttempt { all: Arc::clone(self), clock: clock.clone(), tenant, name, ended: false })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt under way. Dropped, it counts as wrong: a caller that hangs up early saves nothing.
pub(super) struct PasswordAttempt {
    all: Arc<PasswordAttempts>,
    clock: Clock,
    tenant: TenantNo,
    name: NameKey,
    ended: bool,
}

impl PasswordAttempt {
    /// It has ended; says how many were wrong before, if it was right.
    pub(super) fn ended(mut self, end: Try) -> u32 {
        self.settle(end)
    }

    fn settle(&mut self, end: Try) -> u32 {
        self.ended = true;
        let now = self.clock.now();
        let mut counts = self.all.lock();
        if end == Try::Wrong {
            counts.tenants.entry(self.tenant).or_default().failed(now);
        }
        let Some(tries) = counts.names.get_mut(&self.name) else { return 0 };
        let before = tries.end(end, now);
        if tries.is_forgiven(now) {
            counts.names.remove(&self.name);
        }
        before
    }
}

impl Drop for PasswordAttempt {
    fn drop(&mut self) {
        if !self.ended {
            self.settle(Try::Wrong);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Timestamp;

    use super::*;

    #[test]
    fn a_name_is_counted_however_it_is_typed_and_whoever_hangs_up_has_tried() {
        let (attempts, clock) = (Arc::new(PasswordAttempts::default()), Clock::from_fn(|| Timestamp(1)));
        let begin = |login: &str| attempts.begin(TenantNo(1), login, &clock);
        for typed in ["anna", "ANNA", "Anna", "anna", "aNNa"] {
            drop(begin(typed).unwrap_or_else(|_| panic!("{typed} is locked")));
        }
        assert!(begin("anna").is_err());
        assert!(begin("ben").is_ok_and(|attempt| attempt.ended(Try::Right) == 0));
        assert!(
            attempts.begin(TenantNo(2), "anna", &clock).is_ok_and(|attempt| attempt.ended(Try::Void) == 0)
        );
        assert_eq!(attempts.lock().names.len(), 1, "nothing is kept of who did nothing wrong");
    }

    #[test]
    fn one_password_for_everybody_is_counted_by_tenant() {
        let (attempts, clock) = (Arc::new(PasswordAttempts::default()), Clock::from_fn(|| Timestamp(1)));
        let begin = |tenant, user: u32| attempts.begin(TenantNo(tenant), &format!("user{user}"), &clock);
        assert_eq!((0..1_000).filter(|user| begin(1, *user).is_ok()).count(), 200);
        assert!(begin(2, 1).is_ok(), "another tenant is another matter");
    }
}
