//! One session: heartbeats, orders in, answers out. Ends with an error when the control plane is
//! silent for too long; what was being uploaded ends with it and is ordered again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_proto::router::v1::{Heartbeat, session_request, session_response};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::hello::{AcceptedSession, hello, to_duration, to_request};
use super::orders::{Orders, PasswordAttempts};
use super::refusal::Refusal;
use super::renewal;
use crate::config::Config;

/// Heartbeat intervals without a message after which the control plane counts as gone.
const MAX_SILENT_INTERVALS: u32 = 3;
/// The longest that a router stays away because it was told to.
const MAX_DRAIN_WAIT: Duration = Duration::from_secs(60);

/// How a session ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The router shuts down.
    Shutdown,
    /// The control plane asks to connect again after this long.
    Drained(Duration),
}

/// Runs one session to its end.
pub(super) async fn run(
    config: Arc<Config>,
    attempts: Arc<PasswordAttempts>,
    shutdown: CancellationToken,
) -> Result<SessionEnd> {
    let accepted = tokio::select! {
        accepted = hello(&config, false) => accepted?,
        () = shutdown.cancelled() => return Ok(SessionEnd::Shutdown),
    };
    tracing::info!("connected to the control plane");
    let AcceptedSession { client, sender, mut messages, heartbeat_interval, facts, .. } = accepted;
    let renewals = Arc::clone(&config);
    let mut renewal = Box::pin(renewal::renew_when_due(&renewals, client.clone(), facts.clone()));
    // Dropping the orders cancels whatever they started.
    let mut orders = Orders::new(config, client, sender.clone(), shutdown.child_token(), attempts);
    let mut heartbeats = tokio::time::interval(heartbeat_interval);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sequence, mut last_message) = (0, Instant::now());
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(SessionEnd::Shutdown),
            never = &mut renewal => match never {},
            _ = heartbeats.tick() => {
                if last_message.elapsed() > heartbeat_interval * MAX_SILENT_INTERVALS {
                    bail!("the control plane is silent");
                }
                sequence += 1;
                let heartbeat = to_request(session_request::Message::Heartbeat(Heartbeat { sequence }));
                sender.send(heartbeat).await.context("the session is lost")?;
            }
            message = messages.message() => {
                last_message = Instant::now();
                let message = message.map_err(|status| Refusal::from_status(&status).for_identity(&facts)).context("the session is lost")?;
                let Some(message) = message else { bail!("the control plane ended the session") };
                match message.message {
                    None | Some(session_response::Message::Welcome(_) | session_response::Message::Heartbeat(_)) => {}
                    Some(session_response::Message::SyncOrder(order)) => orders.sync(order),
                    Some(session_response::Message::SyncCancel(cancel)) => orders.cancel(&cancel.sync_job, cancel.epoch),
                    Some(session_response::Message::TestOrder(order)) => orders.test(order),
                    Some(session_response::Message::LookupOrder(order)) => orders.look_up(order),
                    Some(session_response::Message::FetchOrder(order)) => orders.fetch(order),
                    Some(session_response::Message::VerifyOrder(order)) => orders.verify(order),
                    Some(session_response::Message::Drain(drain)) => {
                        let after = drain.reconnect_after.and_then(to_duration);
                        return Ok(SessionEnd::Drained(after.unwrap_or_default().min(MAX_DRAIN_WAIT)));
                    }
                }
            }
        }
    }
}
