//! A private OpenLDAP server and what it needs: a certificate authority of its own, LDIF.
//! Reads and writes through OpenLDAP's own tools, never through our code.

pub mod certificate;
pub mod ldif;
pub mod slapd;

pub use certificate::Certificate;
pub use slapd::{Builder, Slapd};
