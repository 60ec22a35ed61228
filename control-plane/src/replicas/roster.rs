//! Who is a replica: whoever has a row in the database and was heard of lately. This replica writes its own row at each beat, with its routers when
//! these have changed: no session waits for that, and none fails of it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::peers::Peers;
use crate::clock::Clock;
use crate::jobs::Jobs;
use crate::model::{DistantRouter, REPLICA_SILENCE, Replica, ReplicaKey, RouterId, TenantId, Timestamp};
use crate::store::{Store, StoreError};

/// How often a replica says that it is there.
const BEAT: Duration = Duration::from_secs(2);
/// Time in which routers that come and go together are noted together.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long the row of a replica that is gone stays at least: nobody looks at it any more.
const KEPT: Duration = Duration::from_secs(600);
/// How long the last word may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Who is a replica, as far as this one knows.
pub(super) struct Roster {
    this: Replica,
    store: Arc<dyn Store>,
    clock: Clock,
    seen: Mutex<(Timestamp, HashSet<ReplicaKey>)>,
}

impl Roster {
    pub(super) fn new(this: Replica, store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { this, store, clock, seen: Mutex::new((Timestamp(0), HashSet::new())) }
    }

    /// Whether this is a replica that was heard of lately. Asks the database only about those that were not there at the last beat.
    pub(super) async fn knows(&self, key: ReplicaKey) -> bool {
        let oldest = self.clock.now().minus(REPLICA_SILENCE);
        let known = {
            let seen = self.seen();
            seen.0 >= oldest && seen.1.contains(&key)
        };
        if known {
            return true;
        }
        match self.look().await {
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
        self.store.distant_routers(tenant, self.this.key, since).await
    }

    async fn look(&self) -> Result<HashSet<ReplicaKey>, StoreError> {
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

/// Says that this replica is there, and what routers it has, until `shutdown`.
pub(super) async fn follow(roster: Arc<Roster>, jobs: Jobs, peers: Arc<Peers>, shutdown: CancellationToken) {
    let mut noted: Option<Vec<(TenantId, RouterId)>> = None;
    loop {
        match beat(&roster, &jobs, &mut noted).await {
            Ok(live) => peers.keep(&live),
            Err(error) => {
                noted = None;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot note for other replicas that this one is there"
                );
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(BEAT) => {}
            () = jobs.a_router_moved() => tokio::time::sleep(TOGETHER).await,
        }
    }
    // Whoever ends in a hurry is found out by its silence.
    let _ = tokio::time::timeout(LAST_WORD, roster.store.replica_gone(roster.this.key)).await;
}

async fn beat(
    roster: &Roster,
    jobs: &Jobs,
    noted: &mut Option<Vec<(TenantId, RouterId)>>,
) -> Result<HashSet<ReplicaKey>, StoreError> {
    let (routers, now) = (jobs.all_connected(), roster.clock.now());
    let news = Some(&routers).filter(|routers| noted.as_ref() != Some(*routers));
    let changed = news.is_some();
    let known = roster.store.replica_heard(&roster.this, news.map(Vec::as_slice), now).await?;
    // Forgotten by others while it was away: all of it again, now.
    if !known {
        roster.store.replica_heard(&roster.this, Some(&routers), now).await?;
    }
    *noted = Some(routers);
    // Not at each beat: that is one write.
    if changed {
        roster.store.forget_replicas(now.minus(KEPT)).await?;
    }
    roster.look().await
}
