//! One session: Hello, heartbeats, orders in, answers out. Ends with an error when the control plane is silent for too long; what was
//! being uploaded ends with it and is ordered again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_proto::MAX_MESSAGE;
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{
    Heartbeat, Hello, SessionRequest, SessionResponse, session_request, session_response,
};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

use super::attempts::Attempts;
use super::connect::{Connection, connect};
use super::orders::Orders;
use super::refusal::Refusal;
use super::{renewal, witness};
use crate::config::Config;
use crate::identity::{Facts, State};

const WELCOME: Duration = Duration::from_secs(10);
/// Heartbeat intervals without a word after which the control plane counts as gone.
const SILENCE: u32 = 3;
/// The shortest and the longest interval of heartbeats, whatever Welcome says.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// The longest that a router stays away because it was told to.
const LONGEST_DRAIN: Duration = Duration::from_secs(60);

/// How a session ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The router shuts down.
    Shutdown,
    /// The control plane asks to connect again after this long.
    Drained(Duration),
}

/// An accepted session.
pub(crate) struct Welcomed {
    pub(crate) client: RouterServiceClient<Channel>,
    pub(crate) sender: mpsc::Sender<SessionRequest>,
    pub(crate) messages: Streaming<SessionResponse>,
    pub(crate) interval: Duration,
    /// The chain that the control plane showed.
    pub(crate) shown: Vec<CertificateDer<'static>>,
    /// What this router showed.
    pub(crate) facts: Facts,
    /// The audit trail does not have what the router saw of it.
    pub(crate) forked: bool,
}

/// Connects and says Hello; with `check` only to hear whether that is accepted, beside a session that may be there.
pub(crate) async fn hello(config: &Config, check: bool) -> Result<Welcomed> {
    let state = State::open(&config.state)?;
    // Until the control plane has answered: what is shown must not become the last but one on its way.
    let _shown = state.show(renewal::LOCK).await?;
    let Connection { channel, shown, facts } = connect(config).await?;
    let mut client = RouterServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let (sender, receiver) = mpsc::channel(16);
    let audit_head = witness::kept(&state).unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "what this router saw of the audit trail is lost");
        None
    });
    let hello =
        Hello { version: env!("CARGO_PKG_VERSION").to_owned(), check, audit_head: audit_head.clone() };
    sender.send(request(session_request::Message::Hello(hello))).await?;
    let welcomed = async {
        let mut messages = client.session(ReceiverStream::new(receiver)).await?.into_inner();
        let first = messages.message().await?;
        Ok::<_, tonic::Status>((messages, first))
    };
    let (messages, first) = tokio::time::timeout(WELCOME, welcomed)
        .await
        .context("the control plane did not answer in time")?
        .map_err(|status| anyhow::Error::from(Refusal::of(&status).showing(&facts)))
        .context("the control plane refuses this router")?;
    let Some(session_response::Message::Welcome(welcome)) = first.and_then(|first| first.message) else {
        bail!("the control plane answered something else than Welcome");
    };
    if !check {
        witness::take(&state, audit_head.as_ref(), &welcome)?;
    }
    let interval = welcome.heartbeat_interval.and_then(duration);
    let interval = interval.unwrap_or(Duration::from_secs(15)).clamp(HEARTBEAT.0, HEARTBEAT.1);
    let forked = welcome.audit_forked;
    Ok(Welcomed { client, sender, messages, interval, shown, facts, forked })
}

/// A duration, if it is one. The crate's own conversion panics at the ends of its numbers.
fn duration(given: prost_types::Duration) -> Option<Duration> {
    Some(Duration::new(u64::try_from(given.seconds).ok()?, u32::try_from(given.nanos).ok()?.min(999_999_999)))
}

fn request(message: session_request::Message) -> SessionRequest {
    SessionRequest { message: Some(message) }
}

/// Runs one session to its end.
pub(super) async fn run(
    config: Arc<Config>,
    attempts: Arc<Attempts>,
    shutdown: CancellationToken,
) -> Result<Ended> {
    let welcomed = tokio::select! {
        welcomed = hello(&config, false) => welcomed?,
        () = shutdown.cancelled() => return Ok(Ended::Shutdown),
    };
    tracing::info!("connected to the control plane");
    let Welcomed { client, sender, mut messages, interval, facts, .. } = welcomed;
    let renewals = Arc::clone(&config);
    let mut renewal = Box::pin(renewal::keep(&renewals, client.clone(), facts.clone()));
    // Dropping the orders cancels whatever they started.
    let mut orders = Orders::new(config, client, sender.clone(), shutdown.child_token(), attempts);
    let mut beat = tokio::time::interval(interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sequence, mut heard) = (0, Instant::now());
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(Ended::Shutdown),
            never = &mut renewal => match never {},
            _ = beat.tick() => {
                if heard.elapsed() > interval * SILENCE {
                    bail!("the control plane is silent");
                }
                sequence += 1;
                let heartbeat = request(session_request::Message::Heartbeat(Heartbeat { sequence }));
                sender.send(heartbeat).await.context("the session is lost")?;
            }
            message = messages.message() => {
                heard = Instant::now();
                let message = message.map_err(|status| Refusal::of(&status).showing(&facts)).context("the session is lost")?;
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
                        let after = drain.reconnect_after.and_then(duration);
                        return Ok(Ended::Drained(after.unwrap_or_default().min(LONGEST_DRAIN)));
                    }
                }
            }
        }
    }
}
