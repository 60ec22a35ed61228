//! Asks other replicas: one connection each, made when it is first needed, kept, and made anew when it is lost.

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
use rollcall_proto::router::v1::session_request::Message;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use super::identity::{Identity, NAME};
use super::roster::Roster;
use super::{KEEPALIVE, LONGEST, tls};
use crate::api::router::convert;
use crate::jobs::{About, Answer, Elsewhere, Heard, Order};
use crate::model::{DistantRouter, Replica, ReplicaKey, TenantId, TenantNo};

/// How long a connection may take, with its handshake: a replica that is there answers at once.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a replica is left alone to which no connection could be made.
const PAUSE: Duration = Duration::from_secs(1);

/// The connections to other replicas.
pub(super) struct Peers {
    identity: Identity,
    roster: Arc<Roster>,
    links: Mutex<HashMap<ReplicaKey, Link>>,
}

/// One of them.
struct Link {
    channel: Channel,
    /// When it was last found that it cannot be made.
    failed: Option<Instant>,
}

impl Peers {
    pub(super) fn new(identity: Identity, roster: Arc<Roster>) -> Self {
        Self { identity, roster, links: Mutex::default() }
    }

    /// Hangs up on all but these.
    pub(super) fn keep(&self, live: &HashSet<ReplicaKey>) {
        self.links().retain(|key, _| live.contains(key));
    }

    /// The connection to a replica; none where it has just been found that there is no way. It is made with the first question; a second one at
    /// the same time waits for the same.
    fn channel(&self, to: &Replica) -> Result<Option<Channel>, rustls::Error> {
        let mut links = self.links();
        if let Some(link) = links.get(&to.key) {
            let no_way = link.failed.is_some_and(|at| at.elapsed() < PAUSE);
            return Ok(Some(link.channel.clone()).filter(|_| !no_way));
        }
        let tls = TlsConnector::from(tls::client(&self.identity, to.key)?);
        let (address, replica) = (to.address.clone(), to.key);
        let connector = tower::service_fn(move |_: Uri| {
            let (tls, address) = (tls.clone(), address.clone());
            async move {
                let connected = tokio::time::timeout(CONNECT, connect(tls, &address)).await;
                let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
                tracing::debug!(%replica, "connected to another replica");
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        let channel = Endpoint::from_static("http://replica")
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector);
        links.insert(to.key, Link { channel: channel.clone(), failed: None });
        Ok(Some(channel))
    }

    /// Notes that a connection cannot be made, so that not everybody waits for it.
    fn failed(&self, to: ReplicaKey) {
        if let Some(link) = self.links().get_mut(&to) {
            link.failed = Some(Instant::now());
        }
    }

    fn links(&self) -> MutexGuard<'_, HashMap<ReplicaKey, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(tls: TlsConnector, address: &str) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    tls.connect(name, tcp).await
}

#[async_trait]
impl Elsewhere for Peers {
    async fn routers(&self, tenant: &TenantId) -> Vec<DistantRouter> {
        self.roster.routers(tenant).await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "cannot look which replica has an identity router");
            Vec::new()
        })
    }

    async fn ask(&self, router: &DistantRouter, about: About<'_>, order: Order) -> Heard<Answer> {
        let DistantRouter { router, replica, .. } = router;
        let channel = match self.channel(replica) {
            Ok(Some(channel)) => channel,
            Ok(None) => return Heard::NotAsked,
            Err(error) => {
                tracing::error!(%error, "cannot connect to any replica");
                return Heard::NotAsked;
            }
        };
        let order = SessionResponse { message: Some(convert::order_to_proto(about.tenant, order)) };
        let mut request = Request::new(AskRequest {
            tenant: about.tenant.0.clone(),
            identity_source: about.source.0.clone(),
            identity_router: router.0.clone(),
            order: Some(order),
        });
        request.set_timeout(LONGEST);
        let mut client = ReplicaServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        match client.ask(request).await {
            Ok(response) => match response.into_inner().answer {
                None => Heard::NotAsked,
                Some(answer) => {
                    let answer = answer.message.and_then(|message| answer_of(about.number, message));
                    answer.map_or(Heard::Lost, Heard::Answer)
                }
            },
            Err(status) => {
                let asked = !never_arrived(&status);
                tracing::warn!(replica = %replica.key, %status, asked, "another replica did not answer");
                if asked {
                    return Heard::Lost;
                }
                self.failed(replica.key);
                Heard::NotAsked
            }
        }
    }
}

/// What a router's message says; none if it is no answer, or not one that can be used.
fn answer_of(tenant: Option<TenantNo>, message: Message) -> Option<Answer> {
    match message {
        Message::TestResult(result) => Some(Answer::Test(result.servers)),
        Message::FetchResult(result) => {
            convert::fetched_from_proto(tenant?, result).ok().map(|(_, found)| Answer::Fetch(found))
        }
        Message::VerifyResult(result) => {
            convert::verification_from_proto(tenant?, result).ok().map(|(_, asked)| Answer::Verify(asked))
        }
        Message::LookupResult(result) => Some(Answer::LookUp(convert::lookup_from_proto(result).1)),
        Message::Hello(_) | Message::Heartbeat(_) | Message::SyncRefused(_) => None,
    }
}

/// Whether a question certainly reached nobody: there was no connection, or the other end did not take it.
fn never_arrived(status: &Status) -> bool {
    let mut error = status.source();
    while let Some(cause) = error {
        if cause.is::<tonic::ConnectError>() {
            return true;
        }
        error = cause.source();
    }
    status.code() == Code::Unauthenticated
}
