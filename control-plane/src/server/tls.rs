//! The server's TLS: version 1.3 only, a client certificate of our authorities except to enroll,
//! and no resumption, since a resumed session is not verified again. The files are read again when
//! they change; a set that cannot be used leaves the previous one in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use rollcall_proto::code::PROTOCOL;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use tokio::sync::watch;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ca::{
    Authorities, CERTIFICATE, CertificateIssuer, KEY, RevokedCertificates, RouterAuthority, fingerprint,
};
use crate::config::{Authority, Tls};

/// How often the files are looked at: Kubernetes and others replace them in ways that file watches
/// miss.
const FILE_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// What the next handshake is made with.
pub struct HandshakeConfig {
    /// For those who have a certificate.
    pub known: Arc<ServerConfig>,
    /// For those who enroll, if anyone may.
    pub enrolling: Option<Arc<ServerConfig>>,
    /// The authority of routers, and what they are told of the server's.
    pub authorities: Option<Arc<Authorities>>,
    /// Certificates that are revoked.
    pub revoked: RevokedCertificates,
}

/// The certificates and authorities in force. Clones share them.
#[derive(Clone)]
pub struct Certificates {
    files: Arc<Files>,
    current: Arc<RwLock<Arc<HandshakeConfig>>>,
    issuer: CertificateIssuer,
    /// Reports each change.
    changed: watch::Sender<()>,
}

struct Files {
    tls: Tls,
    authority: Option<Authority>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// If they cannot be used; the message names the file.
    pub fn load(tls: &Tls, authority: Option<&Authority>) -> Result<Self> {
        let files = Arc::new(Files { tls: tls.clone(), authority: authority.cloned() });
        let handshakes = files.read()?;
        let (life, recovery) = authority.map_or((Duration::ZERO, Duration::ZERO), |authority| {
            (authority.router_certificate_life, authority.recovery)
        });
        let issuer = CertificateIssuer::new(handshakes.authorities.clone(), life, recovery);
        let changed = watch::Sender::new(());
        Ok(Self { files, current: Arc::new(RwLock::new(Arc::new(handshakes))), issuer, changed })
    }

    /// What the next handshake is made with.
    #[must_use]
    pub fn current(&self) -> Arc<HandshakeConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a certificate is revoked.
    pub async fn wait_until_revoked(self, certificate: Vec<u8>) {
        let mut changes = self.changed.subscribe();
        while !self.current().revoked.contains(&certificate) && changes.changed().await.is_ok() {}
    }

    /// What certificates of routers are issued from.
    #[must_use]
    pub fn issuer(&self) -> CertificateIssuer {
        self.issuer.clone()
    }

    /// Reads the files again whenever they change; never ends.
    pub async fn reload_on_change(self) {
        let mut known = self.files.fingerprint();
        loop {
            tokio::time::sleep(FILE_POLL_INTERVAL).await;
            let now = self.files.fingerprint();
            if now == known {
                continue;
            }
            match self.files.read() {
                Ok(handshakes) => {
                    self.issuer.replace(handshakes.authorities.clone());
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(handshakes);
                    self.changed.send_replace(());
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

impl Files {
    fn fingerprint(&self) -> Vec<Option<blake3::Hash>> {
        let Tls { certificate, key, client_ca, refused } = &self.tls;
        let mut paths: Vec<PathBuf> = vec![certificate.clone(), key.clone(), client_ca.clone()];
        paths.extend(refused.clone());
        if let Some(authority) = &self.authority {
            paths.extend([
                authority.dir.join(CERTIFICATE),
                authority.dir.join(KEY),
                authority.server_ca.clone(),
            ]);
        }
        paths.iter().map(|path| std::fs::read(path).ok().map(|bytes| blake3::hash(&bytes))).collect()
    }

    fn read(&self) -> Result<HandshakeConfig> {
        let chain = certificates(&self.tls.certificate)?;
        let clients = certificates(&self.tls.client_ca)?;
        let revoked = self.revoked()?;
        let Some(authority) = &self.authority else {
            return Ok(HandshakeConfig {
                known: self.known(chain, &clients, &[])?,
                enrolling: None,
                authorities: None,
                revoked,
            });
        };
        let routers = RouterAuthority::open(&authority.dir)
            .with_context(|| format!("cannot use the authority in {}", authority.dir.display()))?;
        let control_plane = certificates(&authority.server_ca)?;
        let issuer = issuer(&chain, &control_plane).with_context(|| {
            let (ca, own) = (authority.server_ca.display(), self.tls.certificate.display());
            format!("no certificate in {ca} (authority.server_ca) is of the authority that issued {own}")
        })?;
        let (_, parsed) = X509Certificate::from_der(issuer)?;
        let pin = fingerprint(parsed.public_key().raw);
        // Routers that enroll have only the authority's fingerprint: the chain must have what it is
        // of.
        let mut whole = chain.clone();
        if !whole.contains(issuer) {
            whole.push(issuer.clone());
        }
        let mut enrolling = self.serve(builder()?.with_no_client_auth(), whole)?;
        enrolling.alpn_protocols = vec![PROTOCOL.to_vec()];
        let known = self.known(chain, &clients, routers.certificates())?;
        let authorities = Some(Arc::new(Authorities { routers, pin, control_plane }));
        Ok(HandshakeConfig { known, enrolling: Some(Arc::new(enrolling)), authorities, revoked })
    }

    fn revoked(&self) -> Result<RevokedCertificates> {
        let Some(path) = &self.tls.refused else { return Ok(RevokedCertificates::default()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {} (tls.refused)", path.display()))?;
        RevokedCertificates::parse(&text).with_context(|| format!("{} (tls.refused)", path.display()))
    }

    fn known(
        &self,
        chain: Vec<CertificateDer<'static>>,
        clients: &[CertificateDer<'static>],
        routers: &[CertificateDer<'static>],
    ) -> Result<Arc<ServerConfig>> {
        let mut roots = RootCertStore::empty();
        for certificate in clients.iter().chain(routers) {
            roots
                .add(certificate.clone())
                .with_context(|| format!("{} has an unusable certificate", self.tls.client_ca.display()))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        let mut config = self.serve(builder()?.with_client_cert_verifier(clients), chain)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn serve(
        &self,
        builder: ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<ServerConfig> {
        let Tls { certificate, key, .. } = &self.tls;
        let private = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("cannot read a key from {}", key.display()))?;
        let mut config = builder
            .with_single_cert(chain, private)
            .with_context(|| format!("{} and {} do not fit", certificate.display(), key.display()))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || -> Result<Vec<_>, rustls::pki_types::pem::Error> {
        CertificateDer::pem_file_iter(path)?.collect()
    };
    let certificates = read().with_context(|| format!("cannot read certificates from {}", path.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{} has no certificate", path.display());
    Ok(certificates)
}

/// Which of these authorities issued a server's certificate.
fn issuer<'a>(
    chain: &[CertificateDer<'static>],
    authorities: &'a [CertificateDer<'static>],
) -> Option<&'a CertificateDer<'static>> {
    let (own, intermediates) = chain.split_first()?;
    let (_, parsed) = X509Certificate::from_der(own).ok()?;
    let end = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    // Whether it is still valid is for the clients to say.
    let time = UnixTime::since_unix_epoch(Duration::from_secs(end));
    let own = EndEntityCert::try_from(own).ok()?;
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    authorities.iter().find(|authority| {
        anchor_from_trusted_cert(authority).is_ok_and(|anchor| {
            let usage = KeyUsage::server_auth();
            own.verify_for_usage(algorithms, &[anchor], intermediates, time, usage, None, None).is_ok()
        })
    })
}
