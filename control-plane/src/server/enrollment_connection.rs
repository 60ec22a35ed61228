//! Connections of routers that enroll. These have no certificate yet, so the connections are
//! limited to 32 at a time and 30 s each.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rollcall_proto::code::{EXPORTED, EXPORTER};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::ca::identity::UnauthenticatedPeer;

/// Enrollment connections at a time.
pub(super) const MAX_ENROLLMENT_CONNECTIONS: usize = 32;
/// How long a connection may last.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(30);

/// A TLS connection on which a router enrolls.
pub struct EnrollmentConnection {
    stream: TlsStream<TcpStream>,
    peer: UnauthenticatedPeer,
    end: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl EnrollmentConnection {
    pub(super) fn new(stream: TlsStream<TcpStream>, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        let (tcp, tls) = stream.get_ref();
        let exported = tls.export_keying_material([0; EXPORTED], EXPORTER, None).map_err(io::Error::other)?;
        let peer = UnauthenticatedPeer { address: tcp.peer_addr()?, exported };
        Ok(Self { stream, peer, end: Box::pin(tokio::time::sleep(CONNECTION_LIFETIME)), _permit: permit })
    }

    fn ended(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::other("the connection lasted too long")),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for EnrollmentConnection {
    type ConnectInfo = UnauthenticatedPeer;

    fn connect_info(&self) -> UnauthenticatedPeer {
        self.peer
    }
}

impl AsyncRead for EnrollmentConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for EnrollmentConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
