//! Stands in front of every service: asks [`Admission`] whether a call may pass, tells the handlers who calls, and ends an answer that
//! outlives the caller's rights. What it refuses, no handler sees, and the audit trail does.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::admission::{self, Admission, Admitted};
use super::bounded;
use super::refusals::Refusals;
use crate::ca::identity::Peer;

/// Puts a [`Gate`] in front.
#[derive(Clone)]
pub struct GateLayer(Arc<Admission>);

impl GateLayer {
    /// A gate that admits by this.
    #[must_use]
    pub fn new(admission: Admission) -> Self {
        Self(Arc::new(admission))
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, admission: Arc::clone(&self.0) }
    }
}

/// Lets through who may call.
#[derive(Clone)]
pub struct Gate<S> {
    inner: S,
    admission: Arc<Admission>,
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
        admission::note(refusals, request.extensions().get(), Some(peer), method);
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
        let admission = Arc::clone(&self.admission);
        Box::pin(async move {
            let peer = request.extensions().get::<Peer>().cloned();
            match admission.admit(peer.as_ref(), request.uri().path(), request.headers()).await {
                Ok(Admitted { caller, method, ends }) => {
                    request.extensions_mut().insert(caller);
                    if let Some(peer) = peer {
                        let refusals = admission.refusals.clone();
                        request.extensions_mut().insert(Passed { refusals, method, peer });
                    }
                    Ok(inner.call(request).await?.map(|body| bounded::bound(body, ends)))
                }
                Err(refusal) => Ok(refusal.into_http()),
            }
        })
    }
}
