//! TCP and TLS 1.3 to the control plane, and gRPC on exactly that one connection. What goes wrong
//! is said so that whoever reads it knows what to do.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, OtherError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::identity::{Identity, WrongAuthority};

/// For TCP, and again for TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("{0:?} is neither a host name nor an address")]
    Host(String),
    #[error("{0} cannot be reached: {1}; check the address, the network and the firewall")]
    Unreachable(String, std::io::Error),
    #[error("{0} does not answer; check the address, the network and the firewall")]
    Silent(String),
    #[error(
        "{0} is not vouched for by the authority that the registration code names: somebody else answers in its place, such as a proxy that \
         looks into TLS, or the code is another installation's. Nothing was sent"
    )]
    Pin(String),
    #[error(
        "{0} is not vouched for by an authority that this router knows: somebody else answers in its place, such as a proxy that looks into \
         TLS, or its authority was replaced while this router was away; then enroll anew, with a new registration code and --replace"
    )]
    Authority(String),
    #[error("the certificate of {authority} is not for this name, but for {}", names.join(", "))]
    Name { authority: String, names: Vec<String> },
    #[error(
        "the certificate of {authority} is valid {bound} {}, and this machine's clock says {}; set the clock, or if it is right have the control \
         plane's certificate replaced", format_time(*limit), format_time(*local)
    )]
    Clock { authority: String, bound: &'static str, limit: OffsetDateTime, local: OffsetDateTime },
    #[error("{0} does not take enrollments; check that it is a control plane, and of this version")]
    NotServed(String),
    #[error("{0}: TLS failed: {1}")]
    Tls(String, std::io::Error),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    #[error("{0} cannot be used: {1}")]
    Channel(String, tonic::transport::Error),
}

/// What TLS there is to be.
pub(crate) fn tls_config(
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&Identity>,
    protocol: &[u8],
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // only in that the verifier is not built by rustls itself
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => config.with_client_auth_cert(identity.chain.clone(), identity.key.to_der())?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// `host:port` as in an address of the web.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What the control plane has to be called in its certificate.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, TransportError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TransportError::Host(host.to_owned()))
}

/// Connects.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    tls: ClientConfig,
) -> Result<TlsStream<TcpStream>, TransportError> {
    let (name, authority) = (server_name(host)?, authority(host, port));
    let protocol = tls.alpn_protocols.first().cloned();
    let late = |_| TransportError::Silent(authority.clone());
    let tcp = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await.map_err(late)?;
    let tcp = tcp.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp));
    let tcp = tcp.map_err(|error| TransportError::Unreachable(authority.clone(), error))?;
    let connect = TlsConnector::from(Arc::new(tls)).connect(name, tcp);
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect).await.map_err(late)?;
    let stream = stream.map_err(|error| handshake_error(&authority, error))?;
    if stream.get_ref().1.alpn_protocol() != protocol.as_deref() {
        return Err(TransportError::NotServed(authority));
    }
    Ok(stream)
}

/// Whom the other side showed itself to be.
pub(crate) fn peer_chain(stream: &TlsStream<TcpStream>) -> Vec<CertificateDer<'static>> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
}

/// gRPC on a connection; it ends with that connection, and never makes another by itself.
pub(crate) async fn channel(
    host: &str,
    port: u16,
    stream: TlsStream<TcpStream>,
) -> Result<Channel, TransportError> {
    let authority = authority(host, port);
    let stream = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { stream.ok_or_else(|| std::io::Error::other("the connection is lost")) }
    });
    let endpoint = async {
        // tonic does not see our TLS and refuses https with a connector; the origin is what the
        // control plane is told.
        let origin = Uri::builder().scheme("https").authority(authority.as_str()).path_and_query("/").build();
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))?;
        let endpoint = match origin {
            Ok(origin) => endpoint.origin(origin),
            Err(_) => endpoint,
        };
        let endpoint = endpoint
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(2 << 20)
            .initial_connection_window_size(8 << 20);
        endpoint.connect_with_connector(connector).await
    };
    endpoint.await.map_err(|error| TransportError::Channel(authority, error))
}

/// The alert with which the other side's TLS ended the connection of a call. In TLS 1.3 it judges a
/// client's certificate after the client's own handshake is over.
pub(crate) fn tls_alert(status: &tonic::Status) -> Option<AlertDescription> {
    let mut next = status.source();
    while let Some(error) = next {
        // An I/O error does not name what it wraps as its source, but only the source of that.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = tls.or(error.downcast_ref::<rustls::Error>()) {
            return Some(*alert);
        }
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// A moment, for people.
pub(crate) fn format_time(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.to_string())
}

fn handshake_error(authority: &str, error: std::io::Error) -> TransportError {
    use CertificateError::{
        BadSignature, ExpiredContext, NotValidForNameContext, NotValidYetContext, Other, UnknownIssuer,
    };
    let at = |time: UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    };
    let authority = authority.to_owned();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(Other(OtherError(inner)))) if inner.is::<WrongAuthority>() => {
            TransportError::Pin(authority)
        }
        Some(rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature)) => {
            TransportError::Authority(authority)
        }
        Some(rustls::Error::InvalidCertificate(NotValidForNameContext { presented, .. })) => {
            TransportError::Name { authority, names: presented.clone() }
        }
        Some(rustls::Error::InvalidCertificate(ExpiredContext { time, not_after })) => {
            TransportError::Clock { authority, bound: "until", limit: at(*not_after), local: at(*time) }
        }
        Some(rustls::Error::InvalidCertificate(NotValidYetContext { time, not_before })) => {
            TransportError::Clock { authority, bound: "from", limit: at(*not_before), local: at(*time) }
        }
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            TransportError::NotServed(authority)
        }
        _ => TransportError::Tls(authority, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message_of(error: rustls::Error) -> String {
        handshake_error("cp:8443", std::io::Error::new(std::io::ErrorKind::InvalidData, error)).to_string()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_wrong_clock_is_said_with_both_times() {
        use CertificateError::{ExpiredContext, NotValidYetContext};
        let early = NotValidYetContext { time: at(60), not_before: at(3_600) };
        let early = message_of(rustls::Error::InvalidCertificate(early));
        assert!(
            early.contains("valid from 1970-01-01T01:00:00Z") && early.contains("1970-01-01T00:01:00Z"),
            "{early}"
        );
        let late = ExpiredContext { time: at(7_200), not_after: at(3_600) };
        let late = message_of(rustls::Error::InvalidCertificate(late));
        assert!(
            late.contains("valid until 1970-01-01T01:00:00Z") && late.contains("1970-01-01T02:00:00Z"),
            "{late}"
        );
    }

    #[test]
    fn somebody_else_in_the_control_planes_place_is_told_from_one_that_takes_no_enrollments() {
        let unknown = message_of(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(unknown.contains("not vouched for") && unknown.contains("--replace"), "{unknown}");
        let closed = message_of(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol));
        assert!(closed.contains("does not take enrollments"), "{closed}");
    }

    #[test]
    fn an_alert_is_found_however_deep_it_is_wrapped() {
        let tls = rustls::Error::AlertReceived(AlertDescription::CertificateExpired);
        let wrapped = std::io::Error::other(std::io::Error::new(std::io::ErrorKind::InvalidData, tls));
        let status = tonic::Status::from_error(Box::new(wrapped));
        assert_eq!(tls_alert(&status), Some(AlertDescription::CertificateExpired));
        assert_eq!(tls_alert(&tonic::Status::from_error(Box::new(std::io::Error::other("cut")))), None);
        assert_eq!(tls_alert(&tonic::Status::internal("said")), None);
    }
}
