//! The accept loop: TLS handshakes with a deadline and a limit, then who the caller is. A client
//! that asks for the enrollment protocol needs no certificate, and reaches nothing but enrollment.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rollcall_proto::code;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Certificates;
use super::connection::Connection;
use super::connection_limits::{ConnectionLimit, HandshakeLimit, HandshakePermit};
use super::enrollment_connection::{EnrollmentConnection, MAX_ENROLLMENT_CONNECTIONS};
use super::tls::HandshakeConfig;
use crate::api::middleware::limits::Limits;
use crate::api::middleware::rate_limit;
use crate::ca::identity::{Caller, Peer, Validity};
use crate::clock::Clock;
use crate::log_limit::LogRateLimiter;
use crate::model::Timestamp;

/// Handshakes at a time; beyond these the oldest one of the busiest address is evicted.
const MAX_HANDSHAKES: usize = 256;
/// Pause after an accept that failed, such as for want of file descriptors.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Connections that were accepted.
pub struct AcceptedConnections {
    /// Those that showed a certificate of ours.
    pub known: mpsc::Receiver<io::Result<Connection>>,
    /// Those on which routers enroll.
    pub enrolling: mpsc::Receiver<io::Result<EnrollmentConnection>>,
}

/// Accepts until `shutdown`. `deadline` is for the handshake, and again for the first bytes behind
/// it.
pub fn listen(
    listener: TcpListener,
    certificates: Certificates,
    deadline: Duration,
    limits: &Limits,
    clock: Clock,
    shutdown: CancellationToken,
) -> AcceptedConnections {
    let (to_known, known) = mpsc::channel(16);
    let (to_enrolling, enrolling) = mpsc::channel(16);
    let acceptor = Acceptor {
        certificates,
        clock,
        deadline,
        connections: ConnectionLimit::new(limits.connections, limits.connections_per_caller),
        enrollments: Arc::new(Semaphore::new(MAX_ENROLLMENT_CONNECTIONS)),
        log_limit: Arc::new(LogRateLimiter::default()),
        to_known,
        to_enrolling,
    };
    tokio::spawn(async move {
        let handshakes = HandshakeLimit::new(MAX_HANDSHAKES);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                    continue;
                }
            };
            let (permit, evicted) = HandshakeLimit::acquire(&handshakes, peer.ip());
            if evicted {
                log_refusal(&acceptor.log_limit, None, "another one took its place");
            }
            let number = permit.number();
            let task = tokio::spawn(acceptor.clone().accept(tcp, peer, permit));
            HandshakePermit::set_task(&handshakes, peer.ip(), number, task.abort_handle());
        }
    });
    AcceptedConnections { known, enrolling }
}

fn log_refusal(log_limit: &LogRateLimiter, peer: Option<SocketAddr>, why: &str) {
    let (may, counted) = log_limit.may_write(Instant::now());
    if counted > 0 {
        tracing::warn!(counted, "connections refused without a line each");
    }
    if may {
        tracing::warn!(peer = peer.map(tracing::field::display), error = why, "connection refused");
    }
}

/// What each connection needs until it is handed on. Clones share everything.
#[derive(Clone)]
struct Acceptor {
    certificates: Certificates,
    clock: Clock,
    deadline: Duration,
    connections: Arc<Mutex<ConnectionLimit>>,
    enrollments: Arc<Semaphore>,
    log_limit: Arc<LogRateLimiter>,
    to_known: mpsc::Sender<io::Result<Connection>>,
    to_enrolling: mpsc::Sender<io::Result<EnrollmentConnection>>,
}

/// A connection after its handshake.
enum AcceptedConnection {
    Known(Connection),
    Enrolling(EnrollmentConnection),
}

impl Acceptor {
    /// Makes the handshake and hands the connection on, or logs why not.
    async fn accept(self, tcp: TcpStream, peer: SocketAddr, permit: HandshakePermit) {
        let accepted = tokio::time::timeout(self.deadline, self.handshake(tcp)).await;
        drop(permit);
        let accepted = accepted.map_err(|_| "no handshake in time".to_owned());
        match accepted.and_then(|accepted| accepted.map_err(|error| error.to_string())) {
            Ok(AcceptedConnection::Enrolling(connection)) => {
                drop(self.to_enrolling.send(Ok(connection)).await);
            }
            Ok(AcceptedConnection::Known(connection)) => {
                let account = rate_limit::account_name(&connection.peer().caller);
                match ConnectionLimit::acquire(&self.connections, account) {
                    Ok(permit) => drop(self.to_known.send(Ok(connection.with_permit(permit))).await),
                    Err(why) => log_refusal(&self.log_limit, Some(peer), why),
                }
            }
            Err(why) => log_refusal(&self.log_limit, Some(peer), &why),
        }
    }

    async fn handshake(&self, tcp: TcpStream) -> io::Result<AcceptedConnection> {
        tcp.set_nodelay(true)?;
        let current = self.certificates.current();
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await?;
        let enrolls =
            hello.client_hello().alpn().is_some_and(|mut names| names.any(|name| name == code::PROTOCOL));
        if let Some(config) = current.enrolling.as_ref().filter(|_| enrolls) {
            let too_many = |_| io::Error::other("too many routers enroll at once");
            let permit = Arc::clone(&self.enrollments).try_acquire_owned().map_err(too_many)?;
            let stream = hello.into_stream(Arc::clone(config)).await?;
            return EnrollmentConnection::new(stream, permit).map(AcceptedConnection::Enrolling);
        }
        let stream = hello.into_stream(Arc::clone(&current.known)).await?;
        // Another protocol was refused already; a client that names none may mean any.
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the client does not say that it speaks HTTP/2 (ALPN h2)"));
        }
        let (caller, end) = authenticate(&current, &stream, self.clock.now())?;
        let peer = Peer { caller, address: stream.get_ref().0.peer_addr()?, validity: Validity::until(end) };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.map(|der| der.to_vec()).unwrap_or_default();
        disconnect_when_revoked(&self.certificates, certificate, &peer);
        Ok(AcceptedConnection::Known(Connection::new(stream, peer, self.clock.clone(), self.deadline)))
    }
}

/// Ends a connection once its certificate is revoked.
fn disconnect_when_revoked(certificates: &Certificates, certificate: Vec<u8>, peer: &Peer) {
    let revoked = certificates.clone().wait_until_revoked(certificate);
    let hung_up = peer.validity.hung_up().clone();
    let who = peer.caller.label();
    tokio::spawn(async move {
        tokio::select! {
            () = hung_up.cancelled() => {}
            () = revoked => {
                tracing::warn!(caller = who, "hung up: the caller's certificate counts no longer (tls.refused)");
                hung_up.cancel();
            }
        }
    });
}

/// The caller by its certificate, and the certificate's end. A certificate of the routers'
/// authority always authenticates a router; no other certificate does.
fn authenticate(
    current: &HandshakeConfig,
    stream: &TlsStream<TcpStream>,
    now: Timestamp,
) -> io::Result<(Caller, Timestamp)> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = chain.first().ok_or_else(|| io::Error::other("no client certificate"))?;
    if current.revoked.contains(certificate) {
        return Err(io::Error::other("a certificate that counts no longer (tls.refused)"));
    }
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
