//! All targets of a pool, and the permits for its connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::limits::PoolLimits;
use super::target::{PoolTarget, PooledConnection, TargetPool};
use crate::directory::{DirectoryError, Security};

/// What all users of a pool share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: PoolLimits,
    /// Of this process only: what is made with it says nothing of a password.
    hash_key: [u8; 32],
    connection_permits: Arc<Semaphore>,
    /// A connection has no search any more, to whichever target: its permit may be had.
    became_idle: Arc<Notify>,
    targets: Mutex<HashMap<[u8; 32], Arc<TargetPool>>>,
}

impl Shared {
    pub(super) fn new(limits: PoolLimits) -> Self {
        let connection_permits = Arc::new(Semaphore::new(limits.max_connections));
        Self {
            limits,
            hash_key: rand::random(),
            connection_permits,
            became_idle: Arc::default(),
            targets: Mutex::default(),
        }
    }

    /// How many connections stand.
    pub(super) fn connections(&self) -> usize {
        self.limits.max_connections - self.connection_permits.available_permits()
    }

    /// The connections to this target; a new set if there is none, or its password or authority is
    /// another by now.
    pub(super) fn target(&self, target: PoolTarget<'_>) -> Result<Arc<TargetPool>, DirectoryError> {
        let (place, secret_hash) = (self.place_hash(target), self.secret_hash(target)?);
        let mut targets = self.targets();
        if let Some(pool) = targets.get(&place).filter(|pool| pool.secret_hash == secret_hash) {
            return Ok(Arc::clone(pool));
        }
        let max_searches = self.limits.max_per_target * self.limits.max_searches;
        let pool = Arc::new(TargetPool::new(secret_hash, max_searches, Arc::clone(&self.became_idle)));
        // One with another password or authority goes, and its connections with it.
        targets.insert(place, Arc::clone(&pool));
        Ok(pool)
    }

    /// Of servers and account.
    fn place_hash(&self, target: PoolTarget<'_>) -> [u8; 32] {
        let mut place = blake3::Hasher::new_keyed(&self.hash_key);
        let mut add = |part: &str| {
            place.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        };
        for server in target.servers {
            add(&server.to_string());
            add(match server.security {
                Security::Ldaps => "ldaps",
                Security::StartTls => "starttls",
                Security::Plain => "plain",
            });
        }
        add(&target.credential.bind_dn);
        *place.finalize().as_bytes()
    }

    /// Of password and authority.
    fn secret_hash(&self, target: PoolTarget<'_>) -> Result<[u8; 32], DirectoryError> {
        let mut secret = blake3::Hasher::new_keyed(&self.hash_key);
        let password = target.credential.password.expose_secret();
        secret.update(&(password.len() as u64).to_le_bytes()).update(password.as_bytes());
        if let Some(file) = target.ca_file {
            let authorities = std::fs::read(file)
                .map_err(|error| DirectoryError::Trust(format!("CA file {}: {error}", file.display())))?;
            secret.update(&authorities);
        }
        Ok(*secret.finalize().as_bytes())
    }

    /// A permit for one more connection: a free one, that of the connection which was not used for
    /// longest, or the next that becomes so. If all are busy, the one that stands for longest gets
    /// no more searches, so that no request waits for ever.
    pub(super) async fn connection_permit(
        &self,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, DirectoryError> {
        let mut has_retired_busy = false;
        loop {
            if self.connection_permits.available_permits() == 0 && !self.retire(true) && !has_retired_busy {
                has_retired_busy = self.retire(false);
            }
            tokio::select! {
                biased;
                Ok(permit) = Arc::clone(&self.connection_permits).acquire_owned() => return Ok(permit),
                () = self.became_idle.notified() => {}
                () = tokio::time::sleep_until(deadline) => return Err(overdue(&[])),
            }
        }
    }

    /// Takes one connection out of the pool: of those without a search, or of all. False if there
    /// is none.
    fn retire(&self, idle_only: bool) -> bool {
        let targets: Vec<_> = self.targets().values().cloned().collect();
        let when = |one: &PooledConnection| if idle_only { one.idle_end() } else { one.end() };
        let oldest = |target: &Arc<TargetPool>| {
            let state = target.state();
            let candidates = state.connections.iter().filter(|one| !idle_only || one.is_idle());
            candidates.map(|one| when(one)).min()
        };
        let oldest =
            targets.iter().filter_map(|target| Some((oldest(target)?, target))).min_by_key(|(at, _)| *at);
        let Some((at, target)) = oldest else { return false };
        let mut state = target.state();
        let found = state.connections.iter().position(|one| when(one) == at && (!idle_only || one.is_idle()));
        let retired = found.map(|at| state.connections.remove(at));
        drop(state);
        retired.is_some()
    }

    /// Closes connections that are no longer good, and forgets targets that are not used.
    fn sweep(&self, now: Instant) {
        let mut closed = Vec::new();
        self.targets().retain(|_, target| {
            let in_use = Arc::strong_count(target) > 1;
            let mut state = target.state();
            closed.extend(state.connections.extract_if(.., |one| !one.is_good(now)));
            state.avoided.retain(|_, until| now < *until);
            // A refusal is remembered for as long again, so that the next one counts as one more.
            let refused = state
                .refused
                .as_ref()
                .is_some_and(|(until, _)| now < *until + self.limits.refusal_pause * 64);
            in_use || refused || !state.connections.is_empty() || !state.avoided.is_empty()
        });
    }

    fn targets(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<TargetPool>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps at this interval for as long as the pool is there.
pub(super) async fn sweep_until_dropped(shared: Weak<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(shared) = shared.upgrade() else { return };
        shared.sweep(Instant::now());
    }
}

/// No server was done in time; with what went wrong before.
pub(super) fn overdue(errors: &[DirectoryError]) -> DirectoryError {
    let details: String = errors.iter().map(|error| format!("; {error}")).collect();
    DirectoryError::Overdue(details)
}
