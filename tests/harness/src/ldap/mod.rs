//! Private directory servers, OpenLDAP and Active Directory, and what they need: a certificate
//! authority of their own, LDIF. Reads and writes through the servers' own tools, never through our
//! code.

pub mod access;
pub mod certificate;
pub mod ldif;
pub mod samba;
pub mod slapd;

pub use access::Access;
pub use certificate::Certificate;
pub use samba::Samba;
pub use slapd::{Builder, Slapd};
