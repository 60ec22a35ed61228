//! Puts the control plane together, serves, and takes it apart: health first, then the routers and
//! watchers, then the port.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::replica_codec::ROUTER_CODEC;
use super::services::{Services, serve_enrolling, serve_known};
use super::{AcceptedConnections, Certificates, database, keys, listen, open_files};
use crate::api::admin::context::AdminContext;
use crate::api::middleware::authorize::Authorizer;
use crate::api::middleware::denials::DenialLog;
use crate::api::middleware::suspensions::Suspensions;
use crate::api::middleware::tokens::Tokens;
use crate::api::router::RouterLink;
use crate::api::router::enrollment::Enrollment;
use crate::ca::CertificateIssuer;
use crate::clock::Clock;
use crate::config::Config;
use crate::jobs::Jobs;
use crate::replicas;
use crate::store::Store;
use crate::webhooks::Webhooks;

/// For the handshake, and for the first bytes of HTTP/2 behind it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open calls may take to end once everyone was told.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the last sign-ins, the last denials and the farewell to replicas may each take to be
/// written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start; the message says what to mend.
pub async fn run(config: Config) -> Result<()> {
    // Registered once: a signal that comes between two waits is not lost.
    let mut signals = ShutdownSignals::register()?;
    let store = tokio::select! {
        store = database::open_when_ready(&config.database) => store.context("cannot open the database")?,
        () = signals.received() => return Ok(()),
    };
    let certificates = Certificates::load(&config.tls, config.authority.as_ref())?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let address = listener.local_addr()?;

    let (shutdown, clock) = (CancellationToken::new(), Clock::system());
    let parts = start(&config, store, certificates.issuer(), clock.clone(), &shutdown).await?;
    tokio::spawn(certificates.clone().reload_on_change());
    let limits = open_files::within_open_files(config.limits);
    let AcceptedConnections { known, enrolling } =
        listen(listener, certificates, HANDSHAKE_TIMEOUT, &limits, clock, shutdown.clone());
    let Parts { services, enrollment, jobs, replicas } = parts;
    let denials = services.denials.clone();
    let (health, serving) = serve_known(services, config.limits, known, shutdown.clone())?;
    serve_enrolling(enrollment, enrolling, shutdown.clone());
    tracing::info!("listening on {address}");

    signals.received().await;
    tracing::info!("shutting down");
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    shutdown.cancel();
    // A connection that never says anything would be waited for for ever.
    match tokio::time::timeout(DRAIN_TIMEOUT, serving).await {
        Ok(served) => served??,
        Err(_) => tracing::info!("some connections did not end in time"),
    }
    // The database may be what is in trouble: it is not waited for here.
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, jobs.flush()).await;
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, denials.flush()).await;
    if let Some(replicas) = replicas {
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, replicas).await;
    }
    Ok(())
}

/// What serves, and what runs behind it.
struct Parts {
    services: Services,
    enrollment: Enrollment,
    jobs: Jobs,
    /// Ends when other replicas have been told that this one is gone.
    replicas: Option<JoinHandle<()>>,
}

/// Starts everything that works in the background, and makes the services over it.
async fn start(
    config: &Config,
    store: Arc<Store>,
    issuer: CertificateIssuer,
    clock: Clock,
    shutdown: &CancellationToken,
) -> Result<Parts> {
    let jobs = Jobs::start(store.clone(), config.sync.clone(), clock.clone(), shutdown.clone());
    let replicas = match &config.replicas {
        Some(settings) => Some(
            replicas::start(settings, store.clone(), &jobs, ROUTER_CODEC, clock.clone(), shutdown.clone())
                .await?,
        ),
        None => None,
    };
    let denials = DenialLog::start(store.clone(), clock.clone(), shutdown.clone());
    let enrollment = Enrollment::new(store.clone(), issuer.clone(), denials.clone(), clock.clone());
    let link = RouterLink::new(
        store.clone(),
        jobs.clone(),
        issuer.clone(),
        denials.clone(),
        clock.clone(),
        shutdown.clone(),
    );
    let authorizer = Authorizer {
        store: store.clone(),
        tokens: Tokens::start(&config.tokens, clock.clone(), shutdown)?,
        suspensions: Suspensions::start(store.clone(), shutdown.clone()),
        denials: denials.clone(),
        clock: clock.clone(),
    };
    let sender = keys::webhook_sender(&store, &config.webhooks).await?;
    let webhooks = Webhooks::start(store.clone(), sender, clock.clone(), shutdown.clone());
    let page_key = keys::page_key(&store).await?;
    let api = AdminContext { page_key, store, jobs: jobs.clone(), webhooks, issuer, clock };
    let services = Services { api, link, denials, authorizer };
    Ok(Parts { services, enrollment, jobs, replicas })
}

/// SIGTERM and SIGINT.
struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignals {
    fn register() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them, also if it came before.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
