//! Enforces the table of `authz` in front of every service, and tells the handlers who calls. What it refuses, no handler sees, and
//! the audit trail does.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::authz;
use super::refusals::Refusals;
use crate::ca::identity::{Caller, Peer};
use crate::model::{Actor, Event, EventType, Trail};

/// Stands for a method that is not in the table: the names are the caller's to choose.
const UNKNOWN: &str = "unknown method";

/// Puts a [`Gate`] in front.
#[derive(Clone)]
pub struct GateLayer {
    refusals: Refusals,
}

impl GateLayer {
    /// A gate that notes there what it refuses.
    #[must_use]
    pub fn new(refusals: Refusals) -> Self {
        Self { refusals }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, refusals: self.refusals.clone() }
    }
}

/// Lets through who may call.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    refusals: Refusals,
}

/// What a handler needs to refuse a call that passed the gate.
#[derive(Clone)]
struct Passed {
    refusals: Refusals,
    method: &'static str,
    peer: Peer,
}

/// Notes that a handler refuses a call that passed the gate.
pub(super) fn refuse<T>(request: &tonic::Request<T>) {
    if let Some(Passed { refusals, method, peer }) = request.extensions().get() {
        note(refusals, request.extensions().get(), Some(peer), method);
    }
}

/// Notes a refused call in the trail of the caller's tenant.
fn note(refusals: &Refusals, caller: Option<&Caller>, peer: Option<&Peer>, method: &str) {
    let trail = match caller.and_then(Caller::tenant) {
        Some(tenant) => Trail::Tenant(tenant.clone()),
        None => Trail::Installation,
    };
    let actor = match (caller, peer) {
        (Some(caller), Some(peer)) => caller.actor(peer.address),
        _ => Actor { name: "unknown".to_owned(), via: String::new(), address: String::new() },
    };
    let role = caller.map_or("", |caller| caller.role().name());
    refusals.note(trail, actor, Event::refused(EventType::CallRefused, method).with("role", role));
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().cloned();
        let caller = peer.as_ref().map(|peer| &peer.caller);
        let path = request.uri().path();
        let (method, roles) = authz::row(path).unwrap_or((UNKNOWN, &[]));
        match caller {
            Some(caller) if roles.contains(&caller.role()) => {
                let (refusals, caller) = (self.refusals.clone(), caller.clone());
                request.extensions_mut().insert(caller);
                if let Some(peer) = peer {
                    request.extensions_mut().insert(Passed { refusals, method, peer });
                }
                Either::Left(self.inner.call(request))
            }
            _ => {
                tracing::warn!(caller = caller.map(ToString::to_string), path, "call refused");
                note(&self.refusals, caller, peer.as_ref(), method);
                let message = if roles.is_empty() {
                    "there is no such method, or nobody may call it; `grpcurl … list` shows the services"
                        .to_owned()
                } else {
                    let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
                    format!(
                        "your certificate's role does not allow this call; it takes {}",
                        roles.join(" or ")
                    )
                };
                let refusal =
                    super::status::error(tonic::Code::PermissionDenied, "NOT_ALLOWED", message, &[]);
                Either::Right(ready(Ok(respond(refusal))))
            }
        }
    }
}

fn respond(status: Status) -> Response<Body> {
    status.into_http()
}
