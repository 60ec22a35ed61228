//! Follows which tenants are suspended, to end calls that are open. Whether a new call may begin is
//! read from the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::model::TenantId;
use crate::store::Store;

/// How often to look: a suspension takes effect within five seconds, on every replica.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The suspended tenants. Clones share everything.
#[derive(Clone)]
pub struct Suspensions(watch::Receiver<BTreeSet<TenantId>>);

impl Suspensions {
    /// Follows them until `shutdown`.
    #[must_use]
    pub fn start(store: Arc<Store>, shutdown: CancellationToken) -> Self {
        let (sender, receiver) = watch::channel(BTreeSet::new());
        tokio::spawn(async move {
            loop {
                match store.suspended_tenants().await {
                    Ok(tenants) => {
                        let tenants: BTreeSet<_> = tenants.into_iter().collect();
                        sender.send_if_modified(|known| {
                            let changed = *known != tenants;
                            *known = tenants;
                            changed
                        });
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "cannot look which tenants are suspended");
                    }
                }
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
            }
        });
        Self(receiver)
    }

    /// Ends when this tenant is suspended.
    pub async fn wait_until_suspended(mut self, tenant: &TenantId) {
        if self.0.wait_for(|suspended| suspended.contains(tenant)).await.is_err() {
            // Nobody looks any more: this replica shuts down, and ends its calls itself.
            std::future::pending().await
        }
    }
}
