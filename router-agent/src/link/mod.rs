//! The link to the control plane: one outbound connection, kept up for ever. `wire` and `connect` make it, `session` takes orders, `upload`
//! carries one out, `batches` cuts records into batches, `backoff` says how long to wait before the next try. `door` is where a router without
//! a valid certificate gets one, `renewal` keeps it valid, `refusal` reads what the control plane answers instead, and `witness` remembers the
//! newest event of its audit trail, `limits` is what may be ordered at most, `trail` what
//! the log says of orders that were refused. `fetch` carries out orders for one person, `verify` those for a password, and `attempts` counts the
//! passwords that were tried in vain.

mod attempts;
mod backoff;
mod batches;
pub(crate) mod connect;
pub(crate) mod door;
mod fetch;
mod limits;
mod orders;
pub(crate) mod refusal;
pub(crate) mod renewal;
pub(crate) mod session;
mod trail;
mod upload;
mod verify;
pub(crate) mod wire;
mod witness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Config;
use crate::identity::{self, State};
use attempts::Attempts;
use refusal::{Kind, Refusal};
use renewal::Alarm;
use session::Ended;

/// A session that lasted so long was a good one: the next try starts quickly again.
const GOOD_SESSION: Duration = Duration::from_secs(30);
/// How often a router asks again that only an administrator can let in.
const BARRED: Duration = Duration::from_secs(60);
/// The same where each question counts as an attempt to guess.
const UNENROLLED: Duration = Duration::from_secs(300);
/// How soon a new identity is noticed while waiting.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If another router runs with the same state folder, or signals cannot be received.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let _claim = State::open(&config.state)?.claim()?;
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
    let (mut failures, mut alarm, mut barred) = (0, Alarm::default(), None);
    // Of all sessions: a control plane decides when one ends.
    let attempts = Arc::new(Attempts::default());
    loop {
        let began = Instant::now();
        // In a task of its own: a panic in there is a failed session, not a dead router.
        let session =
            tokio::spawn(connected(Arc::clone(&config), Arc::clone(&attempts), shutdown.child_token()));
        let ended = session.await;
        if began.elapsed() > GOOD_SESSION {
            (failures, barred) = (0, None);
        }
        let mut refused = None;
        let wait = match ended {
            Ok(Ok(Ended::Shutdown)) => return,
            Ok(Ok(Ended::Drained(after))) => {
                failures = 0;
                tracing::info!("the control plane is about to go; connecting again");
                after + backoff::delay(0, rand::random())
            }
            Ok(Err(error)) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if refusal.needs_a_person() => {
                    if barred != Some(refusal.kind) {
                        tracing::error!(error = format!("{error:#}"), "{}", what_to_do(refusal.kind));
                    }
                    (barred, refused) = (Some(refusal.kind), Some(refusal.shown.clone()));
                    slowly(refusal.kind, rand::random())
                }
                _ => {
                    failures += 1;
                    let delay = backoff::delay(failures, rand::random());
                    tracing::warn!(error = format!("{error:#}"), retry_in = ?delay, "not connected to the control plane");
                    delay
                }
            },
            Err(panic) => {
                failures += 1;
                tracing::error!(%panic, "the session panicked");
                backoff::delay(failures, rand::random())
            }
        };
        if let Ok(Some(identity)) = State::open(&config.state).and_then(|state| identity::load(&state)) {
            alarm.look(&identity.facts, clock::now());
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            () = another_identity(&config, refused) => tracing::info!("the router has a new identity"),
        }
    }
}

/// A session to its end. A certificate that has expired is exchanged for a new one first.
async fn connected(
    config: Arc<Config>,
    attempts: Arc<Attempts>,
    shutdown: CancellationToken,
) -> anyhow::Result<Ended> {
    let error = match session::run(Arc::clone(&config), Arc::clone(&attempts), shutdown.clone()).await {
        Err(error) => error,
        ended => return ended,
    };
    let identity = identity::load(&State::open(&config.state)?)?;
    match identity {
        Some(identity) if renewal::is_expiry(&error, &identity.facts.life, clock::now()) => {}
        _ => return Err(error),
    }
    tracing::warn!("the router's certificate has expired; recovering with its key");
    let facts = renewal::recover(&config).await.context("the expired certificate is not replaced")?;
    tracing::info!(until = wire::text(facts.life.not_after), "the router has a valid certificate again");
    session::run(config, attempts, shutdown).await
}

fn what_to_do(kind: Kind) -> &'static str {
    match kind {
        Kind::Revoked => {
            "an administrator has revoked this router for ever: a new one needs another name, a registration code for it, and router-agent \
             enroll --replace"
        }
        Kind::Suspended => {
            "this router is suspended: if two machines have its identity, stop the other one; then an administrator makes a new registration \
             code, and router-agent enroll --replace takes it"
        }
        Kind::TenantSuspended => {
            "the tenant is suspended: the router goes on by itself once the operator of the service has lifted that"
        }
        Kind::Replaced => {
            "this router has enrolled anew since: if that was on another machine, stop this one; if here, the new identity is taken at once"
        }
        _ => {
            "this router is let in no more: an administrator makes a new registration code, and router-agent enroll --replace takes it"
        }
    }
}

/// The wait before a router asks again that only an administrator can let in; `random` is any number.
fn slowly(kind: Kind, random: u32) -> Duration {
    let wait = if kind == Kind::Unenrolled { UNENROLLED } else { BARRED };
    wait.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

/// Waits until there is another identity than one that was refused.
async fn another_identity(config: &Config, refused: Option<String>) {
    let Some(refused) = refused else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        let identity = State::open(&config.state).and_then(|state| identity::load(&state));
        if identity.is_ok_and(|found| found.is_some_and(|found| found.facts.fingerprint != refused)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_barred_asks_about_once_a_minute_and_who_could_seem_to_guess_less_often() {
        for random in [0, u32::MAX / 2, u32::MAX] {
            let wait = slowly(Kind::Revoked, random).as_secs();
            assert!((53..=67).contains(&wait), "{wait}");
            assert!(slowly(Kind::Unenrolled, random) > Duration::from_secs(240));
        }
    }
}
