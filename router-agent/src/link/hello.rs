//! Opens a session: connects, says Hello, and reads Welcome.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rollcall_proto::MAX_MESSAGE;
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{Hello, SessionRequest, SessionResponse, session_request, session_response};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::audit_head;
use super::connect::{Connection, connect};
use super::refusal::Refusal;
use crate::config::Config;
use crate::identity::{Facts, IDENTITY_LOCK_TIMEOUT, StateFolder};

const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// Where Welcome names none.
const DEFAULT_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Whatever Welcome says.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
/// Whatever Welcome says.
const MAX_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60);

/// An accepted session.
pub(crate) struct AcceptedSession {
    pub(crate) client: RouterServiceClient<Channel>,
    pub(crate) sender: mpsc::Sender<SessionRequest>,
    pub(crate) messages: Streaming<SessionResponse>,
    pub(crate) heartbeat_interval: Duration,
    /// The chain that the control plane showed.
    pub(crate) server_chain: Vec<CertificateDer<'static>>,
    /// The certificate that this router showed.
    pub(crate) facts: Facts,
    /// The audit trail does not have what the router saw of it.
    pub(crate) audit_forked: bool,
}

/// Connects and says Hello; with `check` only to hear whether that is accepted, beside a session
/// that may be there.
pub(crate) async fn hello(config: &Config, check: bool) -> Result<AcceptedSession> {
    let state = StateFolder::open(&config.state)?;
    // Until the control plane has answered: what is shown must not become the last but one on its
    // way.
    let _lock = state.lock_for_showing(IDENTITY_LOCK_TIMEOUT).await?;
    let Connection { channel, server_chain, facts } = connect(config).await?;
    let mut client = RouterServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let (sender, receiver) = mpsc::channel(16);
    let audit_head = audit_head::load(&state).unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "what this router saw of the audit trail is lost");
        None
    });
    let hello =
        Hello { version: env!("CARGO_PKG_VERSION").to_owned(), check, audit_head: audit_head.clone() };
    sender.send(to_request(session_request::Message::Hello(hello))).await?;
    let answered = async {
        let mut messages = client.session(ReceiverStream::new(receiver)).await?.into_inner();
        let first = messages.message().await?;
        Ok::<_, tonic::Status>((messages, first))
    };
    let (messages, first) = tokio::time::timeout(WELCOME_TIMEOUT, answered)
        .await
        .context("the control plane did not answer in time")?
        .map_err(|status| anyhow::Error::from(Refusal::from_status(&status).for_identity(&facts)))
        .context("the control plane refuses this router")?;
    let Some(session_response::Message::Welcome(welcome)) = first.and_then(|first| first.message) else {
        bail!("the control plane answered something else than Welcome");
    };
    if !check {
        audit_head::record_welcome(&state, audit_head.as_ref(), &welcome)?;
    }
    let interval = welcome.heartbeat_interval.and_then(to_duration).unwrap_or(DEFAULT_HEARTBEAT_INTERVAL);
    let heartbeat_interval = interval.clamp(MIN_HEARTBEAT_INTERVAL, MAX_HEARTBEAT_INTERVAL);
    let audit_forked = welcome.audit_forked;
    Ok(AcceptedSession { client, sender, messages, heartbeat_interval, server_chain, facts, audit_forked })
}

/// A duration, if it is one. The crate's own conversion panics at the ends of its numbers.
pub(super) fn to_duration(given: prost_types::Duration) -> Option<Duration> {
    Some(Duration::new(u64::try_from(given.seconds).ok()?, u32::try_from(given.nanos).ok()?.min(999_999_999)))
}

pub(super) fn to_request(message: session_request::Message) -> SessionRequest {
    SessionRequest { message: Some(message) }
}
