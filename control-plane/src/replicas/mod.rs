//! Several replicas on one database: a question to an identity router goes to the replica that it is connected to. Only the question and its
//! answer do; what is decided and written is the business of the replica that was called, and no question is passed on twice.
//!
//! `identity` is the certificate that a process makes at its start, `roster` who is a replica (the database says so), `tls` lets nobody else in,
//! `listener` accepts, `service` answers, `peers` asks.

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
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::clock::Clock;
use crate::jobs::Jobs;
use crate::model::Replica;
use crate::store::Store;

use identity::Identity;
use peers::Peers;
use roster::Roster;
use service::Service;

/// Where this replica is asked, and where others find it.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Host and port that other replicas connect to.
    pub advertise: String,
}

/// How often a link is looked at, and how long the other end may take to answer that: a replica that is frozen is found out within the
/// deadline of a sign-in.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// Longest that a question may take, whatever its asker says.
const LONGEST: Duration = Duration::from_secs(90);
/// Questions of one replica at a time.
const QUESTIONS: u32 = 1_024;
/// Largest list of header fields.
const MAX_HEADERS: u32 = 8 << 10;

/// Listens for questions of other replicas and lets `jobs` ask them, until `shutdown`. What it returns ends when the others have been told.
///
/// # Errors
/// If it cannot listen.
pub async fn start(
    settings: &ReplicaSettings,
    store: Arc<dyn Store>,
    jobs: &Jobs,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<JoinHandle<()>> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("replicas.listen: cannot listen on {}", settings.listen))?;
    let identity = Identity::make(clock.now()).context("cannot make a certificate for other replicas")?;
    let this = Replica { key: identity.key, address: settings.advertise.clone() };
    let roster = Arc::new(Roster::new(this, store, clock));
    let tls = tls::server(&identity)?;
    let known = listener::listen(listener, tls, Arc::clone(&roster), shutdown.clone());
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(QUESTIONS)
        .http2_max_header_list_size(MAX_HEADERS)
        .timeout(LONGEST)
        .add_service(
            ReplicaServiceServer::new(Service::new(jobs.clone(), Arc::clone(&roster)))
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
        );
    tokio::spawn(
        server.serve_with_incoming_shutdown(ReceiverStream::new(known), shutdown.clone().cancelled_owned()),
    );
    let peers = Arc::new(Peers::new(identity, Arc::clone(&roster)));
    jobs.reach_others(Arc::<Peers>::clone(&peers));
    tracing::info!("other replicas are answered on {}", settings.listen);
    Ok(tokio::spawn(roster::follow(roster, jobs.clone(), peers, shutdown)))
}
