//! Enforces the table of `authz` in front of every service, and tells the handlers who calls. What it refuses, no handler sees.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::authz;
use crate::ca::identity::Peer;

/// Puts a [`Gate`] in front.
#[derive(Clone, Copy, Debug)]
pub struct GateLayer;

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner }
    }
}

/// Lets through who may call.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    inner: S,
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
        let roles = authz::allowed(path);
        match caller {
            Some(caller) if roles.contains(&caller.role()) => {
                request.extensions_mut().insert(caller.clone());
                Either::Left(self.inner.call(request))
            }
            _ => {
                tracing::warn!(caller = caller.map(ToString::to_string), path, "call refused");
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
