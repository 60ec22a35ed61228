//! Takes the public key out of a certificate request. Subject, names, usages, constraints and
//! attributes of the request are ignored. Also verifies proofs that a caller has a key.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer;

use crate::model::KeyFingerprint;

/// Longest request. Ours have 200 bytes.
const MAX_REQUEST_BYTES: usize = 4_096;

/// What every public key on the curve P-256 begins with, as a SubjectPublicKeyInfo with an
/// uncompressed point.
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// Bytes of such a key.
const SPKI_BYTES: usize = 91;
/// Where its point begins.
const POINT_OFFSET: usize = 26;

/// Why a request cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a request, or with something behind it.
    #[error("is not a PKCS #10 certificate request in DER of at most 4096 bytes")]
    Unreadable,
    /// A key of another kind.
    #[error("must be for an ECDSA P-256 key and signed with SHA-256")]
    Kind,
    /// Not signed by its key.
    #[error("is not signed by its own key")]
    Signature,
}

/// A public key of which the asker has shown that it has the private one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedKey {
    spki: Vec<u8>,
}

impl RequestedKey {
    /// Takes the key out of a certificate request in DER.
    ///
    /// # Errors
    /// If it is no request for a key of the one kind that is used, or not signed by that.
    pub fn from_request(request: &[u8]) -> Result<Self, RequestError> {
        if request.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::Unreadable);
        }
        let (rest, parsed) =
            X509CertificationRequest::from_der(request).map_err(|_| RequestError::Unreadable)?;
        if !rest.is_empty() {
            return Err(RequestError::Unreadable);
        }
        let info = &parsed.certification_request_info;
        let spki = info.subject_pki.raw;
        let kind = &parsed.signature_algorithm;
        if !is_p256(spki) || kind.algorithm != OID_SIG_ECDSA_WITH_SHA256 || kind.parameters.is_some() {
            return Err(RequestError::Kind);
        }
        if !proves(spki, info.raw, &parsed.signature_value.data) {
            return Err(RequestError::Signature);
        }
        Ok(Self { spki: spki.to_vec() })
    }

    /// As a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Its fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        fingerprint(&self.spki)
    }
}

/// Whether a signature of these bytes was made with this key, a SubjectPublicKeyInfo on P-256.
#[must_use]
pub fn proves(spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    is_p256(spki)
        && UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki[POINT_OFFSET..])
            .verify(message, signature)
            .is_ok()
}

/// SHA-256 of a public key, as its SubjectPublicKeyInfo.
#[must_use]
pub fn fingerprint(spki: &[u8]) -> KeyFingerprint {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, spki).as_ref());
    fingerprint
}

fn is_p256(spki: &[u8]) -> bool {
    spki.len() == SPKI_BYTES && spki.starts_with(&P256_SPKI_PREFIX)
}
