//! A scripted identity router with a real certificate: it says what a test tells it to, right or
//! wrong.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::world::{TENANT, World, connect};
use rollcall_proto::router::v1::fetch_result::Found as Fetched;
use rollcall_proto::router::v1::lookup_result::Presence;
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{
    AuditHead, Complete, FetchOrder, FetchResult, Heartbeat, Hello, LookupOrder, LookupResult, Offer, Open,
    ReadFailure, Records, RootRead, SessionRequest, SessionResponse, SyncOrder, UploadRequest,
    UploadResponse, UserRecord, VerifyOrder, VerifyResult, Welcome, session_request, session_response,
    upload_request::Message as Say, upload_response::Message as Answer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::expect::succeeded;

/// Well below what the control plane takes for silence.
const BEAT: Duration = Duration::from_secs(10);

/// The container of all scripted people.
pub(crate) const PEOPLE: &str = "ou=people,dc=lab,dc=test";

pub(crate) struct Router {
    client: RouterServiceClient<Channel>,
    orders: Streaming<SessionResponse>,
    /// Ends the session when it is dropped.
    session: mpsc::Sender<SessionRequest>,
}

impl Router {
    pub(crate) async fn connect(world: &World, tenant: &str, name: &str) -> Result<Self> {
        let identity = world.enroll(tenant, name).await?;
        let channel = connect::channel(world.address().port(), Some(&identity), &world.files.authority())?;
        let mut client = RouterServiceClient::new(channel);
        let (session, orders, _) = Self::session(&mut client, None).await?;
        Ok(Self { client, orders, session })
    }

    async fn session(
        client: &mut RouterServiceClient<Channel>,
        audit_head: Option<AuditHead>,
    ) -> Result<(mpsc::Sender<SessionRequest>, Streaming<SessionResponse>, Welcome)> {
        let (session, requests) = mpsc::channel(4);
        let hello = session_request::Message::Hello(Hello {
            version: "0.0.0-scripted".to_owned(),
            audit_head,
            ..Hello::default()
        });
        session.send(SessionRequest { message: Some(hello) }).await?;
        let mut orders = client.session(ReceiverStream::new(requests)).await?.into_inner();
        match orders.message().await?.and_then(|message| message.message) {
            Some(session_response::Message::Welcome(welcome)) => {
                tokio::spawn(beat(session.downgrade()));
                Ok((session, orders, welcome))
            }
            other => bail!("no Welcome but {other:?}"),
        }
    }

    /// Ends the session and opens another.
    pub(crate) async fn reconnect(&mut self) -> Result<()> {
        self.reconnect_having_seen(None).await.map(drop)
    }

    /// The same as a witness who has seen this event of the audit trail.
    pub(crate) async fn reconnect_having_seen(&mut self, head: Option<AuditHead>) -> Result<Welcome> {
        let (session, orders, welcome) = Self::session(&mut self.client, head).await?;
        (self.session, self.orders) = (session, orders);
        Ok(welcome)
    }

    /// The next order to read.
    pub(crate) async fn order(&mut self) -> Result<SyncOrder> {
        loop {
            let message = self.orders.message().await?.context("the session ended")?.message;
            if let Some(session_response::Message::SyncOrder(order)) = message {
                return Ok(order);
            }
        }
    }

    /// The next order to look users up.
    pub(crate) async fn look_up(&mut self) -> Result<LookupOrder> {
        loop {
            let message = self.orders.message().await?.context("the session ended")?.message;
            if let Some(session_response::Message::LookupOrder(order)) = message {
                return Ok(order);
            }
        }
    }

    /// The next order to verify a password.
    pub(crate) async fn verify(&mut self) -> Result<VerifyOrder> {
        loop {
            let message = self.orders.message().await?.context("the session ended")?.message;
            if let Some(session_response::Message::VerifyOrder(order)) = message {
                return Ok(order);
            }
        }
    }

    /// The next order to fetch one person.
    pub(crate) async fn fetch(&mut self) -> Result<FetchOrder> {
        loop {
            let message = self.orders.message().await?.context("the session ended")?.message;
            if let Some(session_response::Message::FetchOrder(order)) = message {
                return Ok(order);
            }
        }
    }

    /// Answers it.
    pub(crate) async fn fetched(&self, order: &FetchOrder, found: Fetched) -> Result<()> {
        let request_id = order.request_id.clone();
        let result = FetchResult { request_id, found: Some(found), server: "lab:636".to_owned() };
        let message = Some(session_request::Message::FetchResult(result));
        Ok(self.session.send(SessionRequest { message }).await?)
    }

    /// Answers an order to verify a password.
    pub(crate) async fn verified(&self, result: VerifyResult) -> Result<()> {
        let message = Some(session_request::Message::VerifyResult(result));
        Ok(self.session.send(SessionRequest { message }).await?)
    }

    /// Answers an order to look users up.
    pub(crate) async fn found(&self, request: &str, presences: Vec<Presence>) -> Result<()> {
        let presences = presences.into_iter().map(i32::from).collect();
        self.result(LookupResult { request_id: request.to_owned(), presences, ..Default::default() }).await
    }

    /// Says that a look-up failed.
    pub(crate) async fn found_out_nothing(&self, request: &str, failure: ReadFailure) -> Result<()> {
        let request_id = request.to_owned();
        self.result(LookupResult { request_id, failure: Some(failure), ..Default::default() }).await
    }

    async fn result(&self, result: LookupResult) -> Result<()> {
        let message = Some(session_request::Message::LookupResult(result));
        Ok(self.session.send(SessionRequest { message }).await?)
    }

    pub(crate) async fn upload(&self) -> Result<Upload> {
        let (sender, requests) = mpsc::channel(16);
        let replies = self.client.clone().upload(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Upload { sender: Some(sender), replies })
    }

    /// Opens the upload of an order.
    pub(crate) async fn open(&self, order: &SyncOrder) -> Result<Upload> {
        let mut upload = self.upload().await?;
        upload.say(open(order)).await?;
        match upload.answer().await? {
            Some(Answer::Opened(_)) => Ok(upload),
            other => bail!("not opened but {other:?}"),
        }
    }
}

/// Says that the router lives, until its session ends: a test that takes long has it silent, not
/// gone.
async fn beat(session: mpsc::WeakSender<SessionRequest>) {
    for sequence in 1.. {
        tokio::time::sleep(BEAT).await;
        let message = Some(session_request::Message::Heartbeat(Heartbeat { sequence }));
        let Some(session) = session.upgrade() else { return };
        if session.send(SessionRequest { message }).await.is_err() {
            return;
        }
    }
}

pub(crate) struct Upload {
    pub(crate) sender: Option<mpsc::Sender<UploadRequest>>,
    replies: Streaming<UploadResponse>,
}

impl Upload {
    pub(crate) async fn say(&mut self, message: Say) -> Result<()> {
        let sender = self.sender.as_ref().context("ended")?;
        Ok(sender.send(UploadRequest { message: Some(message) }).await?)
    }

    pub(crate) async fn answer(&mut self) -> Result<Option<Answer>, Status> {
        Ok(self.replies.message().await?.and_then(|message| message.message))
    }

    /// Answers until the control plane ends the upload, and why it did.
    pub(crate) async fn refusal(&mut self) -> Result<Status> {
        loop {
            match self.answer().await {
                Ok(Some(_)) => {}
                Ok(None) => bail!("the upload ended well"),
                Err(status) => return Ok(status),
            }
        }
    }
}

pub(crate) fn open(order: &SyncOrder) -> Say {
    Say::Open(Open { sync_job: order.sync_job.clone(), epoch: order.epoch })
}

pub(crate) fn record(number: u8) -> UserRecord {
    UserRecord {
        immutable_id: vec![number; 16].into(),
        digest: vec![number; 16].into(),
        user_name: format!("user{number}"),
        mail: format!("user{number}@lab.test"),
        distinguished_name: format!("uid=user{number},{PEOPLE}"),
        mark_proved: true,
        ..UserRecord::default()
    }
}

pub(crate) fn records(sequence: u64, numbers: std::ops::Range<u8>) -> Say {
    Say::Records(Records { sequence, records: numbers.map(record).collect(), rejected: Vec::new() })
}

pub(crate) fn offer(sequence: u64, numbers: std::ops::Range<u8>) -> Say {
    let records: Vec<_> = numbers.map(record).collect();
    Say::Offer(Offer {
        sequence,
        immutable_ids: records.iter().map(|record| record.immutable_id.clone()).collect(),
        digests: records.iter().flat_map(|record| record.digest.to_vec()).collect::<Vec<_>>().into(),
        rejected: Vec::new(),
    })
}

/// Says that the order was carried out to its end, in one batch.
pub(crate) fn complete(order: &SyncOrder, records: u64) -> Complete {
    let roots = order.settings.iter().flat_map(|settings| &settings.roots);
    let root = |root: &String| RootRead {
        root: root.clone(),
        base_fingerprint: vec![1; 16].into(),
        pages: 1,
        entries: records,
        ignored_references: 0,
        missing: false,
        fingerprint_attribute: String::new(),
    };
    let server = "ldap.lab.test:636".to_owned();
    Complete { batches: 1, records, server, roots: roots.map(root).collect(), ..Complete::default() }
}

/// A source of ten users, and the router that read them.
pub(crate) async fn ten_users() -> Result<(World, Router)> {
    let world = World::builder().without_router().start().await?;
    let mut router = Router::connect(&world, TENANT, "scripted").await?;
    world.create_and_publish_source(world.settings()).await?;
    let job = world.start_sync().await?;
    let order = router.order().await?;
    assert!(order.records_only);
    let mut upload = router.open(&order).await?;
    upload.say(records(1, 0..10)).await?;
    assert!(matches!(upload.answer().await?, Some(Answer::Applied(_))));
    upload.say(Say::Complete(complete(&order, 10))).await?;
    assert_eq!(succeeded(&world.finished(&job).await?), [10, 0, 0, 0, 0]);
    Ok((world, router))
}
