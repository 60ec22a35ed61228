//! A TLS connection of a known caller: it has to start HTTP/2 in time, and it ends with the
//! caller's certificate.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use super::connection_limits::ConnectionPermit;
use crate::ca::identity::Peer;
use crate::clock::Clock;
use crate::model::Timestamp;

/// Bytes with which HTTP/2 begins: its preface, and the head of the settings that follow.
const PREFACE_BYTES: usize = 24 + 9;

/// A TLS connection of a known caller.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    clock: Clock,
    expiry: Pin<Box<Sleep>>,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
    /// How long it may take to begin, and how many bytes have come; none once it has begun.
    silence: Option<(Pin<Box<Sleep>>, usize)>,
    permit: Option<ConnectionPermit>,
}

impl Connection {
    /// Puts it together; `deadline` is for its first bytes.
    pub(super) fn new(stream: TlsStream<TcpStream>, peer: Peer, clock: Clock, deadline: Duration) -> Self {
        let expiry = Box::pin(tokio::time::sleep(left(peer.validity.end(), clock.now())));
        let silence = Some((Box::pin(tokio::time::sleep(deadline)), 0));
        let hung_up = Box::pin(peer.validity.hung_up().clone().cancelled_owned());
        Self { stream, peer, clock, expiry, hung_up, silence, permit: None }
    }

    /// Who calls.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Holds a permit until the connection ends.
    pub(super) fn with_permit(mut self, permit: ConnectionPermit) -> Self {
        self.permit = Some(permit);
        self
    }

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

impl Drop for Connection {
    fn drop(&mut self) {
        // Whoever waits for a reason to hang up need not wait any longer.
        self.peer.validity.hung_up().cancel();
    }
}

/// Time until then. The timer has an upper bound, and so do certificates.
fn left(end: Timestamp, now: Timestamp) -> Duration {
    let left = u64::try_from(end.0.saturating_sub(now.0)).unwrap_or_default();
    Duration::from_micros(left).min(Duration::from_secs(3_650 * 86_400))
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some((end, bytes)) = &mut self.silence {
            *bytes += buffer.filled().len() - before;
            if *bytes >= PREFACE_BYTES {
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
