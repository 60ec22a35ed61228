//! Counts wrong passwords, by name and by tenant: in memory, each replica for itself, so that a sign-in costs no write. By what was typed,
//! folded, whether or not there is anyone of that name: how it is counted tells nobody. A name that nobody locked is forgotten after half an
//! hour, and a tenant has 200 a minute, so there are some thousands of a tenant at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::model::{NameKey, NameKind, TenantNo};
use crate::reconcile::names;
use crate::reconcile::password::{Minute, Tries, Try};

/// Names from which on those that are forgiven are forgotten.
const MANY: usize = 10_000;

/// The wrong passwords at this replica.
#[derive(Default)]
pub(in crate::jobs) struct Attempts(Mutex<State>);

#[derive(Default)]
struct State {
    names: HashMap<NameKey, Tries>,
    tenants: HashMap<TenantNo, Minute>,
    /// Names from which on to look for those that can be forgotten.
    look: usize,
}

impl Attempts {
    /// One more try, or how long to wait instead.
    pub(super) fn begin(
        self: &Arc<Self>,
        tenant: TenantNo,
        login: &str,
        clock: &Clock,
    ) -> Result<Attempt, Duration> {
        let now = clock.now();
        // One key for what was typed, whether it is meant as a user name or as an address.
        let name = names::key(tenant, NameKind::UserName, login);
        let mut state = self.lock();
        if let Some(wait) = state.tenants.get(&tenant).and_then(|minute| minute.wait(now)) {
            return Err(wait);
        }
        if state.names.len() >= state.look.max(MANY) {
            state.names.retain(|_, tries| !tries.is_forgiven(now));
            state.tenants.retain(|_, minute| !minute.is_over(now));
            state.look = 2 * state.names.len();
        }
        state.names.entry(name).or_default().begin(now)?;
        Ok(Attempt { all: Arc::clone(self), clock: clock.clone(), tenant, name, ended: false })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A try under way. Dropped, it was a wrong one: whoever hangs up early saves nothing.
pub(super) struct Attempt {
    all: Arc<Attempts>,
    clock: Clock,
    tenant: TenantNo,
    name: NameKey,
    ended: bool,
}

impl Attempt {
    /// It has ended; says how many were wrong before, if it was right.
    pub(super) fn ended(mut self, end: Try) -> u32 {
        self.settle(end)
    }

    fn settle(&mut self, end: Try) -> u32 {
        self.ended = true;
        let now = self.clock.now();
        let mut state = self.all.lock();
        if end == Try::Wrong {
            state.tenants.entry(self.tenant).or_default().failed(now);
        }
        let Some(tries) = state.names.get_mut(&self.name) else { return 0 };
        let before = tries.end(end, now);
        if tries.is_forgiven(now) {
            state.names.remove(&self.name);
        }
        before
    }
}

impl Drop for Attempt {
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
        let (attempts, clock) = (Arc::new(Attempts::default()), Clock::from_fn(|| Timestamp(1)));
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
        let (attempts, clock) = (Arc::new(Attempts::default()), Clock::from_fn(|| Timestamp(1)));
        let begin = |tenant, user: u32| attempts.begin(TenantNo(tenant), &format!("user{user}"), &clock);
        assert_eq!((0..1_000).filter(|user| begin(1, *user).is_ok()).count(), 200);
        assert!(begin(2, 1).is_ok(), "another tenant is another matter");
    }
}
