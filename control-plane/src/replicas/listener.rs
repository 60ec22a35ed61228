//! Accepts other replicas: a TLS handshake with a deadline and a limit, then the roster says
//! whether the certificate is a live replica's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::identity::replica_key;
use super::roster::Roster;
use crate::log_limit::LogRateLimiter;
use crate::model::ReplicaKey;

/// For the handshake, and the look at the roster.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes at a time; further connections wait to be accepted.
const MAX_HANDSHAKES: usize = 64;
/// Pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `shutdown`.
pub(super) fn listen(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    roster: Arc<Roster>,
    shutdown: CancellationToken,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(16);
    let (handshakes, log_limit) =
        (Arc::new(Semaphore::new(MAX_HANDSHAKES)), Arc::new(LogRateLimiter::default()));
    tokio::spawn(async move {
        loop {
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let (tcp, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a replica's connection");
                    tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                    continue;
                }
            };
            let (tls, roster, sender) = (Arc::clone(&tls), Arc::clone(&roster), sender.clone());
            let log_limit = Arc::clone(&log_limit);
            tokio::spawn(async move {
                let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(tls, tcp, &roster)).await;
                drop(permit);
                let accepted = accepted.unwrap_or_else(|_| Err(io::Error::other("no handshake in time")));
                match accepted {
                    Ok(connection) => drop(sender.send(Ok(connection)).await),
                    Err(error) => log_refusal(&log_limit, from, &error),
                }
            });
        }
    });
    receiver
}

fn log_refusal(log_limit: &LogRateLimiter, from: SocketAddr, error: &io::Error) {
    let (may, counted) = log_limit.may_write(Instant::now());
    if counted > 0 {
        tracing::warn!(counted, "connections refused without a line each, at the listener of replicas");
    }
    if may {
        tracing::warn!(peer = %from, %error, "connection refused at the listener of replicas");
    }
}

async fn handshake(tls: Arc<ServerConfig>, tcp: TcpStream, roster: &Roster) -> io::Result<Connection> {
    tcp.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls).accept(tcp).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let key = replica_key(certificate.ok_or_else(|| io::Error::other("no certificate"))?);
    if !roster.is_live(key).await {
        return Err(io::Error::other("a certificate that is no live replica's"));
    }
    Ok(Connection { stream, key })
}

/// A connection of another replica.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    key: ReplicaKey,
}

/// The replica that asks.
#[derive(Clone, Copy)]
pub(super) struct AskingReplica(pub(super) ReplicaKey);

impl Connected for Connection {
    type ConnectInfo = AskingReplica;

    fn connect_info(&self) -> AskingReplica {
        AskingReplica(self.key)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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
