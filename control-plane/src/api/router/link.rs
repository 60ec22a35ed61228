//! RouterLink: which router calls, and whether its state allows the call.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::router_denied;
use crate::api::common::status;
use crate::api::middleware::denials::DenialLog;
use crate::ca::CertificateIssuer;
use crate::ca::identity::{Caller, Peer, Validity};
use crate::clock::Clock;
use crate::jobs::Jobs;
use crate::model::{
    Actor, EventType, KeyFingerprint, PresentedCertificate, RouterDenied, RouterId, TenantId,
};
use crate::store::{Store, StoreError};

/// How long a connection stays on which a router was told that it may not connect: it is to hear
/// that.
const HANG_UP_DELAY: Duration = Duration::from_secs(1);

/// Serves identity routers.
#[derive(Clone)]
pub struct RouterLink {
    pub(super) store: Arc<Store>,
    pub(super) jobs: Jobs,
    pub(super) issuer: CertificateIssuer,
    pub(super) denials: DenialLog,
    pub(super) clock: Clock,
    pub(super) shutdown: CancellationToken,
}

/// A router, as its certificate says.
#[derive(Clone, Debug)]
pub(super) struct RouterIdentity {
    pub(super) tenant: TenantId,
    pub(super) router: RouterId,
    pub(super) key: KeyFingerprint,
    pub(super) validity: Validity,
    pub(super) actor: Actor,
}

impl RouterIdentity {
    /// What it shows of itself.
    pub(super) fn shown(&self) -> PresentedCertificate {
        PresentedCertificate { key: self.key, renewed: self.validity.renewed() }
    }
}

impl RouterLink {
    /// A service over these parts.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        jobs: Jobs,
        issuer: CertificateIssuer,
        denials: DenialLog,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Self {
        Self { store, jobs, issuer, denials, clock, shutdown }
    }

    /// The router that calls, if its state lets it. Certificates outlive routers and tenants.
    pub(super) async fn require_router<T>(&self, request: &Request<T>) -> Result<RouterIdentity, Status> {
        let extensions = request.extensions();
        let (Some(caller @ Caller::Router { tenant, router, key, .. }), Some(peer)) =
            (extensions.get::<Caller>(), extensions.get::<Peer>())
        else {
            return Err(Status::permission_denied("only identity routers may call RouterService"));
        };
        match self.store.tenant(tenant).await {
            Ok(tenant) if tenant.suspended_at.is_some() => return Err(status::tenant_suspended()),
            Ok(_) => {}
            Err(StoreError::NotFound(_)) => {
                return Err(Status::permission_denied(
                    "the tenant of this certificate does not exist; an operator makes it by CreateTenant",
                ));
            }
            Err(error) => return Err(status::from_store(error)),
        }
        let router = RouterIdentity {
            tenant: tenant.clone(),
            router: router.clone(),
            key: *key,
            validity: peer.validity.clone(),
            actor: caller.actor(peer.address),
        };
        self.check_router(&router).await?;
        Ok(router)
    }

    /// Whether a router's state lets it do anything.
    pub(super) async fn check_router(&self, router: &RouterIdentity) -> Result<(), Status> {
        match self.store.router_status(&router.tenant, &router.router).await.map_err(status::from_store)? {
            Ok(()) => Ok(()),
            Err(refused) => Err(self.deny(EventType::RouterRefused, &refused, router)),
        }
    }

    /// Notes what a router is refused, and ends its session and connection if it must have none.
    pub(super) fn deny(&self, kind: EventType, refused: &RouterDenied, router: &RouterIdentity) -> Status {
        router_denied::record(&self.denials, kind, refused, &router.actor);
        if refused.refusal.bars() {
            self.jobs.disconnect_router(&router.tenant, &router.router);
            let hung_up = router.validity.hung_up().clone();
            tokio::spawn(async move {
                tokio::time::sleep(HANG_UP_DELAY).await;
                hung_up.cancel();
            });
        }
        router_denied::status(refused.refusal)
    }
}
