//! ReplicaService: puts another replica's question to a router of this one, and hands the answer
//! back as it came. It checks the replica, the tenant and the source, not the contents.

use std::sync::Arc;

use rollcall_proto::replica::v1::replica_service_server::ReplicaService;
use rollcall_proto::replica::v1::{AskRequest, AskResponse};
use rollcall_proto::router::v1::session_response::Message;
use tonic::{Request, Response, Status};

use super::listener::AskingReplica;
use super::roster::Roster;
use crate::jobs::Jobs;
use crate::model::{RouterId, SourceId, TenantId};

/// Answers other replicas.
pub(super) struct Service {
    jobs: Jobs,
    roster: Arc<Roster>,
}

impl Service {
    pub(super) fn new(jobs: Jobs, roster: Arc<Roster>) -> Self {
        Self { jobs, roster }
    }
}

#[tonic::async_trait]
impl ReplicaService for Service {
    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskResponse>, Status> {
        // A connection may outlive the row of whoever made it.
        let known = match request.extensions().get::<AskingReplica>() {
            Some(AskingReplica(key)) => self.roster.is_live(*key).await,
            None => false,
        };
        if !known {
            return Err(Status::unauthenticated("no live replica"));
        }
        let AskRequest { tenant, identity_source, identity_router, order } = request.into_inner();
        let question = order.and_then(|order| order.message);
        let question = question.filter(is_question).ok_or_else(|| Status::invalid_argument("no question"))?;
        let session = self.jobs.session(&TenantId(tenant), &RouterId(identity_router));
        let session = session.filter(|session| session.may_read(&SourceId(identity_source)));
        let Some(session) = session.filter(|session| !session.closed().is_cancelled()) else {
            return Ok(Response::new(AskResponse { answer: None }));
        };
        let answer = session.forward(|request| with_request_id(question, request)).await;
        let answer = answer.ok_or_else(|| Status::unavailable("the identity router was lost"))?;
        let answer = rollcall_proto::router::v1::SessionRequest { message: Some(answer) };
        Ok(Response::new(AskResponse { answer: Some(answer) }))
    }
}

/// Whether it is something that a router answers. Reads are ordered by the replica that runs the
/// job.
fn is_question(message: &Message) -> bool {
    matches!(
        message,
        Message::FetchOrder(_) | Message::VerifyOrder(_) | Message::LookupOrder(_) | Message::TestOrder(_)
    )
}

/// The question under an id of this replica's: another replica's could be taken.
fn with_request_id(mut message: Message, request: String) -> Message {
    match &mut message {
        Message::FetchOrder(order) => order.request_id = request,
        Message::VerifyOrder(order) => order.request_id = request,
        Message::LookupOrder(order) => order.request_id = request,
        Message::TestOrder(order) => order.request_id = request,
        _ => {}
    }
    message
}
