//! What the control plane does with an identity router that breaks the protocol: a scripted one,
//! with a real certificate.

use anyhow::{Context, Result, bail};
use harness::world::TENANT;
use rollcall_proto::admin::v1::FailureReason;
use rollcall_proto::router::v1::lookup_result::Presence;
use rollcall_proto::router::v1::{
    Complete, Offer, Records, SyncOrder, upload_request::Message as Say, upload_response::Message as Answer,
};
use tonic::Code;

use crate::expect::{enabled, failed, succeeded, users};
use crate::scripted::{Router, complete, offer, open, record, records, ten_users};

type Falsify = fn(&mut Complete);

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_does_not_agree_with_what_arrived_disables_nobody() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let wrong: [(&str, Falsify); 7] = [
        ("a batch that did not arrive", |complete| complete.batches = 2),
        ("a record that did not arrive", |complete| complete.records = 10),
        ("a rejected entry that did not arrive", |complete| complete.rejected = 1),
        ("an entry that was found and not sent", |complete| complete.roots[0].entries = 10),
        ("a root that was not read", |complete| complete.roots.clear()),
        ("no root that is there", |complete| {
            complete.roots[0].missing = true;
            complete.roots[0].entries = 0;
            complete.records = 0;
        }),
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
    let looked_up = router.look_up().await?;
    router.found(&looked_up.request_id, vec![Presence::NotFound]).await?;
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

/// Two thousand ids that nobody has, as long as ids may be.
fn flood(sequence: u64) -> Say {
    let id = |number: u64| [&[0xFF; 250][..], &(sequence * 2_000 + number).to_be_bytes()].concat();
    Say::Offer(Offer {
        sequence,
        immutable_ids: (0..2_000).map(|number| id(number).into()).collect(),
        digests: vec![1; 16 * 2_000].into(),
        rejected: Vec::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_only_offers_is_ended_at_its_window_and_costs_no_memory() -> Result<()> {
    let (mut world, mut router) = ten_users().await?;
    let job = world.start_sync().await?;
    let mut peaks = Vec::new();
    for _ in 0..5 {
        let order = router.order().await?;
        let mut upload = router.open(&order).await?;
        let mut wanted = 0;
        let status = loop {
            // What follows the window may find the stream closed.
            let _ = upload.say(flood(wanted + 1)).await;
            match upload.answer().await {
                Ok(Some(Answer::Want(want))) => {
                    assert_eq!(want.positions.len(), 2_000);
                    wanted += 1;
                }
                Ok(other) => bail!("not wanted but {other:?}"),
                Err(status) => break status,
            }
            assert!(wanted < 100, "nothing ends it");
        };
        assert_eq!((status.code(), wanted), (Code::InvalidArgument, 16), "{status}");
        peaks.push(world.control_plane()?.peak_memory_kib()?);
    }
    assert!(peaks[4] < peaks[0] + 32 * 1_024, "{peaks:?} KiB: what was offered is not kept");
    world.admin.stop_sync(&job.name).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_comes_twice_or_from_another_router_changes_nothing() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let colleague = Router::connect(&world, TENANT, "the-colleague").await?;
    let job = world.start_sync().await?;
    let order = router.order().await?;
    let mut upload = router.open(&order).await?;
    upload.say(offer(1, 0..12)).await?;
    upload.answer().await?;
    for (messages, code) in [
        (vec![Say::Complete(complete(&order, 12))], Code::InvalidArgument),
        (vec![open(&order), Say::Complete(complete(&order, 12))], Code::Aborted),
    ] {
        let mut other = colleague.upload().await?;
        for message in messages {
            let _ = other.say(message).await;
        }
        assert_eq!(other.refusal().await?.code(), code);
    }
    upload.say(records(1, 10..12)).await?;
    assert!(matches!(upload.answer().await?, Some(Answer::Applied(_))));
    upload.say(Say::Complete(complete(&order, 12))).await?;
    let _ = upload.say(Say::Complete(Complete { records: 11, ..complete(&order, 12) })).await;
    assert_eq!(succeeded(&world.finished(&job).await?), [2, 0, 10, 0, 0]);
    Ok(())
}
