//! The control plane's own certificate authorities.
//!
//! - `authority`: creates the authorities, and issues certificates of the server and of people from
//!   files
//! - `router_authority`: issues the certificates of identity routers while the control plane runs
//! - `issuer`: the authorities in force, which change when their files do
//! - `request`: the public key of a certificate request, and proofs that a caller has a key
//! - `identity`: the holder of a certificate
//! - `revoked_certificates`: certificates that are revoked before they expire

mod authority;
pub mod identity;
mod issuer;
mod request;
mod revoked_certificates;
mod router_authority;

pub use authority::{Authority, CERTIFICATE, CaError, KEY, Subject, with_extension};
pub use issuer::{Authorities, CertificateIssuer};
pub use request::{RequestError, RequestedKey, fingerprint, proves};
pub use revoked_certificates::{InvalidLine, RevokedCertificates};
pub use router_authority::{RouterAuthority, RouterCertificate};

/// Whether a text can be an id in a name: 1 to 63 of a-z, 0-9 and hyphen, a letter first, no hyphen
/// last.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}
