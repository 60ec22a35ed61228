//! Fetches one document over HTTPS: one GET, bounded in time and size.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::outbound::{ExchangeError, Trust, exchange};

/// For everything, from the name to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest document.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// No answer in time.
    #[error("{0}: no answer within {FETCH_TIMEOUT:?}")]
    TimedOut(Uri),
    /// No connection.
    #[error("{0}: cannot connect")]
    Connect(Uri, #[source] std::io::Error),
    /// No answer, not one to be trusted, or one that is too large.
    #[error("{0}: at most {MAX_DOCUMENT_BYTES} bytes are taken")]
    Exchange(Uri, #[source] ExchangeError),
    /// Another answer than a document. A redirect is one, too.
    #[error("{0}: answers {1}; a redirect is not followed")]
    Status(Uri, StatusCode),
}

/// A URL, and whom to believe that it is the right server.
pub(super) struct DocumentUrl {
    uri: Uri,
    host: String,
    name: ServerName<'static>,
    trust: Trust,
}

impl DocumentUrl {
    /// Trusts the authorities of a file, or the system's.
    pub(super) fn new(uri: &Uri, authorities: Option<&Path>) -> anyhow::Result<Self> {
        let trust = Trust::new(authorities, authorities.is_none())
            .with_context(|| format!("keys_ca has to say whom to trust for {uri}"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone()).with_context(|| format!("{uri} has no host"))?;
        Ok(Self { uri: uri.clone(), host, name, trust })
    }
}

/// Fetches the document.
pub(super) async fn get(address: &DocumentUrl) -> Result<Bytes, FetchError> {
    let late = |_| FetchError::TimedOut(address.uri.clone());
    tokio::time::timeout(FETCH_TIMEOUT, request(address)).await.map_err(late)?
}

async fn request(address: &DocumentUrl) -> Result<Bytes, FetchError> {
    let uri = &address.uri;
    let port = uri.port_u16().unwrap_or(443);
    let connect = |error| FetchError::Connect(uri.clone(), error);
    let tcp = TcpStream::connect((address.host.as_str(), port)).await.map_err(connect)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(Full::default());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let host = uri.authority().and_then(|authority| authority.as_str().parse().ok());
    request.headers_mut().extend([
        (HOST, host.unwrap_or(http::HeaderValue::from_static(""))),
        (ACCEPT, http::HeaderValue::from_static("application/json")),
        (USER_AGENT, http::HeaderValue::from_static("rollcall")),
    ]);
    let (name, ok) = (address.name.clone(), |status| status == StatusCode::OK);
    let (status, body) = exchange(tcp, name, &address.trust, request, MAX_DOCUMENT_BYTES, ok)
        .await
        .map_err(|error| FetchError::Exchange(uri.clone(), error))?;
    if status != StatusCode::OK {
        return Err(FetchError::Status(uri.clone(), status));
    }
    Ok(body)
}
