//! Ends long answers when the caller's rights end: when the token of a person expires, or the
//! caller's tenant is suspended. (When a certificate expires, its connection ends.)

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tonic::body::Body;
use tonic::{Code, Status};

use super::suspensions::Suspensions;
use crate::api::common::status;
use crate::model::TenantId;

/// What ends an answer early.
#[derive(Default)]
pub(super) struct RightsExpiry {
    /// The end of the token, after this time.
    pub(super) token_expires_in: Option<Duration>,
    /// The suspension of a tenant.
    pub(super) tenant: Option<(Suspensions, TenantId)>,
}

/// An answer that ends with a status once one of these comes.
pub(super) fn end_with_rights(body: Body, expiry: RightsExpiry) -> Body {
    if expiry.token_expires_in.is_none() && expiry.tenant.is_none() {
        return body;
    }
    Body::new(ExpiringBody { inner: Some(body), end: Box::pin(rights_end(expiry)) })
}

async fn rights_end(expiry: RightsExpiry) -> Status {
    let token_end = async {
        match expiry.token_expires_in {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let suspension = async {
        match expiry.tenant {
            Some((suspensions, tenant)) => suspensions.wait_until_suspended(&tenant).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = token_end => {
            let message = "The token has expired while the call went on. Call again with a new one.";
            status::error(Code::Unauthenticated, "TOKEN_REFUSED", message, &[("why", "EXPIRED".to_owned())])
        }
        () = suspension => status::tenant_suspended(),
    }
}

struct ExpiringBody {
    /// None once it has ended.
    inner: Option<Body>,
    end: Pin<Box<dyn Future<Output = Status> + Send>>,
}

impl http_body::Body for ExpiringBody {
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
