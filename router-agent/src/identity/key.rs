//! The router's key: ECDSA on P-256, made here, and never shown to anyone. Requests and proofs are
//! what is shown instead.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData, SigningKey};
use rollcall_proto::code::EXPORTED;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use secrecy::SecretString;

/// A key pair.
pub(crate) struct Key(KeyPair);

impl Key {
    /// Makes a new one.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        KeyPair::generate().map(Self)
    }

    /// The first key in a PEM text; none if there is none that can be used.
    pub(crate) fn from_pem(pem: &[u8]) -> Option<Self> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256).ok().map(Self)
    }

    /// For the state folder, and for nothing else.
    pub(crate) fn to_pem(&self) -> SecretString {
        self.0.serialize_pem().into()
    }

    /// For TLS.
    pub(crate) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// As a SubjectPublicKeyInfo.
    pub(crate) fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// A certificate request that says nothing but the key.
    pub(crate) fn request(&self) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0)?.der().to_vec())
    }

    /// Shows, on the connection that exported these bytes and on no other, that whoever sends the
    /// request has this key.
    pub(crate) fn prove(&self, exported: &[u8; EXPORTED], request: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(&[exported, request].concat())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

/// SHA-256 of a public key, as a SubjectPublicKeyInfo.
pub(crate) fn fingerprint(public: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, public).as_ref());
    fingerprint
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_proof_is_of_one_connection_and_one_request() {
        let key = Key::generate().expect("a key");
        let proof = key.prove(&[7; EXPORTED], b"request").expect("a proof");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.public()[26..])
            .verify(&[&[7; EXPORTED][..], b"request"].concat(), &proof);
        assert!(public.is_ok());
        for other in [[&[8; EXPORTED][..], b"request"].concat(), [&[7; EXPORTED][..], b"another"].concat()] {
            let spki = key.public();
            assert!(
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki[26..]).verify(&other, &proof).is_err()
            );
        }
    }

    #[test]
    fn a_key_is_the_same_after_it_was_written_and_is_printed_nowhere() {
        let key = Key::generate().expect("a key");
        let again = Key::from_pem(key.to_pem().expose_secret().as_bytes()).expect("the key");
        assert_eq!(again.public(), key.public());
        assert_eq!(format!("{key:?}"), "Key { .. }");
        assert!(Key::from_pem(b"no key").is_none());
    }
}
