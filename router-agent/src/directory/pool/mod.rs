//! Bound connections that are kept for the next search, so that one user is fetched with one
//! search.
//!
//! A pool has few connections to the same servers with the same credential, not many in all, and
//! keeps none for ever. Several searches share a connection; another one is made only when each has
//! some. What went wrong on a connection ends it: no further search is given it, and a search that
//! still runs there sees its end. A read of a whole source, and look-ups before a user is disabled,
//! have connections of their own.
//!
//! - `limits`: how many connections, and how long
//! - `target`: the connections to the same servers with the same credential
//! - `shared`: all targets of a pool, and the permits for connections
//! - `lease`: a connection for one search
//! - `failover`: the tries of one request, on one server after the other

mod failover;
mod lease;
mod limits;
mod shared;
mod target;

use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::failover::Failover;
use self::shared::Shared;
use crate::directory::DirectoryError;

pub(super) use lease::Lease;
pub use limits::PoolLimits;
pub(super) use target::PoolTarget;

/// The connections. Dropping it closes all that carry no search.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    sweeper: AbortHandle,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

impl Pool {
    /// An empty pool. Must be made inside of a runtime.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        let sweep_interval = limits.max_idle / 10;
        let shared = Arc::new(Shared::new(limits));
        let sweeper = tokio::spawn(shared::sweep_until_dropped(Arc::downgrade(&shared), sweep_interval));
        Self { shared, sweeper: sweeper.abort_handle() }
    }

    /// How many connections stand.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// Waits until one of these servers may be asked.
    pub(super) async fn failover<'a>(
        &'a self,
        target: PoolTarget<'a>,
        deadline: Instant,
    ) -> Result<Failover<'a>, DirectoryError> {
        Failover::begin(&self.shared, target, deadline).await
    }
}
