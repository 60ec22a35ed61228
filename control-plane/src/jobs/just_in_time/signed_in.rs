//! Notes who was let in, behind the answers: many users are one write, so that a crowd that signs in waits for no disk. A crash loses what
//! the last tenth of a second had; whoever is let in again within the hour is noted then.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::jobs::Inner;
use crate::model::{TenantNo, Timestamp, User, UserNo};
use crate::reconcile::deletion::SIGN_IN_PRECISION;

/// How long to gather users for one write.
const GATHER: Duration = Duration::from_millis(100);
/// More users than sign in while the database is away for a while: those beyond are not noted.
const MOST: usize = 100_000;

/// Users who were let in and are not written down yet.
#[derive(Default)]
pub(in crate::jobs) struct SignedIn {
    pending: Mutex<HashMap<TenantNo, HashSet<UserNo>>>,
    first: Notify,
    /// Who writes, one at a time: the end of the program waits for what is under way.
    writing: tokio::sync::Mutex<()>,
}

impl SignedIn {
    /// Notes that a user was let in, unless that was noted within the hour.
    pub(super) fn note(&self, tenant: TenantNo, user: &User, now: Timestamp) {
        if user.last_sign_in_at.is_some_and(|last| last > now.minus(SIGN_IN_PRECISION)) {
            return;
        }
        let mut pending = self.pending();
        if pending.values().map(HashSet::len).sum::<usize>() >= MOST {
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

/// Writes down who was let in, until the program ends.
pub(in crate::jobs) async fn follow(inner: Arc<Inner>) {
    loop {
        inner.signed_in.first.notified().await;
        tokio::time::sleep(GATHER).await;
        write(&inner).await;
    }
}

/// Writes down what is noted now. A user is let in also where that cannot be written.
pub(in crate::jobs) async fn write(inner: &Inner) {
    let _alone = inner.signed_in.writing.lock().await;
    let pending = std::mem::take(&mut *inner.signed_in.pending());
    for (tenant, users) in pending {
        let noted = inner.store.note_sign_ins(tenant, users.into_iter().collect(), inner.clock.now()).await;
        if let Err(error) = noted {
            tracing::warn!(error = &error as &dyn std::error::Error, "sign-ins could not be noted");
        }
    }
}
