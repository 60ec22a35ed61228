//! The accept loop: handshakes with a deadline and a bound, and connections that know who is calling and that end with the caller's
//! certificate. Who asks for the protocol of enrollment is not asked for a certificate, and reaches nothing else.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rollcall_proto::code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::Certificates;
use super::newcomers::{self, EnrollingConnection};
use super::tls::Handshakes;
use crate::ca::identity::{Caller, Peer, Validity};
use crate::jobs::Clock;
use crate::model::Timestamp;

/// Handshakes at a time; more wait in the kernel's queue.
const HANDSHAKES: usize = 256;
/// Pause after an accept that failed, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that came in.
pub struct Connections {
    /// Those that showed a certificate of ours.
    pub known: mpsc::Receiver<io::Result<Connection>>,
    /// Those on which routers enroll.
    pub enrolling: mpsc::Receiver<io::Result<EnrollingConnection>>,
}

/// Accepts until `shutdown`.
pub fn listen(
    listener: TcpListener,
    certificates: Certificates,
    handshake_deadline: Duration,
    clock: Clock,
    shutdown: CancellationToken,
) -> Connections {
    let (to_known, known) = mpsc::channel(16);
    let (to_enrolling, enrolling) = mpsc::channel(16);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
        let newcomers = Arc::new(Semaphore::new(newcomers::MOST));
        loop {
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (to_known, to_enrolling, clock) = (to_known.clone(), to_enrolling.clone(), clock.clone());
            let (current, newcomers) = (certificates.current(), Arc::clone(&newcomers));
            tokio::spawn(async move {
                let _permit = permit;
                let shaken = handshake(&current, tcp, newcomers, &clock);
                match tokio::time::timeout(handshake_deadline, shaken).await {
                    Ok(Ok(Shaken::Known(connection))) => {
                        let _ = to_known.send(Ok(connection)).await;
                    }
                    Ok(Ok(Shaken::Enrolling(connection))) => {
                        let _ = to_enrolling.send(Ok(connection)).await;
                    }
                    Ok(Err(error)) => tracing::warn!(%peer, %error, "connection refused"),
                    Err(_) => tracing::warn!(%peer, "connection refused: no handshake in time"),
                }
            });
        }
    });
    Connections { known, enrolling }
}

enum Shaken {
    Known(Connection),
    Enrolling(EnrollingConnection),
}

async fn handshake(
    current: &Handshakes,
    tcp: TcpStream,
    newcomers: Arc<Semaphore>,
    clock: &Clock,
) -> io::Result<Shaken> {
    tcp.set_nodelay(true)?;
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await?;
    let enrolls =
        hello.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == code::PROTOCOL));
    if let Some(config) = current.enrolling.as_ref().filter(|_| enrolls) {
        let too_many = |_| io::Error::other("too many routers enroll at once");
        let permit = newcomers.try_acquire_owned().map_err(too_many)?;
        let stream = hello.into_stream(Arc::clone(config)).await?;
        return EnrollingConnection::new(stream, permit).map(Shaken::Enrolling);
    }
    let stream = hello.into_stream(Arc::clone(&current.known)).await?;
    let now = clock.now();
    let (caller, end) = caller(current, &stream, now)?;
    let peer = Peer { caller, address: stream.get_ref().0.peer_addr()?, validity: Validity::until(end) };
    let expiry = Box::pin(tokio::time::sleep(left(end, now)));
    let hung_up = Box::pin(peer.validity.hung_up().clone().cancelled_owned());
    Ok(Shaken::Known(Connection { stream, peer, expiry, hung_up, clock: clock.clone() }))
}

/// Who showed its certificate, and the certificate's end. What the routers' authority issued is a router, and nothing else is.
fn caller(
    current: &Handshakes,
    stream: &TlsStream<TcpStream>,
    now: Timestamp,
) -> io::Result<(Caller, Timestamp)> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = chain.first().ok_or_else(|| io::Error::other("no client certificate"))?;
    let (caller, end) = Caller::from_certificate(certificate).map_err(io::Error::other)?;
    let of_routers =
        current.authorities.as_ref().is_some_and(|authorities| authorities.routers.vouches_for(chain, now));
    match (matches!(caller, Caller::Router { .. }), of_routers) {
        (true, false) => {
            Err(io::Error::other("a router's certificate that the routers' authority did not issue"))
        }
        (false, true) => {
            Err(io::Error::other("a certificate of the routers' authority that is not a router's"))
        }
        _ => Ok((caller, end)),
    }
}

/// Time until then. The timer has an upper bound, and so do certificates.
fn left(end: Timestamp, now: Timestamp) -> Duration {
    let left = u64::try_from(end.0.saturating_sub(now.0)).unwrap_or_default();
    Duration::from_micros(left).min(Duration::from_secs(3_650 * 86_400))
}

/// A TLS connection of a known caller.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    expiry: Pin<Box<Sleep>>,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
    clock: Clock,
}

impl Connection {
    /// Whether the caller's certificate has expired, and no other was issued on the connection.
    fn expired(&mut self, context: &mut Context<'_>) -> bool {
        while self.expiry.as_mut().poll(context).is_ready() {
            let left = left(self.peer.validity.end(), self.clock.now());
            if left.is_zero() {
                return true;
            }
            self.expiry.as_mut().reset(Instant::now() + left);
        }
        false
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Nothing else looks at the certificate again while the connection is open.
        if self.hung_up.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::other("hung up on a caller that may not be connected")));
        }
        if self.expired(context) {
            return Poll::Ready(Err(io::Error::other("the client's certificate has expired")));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
