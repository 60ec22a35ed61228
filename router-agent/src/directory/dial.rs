//! Connects to a directory server: name, TCP, and TLS from the first byte (LDAPS) or after
//! StartTLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ldap_guard::{Guarded, guard};
use super::{DirectoryError, Security, Server, Timeouts, ber};

/// The StartTLS request (RFC 4511, 4.14.1) with message id 1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// Longest answer to StartTLS.
const MAX_START_TLS_ANSWER_BYTES: usize = 4_096;

/// Resolves a server's name.
pub(super) async fn resolve(server: &Server, timeouts: &Timeouts) -> Result<Vec<SocketAddr>, DirectoryError> {
    let unreachable = |why: String| DirectoryError::Unreachable(format!("{server} ({why})"));
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> =
        tokio::time::timeout(timeouts.connect, tokio::net::lookup_host((host, server.port)))
            .await
            .map_err(|_| unreachable("no answer from the name service in time".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?
            .collect();
    if addresses.is_empty() { Err(unreachable("its name has no address".to_owned())) } else { Ok(addresses) }
}

/// Connects to one of these addresses of a server, with TLS as its security says.
pub(super) async fn connect(
    server: &Server,
    addresses: &[SocketAddr],
    tls: &Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<Guarded, DirectoryError> {
    let tcp = connect_tcp(server, addresses, timeouts).await?;
    match server.security {
        Security::Plain => guard(tcp, None),
        Security::Ldaps => handshake(server, tcp, tls, timeouts).await,
        Security::StartTls => {
            let tcp = within_timeout(server, timeouts, start_tls(server, tcp)).await?;
            handshake(server, tcp, tls, timeouts).await
        }
    }
}

async fn connect_tcp(
    server: &Server,
    addresses: &[SocketAddr],
    timeouts: &Timeouts,
) -> Result<TcpStream, DirectoryError> {
    let mut last = String::from("no address");
    for address in addresses {
        match tokio::time::timeout(timeouts.connect, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("no answer within {} s", seconds(timeouts.connect)),
        }
    }
    Err(DirectoryError::Unreachable(format!("{server} ({last})")))
}

/// Seconds for people: 5, or 0.4.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

async fn within_timeout<T>(
    server: &Server,
    timeouts: &Timeouts,
    step: impl Future<Output = Result<T, DirectoryError>>,
) -> Result<T, DirectoryError> {
    tokio::time::timeout(timeouts.connect, step).await.unwrap_or_else(|_| {
        Err(DirectoryError::Unreachable(format!(
            "{server} (connected, then silent for {} s)",
            seconds(timeouts.connect)
        )))
    })
}

/// Asks for TLS and reads exactly one answer. Whatever comes behind it before TLS does was put
/// there by someone else.
async fn start_tls(server: &Server, mut tcp: TcpStream) -> Result<TcpStream, DirectoryError> {
    let refused = |why: &str| DirectoryError::Tls { server: server.to_string(), why: why.to_owned() };
    let io = |error: std::io::Error| DirectoryError::Unreachable(format!("{server} ({error})"));
    tcp.write_all(START_TLS).await.map_err(io)?;
    let mut answer = Vec::with_capacity(256);
    while !may_start_tls(&answer).map_err(refused)? {
        if tcp.read_buf(&mut answer).await.map_err(io)? == 0 {
            return Err(cut_off(server, "closed instead of an answer to StartTLS"));
        }
    }
    Ok(tcp)
}

/// Whether these bytes are the answer that allows TLS to start; not yet, if they are only the
/// beginning of one.
fn may_start_tls(answer: &[u8]) -> Result<bool, &'static str> {
    let Some(length) = ber::message_length(answer)? else { return Ok(false) };
    if length > MAX_START_TLS_ANSWER_BYTES {
        return Err("the answer to StartTLS is too long");
    }
    if answer.len() > length {
        return Err("something was injected behind the answer to StartTLS");
    }
    if answer.len() < length {
        return Ok(false);
    }
    match ber::extended_result(answer)? {
        Some(0) => Ok(true),
        Some(_) => Err("the server refuses StartTLS"),
        None => Err("another answer than to StartTLS"),
    }
}

async fn handshake(
    server: &Server,
    tcp: TcpStream,
    tls: &Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<Guarded, DirectoryError> {
    let failed = |why: String| DirectoryError::Tls { server: server.to_string(), why };
    let host = server.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host)
        .map_err(|_| failed("the host is neither a name nor an address".to_owned()))?;
    let connecting = async {
        TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(|error| {
            match is_tls_error(&error) {
                true => failed(format!("{error}{}", tls_version_hint(&error))),
                false => cut_off(server, &error.to_string()),
            }
        })
    };
    let stream = within_timeout(server, timeouts, connecting).await?;
    let certificate =
        stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
    guard(stream, certificate)
}

/// Whether TLS itself failed, and not the connection below it.
fn is_tls_error(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

/// The connection ended before TLS was there: that says nothing of a certificate.
fn cut_off(server: &Server, why: &str) -> DirectoryError {
    DirectoryError::Unreachable(format!(
        "{server} (connected, and cut off before TLS began: {why}; a load balancer without a server behind it does that, and so does a port without TLS)"
    ))
}

/// What to say beside a handshake that failed because the server knows no version, or no cipher,
/// that is safe.
fn tls_version_hint(error: &std::io::Error) -> &'static str {
    use rustls::{AlertDescription, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(
            Error::PeerIncompatible(_)
            | Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure),
        ) => "; the server offers nothing that is safe: it must support TLS 1.2 or 1.3 with ECDHE",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DONE: &[u8] = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    const STARTED: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00";

    #[test]
    fn only_the_whole_answer_to_start_tls_and_nothing_behind_it_starts_tls() {
        for end in 0..STARTED.len() {
            assert_eq!(may_start_tls(&STARTED[..end]), Ok(false), "{end}");
        }
        assert_eq!(may_start_tls(STARTED), Ok(true));
        assert!(may_start_tls(&[STARTED, b"\x30"].concat()).is_err());
        assert!(may_start_tls(DONE).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_answer_to_start_tls_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = may_start_tls(&bytes);
        }
    }
}
