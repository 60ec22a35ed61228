//! Connections of routers that enroll: nobody is known on them, so there are few, and they do not last.

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

use crate::ca::identity::Newcomer;

/// Connections at a time.
pub(super) const MOST: usize = 32;
/// How long each may last.
const LIFE: Duration = Duration::from_secs(30);

/// A TLS connection on which a router enrolls.
pub struct EnrollingConnection {
    stream: TlsStream<TcpStream>,
    newcomer: Newcomer,
    end: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl EnrollingConnection {
    pub(super) fn new(stream: TlsStream<TcpStream>, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        let (tcp, tls) = stream.get_ref();
        let exported = tls.export_keying_material([0; EXPORTED], EXPORTER, None).map_err(io::Error::other)?;
        let newcomer = Newcomer { address: tcp.peer_addr()?, exported };
        Ok(Self { stream, newcomer, end: Box::pin(tokio::time::sleep(LIFE)), _permit: permit })
    }

    fn ended(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::other("the connection lasted too long")),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for EnrollingConnection {
    type ConnectInfo = Newcomer;

    fn connect_info(&self) -> Newcomer {
        self.newcomer
    }
}

impl AsyncRead for EnrollingConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for EnrollingConnection {
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
