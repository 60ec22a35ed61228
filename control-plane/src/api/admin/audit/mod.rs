//! AuditService: lists the events of a trail in pages, or streams them, on request for as long as
//! the caller listens.

mod convert;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rollcall_proto::admin::v1::audit_service_server::AuditService;
use rollcall_proto::admin::v1::{
    ListAuditEventsRequest, ListAuditEventsResponse, StreamAuditEventsRequest, StreamAuditEventsResponse,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::api::admin::context::{AdminContext, require_access};
use crate::api::common::page::Page;
use crate::api::common::{resource_names, status};
use crate::api::middleware::gate;
use crate::ca::identity::Caller;
use crate::model::{AuditEvent, AuditFilter, Trail};
use crate::store::{Store, StoreError};

/// Events that a stream reads at once.
const PAGE_EVENTS: i64 = 500;
/// How often a stream that stays looks for new ones.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Serves AuditService.
pub struct Audit(AdminContext);

impl Audit {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }
}

/// The trail, if the caller may see it: its own tenant's, or an operator that of the installation.
fn require_trail<T>(request: &Request<T>, parent: &str) -> Result<Trail, Status> {
    if parent == "installation" {
        return match request.extensions().get::<Caller>() {
            Some(Caller::Operator { .. }) => Ok(Trail::Installation),
            _ => Err(deny(request)),
        };
    }
    let tenant = resource_names::parse_trail("parent", parent)?;
    match require_access(request, &tenant)? {
        Caller::Admin { .. } => Ok(Trail::Tenant(tenant)),
        _ => Err(deny(request)),
    }
}

/// What a tenant does is nothing of the operators', nor the other way about.
fn deny<T>(request: &Request<T>) -> Status {
    gate::record_denial(request);
    status::not_found("audit trail")
}

fn first_sequence(field: &str, number: i64) -> Result<i64, Status> {
    if number < 0 {
        return Err(status::invalid(vec![(field.to_owned(), "must not be negative".to_owned())]));
    }
    Ok(number.max(1))
}

#[tonic::async_trait]
impl AuditService for Audit {
    type StreamAuditEventsStream =
        Pin<Box<dyn Stream<Item = Result<StreamAuditEventsResponse, Status>> + Send>>;

    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let message = request.get_ref();
        let trail = require_trail(&request, &message.parent)?;
        let filter = convert::filter_from_proto(message.filter.clone()).map_err(status::invalid)?;
        let query = ["audit", &message.parent, &format!("{filter:?}")];
        let page = Page::new(&self.0.page_key, message.page_size, &message.page_token, &query)?;
        let events = self.0.store.list_events(&trail, &filter, page.after(), page.fetch_limit()).await;
        let mut events = events.map_err(status::from_store)?;
        let next_page_token = page.cut(&mut events, |event| event.sequence.to_string());
        let audit_events = events.into_iter().map(convert::event_to_proto).collect();
        Ok(Response::new(ListAuditEventsResponse { audit_events, next_page_token }))
    }

    async fn stream_audit_events(
        &self,
        request: Request<StreamAuditEventsRequest>,
    ) -> Result<Response<Self::StreamAuditEventsStream>, Status> {
        let message = request.get_ref();
        let trail = require_trail(&request, &message.parent)?;
        let filter = convert::filter_from_proto(message.filter.clone()).map_err(status::invalid)?;
        let next = first_sequence("start_sequence", message.start_sequence)?;
        let mut follower = Follower {
            store: self.0.store.clone(),
            shutdown: self.0.jobs.shutdown().clone(),
            trail,
            filter,
            next,
            stays: message.follow,
        };
        // The first page is read before the call is answered: its error is the call's.
        let first = follower.read_page().await.map_err(status::from_store)?;
        let (sender, receiver) = mpsc::channel(64);
        tokio::spawn(async move {
            if let Err(error) = follower.follow(first, &sender).await {
                let _ = sender.send(Err(status::from_store(error))).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Reads a trail from one event on.
struct Follower {
    store: Arc<Store>,
    shutdown: CancellationToken,
    trail: Trail,
    filter: AuditFilter,
    /// The first event that has not been looked at.
    next: i64,
    stays: bool,
}

/// A part of the trail.
struct EventPage {
    events: Vec<AuditEvent>,
    /// Whether the trail may go on at once.
    more: bool,
}

impl Follower {
    async fn read_page(&mut self) -> Result<EventPage, StoreError> {
        // First the head: what is found up to there is all that there will ever be up to there.
        let head = self.store.audit_head(&self.trail).await?.sequence;
        if self.next > head {
            return Ok(EventPage { events: Vec::new(), more: false });
        }
        let events = self.store.events_from(&self.trail, &self.filter, self.next, PAGE_EVENTS).await?;
        let last = events.last().map_or(0, |event| event.sequence);
        let more = i64::try_from(events.len()).unwrap_or(PAGE_EVENTS) >= PAGE_EVENTS;
        self.next = if more { last } else { last.max(head) } + 1;
        Ok(EventPage { events, more })
    }

    /// Sends until the end of the trail, or for as long as somebody listens.
    async fn follow(
        &mut self,
        mut page: EventPage,
        sender: &mpsc::Sender<Result<StreamAuditEventsResponse, Status>>,
    ) -> Result<(), StoreError> {
        loop {
            for event in page.events {
                let audit_event = Some(convert::event_to_proto(event));
                // Whoever goes away ends the stream; whoever reads slowly slows it down.
                if sender.send(Ok(StreamAuditEventsResponse { audit_event })).await.is_err() {
                    return Ok(());
                }
            }
            if !page.more {
                if !self.stays {
                    return Ok(());
                }
                tokio::select! {
                    () = sender.closed() => return Ok(()),
                    () = self.shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
                if !self.store.trail_is_open(&self.trail).await? {
                    return Ok(());
                }
            }
            page = self.read_page().await?;
        }
    }
}
