//! The accept loop: handshakes with a deadline and a bound, and connections that know who is calling, that have to begin with HTTP/2, and
//! that end with the caller's certificate.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::Certificates;
use super::hush::Hush;
use super::places::{Connections, Handshake, Handshakes, Place};
use crate::api::quota;
use crate::ca::identity::Caller;
use crate::config::Limits;
use crate::jobs::Clock;

/// Handshakes at a time; for one more, another one has to go.
const HANDSHAKES: usize = 256;
/// What a client of HTTP/2 says first, at least: its preface and the head of its settings.
const PREFACE: usize = 24 + 9;
/// Pause after an accept that failed, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `shutdown`; what it yields has shown a certificate of ours. `deadline` is for the handshake, and again for the first
/// bytes behind it.
pub fn listen(
    listener: TcpListener,
    certificates: Certificates,
    deadline: Duration,
    limits: &Limits,
    clock: Clock,
    shutdown: CancellationToken,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(16);
    let connections = Connections::new(limits.connections, limits.connections_per_caller);
    let hush = std::sync::Arc::new(Hush::default());
    tokio::spawn(async move {
        let handshakes = Handshakes::new(HANDSHAKES);
        loop {
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
            let (sender, clock, connections) = (sender.clone(), clock.clone(), connections.clone());
            let acceptor = TlsAcceptor::from(certificates.current());
            let (handshake, pushed) = Handshakes::enter(&handshakes, peer.ip());
            if pushed {
                refused(&hush, None, "another one took its place");
            }
            let (number, hush) = (handshake.number(), hush.clone());
            let task = tokio::spawn(async move {
                let shaken =
                    tokio::time::timeout(deadline, shake_hands(acceptor, tcp, &clock, deadline)).await;
                drop(handshake);
                let admitted = shaken.map_err(|_| "no handshake in time".to_owned()).and_then(|shaken| {
                    let mut connection = shaken.map_err(|error| error.to_string())?;
                    let place = Connections::enter(&connections, quota::account(&connection.caller))?;
                    connection.place = Some(place);
                    Ok(connection)
                });
                match admitted {
                    Ok(connection) => drop(sender.send(Ok(connection)).await),
                    Err(why) => refused(&hush, Some(peer), &why),
                }
            });
            Handshake::runs_in(&handshakes, peer.ip(), number, task.abort_handle());
        }
    });
    receiver
}

fn refused(hush: &Hush, peer: Option<SocketAddr>, why: &str) {
    let (may, counted) = hush.may_write(Instant::now());
    if counted > 0 {
        tracing::warn!(counted, "connections refused without a line each");
    }
    if may {
        tracing::warn!(peer = peer.map(tracing::field::display), error = why, "connection refused");
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    clock: &Clock,
    deadline: Duration,
) -> io::Result<Connection> {
    tcp.set_nodelay(true)?;
    let stream = acceptor.accept(tcp).await?;
    let session = stream.get_ref().1;
    // Who offers something else was refused already; who offers nothing may mean anything.
    if session.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the client does not say that it speaks HTTP/2 (ALPN h2)"));
    }
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.ok_or_else(|| io::Error::other("no client certificate"))?;
    let (caller, expires) = Caller::from_certificate(certificate).map_err(io::Error::other)?;
    let left = expires.0.saturating_sub(clock.now().0);
    let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
    // The timer has an upper bound, and so do certificates.
    let expiry = Box::pin(tokio::time::sleep(left.min(Duration::from_secs(3_650 * 86_400))));
    let silence = Some((Box::pin(tokio::time::sleep(deadline)), 0));
    Ok(Connection { stream, caller, expiry, silence, place: None })
}

/// A TLS connection of a known caller.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    expiry: Pin<Box<Sleep>>,
    /// How long it may take to begin, and how many bytes have come; none once it has begun.
    silence: Option<(Pin<Box<Sleep>>, usize)>,
    place: Option<Place>,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Nothing else looks at the certificate again while the connection is open.
        if self.expiry.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::other("the client's certificate has expired")));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some((end, bytes)) = &mut self.silence {
            *bytes += buffer.filled().len() - before;
            if *bytes >= PREFACE {
                self.silence = None;
            } else if end.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::Error::other("the client does not begin")));
            }
        }
        read
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
