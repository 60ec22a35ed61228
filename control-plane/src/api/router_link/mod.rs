//! RouterService: the door for identity routers. `session` carries orders, `upload` takes records in, `convert` takes the messages
//! apart, `witness` compares the audit trail with what routers have seen of it. What a router may do is decided by its certificate alone: it gets the intake of a read only if that read was ordered
//! from it.

mod convert;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod door;
mod session;
mod upload;
mod witness;

use std::sync::Arc;

use rollcall_proto::router::v1::router_service_server::RouterService;
use rollcall_proto::router::v1::{
    RenewCertificateRequest, RenewCertificateResponse, SessionRequest, SessionResponse, UploadRequest,
    UploadResponse,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::api::refusals::Refusals;
use crate::ca::identity::{Caller, Peer};
use crate::jobs::{Clock, Jobs};
use crate::model::{Actor, RouterId, TenantId, Timestamp};
use crate::store::{Store, StoreError};

/// Serves identity routers.
#[derive(Clone)]
pub struct RouterLink {
    store: Arc<dyn Store>,
    jobs: Jobs,
    clock: Clock,
    refusals: Refusals,
    shutdown: CancellationToken,
}

/// A router, as its certificate says.
#[derive(Clone, Debug)]
struct RouterIdentity {
    tenant: TenantId,
    router: RouterId,
    certificate_expires: Timestamp,
    /// For the audit trail.
    actor: Actor,
}

impl RouterLink {
    /// A service over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        jobs: Jobs,
        clock: Clock,
        refusals: Refusals,
        shutdown: CancellationToken,
    ) -> Self {
        Self { store, jobs, clock, refusals, shutdown }
    }

    /// The router that calls. Its tenant must exist: certificates outlive tenants.
    async fn router<T>(&self, request: &Request<T>) -> Result<RouterIdentity, Status> {
        let extensions = request.extensions();
        let (Some(caller @ Caller::Router { tenant, router, certificate_expires, .. }), Some(peer)) =
            (extensions.get::<Caller>(), extensions.get::<Peer>())
        else {
            return Err(Status::permission_denied("only identity routers may call RouterService"));
        };
        match self.store.tenant(tenant).await {
            Ok(tenant) if tenant.suspended_at.is_some() => Err(super::status::tenant_suspended()),
            Ok(_) => Ok(RouterIdentity {
                tenant: tenant.clone(),
                router: router.clone(),
                certificate_expires: *certificate_expires,
                actor: caller.actor(peer.address),
            }),
            Err(StoreError::NotFound(_)) => Err(Status::permission_denied(
                "the tenant of this certificate does not exist; an operator makes it by CreateTenant",
            )),
            Err(_) => Err(Status::unavailable("the database is not available; try again")),
        }
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
        _: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}
