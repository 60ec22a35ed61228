//! The session of one router: orders to it, heartbeats and answers from it. Ends when either side
//! is silent for too long, when the same router connects again, or when this replica shuts down.

use std::time::Duration;

use rollcall_proto::router::v1::{
    Drain, Heartbeat, SessionRequest, SessionResponse, Welcome, session_request, session_response,
    verify_result,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::link::{RouterIdentity, RouterLink};
use super::{audit_head, convert};
use crate::api::common::convert::duration_to_proto;
use crate::api::common::status;
use crate::jobs::{Order, ROUTER_SILENCE, Session};
use crate::model::{Event, EventType, FailureReason, Trail, names, spelled};

/// How often routers are asked to send a heartbeat: three fit into the silence after which a router
/// counts as gone.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// How long routers of a replica that shuts down wait before they connect again.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

type Sender = mpsc::Sender<Result<SessionResponse, Status>>;

/// Starts the session of a router.
pub(super) fn start(
    link: RouterLink,
    router: RouterIdentity,
    messages: Streaming<SessionRequest>,
) -> ReceiverStream<Result<SessionResponse, Status>> {
    let (sender, receiver) = mpsc::channel(16);
    // A task of its own: a call that is dropped must still be noted as a session that ended.
    tokio::spawn(async move {
        if let Err(status) = serve(&link, &router, messages, &sender).await {
            tracing::debug!(tenant = %router.tenant, router = %router.router, %status, "session ended");
            let _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(receiver)
}

async fn serve(
    link: &RouterLink,
    router: &RouterIdentity,
    mut messages: Streaming<SessionRequest>,
    sender: &Sender,
) -> Result<(), Status> {
    let first = tokio::time::timeout(ROUTER_SILENCE, messages.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no Hello came"))??;
    let Some(session_request::Message::Hello(hello)) = first.and_then(|first| first.message) else {
        return Err(Status::invalid_argument("the first message of a session must be Hello"));
    };
    let version = hello.version.chars().take(50).collect::<String>();
    let now = link.clock.now();
    let admitted =
        link.store.admit_router(&router.tenant, &router.router, router.shown(), &router.actor, now);
    let admitted = match admitted.await.map_err(status::from_store)? {
        Ok(admitted) => admitted,
        Err(refused) => return Err(link.deny(EventType::RouterRefused, &refused, router)),
    };
    let (audit_head, audit_forked) = audit_head::compare(link, router, hello.audit_head).await?;
    let welcome =
        Welcome { heartbeat_interval: duration_to_proto(HEARTBEAT_INTERVAL), audit_head, audit_forked };
    if hello.check {
        return send(sender, session_response::Message::Welcome(welcome)).await;
    }
    record_seen(link, router, &version).await?;
    send(sender, session_response::Message::Welcome(welcome)).await?;
    let (tenant, id) = (router.tenant.clone(), router.router.clone());
    let (session, orders) = link.jobs.router_connected(tenant, id, admitted);
    tracing::info!(tenant = %router.tenant, router = %router.router, version, "identity router connected");
    let open = OpenSession { link, router, version: &version, session: &session, sender };
    let result = open.run(orders, messages).await;
    if link.jobs.router_disconnected(&session) {
        let noted =
            link.store.record_router_disconnected(&router.tenant, &router.router, link.clock.now()).await;
        if let Err(error) = noted {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot note that a router is gone");
        }
    }
    tracing::info!(tenant = %router.tenant, router = %router.router, "identity router disconnected");
    result
}

/// A session that is open.
struct OpenSession<'a> {
    link: &'a RouterLink,
    router: &'a RouterIdentity,
    version: &'a str,
    session: &'a Session,
    sender: &'a Sender,
}

impl OpenSession<'_> {
    /// Carries orders and answers until the session ends.
    async fn run(
        &self,
        mut orders: mpsc::Receiver<Order>,
        mut messages: Streaming<SessionRequest>,
    ) -> Result<(), Status> {
        let Self { link, router, session, sender, .. } = *self;
        loop {
            tokio::select! {
                () = session.closed().cancelled() => {
                    // Closed by an administrator, or by a newer session.
                    link.check_router(router).await?;
                    return Err(Status::aborted("the same identity router connected anew"));
                }
                () = link.shutdown.cancelled() => {
                    let drain = Drain { reconnect_after: duration_to_proto(RECONNECT_DELAY) };
                    return send(sender, session_response::Message::Drain(drain)).await;
                }
                order = orders.recv() => {
                    let Some(order) = order else { return Ok(()) };
                    send(sender, convert::order_to_proto(&router.tenant, order)).await?;
                }
                message = tokio::time::timeout(ROUTER_SILENCE, messages.message()) => {
                    let message = message.map_err(|_| Status::deadline_exceeded("no heartbeat came"))??;
                    let Some(message) = message.and_then(|message| message.message) else { return Ok(()) };
                    self.handle_message(message).await?;
                }
            }
        }
    }

    async fn handle_message(&self, message: session_request::Message) -> Result<(), Status> {
        let Self { link, router, version, session, sender } = *self;
        if let Some(request) = answered_request(&message).map(str::to_owned) {
            let forwarded = session.is_forwarded(&request);
            // Of an answer that nobody waits for nothing is noted.
            if (forwarded || session.asked_for(&request).is_some()) && is_policy_refusal(&message) {
                record_policy_refusal(link, router, names::router(&router.tenant, &router.router));
            }
            if forwarded {
                session.answer_forwarded(&request, message);
                return Ok(());
            }
        }
        match message {
            session_request::Message::Hello(_) => Err(Status::invalid_argument("a second Hello")),
            session_request::Message::Heartbeat(Heartbeat { sequence }) => {
                record_seen(link, router, version).await?;
                warn_of_expiry(link, router);
                send(sender, session_response::Message::Heartbeat(Heartbeat { sequence })).await
            }
            session_request::Message::TestResult(result) => {
                session.answer_test(&result.request_id, result.servers);
                Ok(())
            }
            session_request::Message::FetchResult(result) => {
                // An answer that nobody waits for any more is not even taken apart.
                if let Some(tenant) = session.asked_for(&result.request_id) {
                    let (request, found) = convert::fetched_from_proto(tenant, result)?;
                    session.answer_fetch(&request, found);
                }
                Ok(())
            }
            session_request::Message::VerifyResult(result) => {
                if let Some(tenant) = session.asked_for(&result.request_id) {
                    let (request, asked) = convert::verification_from_proto(tenant, result)?;
                    session.answer_verify(&request, asked);
                }
                Ok(())
            }
            session_request::Message::LookupResult(result) => {
                let (request, presences) = convert::lookup_from_proto(result);
                session.answer_look_up(&request, presences);
                Ok(())
            }
            session_request::Message::SyncRefused(refused) => {
                let job = convert::parse_job_id(&router.tenant, &refused.sync_job)?;
                let failure = convert::failure_from_proto(refused.failure.unwrap_or_default());
                let (reason, subject) = (failure.reason, refused.sync_job);
                let ordered =
                    link.jobs.read_refused(&router.tenant, &router.router, job, refused.epoch, failure);
                if ordered && reason == FailureReason::RouterPolicy {
                    record_policy_refusal(link, router, subject);
                }
                Ok(())
            }
        }
    }
}

/// Which question a message answers.
fn answered_request(message: &session_request::Message) -> Option<&str> {
    match message {
        session_request::Message::TestResult(result) => Some(&result.request_id),
        session_request::Message::FetchResult(result) => Some(&result.request_id),
        session_request::Message::VerifyResult(result) => Some(&result.request_id),
        session_request::Message::LookupResult(result) => Some(&result.request_id),
        session_request::Message::Hello(_)
        | session_request::Message::Heartbeat(_)
        | session_request::Message::SyncRefused(_) => None,
    }
}

/// Whether a message says that the router's own policy forbids the verification of a password.
fn is_policy_refusal(message: &session_request::Message) -> bool {
    let session_request::Message::VerifyResult(result) = message else { return false };
    match &result.found {
        Some(verify_result::Found::Failure(failed))
            if result.verdict() == verify_result::Verdict::Unspecified =>
        {
            convert::failure_from_proto(failed.clone()).reason == FailureReason::RouterPolicy
        }
        _ => false,
    }
}

/// Notes that the router's own policy forbids an order.
fn record_policy_refusal(link: &RouterLink, router: &RouterIdentity, subject: String) {
    let event = Event::refused(EventType::RouterRefusedOrder, subject);
    let event = event.with("reason", spelled(FailureReason::RouterPolicy));
    link.denials.record(Trail::Tenant(router.tenant.clone()), router.actor.clone(), event);
}

async fn record_seen(link: &RouterLink, router: &RouterIdentity, version: &str) -> Result<(), Status> {
    link.store
        .record_router_connected(&router.tenant, &router.router, version, link.clock.now())
        .await
        .map_err(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot note that a router is connected"
            );
            Status::unavailable("the database is not available; try again")
        })
}

/// Says that a certificate should have been renewed long ago.
fn warn_of_expiry(link: &RouterLink, router: &RouterIdentity) {
    let end = router.validity.end();
    if link.clock.now() > end.minus(link.issuer.life() / 4) {
        let (tenant, router) = (&router.tenant, &router.router);
        tracing::warn!(%tenant, %router, "identity router has not renewed its certificate, which ends soon");
    }
}

async fn send(sender: &Sender, message: session_response::Message) -> Result<(), Status> {
    sender
        .send(Ok(SessionResponse { message: Some(message) }))
        .await
        .map_err(|_| Status::cancelled("the identity router went away"))
}
