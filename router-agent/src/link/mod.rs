//! The link to the control plane: one outbound connection, kept up for ever. `connect` makes it, `session` takes orders, `upload` carries
//! one out, `batches` cuts records into batches, `backoff` says how long to wait before the next try.

mod backoff;
mod batches;
pub(crate) mod connect;
mod fetch;
mod orders;
pub(crate) mod session;
mod upload;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use session::Ended;

/// A session that lasted so long was a good one: the next try starts quickly again.
const GOOD_SESSION: Duration = Duration::from_secs(30);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If signals cannot be received.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let keeper = tokio::spawn(keep_connected(Arc::new(config), shutdown.clone()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("shutting down");
    shutdown.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(5), keeper).await;
    Ok(())
}

async fn keep_connected(config: Arc<Config>, shutdown: CancellationToken) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        // In a task of its own: a panic in there is a failed session, not a dead router.
        let session = tokio::spawn(session::run(Arc::clone(&config), shutdown.child_token()));
        let wait = match session.await {
            Ok(Ok(Ended::Shutdown)) => return,
            Ok(Ok(Ended::Drained(after))) => {
                failures = 0;
                tracing::info!("the control plane is about to go; connecting again");
                after + backoff::delay(0, rand::random())
            }
            Ok(Err(error)) => {
                failures = if began.elapsed() > GOOD_SESSION { 0 } else { failures + 1 };
                let delay = backoff::delay(failures, rand::random());
                tracing::warn!(error = format!("{error:#}"), retry_in = ?delay, "not connected to the control plane");
                delay
            }
            Err(panic) => {
                failures += 1;
                tracing::error!(%panic, "the session panicked");
                backoff::delay(failures, rand::random())
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
