//! Knows the live replicas by their heartbeat rows in the database, and the routers that they have.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::model::{DistantRouter, REPLICA_SILENCE, Replica, ReplicaKey, TenantId, Timestamp};
use crate::store::{Store, StoreError};

/// The live replicas, as far as this one knows.
pub(super) struct Roster {
    pub(super) this: Replica,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    seen: Mutex<(Timestamp, HashSet<ReplicaKey>)>,
}

impl Roster {
    pub(super) fn new(this: Replica, store: Arc<Store>, clock: Clock) -> Self {
        Self { this, store, clock, seen: Mutex::new((Timestamp(0), HashSet::new())) }
    }

    /// Whether this is a live replica. Asks the database only if it was not live at the last
    /// heartbeat.
    pub(super) async fn is_live(&self, key: ReplicaKey) -> bool {
        let oldest = self.clock.now().minus(REPLICA_SILENCE);
        let known = {
            let seen = self.seen();
            seen.0 >= oldest && seen.1.contains(&key)
        };
        if known {
            return true;
        }
        match self.refresh().await {
            Ok(live) => live.contains(&key),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot look who is a replica");
                false
            }
        }
    }

    /// Routers of a tenant that other replicas have.
    pub(super) async fn routers(&self, tenant: &TenantId) -> Result<Vec<DistantRouter>, StoreError> {
        let since = self.clock.now().minus(REPLICA_SILENCE);
        self.store.routers_elsewhere(tenant, self.this.key, since).await
    }

    /// Reads the live replicas other than this one.
    pub(super) async fn refresh(&self) -> Result<HashSet<ReplicaKey>, StoreError> {
        let now = self.clock.now();
        let live = self.store.live_replicas(now.minus(REPLICA_SILENCE)).await?;
        let live: HashSet<_> =
            live.into_iter().map(|replica| replica.key).filter(|key| *key != self.this.key).collect();
        *self.seen() = (now, live.clone());
        Ok(live)
    }

    fn seen(&self) -> MutexGuard<'_, (Timestamp, HashSet<ReplicaKey>)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
