//! HTTP/2 by hand (RFC 9113), for what no library would send: frames in any order, of any length,
//! whole or in drops. The few header fields that are needed are written without compression, and
//! what the other side's fields say is not read.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use harness::world::Identity;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags. `ACK` is that of SETTINGS and PING.
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field, written out (RFC 7541, 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        length(&mut field, text.len(), 0x7F);
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// A number with as many bits as the mask has in its first byte (RFC 7541, 5.1).
fn length(out: &mut Vec<u8>, number: usize, mask: u8) {
    let Some(mut rest) = number.checked_sub(usize::from(mask)) else {
        return out.push(number.to_le_bytes()[0]);
    };
    out.push(mask);
    while rest >= 128 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// The header fields of a gRPC request.
pub(crate) fn request(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The header fields of a gRPC response.
pub(crate) fn response() -> Vec<u8> {
    [field(":status", "200"), field("content-type", "application/grpc")].concat()
}

/// A gRPC message with its length before it.
pub(crate) fn grpc(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// A frame that was received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

/// The next frame; none at the end of the connection.
pub(crate) async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>> {
    let mut head = [0; 9];
    match stream.read_exact(&mut head).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let [a, b, c, kind, ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c]))?];
    stream.read_exact(&mut payload).await?;
    Ok(Some(Frame { kind, payload }))
}

/// Reads a client's preface.
pub(crate) async fn preface(stream: &mut (impl AsyncRead + Unpin)) -> Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    if preface != PREFACE {
        bail!("no preface");
    }
    Ok(())
}

/// TLS of a client with this certificate, which says that it speaks these protocols.
pub(crate) fn client_tls(
    authority: &Path,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let certificate = CertificateDer::from_pem_file(certificate)?;
            config.with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_file(key)?)?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// TLS of a server with the control plane's own certificate.
pub(crate) fn server_tls(dir: &Path) -> Result<Arc<ServerConfig>> {
    let mut roots = RootCertStore::empty();
    // Routers show certificates of the second one.
    for authority in ["ca/ca.pem", "ca/routers/ca.pem"] {
        roots.add(CertificateDer::from_pem_file(dir.join(authority))?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let certificate = CertificateDer::from_pem_file(dir.join("server.pem")).context("the certificate")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], PrivateKeyDer::from_pem_file(dir.join("server.key"))?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
