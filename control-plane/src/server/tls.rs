//! The server's TLS: version 1.3 only, a client certificate of ours from everyone, no resumption (a resumed session is not verified again).
//! The files are read anew when they change; a broken set leaves the old one in force.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::config::Tls;

/// How often the files are looked at: Kubernetes and others replace them in ways that file watches miss.
const POLL: Duration = Duration::from_secs(5);

/// The configuration in force.
#[derive(Clone)]
pub struct Certificates(Arc<RwLock<Arc<ServerConfig>>>);

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// If they cannot be used; the message names the file.
    pub fn load(files: &Tls) -> Result<Self> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(server_config(files)?)))))
    }

    /// The configuration for the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows changes of the files for ever.
    pub async fn follow(self, files: Tls) {
        let mut known = fingerprint(&files);
        loop {
            tokio::time::sleep(POLL).await;
            let now = fingerprint(&files);
            if now == known {
                continue;
            }
            match server_config(&files) {
                Ok(config) => {
                    *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    tracing::info!("TLS certificates read anew");
                }
                Err(error) => tracing::error!(
                    "TLS certificates changed and cannot be used, the old ones stay: {error:#}"
                ),
            }
            known = now;
        }
    }
}

fn fingerprint(files: &Tls) -> Vec<Option<blake3::Hash>> {
    let hash = |path: &Path| std::fs::read(path).ok().map(|bytes| blake3::hash(&bytes));
    vec![hash(&files.certificate), hash(&files.key), hash(&files.client_ca)]
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || -> Result<Vec<_>, rustls::pki_types::pem::Error> {
        CertificateDer::pem_file_iter(path)?.collect()
    };
    let certificates = read().with_context(|| format!("cannot read certificates from {}", path.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{} has no certificate", path.display());
    Ok(certificates)
}

fn server_config(files: &Tls) -> Result<ServerConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.client_ca)? {
        roots
            .add(certificate)
            .with_context(|| format!("{} has an unusable certificate", files.client_ca.display()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read a key from {}", files.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates(&files.certificate)?, key)
        .with_context(|| format!("{} and {} do not fit", files.certificate.display(), files.key.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
