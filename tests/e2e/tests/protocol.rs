//! What the control plane does with an identity router that breaks the protocol: a scripted one, with a real certificate.

use anyhow::{Context, Result, bail};
use harness::world::{TENANT, World, connect};
use rollcall_proto::admin::v1::FailureReason;
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{
    Complete, Hello, Offer, Open, Records, RootRead, SessionRequest, SessionResponse, SyncOrder,
    UploadRequest, UploadResponse, UserRecord, session_request, session_response,
    upload_request::Message as Say, upload_response::Message as Answer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::expect::{enabled, failed, succeeded, users};

struct Router {
    client: RouterServiceClient<Channel>,
    orders: Streaming<SessionResponse>,
    /// Ends the session when it is dropped.
    _session: mpsc::Sender<SessionRequest>,
}

impl Router {
    async fn connect(world: &World, tenant: &str, name: &str) -> Result<Self> {
        let identity = world.files.issue_router(tenant, name, &format!("{tenant}-{name}"))?;
        let channel = connect::channel(world.address().port(), Some(&identity), &world.files.authority())?;
        let mut client = RouterServiceClient::new(channel);
        let (session, requests) = mpsc::channel(4);
        let hello = session_request::Message::Hello(Hello { version: "0.0.0-scripted".to_owned() });
        session.send(SessionRequest { message: Some(hello) }).await?;
        let mut orders = client.session(ReceiverStream::new(requests)).await?.into_inner();
        match orders.message().await?.and_then(|message| message.message) {
            Some(session_response::Message::Welcome(_)) => Ok(Self { client, orders, _session: session }),
            other => bail!("no Welcome but {other:?}"),
        }
    }

    /// The next order to read.
    async fn order(&mut self) -> Result<SyncOrder> {
        loop {
            let message = self.orders.message().await?.context("the session ended")?.message;
            if let Some(session_response::Message::SyncOrder(order)) = message {
                return Ok(order);
            }
        }
    }

    async fn upload(&self) -> Result<Upload> {
        let (sender, requests) = mpsc::channel(16);
        let replies = self.client.clone().upload(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Upload { sender: Some(sender), replies })
    }

    /// Opens the upload of an order.
    async fn open(&self, order: &SyncOrder) -> Result<Upload> {
        let mut upload = self.upload().await?;
        upload.say(open(order)).await?;
        match upload.answer().await? {
            Some(Answer::Opened(_)) => Ok(upload),
            other => bail!("not opened but {other:?}"),
        }
    }
}

struct Upload {
    sender: Option<mpsc::Sender<UploadRequest>>,
    replies: Streaming<UploadResponse>,
}

impl Upload {
    async fn say(&mut self, message: Say) -> Result<()> {
        let sender = self.sender.as_ref().context("ended")?;
        Ok(sender.send(UploadRequest { message: Some(message) }).await?)
    }

    async fn answer(&mut self) -> Result<Option<Answer>, Status> {
        Ok(self.replies.message().await?.and_then(|message| message.message))
    }

    /// Answers until the control plane ends the upload, and why it did.
    async fn refusal(&mut self) -> Result<Status> {
        loop {
            match self.answer().await {
                Ok(Some(_)) => {}
                Ok(None) => bail!("the upload ended well"),
                Err(status) => return Ok(status),
            }
        }
    }
}

fn open(order: &SyncOrder) -> Say {
    Say::Open(Open { sync_job: order.sync_job.clone(), epoch: order.epoch })
}

fn record(number: u8) -> UserRecord {
    UserRecord {
        immutable_id: vec![number; 16].into(),
        digest: vec![number; 16].into(),
        user_name: format!("user{number}"),
        mail: format!("user{number}@lab.test"),
        ..UserRecord::default()
    }
}

fn records(sequence: u64, numbers: std::ops::Range<u8>) -> Say {
    Say::Records(Records { sequence, records: numbers.map(record).collect(), rejected: Vec::new() })
}

fn offer(sequence: u64, numbers: std::ops::Range<u8>) -> Say {
    let records: Vec<_> = numbers.map(record).collect();
    Say::Offer(Offer {
        sequence,
        immutable_ids: records.iter().map(|record| record.immutable_id.clone()).collect(),
        digests: records.iter().flat_map(|record| record.digest.to_vec()).collect::<Vec<_>>().into(),
        rejected: Vec::new(),
    })
}

/// Says that the order was carried out to its end, in one batch.
fn complete(order: &SyncOrder, records: u64) -> Complete {
    let roots = order.settings.iter().flat_map(|settings| &settings.roots);
    let root = |root: &String| RootRead {
        root: root.clone(),
        base_fingerprint: vec![1; 16].into(),
        pages: 1,
        entries: records,
        ignored_references: 0,
        missing: false,
    };
    let server = "ldap.lab.test:636".to_owned();
    Complete { batches: 1, records, server, roots: roots.map(root).collect(), ..Complete::default() }
}

type Falsify = fn(&mut Complete);

/// A source of ten users, and the router that read them.
async fn ten_users() -> Result<(World, Router)> {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_does_not_agree_with_what_arrived_disables_nobody() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let wrong: [(&str, Falsify); 6] = [
        ("a batch that did not arrive", |complete| complete.batches = 2),
        ("a record that did not arrive", |complete| complete.records = 10),
        ("a rejected entry that did not arrive", |complete| complete.rejected = 1),
        ("an entry that was found and not sent", |complete| complete.roots[0].entries = 10),
        ("a root that was not read", |complete| complete.roots.clear()),
        ("another root than was ordered", |complete| complete.roots[0].root = "dc=other".to_owned()),
    ];
    for (what, wrong) in wrong {
        let job = world.start_sync().await?;
        let order = router.order().await?;
        let mut upload = router.open(&order).await?;
        upload.say(offer(1, 0..9)).await?;
        assert!(matches!(upload.answer().await?, Some(Answer::Want(want)) if want.positions.is_empty()));
        let mut said = complete(&order, 9);
        wrong(&mut said);
        upload.say(Say::Complete(said)).await?;
        failed(&world.finished(&job).await.context(what)?, FailureReason::CountMismatch);
        assert_eq!(enabled(&users(&world).await?), 10, "{what}");
    }

    let job = world.start_sync().await?;
    let order = router.order().await?;
    let mut upload = router.open(&order).await?;
    upload.say(offer(1, 0..9)).await?;
    upload.answer().await?;
    upload.say(Say::Complete(complete(&order, 9))).await?;
    assert_eq!(succeeded(&world.finished(&job).await?), [0, 0, 9, 1, 0], "the right numbers do");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_the_protocol_is_ended_and_ordered_again_and_nothing_is_counted_twice()
-> Result<()> {
    let (world, mut router) = ten_users().await?;
    let job = world.start_sync().await?;
    let mut order = router.order().await?;
    let oversize =
        Say::Records(Records { sequence: 1, records: vec![record(1); 2_001], rejected: Vec::new() });
    let short = Say::Offer(Offer {
        sequence: 1,
        immutable_ids: vec![record(1).immutable_id],
        digests: vec![1; 15].into(),
        rejected: Vec::new(),
    });
    let violations: Vec<(&str, Vec<Say>)> = vec![
        ("records that were not asked for", vec![records(1, 0..1)]),
        ("other records than were asked for", vec![offer(1, 9..12), records(1, 8..10)]),
        ("fewer records than were asked for", vec![offer(1, 9..12), records(1, 10..11)]),
        ("a batch of more than 2,000", vec![oversize]),
        ("a gap in the numbers", vec![offer(2, 0..1)]),
        ("a number that comes again", vec![offer(1, 0..1), offer(1, 0..1)]),
        ("a digest too short", vec![short]),
        ("a second Open", vec![open(&order)]),
        (
            "Complete before the batches are finished",
            vec![offer(1, 9..12), Say::Complete(complete(&order, 3))],
        ),
    ];
    for (what, messages) in violations {
        let mut upload = router.open(&order).await.context(what)?;
        for message in messages {
            // What follows the violation may find the stream closed.
            let _ = upload.say(message).await;
        }
        let status = upload.refusal().await.context(what)?;
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        let again = router.order().await?;
        assert!(again.epoch > order.epoch, "{what}");
        order = again;
    }
    let mut ends = router.open(&order).await?;
    ends.say(offer(1, 0..10)).await?;
    ends.sender = None;
    assert_eq!(
        ends.refusal().await?.code(),
        Code::Aborted,
        "the end of the stream is not the end of the read"
    );

    let order = router.order().await?;
    let mut upload = router.open(&order).await?;
    upload.say(offer(1, 0..12)).await?;
    assert!(matches!(upload.answer().await?, Some(Answer::Want(want)) if want.positions == [10, 11]));
    upload.say(records(1, 10..12)).await?;
    assert!(matches!(upload.answer().await?, Some(Answer::Applied(_))));
    upload.say(Say::Complete(complete(&order, 12))).await?;
    assert_eq!(succeeded(&world.finished(&job).await?), [2, 0, 10, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_upload_a_read_that_was_not_ordered_from_it() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let colleague = Router::connect(&world, TENANT, "the-colleague").await?;
    world.operator.set_license("other", 10).await?;
    let stranger = Router::connect(&world, "other", "scripted").await?;
    world.start_sync().await?;
    let order = router.order().await?;
    let next = SyncOrder { epoch: order.epoch + 1, ..order.clone() };
    for (who, other, order) in [
        ("a colleague", &colleague, &order),
        ("a router of another tenant", &stranger, &order),
        ("the router, for a read to come", &router, &next),
    ] {
        let mut upload = other.upload().await?;
        upload.say(open(order)).await?;
        let status = upload.refusal().await?;
        assert!(matches!(status.code(), Code::Aborted | Code::NotFound), "{who}: {status}");
    }
    let mut first = router.upload().await?;
    first.say(offer(1, 0..1)).await?;
    assert_eq!(first.refusal().await?.code(), Code::InvalidArgument, "Open comes first");
    router.open(&order).await?;
    let mut twice = router.upload().await?;
    twice.say(open(&order)).await?;
    assert_eq!(twice.refusal().await?.code(), Code::Aborted, "an order is for one upload");
    Ok(())
}
