//! The layer in front of every service: asks [`Authorizer`] whether a call may pass, tells the
//! handlers who calls, and ends an answer that outlives the caller's rights. A denied call reaches
//! no handler and is recorded in the audit trail.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::authorize::{self, Authorized, Authorizer};
use super::denials::DenialLog;
use super::rights_expiry;
use crate::ca::identity::Peer;

/// Puts a [`Gate`] in front.
#[derive(Clone)]
pub struct GateLayer(Arc<Authorizer>);

impl GateLayer {
    /// A gate that asks this.
    #[must_use]
    pub fn new(authorizer: Authorizer) -> Self {
        Self(Arc::new(authorizer))
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, authorizer: Arc::clone(&self.0) }
    }
}

/// Lets through who may call.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    authorizer: Arc<Authorizer>,
}

/// What a handler needs to refuse a call that passed the gate.
#[derive(Clone)]
struct PassedGate {
    denials: DenialLog,
    method: &'static str,
    peer: Peer,
}

/// Notes that a handler refuses a call that passed the gate.
pub(in crate::api) fn record_denial<T>(request: &tonic::Request<T>) {
    if let Some(PassedGate { denials, method, peer }) = request.extensions().get() {
        authorize::record_denial(denials, request.extensions().get(), Some(peer), method);
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that was asked whether it is ready is the one to call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let authorizer = Arc::clone(&self.authorizer);
        Box::pin(async move {
            let peer = request.extensions().get::<Peer>().cloned();
            match authorizer.authorize(peer.as_ref(), request.uri().path(), request.headers()).await {
                Ok(Authorized { caller, method, expiry }) => {
                    request.extensions_mut().insert(caller);
                    if let Some(peer) = peer {
                        let denials = authorizer.denials.clone();
                        request.extensions_mut().insert(PassedGate { denials, method, peer });
                    }
                    Ok(inner.call(request).await?.map(|body| rights_expiry::end_with_rights(body, expiry)))
                }
                Err(denied) => Ok(denied.into_http()),
            }
        })
    }
}
