//! Tells other replicas that this one is live. Heartbeats run in the background and never block or
//! fail a session.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::peers::Peers;
use super::roster::Roster;
use crate::jobs::Jobs;
use crate::model::{ReplicaKey, RouterId, TenantId};
use crate::store::StoreError;

/// How often a replica writes its row.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// How long to gather routers that connect or leave together for one write.
const ROUTER_CHANGE_DELAY: Duration = Duration::from_millis(100);
/// How long the row of a replica that is gone is kept at least.
const ROW_RETENTION: Duration = Duration::from_secs(600);
/// How long the removal of the row at the end may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes this replica's row, with its routers when these have changed, until `shutdown`.
pub(super) async fn run(roster: Arc<Roster>, jobs: Jobs, peers: Arc<Peers>, shutdown: CancellationToken) {
    let mut written: Option<Vec<(TenantId, RouterId)>> = None;
    loop {
        match write(&roster, &jobs, &mut written).await {
            Ok(live) => peers.disconnect_except(&live),
            Err(error) => {
                written = None;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot note for other replicas that this one is there"
                );
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {}
            () = jobs.wait_for_router_change() => tokio::time::sleep(ROUTER_CHANGE_DELAY).await,
        }
    }
    // A replica that cannot is found out by its silence.
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, roster.store.remove_replica(roster.this.key)).await;
}

async fn write(
    roster: &Roster,
    jobs: &Jobs,
    written: &mut Option<Vec<(TenantId, RouterId)>>,
) -> Result<HashSet<ReplicaKey>, StoreError> {
    let (routers, now) = (jobs.all_connected(), roster.clock.now());
    let changed_routers = Some(&routers).filter(|routers| written.as_ref() != Some(*routers));
    let changed = changed_routers.is_some();
    let known = roster.store.record_heartbeat(&roster.this, changed_routers.map(Vec::as_slice), now).await?;
    // Forgotten by others while it was away: all of it again, now.
    if !known {
        roster.store.record_heartbeat(&roster.this, Some(&routers), now).await?;
    }
    *written = Some(routers);
    // Not at each heartbeat: that is one write.
    if changed {
        roster.store.remove_stale_replicas(now.minus(ROW_RETENTION)).await?;
    }
    roster.refresh().await
}
