//! Asks other replicas over one connection each: made when it is first needed, kept, and made again
//! when it is lost.

use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use rollcall_proto::MAX_MESSAGE;
use rollcall_proto::replica::v1::AskRequest;
use rollcall_proto::replica::v1::replica_service_client::ReplicaServiceClient;
use rollcall_proto::router::v1::SessionResponse;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use super::identity::{Identity, SERVER_NAME};
use super::roster::Roster;
use super::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, QUESTION_TIMEOUT, RouterCodec, tls};
use crate::jobs::{Answer, Order, QuestionScope, RemoteRouters, Reply};
use crate::model::{DistantRouter, Replica, ReplicaKey, TenantId};

/// How long a connection may take, with its handshake: a replica that is there answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a replica is left alone to which no connection could be made.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The connections to other replicas.
pub(super) struct Peers {
    identity: Identity,
    roster: Arc<Roster>,
    codec: RouterCodec,
    links: Mutex<HashMap<ReplicaKey, Link>>,
}

/// One of them.
struct Link {
    channel: Channel,
    /// When it was last found that it cannot be made.
    record_failure: Option<Instant>,
}

impl Peers {
    pub(super) fn new(identity: Identity, roster: Arc<Roster>, codec: RouterCodec) -> Self {
        Self { identity, roster, codec, links: Mutex::default() }
    }

    /// Hangs up on all but these.
    pub(super) fn disconnect_except(&self, live: &HashSet<ReplicaKey>) {
        self.links().retain(|key, _| live.contains(key));
    }

    /// The connection to a replica; none where it has just been found that there is no way. It is
    /// made with the first question; a second one at the same time waits for the same.
    fn channel(&self, to: &Replica) -> Result<Option<Channel>, rustls::Error> {
        let mut links = self.links();
        if let Some(link) = links.get(&to.key) {
            let no_way = link.record_failure.is_some_and(|at| at.elapsed() < RECONNECT_PAUSE);
            return Ok(Some(link.channel.clone()).filter(|_| !no_way));
        }
        let tls = TlsConnector::from(tls::client(&self.identity, to.key)?);
        let (address, replica) = (to.address.clone(), to.key);
        let connector = tower::service_fn(move |_: Uri| {
            let (tls, address) = (tls.clone(), address.clone());
            async move {
                let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(tls, &address)).await;
                let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
                tracing::debug!(%replica, "connected to another replica");
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        let channel = Endpoint::from_static("http://replica")
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector);
        links.insert(to.key, Link { channel: channel.clone(), record_failure: None });
        Ok(Some(channel))
    }

    /// Records that a connection cannot be made, so that not every question waits for it.
    fn record_failure(&self, to: ReplicaKey) {
        if let Some(link) = self.links().get_mut(&to) {
            link.record_failure = Some(Instant::now());
        }
    }

    fn links(&self) -> MutexGuard<'_, HashMap<ReplicaKey, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(tls: TlsConnector, address: &str) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    tls.connect(name, tcp).await
}

#[async_trait]
impl RemoteRouters for Peers {
    async fn routers(&self, tenant: &TenantId) -> Vec<DistantRouter> {
        self.roster.routers(tenant).await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "cannot look which replica has an identity router");
            Vec::new()
        })
    }

    async fn ask(&self, router: &DistantRouter, scope: QuestionScope<'_>, order: Order) -> Reply<Answer> {
        let DistantRouter { router, replica, .. } = router;
        let channel = match self.channel(replica) {
            Ok(Some(channel)) => channel,
            Ok(None) => return Reply::NotAsked,
            Err(error) => {
                tracing::error!(%error, "cannot connect to any replica");
                return Reply::NotAsked;
            }
        };
        let order = SessionResponse { message: Some((self.codec.encode)(scope.tenant, order)) };
        let mut request = Request::new(AskRequest {
            tenant: scope.tenant.0.clone(),
            identity_source: scope.source.0.clone(),
            identity_router: router.0.clone(),
            order: Some(order),
        });
        request.set_timeout(QUESTION_TIMEOUT);
        let mut client = ReplicaServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        match client.ask(request).await {
            Ok(response) => match response.into_inner().answer {
                None => Reply::NotAsked,
                Some(answer) => {
                    let answer =
                        answer.message.and_then(|message| (self.codec.decode)(scope.number, message));
                    answer.map_or(Reply::Lost, Reply::Answer)
                }
            },
            Err(status) => {
                let asked = !was_not_delivered(&status);
                tracing::warn!(replica = %replica.key, %status, asked, "another replica did not answer");
                if asked {
                    return Reply::Lost;
                }
                self.record_failure(replica.key);
                Reply::NotAsked
            }
        }
    }
}

/// Whether a question certainly reached no router: there was no connection, or the other end
/// refused it.
fn was_not_delivered(status: &Status) -> bool {
    let mut error = status.source();
    while let Some(cause) = error {
        if cause.is::<tonic::ConnectError>() {
            return true;
        }
        error = cause.source();
    }
    status.code() == Code::Unauthenticated
}
