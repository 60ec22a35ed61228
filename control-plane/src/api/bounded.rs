//! Answers that last end with the rights of whoever gets them: when a person's token has expired, or the caller's tenant is suspended.
//! (When a certificate expires, its connection ends.)

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};

use super::status;
use super::suspensions::Suspensions;
use crate::model::TenantId;

/// What ends an answer early.
#[derive(Default)]
pub(super) struct Ends {
    /// This much time.
    pub(super) after: Option<Duration>,
    /// The suspension of a tenant.
    pub(super) suspended: Option<(Suspensions, TenantId)>,
}

/// An answer that ends with a status once one of these comes.
pub(super) fn bound(body: Body, ends: Ends) -> Body {
    if ends.after.is_none() && ends.suspended.is_none() {
        return body;
    }
    Body::new(Bounded { inner: Some(body), end: Box::pin(end(ends)) })
}

async fn end(ends: Ends) -> Status {
    let expiry = async {
        match ends.after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let suspension = async {
        match ends.suspended {
            Some((suspensions, tenant)) => suspensions.of(&tenant).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = expiry => {
            let message = "The token has expired while the call went on. Call again with a new one.";
            status::error(Code::Unauthenticated, "TOKEN_REFUSED", message, &[("why", "EXPIRED".to_owned())])
        }
        () = suspension => status::tenant_suspended(),
    }
}

struct Bounded {
    /// None once it has ended.
    inner: Option<Body>,
    end: Pin<Box<dyn Future<Output = Status> + Send>>,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.inner.is_none() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = self.end.as_mut().poll(context) {
            // Whoever writes the answer sees that nobody reads it any more.
            self.inner = None;
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))));
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(inner).poll_frame(context));
        if frame.is_none() {
            self.inner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}
