//! Puts the control plane together, serves, and takes it apart: health first, then the routers and watchers, then the port.

use std::time::Duration;

use anyhow::{Context, Result};
use rollcall_proto::admin::v1::audit_service_server::AuditServiceServer;
use rollcall_proto::admin::v1::identity_router_service_server::IdentityRouterServiceServer;
use rollcall_proto::admin::v1::identity_source_service_server::IdentitySourceServiceServer;
use rollcall_proto::admin::v1::just_in_time_service_server::JustInTimeServiceServer;
use rollcall_proto::admin::v1::license_service_server::LicenseServiceServer;
use rollcall_proto::admin::v1::sync_job_service_server::SyncJobServiceServer;
use rollcall_proto::admin::v1::sync_schedule_service_server::SyncScheduleServiceServer;
use rollcall_proto::admin::v1::tenant_service_server::TenantServiceServer;
use rollcall_proto::admin::v1::user_service_server::UserServiceServer;
use rollcall_proto::admin::v1::webhook_service_server::WebhookServiceServer;
use rollcall_proto::router::v1::enrollment_service_server::EnrollmentServiceServer;
use rollcall_proto::router::v1::router_service_server::RouterServiceServer;
use rollcall_proto::{DESCRIPTORS, MAX_MESSAGE};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::{Arrivals, Certificates, database, listen};
use crate::api::admin::audit::Audit;
use crate::api::admin::context::AdminContext;
use crate::api::admin::identity_routers::IdentityRouters;
use crate::api::admin::identity_sources::IdentitySources;
use crate::api::admin::just_in_time::JustInTime;
use crate::api::admin::license::Licenses;
use crate::api::admin::schedules::SyncSchedules;
use crate::api::admin::sync_jobs::SyncJobs;
use crate::api::admin::tenants::Tenants;
use crate::api::admin::users::Users;
use crate::api::admin::webhooks::WebhookApi;
use crate::api::common::page::PageKey;
use crate::api::middleware::authorize::Authorizer;
use crate::api::middleware::deadline::DeadlineLayer;
use crate::api::middleware::denials::DenialLog;
use crate::api::middleware::gate::GateLayer;
use crate::api::middleware::limits::Limits;
use crate::api::middleware::rate_limit::{RateLimitLayer, RateLimiter};
use crate::api::middleware::suspensions::Suspensions;
use crate::api::middleware::tokens::Tokens;
use crate::api::router::RouterLink;
use crate::api::router::enrollment::Enrollment;
use crate::config::Config;
use crate::jobs::{Clock, Jobs};
use crate::outbound::Trust;
use crate::replicas;
use crate::store::Store;
use crate::webhooks::secret::{self, Sealer};
use crate::webhooks::send::{self, Sender};
use crate::webhooks::{WebhookSettings, Webhooks};

/// For the handshake, and for the first bytes of HTTP/2 behind it.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Largest message and headers of routers that enroll.
const ENROLLMENT_MESSAGE: usize = 16 << 10;
const ENROLLMENT_HEADERS: u32 = 8 << 10;
/// Largest message that administrators send: settings of a source are the largest.
const MAX_ADMIN_MESSAGE: usize = 1 << 20;
/// Largest list of header fields. A token is the largest field.
const MAX_HEADERS: u32 = 16 << 10;
/// Streams that a client has reset and the server has not got to yet (CVE-2023-44487), and that the server had to reset for a fault of
/// the client (CVE-2025-8671): beyond these the connection ends.
const MAX_RESETS: (usize, usize) = (20, 100);
/// Open files that are none of the connections: the database's, the log, handshakes.
const OTHER_FILES: usize = 512;
/// How long open calls may take to end once everyone was told.
const DRAIN: Duration = Duration::from_secs(8);
/// How long the last refusals may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start; the message says what to mend.
pub async fn run(config: Config) -> Result<()> {
    let store = tokio::select! {
        store = database::open(&config.database) => store.context("cannot open the database")?,
        told = told_to_stop() => return told,
    };
    let certificates = Certificates::load(&config.tls, config.authority.as_ref())?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;

    let shutdown = CancellationToken::new();
    let clock = Clock::system();
    let jobs = Jobs::start(store.clone(), config.sync.clone(), clock.clone(), shutdown.clone());
    let others = match &config.replicas {
        Some(settings) => {
            Some(replicas::start(settings, store.clone(), &jobs, clock.clone(), shutdown.clone()).await?)
        }
        None => None,
    };
    let issuing = certificates.issuing();
    let denials = DenialLog::start(store.clone(), clock.clone(), shutdown.clone());
    let enrollment = Enrollment::new(store.clone(), issuing.clone(), denials.clone(), clock.clone());
    let link = RouterLink::new(
        store.clone(),
        jobs.clone(),
        issuing.clone(),
        denials.clone(),
        clock.clone(),
        shutdown.clone(),
    );
    let authorizer = Authorizer {
        store: store.clone(),
        tokens: Tokens::start(&config.tokens, clock.clone(), &shutdown)?,
        suspensions: Suspensions::start(store.clone(), shutdown.clone()),
        denials: denials.clone(),
        clock: clock.clone(),
    };
    let sender = sender(&*store, &config.webhooks).await?;
    let webhooks = Webhooks::start(store.clone(), sender, clock.clone(), shutdown.clone());
    let page_key = page_key(&*store).await?;
    let api = AdminContext { page_key, store, jobs: jobs.clone(), webhooks, issuing, clock: clock.clone() };

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
        // Also ends whoever stays in the middle of a frame or of a list of header fields.
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(64)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS.0))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS.1))
        // One stalled upload must not hold up the others on its connection.
        .initial_stream_window_size(2 << 20)
        .initial_connection_window_size(8 << 20)
        .layer(GateLayer::new(authorizer))
        .layer(RateLimitLayer(RateLimiter::new(config.limits)))
        .layer(DeadlineLayer::new(DESCRIPTORS)?)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(router_service)
        .add_service(
            IdentitySourceServiceServer::new(IdentitySources::new(api.clone()))
                .max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            SyncJobServiceServer::new(SyncJobs::new(api.clone()))
                .max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            SyncScheduleServiceServer::new(SyncSchedules::new(api.clone()))
                .max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            UserServiceServer::new(Users::new(api.clone())).max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            JustInTimeServiceServer::new(JustInTime::new(api.clone(), denials.clone()))
                .max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            LicenseServiceServer::new(Licenses::new(api.clone()))
                .max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            TenantServiceServer::new(Tenants::new(api.clone())).max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            WebhookServiceServer::new(WebhookApi::new(api.clone()))
                .max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            AuditServiceServer::new(Audit::new(api.clone())).max_decoding_message_size(MAX_ADMIN_MESSAGE),
        )
        .add_service(
            IdentityRouterServiceServer::new(IdentityRouters::new(api))
                .max_decoding_message_size(MAX_ADMIN_MESSAGE),
        );

    tokio::spawn(certificates.clone().follow());
    let limits = within_open_files(config.limits);
    let Arrivals { known, enrolling } =
        listen(listener, certificates, HANDSHAKE, &limits, clock, shutdown.clone());
    let serving = tokio::spawn(
        server.serve_with_incoming_shutdown(ReceiverStream::new(known), shutdown.clone().cancelled_owned()),
    );
    // A server of its own: whoever is not known reaches nothing but this.
    let enrollment = Server::builder()
        .http2_max_header_list_size(ENROLLMENT_HEADERS)
        .max_concurrent_streams(1)
        .add_service(EnrollmentServiceServer::new(enrollment).max_decoding_message_size(ENROLLMENT_MESSAGE));
    tokio::spawn(
        enrollment
            .serve_with_incoming_shutdown(ReceiverStream::new(enrolling), shutdown.clone().cancelled_owned()),
    );
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
    // The database may be what is in trouble: nobody waits for it here.
    let _ = tokio::time::timeout(LAST_WORDS, jobs.flush()).await;
    let _ = tokio::time::timeout(LAST_WORDS, denials.flush()).await;
    if let Some(others) = others {
        let _ = tokio::time::timeout(LAST_WORDS, others).await;
    }
    Ok(())
}

/// No more connections than the process may have open files: who runs out of them serves nobody.
fn within_open_files(limits: Limits) -> Limits {
    // `Max open files  soft  hard  files`
    let system = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = system.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files =
        line.and_then(|line| line.split_whitespace().next()).and_then(|soft| soft.parse::<usize>().ok());
    let most = files.map_or(usize::MAX, |files| files.saturating_sub(OTHER_FILES).max(files / 2));
    if most < limits.connections {
        tracing::warn!(
            connections = most,
            "the system allows few open files, and so fewer connections than configured"
        );
    }
    Limits { connections: limits.connections.min(most), ..limits }
}

/// The key of page tokens: made at the first start, the same for every replica.
async fn page_key(store: &dyn Store) -> Result<PageKey> {
    let mut fresh = [0; 32];
    aws_lc_rs::rand::fill(&mut fresh)?;
    let key = store.secret(PageKey::NAME, fresh).await.context("cannot read the key of page tokens")?;
    Ok(PageKey::new(&key)?)
}

/// What sends messages to webhooks. Their secrets are sealed with the configured key, or with one that is made at the first start.
async fn sender(store: &dyn Store, settings: &WebhookSettings) -> Result<Sender> {
    let mut fresh = [0; 32];
    aws_lc_rs::rand::fill(&mut fresh)?;
    let kept = store.secret(Sealer::NAME, fresh).await.context("cannot read the key of webhook secrets")?;
    let file = settings.key.as_deref().map(secret::read_key).transpose()?;
    let trust = match Trust::new(settings.ca.as_deref(), true) {
        Ok(trust) => trust,
        Err(error) if settings.ca.is_some() => return Err(error.context("webhooks.ca")),
        Err(error) => {
            tracing::warn!("no webhook can be delivered: {error:#} (webhooks.ca), or install the system's");
            Trust::nobody()?
        }
    };
    let sealer = Sealer::new(&kept, file.as_ref())?;
    let networks = std::sync::Arc::new(settings.networks());
    Ok(Sender { networks, trust, sealer, resolve: send::system() })
}

async fn told_to_stop() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
