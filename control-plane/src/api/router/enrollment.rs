//! EnrollmentService: issues the first certificate of a router, and a new one after it has expired.
//! Anyone can call it, so attempts are limited, and every refusal has the same answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use rollcall_proto::code::SECRET;
use rollcall_proto::router::v1::enrollment_service_server::EnrollmentService;
use rollcall_proto::router::v1::{
    EnrollRequest, EnrollResponse, IssuedCertificate, RecoverRequest, RecoverResponse,
};
use tonic::{Code, Request, Response, Status};

use super::router_denied;
use crate::api::common::{resource_names, status};
use crate::api::middleware::denials::DenialLog;
use crate::ca::identity::UnauthenticatedPeer;
use crate::ca::{Authorities, CaError, CertificateIssuer, RequestedKey, proves};
use crate::clock::Clock;
use crate::enroll::attempt_limit::AttemptLimiter;
use crate::model::{Actor, Certified, EventType, NewCertificate, Refusal, RouterDenied, Timestamp};
use crate::store::Store;

/// Serves EnrollmentService.
pub struct Enrollment {
    store: Arc<Store>,
    issuer: CertificateIssuer,
    denials: DenialLog,
    clock: Clock,
    attempts: Mutex<AttemptLimiter>,
}

impl Enrollment {
    /// A service over these parts.
    #[must_use]
    pub fn new(store: Arc<Store>, issuer: CertificateIssuer, denials: DenialLog, clock: Clock) -> Self {
        Self { store, issuer, denials, clock, attempts: Mutex::default() }
    }

    fn attempts(&self) -> MutexGuard<'_, AttemptLimiter> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who calls, if it may try now.
    fn require_attempt<T>(
        &self,
        request: &Request<T>,
        now: Timestamp,
    ) -> Result<UnauthenticatedPeer, Status> {
        let newcomer = request.extensions().get::<UnauthenticatedPeer>().copied();
        let newcomer = newcomer.ok_or_else(|| Status::internal("a connection without an address"))?;
        if self.attempts().may_try(newcomer.address.ip(), now) {
            return Ok(newcomer);
        }
        // Whoever is not known fills no log.
        tracing::debug!(address = %newcomer.address.ip(), "too many attempts to enroll");
        let message = "Too many attempts from this address. Wait ten minutes, then try again.";
        Err(status::error(Code::ResourceExhausted, "RATE_LIMITED", message, &[]))
    }

    fn parse_key(&self, request: &[u8], address: IpAddr, now: Timestamp) -> Result<RequestedKey, Status> {
        RequestedKey::from_request(request).map_err(|error| {
            self.attempts().record_failure(address, now);
            status::invalid(vec![("certificate_request".to_owned(), error.to_string())])
        })
    }

    /// The one answer to whatever is wrong.
    async fn deny(
        &self,
        refused: RouterDenied,
        newcomer: &UnauthenticatedPeer,
        by: &Actor,
        now: Timestamp,
    ) -> Status {
        self.attempts().record_failure(newcomer.address.ip(), now);
        router_denied::record(&self.denials, EventType::EnrollmentRefused, &refused, by);
        status::error(
            Code::PermissionDenied,
            "ENROLLMENT_REFUSED",
            "The enrollment was refused. An administrator can see why in the audit trail, and make a new registration code.",
            &[],
        )
    }

    fn authorities(&self) -> Result<Arc<Authorities>, Status> {
        // The port for this is closed without them; they may have gone since.
        self.issuer.authorities().ok_or_else(status::enrollment_off)
    }
}

/// Issues what the store has noted.
pub(super) fn issue_certificate(
    authorities: &Authorities,
    of: &Certified,
    key: &RequestedKey,
    plan: NewCertificate,
    now: Timestamp,
) -> Result<IssuedCertificate, Status> {
    let failed = |error: CaError| {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot issue a certificate");
        let message = "The certificate could not be made; the log of the control plane says why. Try again.";
        status::error(Code::Internal, "INTERNAL", message, &[])
    };
    let chain = authorities.issue(of, key, plan, now).map_err(failed)?;
    Ok(IssuedCertificate {
        chain: chain.into_iter().map(|certificate| certificate.to_vec().into()).collect(),
        control_plane_authorities: authorities.control_plane.iter().map(|ca| ca.to_vec().into()).collect(),
        generation: i32::try_from(of.generation).unwrap_or(i32::MAX),
        identity_router: resource_names::router_name(&of.tenant, &of.router),
    })
}

/// What a proof signs: what TLS exports of the connection, and the request.
fn signed_bytes(newcomer: &UnauthenticatedPeer, request: &[u8]) -> Vec<u8> {
    [&newcomer.exported, request].concat()
}

#[tonic::async_trait]
impl EnrollmentService for Enrollment {
    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let now = self.clock.now();
        let newcomer = self.require_attempt(&request, now)?;
        let by = newcomer.actor();
        let EnrollRequest { secret, certificate_request, proof } = request.into_inner();
        let authorities = self.authorities()?;
        let key = self.parse_key(&certificate_request, newcomer.address.ip(), now)?;
        let unknown = |refusal| RouterDenied { refusal, of: None };
        if !proves(key.spki(), &signed_bytes(&newcomer, &certificate_request), &proof) {
            return Err(self.deny(unknown(Refusal::ProofWrong), &newcomer, &by, now).await);
        }
        if secret.len() != SECRET {
            return Err(self.deny(unknown(Refusal::CodeUnknown), &newcomer, &by, now).await);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &secret).as_ref());
        let plan = self.issuer.plan(&key, now);
        let certified = match self.store.enroll(hash, plan, &by, now).await.map_err(status::from_store)? {
            Ok(certified) => certified,
            Err(refused) => return Err(self.deny(refused, &newcomer, &by, now).await),
        };
        let Certified { tenant, router, generation } = &certified;
        tracing::info!(%tenant, %router, generation, address = %newcomer.address.ip(), "identity router enrolled");
        let certificate = issue_certificate(&authorities, &certified, &key, plan, now)?;
        Ok(Response::new(EnrollResponse { certificate: Some(certificate) }))
    }

    async fn recover(&self, request: Request<RecoverRequest>) -> Result<Response<RecoverResponse>, Status> {
        let now = self.clock.now();
        let newcomer = self.require_attempt(&request, now)?;
        let by = newcomer.actor();
        let RecoverRequest { expired_certificate, certificate_request, proof } = request.into_inner();
        let authorities = self.authorities()?;
        let key = self.parse_key(&certificate_request, newcomer.address.ip(), now)?;
        let Some(expired) = authorities.routers.read_expired(&expired_certificate) else {
            let refused = RouterDenied { refusal: Refusal::CertificateForeign, of: None };
            return Err(self.deny(refused, &newcomer, &by, now).await);
        };
        let of = (&expired.tenant, &expired.router);
        if !proves(&expired.spki, &signed_bytes(&newcomer, &certificate_request), &proof) {
            let of = Some((expired.tenant, expired.router));
            return Err(self
                .deny(RouterDenied { refusal: Refusal::ProofWrong, of }, &newcomer, &by, now)
                .await);
        }
        let plan = self.issuer.plan(&key, now);
        let shown = (expired.key, expired.expires);
        let recovered = self.store.recover_router(of, shown, self.issuer.recovery(), plan, &by, now);
        let generation = match recovered.await.map_err(status::from_store)? {
            Ok(generation) => generation,
            Err(refused) => return Err(self.deny(refused, &newcomer, &by, now).await),
        };
        let (tenant, router) = (expired.tenant, expired.router);
        tracing::warn!(%tenant, %router, generation, "identity router recovered with an expired certificate");
        let certified = Certified { tenant, router, generation };
        let certificate = issue_certificate(&authorities, &certified, &key, plan, now)?;
        Ok(Response::new(RecoverResponse { certificate: Some(certificate) }))
    }
}
