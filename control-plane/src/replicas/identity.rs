//! The certificate that a replica shows to others: made at its start and kept in memory only. Its
//! row in the database vouches for it.

use std::time::Duration;

use aws_lc_rs::digest;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::model::{ReplicaKey, Timestamp};

/// The name that replicas call one another by in the handshake. It says nothing: the certificate
/// itself is known.
pub(super) const SERVER_NAME: &str = "replica";
/// Longer than any process lives; the row in the database ends a certificate.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// A replica's own certificate, and its key.
pub(super) struct Identity {
    pub(super) key: ReplicaKey,
    pub(super) certificate: CertificateDer<'static>,
    private: PrivateKeyDer<'static>,
}

impl Identity {
    pub(super) fn generate(now: Timestamp) -> Result<Self, rcgen::Error> {
        let time = |at: Timestamp| {
            OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000_000)).map_err(|_| rcgen::Error::Time)
        };
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.not_before = time(now.minus(Duration::from_secs(86_400)))?;
        params.not_after = time(now.plus(CERTIFICATE_LIFETIME))?;
        let certificate = params.self_signed(&key)?.der().clone();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self { key: replica_key(&certificate), certificate, private })
    }

    pub(super) fn private(&self) -> PrivateKeyDer<'static> {
        self.private.clone_key()
    }
}

/// By what a certificate is known.
pub(super) fn replica_key(certificate: &CertificateDer<'_>) -> ReplicaKey {
    let hash = digest::digest(&digest::SHA256, certificate);
    let mut key = [0; 32];
    key.copy_from_slice(hash.as_ref());
    ReplicaKey(key)
}
