//! Keeps a session with the control plane up until the router shuts down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::expiry_alarm::ExpiryAlarm;
use super::orders::PasswordAttempts;
use super::refusal::{Refusal, RefusalReason};
use super::session::{self, SessionEnd};
use super::{backoff, renewal, transport};
use crate::clock;
use crate::config::Config;
use crate::identity::{self, StateFolder};

/// A session that lasted so long was a good one: the next try starts quickly again.
const GOOD_SESSION: Duration = Duration::from_secs(30);
/// How often a router asks again that only an administrator can let in.
const DENIED_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The same where each question counts as an attempt to guess.
const UNENROLLED_RETRY_INTERVAL: Duration = Duration::from_secs(300);
/// How soon a new identity is noticed while waiting.
const IDENTITY_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If another router runs with the same state folder, or signals cannot be received.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let _claim = StateFolder::open(&config.state)?.claim()?;
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
    let (mut alarm, mut retries) = (ExpiryAlarm::default(), Retries::default());
    // Of all sessions: a control plane decides when one ends.
    let attempts = Arc::new(PasswordAttempts::default());
    loop {
        let began = Instant::now();
        // In a task of its own: a panic in there is a failed session, not a dead router.
        let session =
            tokio::spawn(connected(Arc::clone(&config), Arc::clone(&attempts), shutdown.child_token()));
        let ended = session.await;
        if began.elapsed() > GOOD_SESSION {
            retries = Retries::default();
        }
        let Some(Wait { delay, refused_identity }) = retries.wait_after(ended) else { return };
        if let Ok(Some(identity)) = StateFolder::open(&config.state).and_then(|state| identity::load(&state))
        {
            alarm.check(&identity.facts, clock::now());
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
            () = new_identity(&config, refused_identity) => tracing::info!("the router has a new identity"),
        }
    }
}

/// What came before the next try.
#[derive(Default)]
struct Retries {
    /// Failures in a row.
    failures: u32,
    /// Why the control plane does not let this router in, if it was said in the log.
    reported: Option<RefusalReason>,
}

/// The wait before the next try.
struct Wait {
    delay: Duration,
    /// The key of an identity that only an administrator can help.
    refused_identity: Option<String>,
}

impl Retries {
    /// The wait after a session that ended like this; none if the router shuts down.
    fn wait_after(&mut self, ended: Result<anyhow::Result<SessionEnd>, JoinError>) -> Option<Wait> {
        let delay = match ended {
            Ok(Ok(SessionEnd::Shutdown)) => return None,
            Ok(Ok(SessionEnd::Drained(after))) => {
                self.failures = 0;
                tracing::info!("the control plane is about to go; connecting again");
                after + backoff::delay(0, rand::random())
            }
            Ok(Err(error)) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if refusal.needs_administrator() => {
                    if self.reported != Some(refusal.reason) {
                        tracing::error!(error = format!("{error:#}"), "{}", what_to_do(refusal.reason));
                    }
                    self.reported = Some(refusal.reason);
                    let delay = denied_delay(refusal.reason, rand::random());
                    return Some(Wait { delay, refused_identity: Some(refusal.fingerprint.clone()) });
                }
                _ => {
                    let delay = self.next_delay();
                    tracing::warn!(error = format!("{error:#}"), retry_in = ?delay, "not connected to the control plane");
                    delay
                }
            },
            Err(panic) => {
                let delay = self.next_delay();
                tracing::error!(%panic, "the session panicked");
                delay
            }
        };
        Some(Wait { delay, refused_identity: None })
    }

    /// The wait after one more failure.
    fn next_delay(&mut self) -> Duration {
        self.failures += 1;
        backoff::delay(self.failures, rand::random())
    }
}

/// A session to its end. A certificate that has expired is exchanged for a new one first.
async fn connected(
    config: Arc<Config>,
    attempts: Arc<PasswordAttempts>,
    shutdown: CancellationToken,
) -> anyhow::Result<SessionEnd> {
    let error = match session::run(Arc::clone(&config), Arc::clone(&attempts), shutdown.clone()).await {
        Err(error) => error,
        ended => return ended,
    };
    let identity = identity::load(&StateFolder::open(&config.state)?)?;
    match identity {
        Some(identity) if renewal::is_expiry(&error, &identity.facts.validity, clock::now()) => {}
        _ => return Err(error),
    }
    tracing::warn!("the router's certificate has expired; recovering with its key");
    let facts = renewal::recover(&config).await.context("the expired certificate is not replaced")?;
    tracing::info!(
        until = transport::format_time(facts.validity.not_after),
        "the router has a valid certificate again"
    );
    session::run(config, attempts, shutdown).await
}

fn what_to_do(kind: RefusalReason) -> &'static str {
    match kind {
        RefusalReason::Revoked => {
            "an administrator has revoked this router for ever: a new one needs another name, a registration code for it, and router-agent \
             enroll --replace"
        }
        RefusalReason::Suspended => {
            "this router is suspended: if two machines have its identity, stop the other one; then an administrator makes a new registration \
             code, and router-agent enroll --replace takes it"
        }
        RefusalReason::TenantSuspended => {
            "the tenant is suspended: the router goes on by itself once the operator of the service has lifted that"
        }
        RefusalReason::Replaced => {
            "this router has enrolled anew since: if that was on another machine, stop this one; if here, the new identity is taken at once"
        }
        _ => {
            "this router is let in no more: an administrator makes a new registration code, and router-agent enroll --replace takes it"
        }
    }
}

/// The wait before a router asks again that only an administrator can let in; `random` is any
/// number.
fn denied_delay(kind: RefusalReason, random: u32) -> Duration {
    let wait =
        if kind == RefusalReason::Unenrolled { UNENROLLED_RETRY_INTERVAL } else { DENIED_RETRY_INTERVAL };
    wait.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

/// Waits until there is another identity than one that was refused.
async fn new_identity(config: &Config, refused: Option<String>) {
    let Some(refused) = refused else { return std::future::pending().await };
    loop {
        tokio::time::sleep(IDENTITY_POLL_INTERVAL).await;
        let identity = StateFolder::open(&config.state).and_then(|state| identity::load(&state));
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
            let wait = denied_delay(RefusalReason::Revoked, random).as_secs();
            assert!((53..=67).contains(&wait), "{wait}");
            assert!(denied_delay(RefusalReason::Unenrolled, random) > Duration::from_secs(240));
        }
    }
}
