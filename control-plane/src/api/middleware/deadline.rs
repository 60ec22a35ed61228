//! Limits how long a call with one answer may take, from its first header to its answer. A client
//! that sends no request, or half of one, cannot keep a call open. Streams have their own
//! deadlines.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use http::{Request, Response};
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::time::Sleep;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::api::common::status;

/// For most calls.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
/// For those that wait for an identity router, which itself has a minute.
const ROUTER_DEADLINE: Duration = Duration::from_secs(90);
/// For syncs of one user, whose own deadline is at most 30 seconds: their answer says why it took
/// so long.
const SINGLE_USER_DEADLINE: Duration = Duration::from_secs(40);

/// Puts a [`Deadline`] in front.
#[derive(Clone, Debug)]
pub struct DeadlineLayer(Arc<HashSet<String>>);

impl DeadlineLayer {
    /// For every method of these descriptors that has one request and one answer.
    ///
    /// # Errors
    /// If they are no descriptors.
    pub fn new(descriptors: &[u8]) -> Result<Self, prost::DecodeError> {
        let mut unary = HashSet::new();
        for file in FileDescriptorSet::decode(descriptors)?.file {
            for service in &file.service {
                let methods = service.method.iter();
                for method in methods.filter(|m| !m.client_streaming() && !m.server_streaming()) {
                    unary.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        Ok(Self(Arc::new(unary)))
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, unary: Arc::clone(&self.0) }
    }
}

/// Ends calls that take too long.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    unary: Arc<HashSet<String>>,
}

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<DeadlineFuture<S::Future>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let deadline = self.unary.contains(path).then(|| match path.rsplit('/').next() {
            Some("TestConnection") => ROUTER_DEADLINE,
            Some("SyncAtSignIn" | "SyncUser" | "VerifyPassword") => SINGLE_USER_DEADLINE,
            _ => DEFAULT_DEADLINE,
        });
        let call = self.inner.call(request);
        match deadline {
            None => Either::Right(call),
            Some(deadline) => {
                let end = Box::pin(tokio::time::sleep(deadline));
                Either::Left(DeadlineFuture { call: Box::pin(call), end })
            }
        }
    }
}

/// A call with a deadline.
pub struct DeadlineFuture<F> {
    call: Pin<Box<F>>,
    end: Pin<Box<Sleep>>,
}

impl<F, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = self.call.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        std::task::ready!(self.end.as_mut().poll(context));
        let status = status::error(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "The call took too long and was ended. Get the state of what you asked for, then try again.",
            &[],
        );
        Poll::Ready(Ok(status.into_http()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn service() -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> {
        let never = tower::service_fn(|_| std::future::pending::<Result<Response<Body>, Infallible>>());
        DeadlineLayer::new(rollcall_proto::DESCRIPTORS).expect("descriptors").layer(never)
    }

    async fn ends_within(path: &str, seconds: u64) -> bool {
        let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
        let ended = tokio::time::timeout(Duration::from_secs(seconds), service().call(request)).await;
        ended.is_ok_and(|answer| {
            answer.is_ok_and(|answer| answer.headers().get("grpc-status").is_some_and(|code| code == "4"))
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_with_one_answer_ends_in_time_and_a_stream_does_not() {
        assert!(ends_within("/rollcall.admin.v1.UserService/ListUsers", 31).await);
        assert!(!ends_within("/rollcall.admin.v1.IdentitySourceService/TestConnection", 61).await);
        assert!(ends_within("/rollcall.admin.v1.IdentitySourceService/TestConnection", 91).await);
        for stream in [
            "/rollcall.admin.v1.SyncJobService/WatchSyncJob",
            "/rollcall.admin.v1.SyncJobService/ExportSyncJobDetails",
            "/rollcall.router.v1.RouterService/Session",
            "/rollcall.router.v1.RouterService/Upload",
        ] {
            assert!(!ends_within(stream, 86_400).await, "{stream}");
        }
    }
}
