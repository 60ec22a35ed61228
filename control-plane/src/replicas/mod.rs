//! Several replicas on one database: a question to an identity router goes to the replica that the
//! router is connected to. The replica that was called decides and writes; a question is passed on
//! once.
//!
//! - `heartbeat`: writes this replica's row in the database
//! - `roster`: the live replicas, by their rows
//! - `identity`: the certificate that a process makes at its start
//! - `tls`: lets only replicas in
//! - `listener`: accepts other replicas
//! - `service`: answers their questions
//! - `peers`: asks other replicas

mod heartbeat;
mod identity;
mod listener;
mod peers;
mod roster;
mod service;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rollcall_proto::MAX_MESSAGE;
use rollcall_proto::replica::v1::replica_service_server::ReplicaServiceServer;
use rollcall_proto::router::v1::{session_request, session_response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::clock::Clock;
use crate::jobs::{Answer, Jobs, Order};
use crate::model::{Replica, TenantId, TenantNo};
use crate::store::Store;

use identity::Identity;
use peers::Peers;
use roster::Roster;
use service::Service;

/// Where this replica listens, and where others find it.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Host and port that other replicas connect to.
    pub advertise: String,
}

/// How questions and answers are written: as the messages that a router itself is sent and sends.
#[derive(Clone, Copy)]
pub struct RouterCodec {
    /// Writes a question of a tenant.
    pub encode: fn(&TenantId, Order) -> session_response::Message,
    /// Reads an answer, whose names are keyed by the tenant's number; none if it is none.
    pub decode: fn(Option<TenantNo>, session_request::Message) -> Option<Answer>,
}

/// How often a connection is checked.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the other end may take to answer the check: a replica that is frozen is found out
/// within the deadline of a sign-in.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest that a question may take, whatever its asker says.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(90);
/// Questions of one replica at a time.
const MAX_QUESTIONS: u32 = 1_024;
/// Largest list of header fields.
const MAX_HEADER_BYTES: u32 = 8 << 10;

/// Listens for questions of other replicas and lets `jobs` ask them, until `shutdown`. The task
/// ends when this replica's row is removed.
///
/// # Errors
/// If it cannot listen.
pub async fn start(
    settings: &ReplicaSettings,
    store: Arc<Store>,
    jobs: &Jobs,
    codec: RouterCodec,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<JoinHandle<()>> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("replicas.listen: cannot listen on {}", settings.listen))?;
    let identity = Identity::generate(clock.now()).context("cannot make a certificate for other replicas")?;
    let this = Replica { key: identity.key, address: settings.advertise.clone() };
    let roster = Arc::new(Roster::new(this, store, clock));
    let tls = tls::server(&identity)?;
    let known = listener::listen(listener, tls, Arc::clone(&roster), shutdown.clone());
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(MAX_QUESTIONS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .timeout(QUESTION_TIMEOUT)
        .add_service(
            ReplicaServiceServer::new(Service::new(jobs.clone(), Arc::clone(&roster)))
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
        );
    tokio::spawn(
        server.serve_with_incoming_shutdown(ReceiverStream::new(known), shutdown.clone().cancelled_owned()),
    );
    let peers = Arc::new(Peers::new(identity, Arc::clone(&roster), codec));
    jobs.set_remote_routers(Arc::<Peers>::clone(&peers));
    tracing::info!("other replicas are answered on {}", settings.listen);
    Ok(tokio::spawn(heartbeat::run(roster, jobs.clone(), peers, shutdown)))
}
