//! A connection for one search.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::target::{PooledConnection, TargetPool};
use crate::directory::Server;
use crate::directory::connect::Connection;

/// A connection for one search. Dropped, it leaves the pool; only `keep` leaves it for the next.
pub(in super::super) struct Lease {
    pub(super) pooled: Arc<PooledConnection>,
    pub(super) target_pool: Arc<TargetPool>,
    pub(in super::super) server: Server,
    /// When this try has to be over.
    pub(super) until: Instant,
    /// It was used before, so the server may have closed it just now.
    pub(super) is_reused: bool,
    is_kept: bool,
}

impl Lease {
    pub(super) fn new(
        pooled: Arc<PooledConnection>,
        target_pool: Arc<TargetPool>,
        server: Server,
        until: Instant,
        is_reused: bool,
    ) -> Self {
        Self { pooled, target_pool, server, until, is_reused, is_kept: false }
    }

    pub(in super::super) fn connection(&self) -> &Connection {
        &self.pooled.connection
    }

    /// The time that this try has left.
    pub(in super::super) fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Leaves the connection in the pool until `idle_end`.
    pub(super) fn keep(mut self, idle_end: Instant) {
        self.pooled.set_idle_end(idle_end);
        self.is_kept = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_kept || !self.pooled.connection.is_healthy() {
            self.target_pool.state().connections.retain(|other| !Arc::ptr_eq(other, &self.pooled));
        }
        if self.pooled.end_search() {
            self.target_pool.became_idle.notify_one();
        }
        self.target_pool.search_ended.notify_one();
    }
}
