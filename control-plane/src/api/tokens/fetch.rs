//! Fetches one document over HTTPS: one GET on a connection of its own, bounded in time and size, and not redirected anywhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For everything, from the name to the last byte.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest document.
const LARGEST: usize = 1 << 20;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No answer in time.
    #[error("{0}: no answer within {DEADLINE:?}")]
    Late(Uri),
    /// No connection, or one that is not to be trusted.
    #[error("{0}: cannot connect")]
    Connect(Uri, #[source] std::io::Error),
    /// Not HTTP.
    #[error("{0}: the answer is not HTTP")]
    Http(Uri, #[source] hyper::Error),
    /// Another answer than a document. A redirect is one, too.
    #[error("{0}: answers {1}; a redirect is not followed")]
    Status(Uri, StatusCode),
    /// Cut, or too large.
    #[error("{0}: the answer is cut, or larger than {LARGEST} bytes")]
    Body(Uri, #[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A URL, and whom to believe that it is the right server.
pub(super) struct Address {
    uri: Uri,
    host: String,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Address {
    /// Trusts the authorities of a file, or the system's.
    pub(super) fn new(uri: &Uri, authorities: Option<&Path>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => {
                let unreadable = || format!("cannot read certificates from {}", path.display());
                for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
                    roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        anyhow::ensure!(
            !roots.is_empty(),
            "there is no authority to trust for {uri}; name a file in keys_ca"
        );
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).with_context(|| format!("{uri} has no host"))?;
        Ok(Self { uri: uri.clone(), host, name, tls: TlsConnector::from(Arc::new(config)) })
    }
}

/// Fetches the document.
pub(super) async fn get(address: &Address) -> Result<Bytes, FetchError> {
    let late = |_| FetchError::Late(address.uri.clone());
    tokio::time::timeout(DEADLINE, exchange(address)).await.map_err(late)?
}

async fn exchange(address: &Address) -> Result<Bytes, FetchError> {
    let uri = &address.uri;
    let connect = |error| FetchError::Connect(uri.clone(), error);
    let http = |error| FetchError::Http(uri.clone(), error);
    let port = uri.port_u16().unwrap_or(443);
    let tcp = TcpStream::connect((address.host.as_str(), port)).await.map_err(connect)?;
    let stream = address.tls.connect(address.name.clone(), tcp).await.map_err(connect)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let host = uri.authority().and_then(|authority| authority.as_str().parse().ok());
    request.headers_mut().extend([
        (HOST, host.unwrap_or(http::HeaderValue::from_static(""))),
        (ACCEPT, http::HeaderValue::from_static("application/json")),
        (USER_AGENT, http::HeaderValue::from_static("rollcall")),
    ]);
    let answer = sender.send_request(request).await.map_err(http)?;
    if answer.status() != StatusCode::OK {
        connection.abort();
        return Err(FetchError::Status(uri.clone(), answer.status()));
    }
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    connection.abort();
    body.map(|body| body.to_bytes()).map_err(|error| FetchError::Body(uri.clone(), error))
}
