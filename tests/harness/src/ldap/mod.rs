//! Private directory servers, OpenLDAP, 389 Directory Server and Active Directory, and what they
//! need: a certificate authority of their own, LDIF. Reads and writes through the servers' own
//! tools, never through our code.

pub mod access;
pub mod certificate;
mod client;
pub mod ds389;
pub mod ldif;
pub mod samba;
pub mod slapd;

pub use access::Access;
pub use certificate::Certificate;
pub use ds389::Ds389;
pub use samba::Samba;
pub use slapd::{Builder, Slapd};
