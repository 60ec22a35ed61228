//! The control plane's own certificate authorities. `issue` makes them and the certificates of the server and of people:
//! files in, files out. `routers` issues the certificates of identity routers while the control plane runs, for keys that `request`
//! takes out of what a router sends. `identity` reads from a certificate who its holder is,
//! `revoked_certificates` which ones count no longer.

pub mod identity;
mod issue;
mod issuing;
mod request;
mod revoked_certificates;
mod routers;

pub use issue::{Authority, CERTIFICATE, CaError, KEY, Subject, with_ending};
pub use issuing::{Authorities, Issuing};
pub use request::{RequestError, RequestedKey, fingerprint, proves};
pub use revoked_certificates::{InvalidLine, RevokedCertificates};
pub use routers::{RouterAuthority, RouterCertificate};

/// Whether a text can be an id in a name: 1 to 63 of a-z, 0-9 and hyphen, a letter first, no hyphen last.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}
