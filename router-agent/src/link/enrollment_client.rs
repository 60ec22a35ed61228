//! Client of the EnrollmentService, on a connection of its own, for routers that have no valid
//! certificate. The control plane is verified before anything is sent.

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
use super::transport::{self, TransportError};
use crate::identity::{Identity, Key};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection on which enrollments and recoveries are requested.
pub(crate) struct EnrollmentClient {
    client: EnrollmentServiceClient<Channel>,
    exported: [u8; EXPORTED],
    /// The chain that the control plane showed.
    pub(crate) server_chain: Vec<CertificateDer<'static>>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollmentError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("the key cannot be used: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the control plane did not answer in time; whether it has taken the request is not known")]
    NoAnswer,
    #[error("the control plane's answer has no certificate")]
    NoCertificate,
}

impl EnrollmentClient {
    /// Connects.
    pub(crate) async fn connect(
        host: &str,
        port: u16,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, TransportError> {
        let tls = transport::tls_config(verifier, None, PROTOCOL)?;
        let stream = transport::dial(host, port, tls).await?;
        let exported = stream.get_ref().1.export_keying_material([0; EXPORTED], EXPORTER, None)?;
        let server_chain = transport::peer_chain(&stream);
        let channel = transport::channel(host, port, stream).await?;
        Ok(Self { client: EnrollmentServiceClient::new(channel), exported, server_chain })
    }

    /// Exchanges a code's secret for a certificate.
    pub(crate) async fn enroll(
        &mut self,
        secret: &[u8],
        key: &Key,
    ) -> Result<IssuedCertificate, EnrollmentError> {
        let certificate_request = key.request()?;
        let proof = key.prove(&self.exported, &certificate_request)?.into();
        let secret = secret.to_vec().into();
        let request = EnrollRequest { secret, certificate_request: certificate_request.into(), proof };
        let answer = in_time(self.client.enroll(Request::new(request))).await?;
        answer.into_inner().certificate.ok_or(EnrollmentError::NoCertificate)
    }

    /// Exchanges an expired certificate for a new one, for a new key.
    pub(crate) async fn recover(
        &mut self,
        expired: &Identity,
        key: &Key,
    ) -> Result<IssuedCertificate, EnrollmentError> {
        let certificate_request = key.request()?;
        let proof = expired.key.prove(&self.exported, &certificate_request)?.into();
        let expired_certificate =
            expired.chain.first().ok_or(EnrollmentError::NoCertificate)?.to_vec().into();
        let certificate_request = certificate_request.into();
        let request = RecoverRequest { expired_certificate, certificate_request, proof };
        let answer = in_time(self.client.recover(Request::new(request))).await?;
        answer.into_inner().certificate.ok_or(EnrollmentError::NoCertificate)
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, EnrollmentError> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| EnrollmentError::NoAnswer)?;
    answer.map_err(|status| Refusal::from_status(&status).into())
}
