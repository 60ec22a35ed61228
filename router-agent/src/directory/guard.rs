//! Stands between the network and the ldap3 crate: connects, does the TLS (LDAPS or StartTLS) itself, and lets through only messages
//! that `ber` has checked, and no more entries than were asked for. The crate sees one end of a socket pair and nothing else.
//!
//! Both directions have bounded buffers: a slow reader slows the directory down.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::ber::{self, Kind};
use super::{DirectoryError, Security, Server, Timeouts};

/// The StartTLS request (RFC 4511, 4.14.1) with message id 1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// References a page may carry beside its entries.
const REFERENCES: i64 = 10_000;
const BUFFER: usize = 256 << 10;

/// What the guard knows and the page loop sets.
#[derive(Debug, Default)]
pub(super) struct Watch {
    entries: AtomicI64,
    references: AtomicI64,
    violation: Mutex<Option<String>>,
}

impl Watch {
    /// Allows one more page.
    pub(super) fn expect(&self, entries: u32) {
        self.entries.store(i64::from(entries), Ordering::Relaxed);
        self.references.store(REFERENCES, Ordering::Relaxed);
    }

    /// How the server broke the protocol, if it did.
    pub(super) fn violation(&self) -> Option<String> {
        self.violation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn violated(&self, why: &str) {
        self.violation.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_owned());
    }

    fn admits(&self, kind: Kind) -> Result<(), &'static str> {
        let left = match kind {
            Kind::Entry => &self.entries,
            Kind::Reference => &self.references,
            Kind::Done | Kind::Other => return Ok(()),
        };
        if left.fetch_sub(1, Ordering::Relaxed) > 0 {
            Ok(())
        } else {
            Err("more entries than were asked for in one page")
        }
    }
}

/// A guarded connection. Dropping it closes the connection.
pub(super) struct Guarded {
    /// What ldap3 is given.
    pub(super) stream: StdUnixStream,
    /// What happens on it.
    pub(super) watch: Arc<Watch>,
    /// The server's certificate, in DER.
    pub(super) certificate: Option<Vec<u8>>,
    /// Keeps the relay alive.
    pub(super) relay: Relay,
}

/// The task between the two streams.
#[derive(Debug)]
pub(super) struct Relay(AbortHandle);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resolves a server's name.
pub(super) async fn resolve(server: &Server) -> Result<Vec<SocketAddr>, DirectoryError> {
    let unreachable = |why: String| DirectoryError::Unreachable(format!("{server} ({why})"));
    let host = server.host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = tokio::net::lookup_host((host, server.port))
        .await
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
    let tcp = tcp(server, addresses, timeouts).await?;
    match server.security {
        Security::Plain => guard(tcp, None),
        Security::Ldaps => secured(server, tcp, tls, timeouts).await,
        Security::StartTls => {
            let tcp = limited(server, timeouts, start_tls(server, tcp)).await?;
            secured(server, tcp, tls, timeouts).await
        }
    }
}

async fn tcp(
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
            Err(_) => last = format!("no answer within {} s", timeouts.connect.as_secs()),
        }
    }
    Err(DirectoryError::Unreachable(format!("{server} ({last})")))
}

async fn limited<T>(
    server: &Server,
    timeouts: &Timeouts,
    step: impl Future<Output = Result<T, DirectoryError>>,
) -> Result<T, DirectoryError> {
    tokio::time::timeout(timeouts.connect, step).await.unwrap_or_else(|_| {
        Err(DirectoryError::Unreachable(format!(
            "{server} (connected, then silent for {} s)",
            timeouts.connect.as_secs()
        )))
    })
}

/// Asks for TLS and reads exactly one answer. Whatever comes behind it before TLS does was put there by someone else.
async fn start_tls(server: &Server, mut tcp: TcpStream) -> Result<TcpStream, DirectoryError> {
    let refused = |why: &str| DirectoryError::Tls { server: server.to_string(), why: why.to_owned() };
    let io = |error: std::io::Error| DirectoryError::Unreachable(format!("{server} ({error})"));
    tcp.write_all(START_TLS).await.map_err(io)?;
    let mut answer = Vec::with_capacity(256);
    loop {
        if let Some(length) = ber::message_length(&answer).map_err(refused)? {
            if length > 4_096 {
                return Err(refused("the answer to StartTLS is too long"));
            }
            if answer.len() > length {
                return Err(refused("something was injected behind the answer to StartTLS"));
            }
            if answer.len() == length {
                break;
            }
        }
        if tcp.read_buf(&mut answer).await.map_err(io)? == 0 {
            return Err(refused("the server closed the connection instead of starting TLS"));
        }
    }
    ber::check(&answer).map_err(refused)?;
    // Message id 1, ExtendedResponse, resultCode 0: checked shape, so the positions are known.
    let operation = answer
        .iter()
        .position(|byte| *byte == 0x78)
        .ok_or_else(|| refused("another answer than to StartTLS"))?;
    let success = answer[operation..]
        .windows(3)
        .find(|window| window[..2] == [0x0A, 0x01])
        .is_some_and(|code| code[2] == 0);
    if success { Ok(tcp) } else { Err(refused("the server refuses StartTLS")) }
}

async fn secured(
    server: &Server,
    tcp: TcpStream,
    tls: &Arc<ClientConfig>,
    timeouts: &Timeouts,
) -> Result<Guarded, DirectoryError> {
    let failed = |why: String| DirectoryError::Tls { server: server.to_string(), why };
    let host = server.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host)
        .map_err(|_| failed("the host is neither a name nor an address".to_owned()))?;
    let handshake = async {
        TlsConnector::from(Arc::clone(tls))
            .connect(name, tcp)
            .await
            .map_err(|error| failed(error.to_string()))
    };
    let stream = limited(server, timeouts, handshake).await?;
    let certificate =
        stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec());
    guard(stream, certificate)
}

fn guard<S>(server: S, certificate: Option<Vec<u8>>) -> Result<Guarded, DirectoryError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let internal = |error: std::io::Error| {
        DirectoryError::Unreachable(format!("a socket pair could not be made ({error})"))
    };
    let (ours, stream) = StdUnixStream::pair().map_err(internal)?;
    ours.set_nonblocking(true).map_err(internal)?;
    let ours = UnixStream::from_std(ours).map_err(internal)?;
    let watch = Arc::new(Watch::default());
    let relay = tokio::spawn(relay(server, ours, Arc::clone(&watch)));
    Ok(Guarded { stream, watch, certificate, relay: Relay(relay.abort_handle()) })
}

async fn relay<S: AsyncRead + AsyncWrite>(server: S, client: UnixStream, watch: Arc<Watch>) {
    let (from_server, mut to_server) = tokio::io::split(server);
    let (mut from_client, to_client) = client.into_split();
    tokio::select! {
        // Either side's end is the connection's end.
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        () = inspect(from_server, to_client, &watch) => {}
    }
}

/// Lets through whole, checked messages, as many at a time as there are.
async fn inspect(mut server: impl AsyncRead + Unpin, mut client: impl AsyncWrite + Unpin, watch: &Watch) {
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER);
    loop {
        // read_buf reads what there is room for, and makes some if there is none: a buffer never grows by what a header promises.
        if buffer.len() == buffer.capacity() {
            buffer.reserve(BUFFER);
        }
        match server.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut checked = 0;
        loop {
            let passed = match ber::message_length(&buffer[checked..]) {
                Ok(Some(length)) if checked + length <= buffer.len() => {
                    let message = &buffer[checked..checked + length];
                    ber::check(message).and_then(|kind| watch.admits(kind)).map(|()| length)
                }
                Ok(_) => break,
                Err(why) => Err(why),
            };
            match passed {
                Ok(length) => checked += length,
                Err(why) => return watch.violated(why),
            }
        }
        if checked > 0 {
            if client.write_all(&buffer[..checked]).await.is_err() {
                return;
            }
            buffer.drain(..checked);
            if buffer.is_empty() && buffer.capacity() > 2 * BUFFER {
                buffer = Vec::with_capacity(BUFFER);
            }
        }
    }
}
