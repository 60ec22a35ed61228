//! Records users that were let in, after the answer: many users are one write, so that a sign-in
//! waits for no disk. A crash loses the last tenth of a second.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::jobs::Inner;
use crate::model::{TenantNo, Timestamp, User, UserNo};
use crate::reconcile::deletion::SIGN_IN_PRECISION;

/// How long to gather users for one write.
const GATHER_TIME: Duration = Duration::from_millis(100);
/// More users than sign in while the database is away for a while; further ones are not recorded.
const MAX_PENDING_USERS: usize = 100_000;

/// Users that were let in and are not written yet.
#[derive(Default)]
pub(in crate::jobs) struct SignInLog {
    pending: Mutex<HashMap<TenantNo, HashSet<UserNo>>>,
    first: Notify,
    /// Held by the one write at a time: the end of the program waits for it.
    writing: tokio::sync::Mutex<()>,
}

impl SignInLog {
    /// Records that a user was let in, unless that was recorded within the hour.
    pub(super) fn record(&self, tenant: TenantNo, user: &User, now: Timestamp) {
        if user.last_sign_in_at.is_some_and(|last| last > now.minus(SIGN_IN_PRECISION)) {
            return;
        }
        let mut pending = self.pending();
        if pending.values().map(HashSet::len).sum::<usize>() >= MAX_PENDING_USERS {
            return;
        }
        pending.entry(tenant).or_default().insert(user.number);
        drop(pending);
        self.first.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<TenantNo, HashSet<UserNo>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the users that were let in, until the program ends.
pub(in crate::jobs) async fn run(inner: Arc<Inner>) {
    loop {
        inner.sign_in_log.first.notified().await;
        tokio::time::sleep(GATHER_TIME).await;
        write_pending(&inner).await;
    }
}

/// Writes the users that are recorded now. A failure is only logged.
pub(in crate::jobs) async fn write_pending(inner: &Inner) {
    let _alone = inner.sign_in_log.writing.lock().await;
    let pending = std::mem::take(&mut *inner.sign_in_log.pending());
    for (tenant, users) in pending {
        let written =
            inner.store.record_sign_ins(tenant, users.into_iter().collect(), inner.clock.now()).await;
        if let Err(error) = written {
            tracing::warn!(error = &error as &dyn std::error::Error, "sign-ins could not be noted");
        }
    }
}
