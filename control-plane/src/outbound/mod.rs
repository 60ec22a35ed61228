//! HTTPS to other systems: one request on a connection of its own, with a bounded response and
//! without redirects. The caller bounds the time, checks the address and reads the response.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Largest head of an answer: not to the byte, since what has arrived together is taken together.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Which authorities to trust about the server's name.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl Trust {
    /// Authorities of a file, the system's, or both.
    ///
    /// # Errors
    /// If a file cannot be read, or there is no authority at all.
    pub fn new(file: Option<&Path>, system: bool) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = file {
            let unreadable = || format!("cannot read certificates from {}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
                roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
            }
        }
        if system {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        anyhow::ensure!(!roots.is_empty(), "there is no authority to trust; name a file of certificates");
        Self::from_roots(roots)
    }

    /// Trusts nobody.
    ///
    /// # Errors
    /// If the library refuses it.
    pub fn none() -> anyhow::Result<Self> {
        Self::from_roots(RootCertStore::empty())
    }

    fn from_roots(roots: RootCertStore) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// No TLS, or not with this server.
    #[error("TLS failed")]
    Tls(#[source] std::io::Error),
    /// Not HTTP.
    #[error("the answer is not HTTP, or was cut")]
    Http(#[source] hyper::Error),
    /// Too large.
    #[error("the answer is too large")]
    TooLarge,
    /// Cut in the middle.
    #[error("the answer was cut")]
    Cut(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends a request over a connection, and takes at most `max_bytes` of the answer.
/// `is_wanted` says whether the body is worth having.
///
/// # Errors
/// If no whole answer comes, or one that is too large.
pub async fn exchange(
    tcp: TcpStream,
    name: ServerName<'static>,
    trust: &Trust,
    request: Request<Full<Bytes>>,
    max_bytes: usize,
    is_wanted: impl Fn(StatusCode) -> bool,
) -> Result<(StatusCode, Bytes), ExchangeError> {
    let stream = trust.0.connect(name, tcp).await.map_err(ExchangeError::Tls)?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ExchangeError::Http)?;
    // Ends with this call, however that ends.
    let _connection = AbortOnDrop(tokio::spawn(connection));
    let answer = sender.send_request(request).await.map_err(|error| match error.is_parse_too_large() {
        true => ExchangeError::TooLarge,
        false => ExchangeError::Http(error),
    })?;
    let status = answer.status();
    if !is_wanted(status) {
        return Ok((status, Bytes::new()));
    }
    match Limited::new(answer.into_body(), max_bytes).collect().await {
        Ok(body) => Ok((status, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(ExchangeError::TooLarge),
        Err(error) => Err(ExchangeError::Cut(error)),
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
