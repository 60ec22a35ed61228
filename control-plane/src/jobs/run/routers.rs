//! Which routers a run may use.

use std::time::Duration;

use tokio::time::Instant;

use super::interruption::Interruption;
use crate::jobs::sessions::RouterChoice;
use crate::jobs::{Inner, Session};
use crate::model::{FailureReason, RouterId, SourceId, SourceSettings, SyncJob, TenantId};

/// How long a run waits for a router before it leaves the job to a replica that has one.
const ROUTER_WAIT: Duration = Duration::from_secs(3);
/// How often the run looks for a router meanwhile.
const ROUTER_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Whether another router may succeed where this one failed.
pub(in crate::jobs) fn another_router_may(reason: FailureReason) -> bool {
    matches!(reason, FailureReason::RouterPolicy | FailureReason::CredentialMissing)
}

/// Which routers a run may use.
pub(super) struct Routers {
    tenant: TenantId,
    source: SourceId,
    allowed: Vec<String>,
    last: Option<RouterId>,
    /// Those that cannot read the source.
    unable: Vec<RouterId>,
    /// The one that was lost last: another one is tried first.
    lost: Option<RouterId>,
}

impl Routers {
    /// The routers of a source; `last` is the one that read it last.
    pub(super) fn new(job: &SyncJob, settings: &SourceSettings, last: Option<RouterId>) -> Self {
        Self {
            tenant: job.tenant.clone(),
            source: job.source.clone(),
            allowed: settings.routers.clone(),
            last,
            unable: Vec::new(),
            lost: None,
        }
    }

    /// Another one is tried first: this one was lost.
    pub(super) fn record_lost(&mut self, router: &RouterId) {
        self.lost = Some(router.clone());
    }

    /// This one cannot read the source. Whether another one is connected.
    pub(super) fn record_unable(&mut self, inner: &Inner, router: &RouterId) -> bool {
        self.unable.push(router.clone());
        self.pick(inner).is_some()
    }

    fn pick(&self, inner: &Inner) -> Option<Session> {
        let mut except = self.unable.clone();
        except.extend(self.lost.clone());
        let choice = RouterChoice {
            source: &self.source,
            allowed: &self.allowed,
            last: self.last.as_ref(),
            except: &except,
        };
        let other = inner.sessions.pick(&self.tenant, choice);
        other.or_else(|| inner.sessions.pick(&self.tenant, RouterChoice { except: &self.unable, ..choice }))
    }

    /// Waits for a router for a short while; then the job is left to the first replica that has
    /// one.
    pub(super) async fn wait(&self, inner: &Inner) -> Result<Session, Interruption> {
        let deadline = Instant::now() + ROUTER_WAIT;
        loop {
            if let Some(session) = self.pick(inner) {
                return Ok(session);
            }
            if Instant::now() >= deadline {
                return Err(Interruption::NotOurs);
            }
            tokio::time::sleep(ROUTER_POLL_INTERVAL).await;
        }
    }
}
