//! One router's session: orders down, heartbeats and answers up. Ends when either side is silent for too long, when the same router
//! connects anew, or when this replica shuts down.

use std::time::Duration;

use rollcall_proto::router::v1::{
    Drain, Heartbeat, SessionRequest, SessionResponse, Welcome, session_request, session_response,
    verify_result,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::super::status;
use super::{RouterIdentity, RouterLink, convert, witness};
use crate::jobs::{Order, ROUTER_SILENCE, Session};
use crate::model::{Event, EventType, FailureReason, Trail, names, spelled};

/// How often routers are asked to send a heartbeat: three fit into the silence after which a router counts as gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long routers of a replica that shuts down wait before they connect again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

type Sender = mpsc::Sender<Result<SessionResponse, Status>>;

pub(super) fn open(
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
    let admitted = match admitted.await.map_err(status::store)? {
        Ok(admitted) => admitted,
        Err(refused) => return Err(link.refuse(EventType::RouterRefused, &refused, router)),
    };
    let (audit_head, audit_forked) = witness::compare(link, router, hello.audit_head).await?;
    let welcome = Welcome { heartbeat_interval: convert::duration(HEARTBEAT), audit_head, audit_forked };
    if hello.check {
        return say(sender, session_response::Message::Welcome(welcome)).await;
    }
    note_seen(link, router, &version).await?;
    say(sender, session_response::Message::Welcome(welcome)).await?;
    let (tenant, id) = (router.tenant.clone(), router.router.clone());
    let (session, orders) = link.jobs.router_connected(tenant, id, admitted);
    tracing::info!(tenant = %router.tenant, router = %router.router, version, "identity router connected");
    let result = converse(link, router, &version, &session, orders, messages, sender).await;
    if link.jobs.router_disconnected(&session) {
        let noted = link.store.router_gone(&router.tenant, &router.router, link.clock.now()).await;
        if let Err(error) = noted {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot note that a router is gone");
        }
    }
    tracing::info!(tenant = %router.tenant, router = %router.router, "identity router disconnected");
    result
}

async fn converse(
    link: &RouterLink,
    router: &RouterIdentity,
    version: &str,
    session: &Session,
    mut orders: mpsc::Receiver<Order>,
    mut messages: Streaming<SessionRequest>,
    sender: &Sender,
) -> Result<(), Status> {
    loop {
        tokio::select! {
            () = session.closed().cancelled() => {
                // Closed by an administrator, or by a newer session.
                link.may_stay(router).await?;
                return Err(Status::aborted("the same identity router connected anew"));
            }
            () = link.shutdown.cancelled() => {
                let drain = Drain { reconnect_after: convert::duration(RECONNECT_AFTER) };
                return say(sender, session_response::Message::Drain(drain)).await;
            }
            order = orders.recv() => {
                let Some(order) = order else { return Ok(()) };
                say(sender, convert::order(&router.tenant, order)).await?;
            }
            message = tokio::time::timeout(ROUTER_SILENCE, messages.message()) => {
                let message = message.map_err(|_| Status::deadline_exceeded("no heartbeat came"))??;
                let Some(message) = message.and_then(|message| message.message) else { return Ok(()) };
                hear(link, router, version, session, message, sender).await?;
            }
        }
    }
}

async fn hear(
    link: &RouterLink,
    router: &RouterIdentity,
    version: &str,
    session: &Session,
    message: session_request::Message,
    sender: &Sender,
) -> Result<(), Status> {
    if let Some(request) = answered(&message).map(str::to_owned) {
        let forwarded = session.is_forwarded(&request);
        // Of an answer that nobody waits for nothing is noted.
        if (forwarded || session.asked_for(&request).is_some()) && forbidden(&message) {
            policy_forbids(link, router, names::router(&router.tenant, &router.router));
        }
        if forwarded {
            session.answer_forwarded(&request, message);
            return Ok(());
        }
    }
    match message {
        session_request::Message::Hello(_) => Err(Status::invalid_argument("a second Hello")),
        session_request::Message::Heartbeat(Heartbeat { sequence }) => {
            note_seen(link, router, version).await?;
            warn_of_end(link, router);
            say(sender, session_response::Message::Heartbeat(Heartbeat { sequence })).await
        }
        session_request::Message::TestResult(result) => {
            session.answer_test(&result.request_id, result.servers);
            Ok(())
        }
        session_request::Message::FetchResult(result) => {
            // An answer that nobody waits for any more is not even taken apart.
            if let Some(tenant) = session.asked_for(&result.request_id) {
                let (request, found) = convert::found(tenant, result)?;
                session.answer_fetch(&request, found);
            }
            Ok(())
        }
        session_request::Message::VerifyResult(result) => {
            if let Some(tenant) = session.asked_for(&result.request_id) {
                let (request, asked) = convert::asked(tenant, result)?;
                session.answer_verify(&request, asked);
            }
            Ok(())
        }
        session_request::Message::LookupResult(result) => {
            let (request, presences) = convert::presences(result);
            session.answer_look_up(&request, presences);
            Ok(())
        }
        session_request::Message::SyncRefused(refused) => {
            let job = convert::job_id(&router.tenant, &refused.sync_job)?;
            let failure = convert::failure(refused.failure.unwrap_or_default());
            let (reason, subject) = (failure.reason, refused.sync_job);
            let ordered = link.jobs.read_refused(&router.tenant, &router.router, job, refused.epoch, failure);
            if ordered && reason == FailureReason::RouterPolicy {
                policy_forbids(link, router, subject);
            }
            Ok(())
        }
    }
}

/// Which question a message answers.
fn answered(message: &session_request::Message) -> Option<&str> {
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
fn forbidden(message: &session_request::Message) -> bool {
    let session_request::Message::VerifyResult(result) = message else { return false };
    match &result.found {
        Some(verify_result::Found::Failure(failed))
            if result.verdict() == verify_result::Verdict::Unspecified =>
        {
            convert::failure(failed.clone()).reason == FailureReason::RouterPolicy
        }
        _ => false,
    }
}

/// Notes that the router's own policy forbids an order.
fn policy_forbids(link: &RouterLink, router: &RouterIdentity, subject: String) {
    let event = Event::refused(EventType::RouterRefusedOrder, subject);
    let event = event.with("reason", spelled(FailureReason::RouterPolicy));
    link.refusals.note(Trail::Tenant(router.tenant.clone()), router.actor.clone(), event);
}

async fn note_seen(link: &RouterLink, router: &RouterIdentity, version: &str) -> Result<(), Status> {
    link.store.router_seen(&router.tenant, &router.router, version, link.clock.now()).await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot note that a router is connected");
        Status::unavailable("the database is not available; try again")
    })
}

/// Says that a certificate should have been renewed long ago.
fn warn_of_end(link: &RouterLink, router: &RouterIdentity) {
    let end = router.validity.end();
    if link.clock.now() > end.minus(link.issuer.life() / 4) {
        let (tenant, router) = (&router.tenant, &router.router);
        tracing::warn!(%tenant, %router, "identity router has not renewed its certificate, which ends soon");
    }
}

async fn say(sender: &Sender, message: session_response::Message) -> Result<(), Status> {
    sender
        .send(Ok(SessionResponse { message: Some(message) }))
        .await
        .map_err(|_| Status::cancelled("the identity router went away"))
}
