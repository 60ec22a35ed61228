//! RouterService: the door for identity routers. `session` carries orders, `upload` takes records in, `convert` takes the messages
//! apart, `renew` issues the next certificate, `witness` compares the audit trail with what routers have seen of it. Whether a router may connect is asked of the store at each call; beyond that it gets the
//! intake of a read only if that read was ordered from it.

pub(crate) mod convert;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod door;
mod renew;
mod session;
mod upload;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use rollcall_proto::router::v1::router_service_server::RouterService;
use rollcall_proto::router::v1::{
    RenewCertificateRequest, RenewCertificateResponse, SessionRequest, SessionResponse, UploadRequest,
    UploadResponse,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::refusals::Refusals;
use super::router_refusals;
use super::status;
use crate::ca::CertificateIssuer;
use crate::ca::identity::{Caller, Peer, Validity};
use crate::clock::Clock;
use crate::jobs::Jobs;
use crate::model::{Actor, EventType, KeyFingerprint, Refused, RouterId, Shown, TenantId};
use crate::store::{Store, StoreError};

/// How long a connection stays on which a router was told that it may not connect: it is to hear that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves identity routers.
#[derive(Clone)]
pub struct RouterLink {
    store: Arc<Store>,
    jobs: Jobs,
    issuer: CertificateIssuer,
    refusals: Refusals,
    clock: Clock,
    shutdown: CancellationToken,
}

/// A router, as its certificate says.
#[derive(Clone, Debug)]
struct RouterIdentity {
    tenant: TenantId,
    router: RouterId,
    key: KeyFingerprint,
    validity: Validity,
    actor: Actor,
}

impl RouterIdentity {
    /// What it shows of itself.
    fn shown(&self) -> Shown {
        Shown { key: self.key, renewed: self.validity.renewed() }
    }
}

impl RouterLink {
    /// A service over these parts.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        jobs: Jobs,
        issuer: CertificateIssuer,
        refusals: Refusals,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Self {
        Self { store, jobs, issuer, refusals, clock, shutdown }
    }

    /// The router that calls, if its state lets it. Certificates outlive routers and tenants.
    async fn router<T>(&self, request: &Request<T>) -> Result<RouterIdentity, Status> {
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
            Err(error) => return Err(status::store(error)),
        }
        let router = RouterIdentity {
            tenant: tenant.clone(),
            router: router.clone(),
            key: *key,
            validity: peer.validity.clone(),
            actor: caller.actor(peer.address),
        };
        self.may_stay(&router).await?;
        Ok(router)
    }

    /// Whether a router's state lets it do anything.
    async fn may_stay(&self, router: &RouterIdentity) -> Result<(), Status> {
        match self.store.router_standing(&router.tenant, &router.router).await.map_err(status::store)? {
            Ok(()) => Ok(()),
            Err(refused) => Err(self.refuse(EventType::RouterRefused, &refused, router)),
        }
    }

    /// Notes what a router is refused, and ends its session and connection if it must have none.
    fn refuse(&self, kind: EventType, refused: &Refused, router: &RouterIdentity) -> Status {
        router_refusals::note(&self.refusals, kind, refused, &router.actor);
        if refused.refusal.bars() {
            self.jobs.disconnect_router(&router.tenant, &router.router);
            let hung_up = router.validity.hung_up().clone();
            tokio::spawn(async move {
                tokio::time::sleep(LAST_WORDS).await;
                hung_up.cancel();
            });
        }
        router_refusals::of_router(refused.refusal)
    }
}

#[tonic::async_trait]
impl RouterService for RouterLink {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;
    type UploadStream = ReceiverStream<Result<UploadResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let router = self.router(&request).await?;
        Ok(Response::new(session::open(self.clone(), router, request.into_inner())))
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let router = self.router(&request).await?;
        Ok(Response::new(upload::open(self.clone(), router, request.into_inner())))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let router = self.router(&request).await?;
        Ok(Response::new(renew::renew(self, &router, request.into_inner()).await?))
    }
}
