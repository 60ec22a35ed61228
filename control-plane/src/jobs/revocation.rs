//! Ends sessions that must not be there any more, on whichever replica it was decided: of routers
//! that were revoked, suspended or enrolled anew on another machine, and of tenants that were
//! suspended.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::model::{RouterId, RouterState, TenantId, Timestamp};
use crate::store::StoreError;

/// How often to look.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How far back to look: clocks of replicas differ, and a transaction is written after its time.
const LOOKBACK: Duration = Duration::from_secs(300);

pub(super) async fn run(inner: Arc<Inner>) {
    let mut polled = inner.clock.now();
    loop {
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        let now = inner.clock.now();
        match disconnect_revoked(&inner, polled.minus(LOOKBACK)).await {
            Ok(()) => polled = now,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for routers to hang up on"
                );
            }
        }
    }
}

async fn disconnect_revoked(inner: &Inner, since: Timestamp) -> Result<(), StoreError> {
    if inner.sessions.is_empty() {
        return Ok(());
    }
    let changed = inner.store.changed_routers(since).await?.into_iter();
    let changed: HashMap<(TenantId, RouterId), (RouterState, i64)> =
        changed.map(|router| ((router.tenant, router.router), (router.state, router.enrolled))).collect();
    let suspended: HashSet<TenantId> = inner.store.suspended_tenants().await?.into_iter().collect();
    inner.sessions.disconnect_where(|tenant, router, generation| {
        suspended.contains(tenant)
            || changed
                .get(&(tenant.clone(), router.clone()))
                .is_some_and(|(state, enrolled)| *state != RouterState::Active || generation < *enrolled)
    });
    Ok(())
}
