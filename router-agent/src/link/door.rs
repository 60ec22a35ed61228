//! The door for those who have no valid certificate: EnrollmentService, on a connection of its own. Who is behind it is verified before
//! anything is said.

use std::sync::Arc;
use std::time::Duration;

use rollcall_proto::code::{EXPORTED, EXPORTER, PROTOCOL};
use rollcall_proto::router::v1::enrollment_service_client::EnrollmentServiceClient;
use rollcall_proto::router::v1::{EnrollRequest, IssuedCertificate, RecoverRequest};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::refusal::Refusal;
use super::wire::{self, WireError};
use crate::identity::{Identity, Key};

const ANSWER: Duration = Duration::from_secs(20);

/// An open door.
pub(crate) struct Door {
    client: EnrollmentServiceClient<Channel>,
    exported: [u8; EXPORTED],
    /// The chain that the control plane showed.
    pub(crate) shown: Vec<CertificateDer<'static>>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the key cannot be used: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the control plane did not answer in time; whether it has taken the request is not known")]
    Silent,
    #[error("the control plane's answer has no certificate")]
    Empty,
}

impl Door {
    /// Connects.
    pub(crate) async fn open(
        host: &str,
        port: u16,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, WireError> {
        let tls = wire::tls(verifier, None, PROTOCOL)?;
        let stream = wire::dial(host, port, tls).await?;
        let exported = stream.get_ref().1.export_keying_material([0; EXPORTED], EXPORTER, None)?;
        let shown = wire::shown(&stream);
        let channel = wire::channel(host, port, stream).await?;
        Ok(Self { client: EnrollmentServiceClient::new(channel), exported, shown })
    }

    /// Exchanges a code's secret for a certificate.
    pub(crate) async fn enroll(&mut self, secret: &[u8], key: &Key) -> Result<IssuedCertificate, DoorError> {
        let certificate_request = key.request()?;
        let proof = key.prove(&self.exported, &certificate_request)?.into();
        let secret = secret.to_vec().into();
        let request = EnrollRequest { secret, certificate_request: certificate_request.into(), proof };
        let answer = in_time(self.client.enroll(Request::new(request))).await?;
        answer.into_inner().certificate.ok_or(DoorError::Empty)
    }

    /// Exchanges an expired certificate for a new one, for a new key.
    pub(crate) async fn recover(
        &mut self,
        expired: &Identity,
        key: &Key,
    ) -> Result<IssuedCertificate, DoorError> {
        let certificate_request = key.request()?;
        let proof = expired.key.prove(&self.exported, &certificate_request)?.into();
        let expired_certificate = expired.chain.first().ok_or(DoorError::Empty)?.to_vec().into();
        let certificate_request = certificate_request.into();
        let request = RecoverRequest { expired_certificate, certificate_request, proof };
        let answer = in_time(self.client.recover(Request::new(request))).await?;
        answer.into_inner().certificate.ok_or(DoorError::Empty)
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, DoorError> {
    let answer = tokio::time::timeout(ANSWER, answer).await.map_err(|_| DoorError::Silent)?;
    answer.map_err(|status| Refusal::of(&status).into())
}
