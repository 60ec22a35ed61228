//! The connections to the same servers with the same credential and the same authority.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::directory::connect::Connection;
use crate::directory::{Credential, DirectoryError, Server};

/// Where to connect to, and with what.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct PoolTarget<'a> {
    pub(in super::super) servers: &'a [Server],
    pub(in super::super) credential: &'a Credential,
    /// The system's authorities, if none.
    pub(in super::super) ca_file: Option<&'a Path>,
}

/// The connections to one target.
#[derive(Debug)]
pub(super) struct TargetPool {
    /// Of password and authority. When they change, it is another target.
    pub(super) secret_hash: [u8; 32],
    pub(super) search_permits: Arc<Semaphore>,
    /// One at a time connects: a wrong password is tried once, however many ask.
    pub(super) connecting: tokio::sync::Mutex<()>,
    /// A search ended.
    pub(super) search_ended: Notify,
    /// A connection has no search any more; shared by all targets of the pool.
    pub(super) became_idle: Arc<Notify>,
    state: Mutex<TargetState>,
}

#[derive(Debug, Default)]
pub(super) struct TargetState {
    /// The one that was used last comes last.
    pub(super) connections: Vec<Arc<PooledConnection>>,
    /// Servers that did not answer, and until when they come last.
    pub(super) avoided: HashMap<usize, Instant>,
    pub(super) refusals: u32,
    /// Until when the credential is not tried again, and why.
    pub(super) refused: Option<(Instant, DirectoryError)>,
}

impl TargetPool {
    /// Without connections, for so many searches at a time.
    pub(super) fn new(secret_hash: [u8; 32], max_searches: usize, became_idle: Arc<Notify>) -> Self {
        Self {
            secret_hash,
            search_permits: Arc::new(Semaphore::new(max_searches)),
            connecting: tokio::sync::Mutex::default(),
            search_ended: Notify::new(),
            became_idle,
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, TargetState> {
        locked(&self.state)
    }
}

/// A connection that stands. It ends with the last search on it once no further one is given it.
pub(super) struct PooledConnection {
    pub(super) server: usize,
    pub(super) connection: Connection,
    made: Instant,
    /// When it is too old, or its server's certificate.
    end: Instant,
    searches: AtomicUsize,
    /// When it was unused for too long.
    idle_end: Mutex<Instant>,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PooledConnection").field("server", &self.server).finish_non_exhaustive()
    }
}

impl PooledConnection {
    /// A new connection, with the one search that it was made for.
    pub(super) fn new(
        server: usize,
        connection: Connection,
        end: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let (searches, idle_end) = (AtomicUsize::new(1), Mutex::new(end));
        Self { server, connection, made: Instant::now(), end, searches, idle_end, _permit: permit }
    }

    /// When it was made.
    pub(super) fn made(&self) -> Instant {
        self.made
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    pub(super) fn searches(&self) -> usize {
        self.searches.load(Ordering::Acquire)
    }

    pub(super) fn begin_search(&self) {
        self.searches.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a search less; says whether it was the last.
    pub(super) fn end_search(&self) -> bool {
        self.searches.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(super) fn is_idle(&self) -> bool {
        self.searches() == 0
    }

    pub(super) fn idle_end(&self) -> Instant {
        *locked(&self.idle_end)
    }

    pub(super) fn set_idle_end(&self, end: Instant) {
        *locked(&self.idle_end) = end;
    }

    pub(super) fn is_good(&self, now: Instant) -> bool {
        now < self.end && (!self.is_idle() || now < self.idle_end()) && self.connection.is_healthy()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
