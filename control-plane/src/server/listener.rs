//! The accept loop: handshakes with a deadline and a bound, and who it is that has shaken hands. Who asks for the protocol of enrollment is
//! not asked for a certificate, and reaches nothing else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_proto::code;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Certificates;
use super::connection::Connection;
use super::hush::Hush;
use super::newcomers::{self, EnrollingConnection};
use super::places::{self, Connections, Handshake};
use super::tls::Handshakes;
use crate::api::middleware::limits::Limits;
use crate::api::middleware::rate_limit;
use crate::ca::identity::{Caller, Peer, Validity};
use crate::jobs::Clock;
use crate::model::Timestamp;

/// Handshakes at a time; where there are more, the oldest one of the busiest address has to go.
const HANDSHAKES: usize = 256;
/// Pause after an accept that failed, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that came in.
pub struct Arrivals {
    /// Those that showed a certificate of ours.
    pub known: mpsc::Receiver<io::Result<Connection>>,
    /// Those on which routers enroll.
    pub enrolling: mpsc::Receiver<io::Result<EnrollingConnection>>,
}

/// Accepts until `shutdown`. `deadline` is for the handshake, and again for the first bytes behind it.
pub fn listen(
    listener: TcpListener,
    certificates: Certificates,
    deadline: Duration,
    limits: &Limits,
    clock: Clock,
    shutdown: CancellationToken,
) -> Arrivals {
    let (to_known, known) = mpsc::channel(16);
    let (to_enrolling, enrolling) = mpsc::channel(16);
    let connections = Connections::new(limits.connections, limits.connections_per_caller);
    let hush = Arc::new(Hush::default());
    tokio::spawn(async move {
        let handshakes = places::Handshakes::new(HANDSHAKES);
        let newcomers = Arc::new(Semaphore::new(newcomers::MOST));
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
            let (to_known, to_enrolling, clock) = (to_known.clone(), to_enrolling.clone(), clock.clone());
            let (certificates, newcomers) = (certificates.clone(), Arc::clone(&newcomers));
            let (place, pushed) = places::Handshakes::enter(&handshakes, peer.ip());
            if pushed {
                refused(&hush, None, "another one took its place");
            }
            let (number, connections, hush) = (place.number(), connections.clone(), hush.clone());
            let task = tokio::spawn(async move {
                let shaken = shake_hands(&certificates, tcp, newcomers, &clock, deadline);
                let shaken = tokio::time::timeout(deadline, shaken).await;
                drop(place);
                let shaken = shaken.map_err(|_| "no handshake in time".to_owned());
                match shaken.and_then(|shaken| shaken.map_err(|error| error.to_string())) {
                    Ok(Shaken::Enrolling(connection)) => drop(to_enrolling.send(Ok(connection)).await),
                    Ok(Shaken::Known(connection)) => {
                        match Connections::enter(
                            &connections,
                            rate_limit::account_name(&connection.peer().caller),
                        ) {
                            Ok(place) => drop(to_known.send(Ok(connection.at(place))).await),
                            Err(why) => refused(&hush, Some(peer), why),
                        }
                    }
                    Err(why) => refused(&hush, Some(peer), &why),
                }
            });
            Handshake::runs_in(&handshakes, peer.ip(), number, task.abort_handle());
        }
    });
    Arrivals { known, enrolling }
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

enum Shaken {
    Known(Connection),
    Enrolling(EnrollingConnection),
}

async fn shake_hands(
    certificates: &Certificates,
    tcp: TcpStream,
    newcomers: Arc<Semaphore>,
    clock: &Clock,
    deadline: Duration,
) -> io::Result<Shaken> {
    tcp.set_nodelay(true)?;
    let current = certificates.current();
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
    // Who offers something else was refused already; who offers nothing may mean anything.
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the client does not say that it speaks HTTP/2 (ALPN h2)"));
    }
    let (caller, end) = caller(&current, &stream, clock.now())?;
    let peer = Peer { caller, address: stream.get_ref().0.peer_addr()?, validity: Validity::until(end) };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    hang_up_once_refused(certificates, certificate.map(|der| der.to_vec()).unwrap_or_default(), &peer);
    Ok(Shaken::Known(Connection::new(stream, peer, clock.clone(), deadline)))
}

/// Ends a connection whose certificate gets onto the list of those that count no longer.
fn hang_up_once_refused(certificates: &Certificates, certificate: Vec<u8>, peer: &Peer) {
    let (refused, hung_up) = (certificates.clone().refuses(certificate), peer.validity.hung_up().clone());
    let who = peer.caller.label();
    tokio::spawn(async move {
        tokio::select! {
            () = hung_up.cancelled() => {}
            () = refused => {
                tracing::warn!(caller = who, "hung up: the caller's certificate counts no longer (tls.refused)");
                hung_up.cancel();
            }
        }
    });
}

/// Who showed its certificate, and the certificate's end. What the routers' authority issued is a router, and nothing else is.
fn caller(
    current: &Handshakes,
    stream: &TlsStream<TcpStream>,
    now: Timestamp,
) -> io::Result<(Caller, Timestamp)> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificate = chain.first().ok_or_else(|| io::Error::other("no client certificate"))?;
    if current.refused.refuses(certificate) {
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
