//! The accept loop: handshakes with a deadline and a bound, and connections that know who is calling and that end with the caller's
//! certificate.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::Certificates;
use crate::ca::identity::{Caller, Peer};
use crate::jobs::Clock;

/// Handshakes at a time; more wait in the kernel's queue.
const HANDSHAKES: usize = 256;
/// Pause after an accept that failed, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `shutdown`; what it yields has shown a certificate of ours.
pub fn listen(
    listener: TcpListener,
    certificates: Certificates,
    handshake_deadline: Duration,
    clock: Clock,
    shutdown: CancellationToken,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
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
            let (sender, clock) = (sender.clone(), clock.clone());
            let acceptor = TlsAcceptor::from(certificates.current());
            tokio::spawn(async move {
                let _permit = permit;
                match tokio::time::timeout(handshake_deadline, handshake(acceptor, tcp, &clock)).await {
                    Ok(Ok(connection)) => {
                        let _ = sender.send(Ok(connection)).await;
                    }
                    Ok(Err(error)) => tracing::warn!(%peer, %error, "connection refused"),
                    Err(_) => tracing::warn!(%peer, "connection refused: no handshake in time"),
                }
            });
        }
    });
    receiver
}

async fn handshake(acceptor: TlsAcceptor, tcp: TcpStream, clock: &Clock) -> io::Result<Connection> {
    tcp.set_nodelay(true)?;
    let stream = acceptor.accept(tcp).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.ok_or_else(|| io::Error::other("no client certificate"))?;
    let (caller, expires) = Caller::from_certificate(certificate).map_err(io::Error::other)?;
    let peer = Peer { caller, address: stream.get_ref().0.peer_addr()? };
    let left = expires.0.saturating_sub(clock.now().0);
    let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
    // The timer has an upper bound, and so do certificates.
    let expiry = Box::pin(tokio::time::sleep(left.min(Duration::from_secs(3_650 * 86_400))));
    Ok(Connection { stream, peer, expiry })
}

/// A TLS connection of a known caller.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    expiry: Pin<Box<Sleep>>,
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
        if self.expiry.as_mut().poll(context).is_ready() {
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
