//! What somebody must know of a directory server in order to read it with the router.
//! The same for every kind of server; knows nothing of how one is run.

use std::path::PathBuf;

/// How a router comes to the people of a directory server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Name or address, as in the server's certificate.
    pub host: String,
    /// Port for plain LDAP and StartTLS.
    pub ldap_port: u16,
    pub ldaps_port: u16,
    /// The certificate of the authority that signed the server's certificate.
    pub ca_pem: PathBuf,
    /// What the router binds as.
    pub bind_dn: String,
    pub password: &'static str,
    /// Below it are the people.
    pub root: String,
    /// All that the people have.
    pub attributes: &'static [&'static str],
}
