//! How the router verifies directory servers: by the CA file of its policy, or by the system's
//! roots; always by host name. TLS 1.2 is allowed here, and only here: directories are old.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};

use super::DirectoryError;

/// A TLS configuration that trusts this file, or the system's roots.
///
/// # Errors
/// If there is no usable certificate to trust.
pub fn tls_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, DirectoryError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let trust = |why: String| DirectoryError::Trust(format!("CA file {}: {why}", file.display()));
            for certificate in
                CertificateDer::pem_file_iter(file).map_err(|error| trust(error.to_string()))?
            {
                let certificate = certificate.map_err(|error| trust(error.to_string()))?;
                roots.add(certificate).map_err(|error| trust(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(trust("has no certificate".to_owned()));
            }
        }
        None => {
            // Some of the system's certificates may be unreadable; the others still count.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(DirectoryError::Trust(
                    "the system has no root certificates: install ca-certificates, or name a ca_file in the policy".to_owned(),
                ));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DirectoryError::Trust(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
