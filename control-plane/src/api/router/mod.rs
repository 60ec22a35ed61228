//! The services that identity routers call: RouterService on their connections, EnrollmentService
//! before they have a certificate.
//!
//! - `audit_head`: compares the audit trail with what the router has seen of it
//! - `convert`: router messages to and from the words of the domain
//! - `entry_parts`: parts of what a router says of an entry
//! - `enrollment`: EnrollmentService
//! - `link`: which router calls, and whether its state lets it do anything
//! - `renew`: issues the next certificate
//! - `router_denied`: what a router is told that may not connect or enroll
//! - `session`: orders to a router, heartbeats and answers from it
//! - `upload`: takes in the records of one read, which must have been ordered from the router
//! - `upload_fuzz`: what must hold of any message of an upload; for tests and fuzzing

mod audit_head;
pub(crate) mod convert;
pub mod enrollment;
mod entry_parts;
mod link;
mod renew;
mod router_denied;
mod session;
mod upload;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod upload_fuzz;

use rollcall_proto::router::v1::router_service_server::RouterService;
use rollcall_proto::router::v1::{
    RenewCertificateRequest, RenewCertificateResponse, SessionRequest, SessionResponse, UploadRequest,
    UploadResponse,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub use link::RouterLink;

#[tonic::async_trait]
impl RouterService for RouterLink {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;
    type UploadStream = ReceiverStream<Result<UploadResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let router = self.require_router(&request).await?;
        Ok(Response::new(session::start(self.clone(), router, request.into_inner())))
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let router = self.require_router(&request).await?;
        Ok(Response::new(upload::start(self.clone(), router, request.into_inner())))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let router = self.require_router(&request).await?;
        Ok(Response::new(renew::renew(self, &router, request.into_inner()).await?))
    }
}
