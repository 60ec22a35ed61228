//! Puts the control plane together, serves, and takes it apart: health first, then the routers and watchers, then the port.

use std::time::Duration;

use anyhow::{Context, Result};
use rollcall_proto::admin::v1::identity_router_service_server::IdentityRouterServiceServer;
use rollcall_proto::admin::v1::identity_source_service_server::IdentitySourceServiceServer;
use rollcall_proto::admin::v1::just_in_time_service_server::JustInTimeServiceServer;
use rollcall_proto::admin::v1::license_service_server::LicenseServiceServer;
use rollcall_proto::admin::v1::sync_job_service_server::SyncJobServiceServer;
use rollcall_proto::admin::v1::sync_schedule_service_server::SyncScheduleServiceServer;
use rollcall_proto::admin::v1::user_service_server::UserServiceServer;
use rollcall_proto::router::v1::router_service_server::RouterServiceServer;
use rollcall_proto::{DESCRIPTORS, MAX_MESSAGE};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::{Certificates, database, listen};
use crate::api::Api;
use crate::api::gate::GateLayer;
use crate::api::identity_routers::IdentityRouters;
use crate::api::identity_sources::IdentitySources;
use crate::api::just_in_time::JustInTime;
use crate::api::license::Licenses;
use crate::api::router_link::RouterLink;
use crate::api::schedules::SyncSchedules;
use crate::api::sync_jobs::SyncJobs;
use crate::api::users::Users;
use crate::config::Config;
use crate::jobs::{Clock, Jobs};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long open calls may take to end once everyone was told.
const DRAIN: Duration = Duration::from_secs(8);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start; the message says what to mend.
pub async fn run(config: Config) -> Result<()> {
    let store = tokio::select! {
        store = database::open(&config.database) => store.context("cannot open the database")?,
        told = told_to_stop() => return told,
    };
    let certificates = Certificates::load(&config.tls)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;

    let shutdown = CancellationToken::new();
    let clock = Clock::system();
    let jobs = Jobs::start(store.clone(), config.sync.clone(), clock.clone(), shutdown.clone());
    let link = RouterLink::new(store.clone(), jobs.clone(), clock.clone(), shutdown.clone());
    let api = Api { store, jobs, clock: clock.clone() };

    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let router_service = RouterServiceServer::new(link)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(64)
        // One stalled upload must not hold up the others on its connection.
        .initial_stream_window_size(2 << 20)
        .initial_connection_window_size(16 << 20)
        .layer(GateLayer)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(router_service)
        .add_service(IdentitySourceServiceServer::new(IdentitySources::new(api.clone())))
        .add_service(SyncJobServiceServer::new(SyncJobs::new(api.clone())))
        .add_service(SyncScheduleServiceServer::new(SyncSchedules::new(api.clone())))
        .add_service(UserServiceServer::new(Users::new(api.clone())))
        .add_service(JustInTimeServiceServer::new(JustInTime::new(api.clone())))
        .add_service(LicenseServiceServer::new(Licenses::new(api.clone())))
        .add_service(IdentityRouterServiceServer::new(IdentityRouters::new(api)));

    tokio::spawn(certificates.clone().follow(config.tls.clone()));
    let connections = listen(listener, certificates, HANDSHAKE, clock, shutdown.clone());
    let serving =
        tokio::spawn(server.serve_with_incoming_shutdown(
            ReceiverStream::new(connections),
            shutdown.clone().cancelled_owned(),
        ));
    tracing::info!("listening on {address}");

    told_to_stop().await?;
    tracing::info!("shutting down");
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    shutdown.cancel();
    // A connection that never says anything would be waited for for ever.
    match tokio::time::timeout(DRAIN, serving).await {
        Ok(served) => served??,
        Err(_) => tracing::info!("some connections did not end in time"),
    }
    Ok(())
}

async fn told_to_stop() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
