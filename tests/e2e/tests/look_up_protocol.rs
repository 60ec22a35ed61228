//! What the control plane makes of the answers when it has absent users looked up: right ones,
//! wrong ones, and none.

use anyhow::Result;
use harness::world::{TENANT, World};
use rollcall_proto::admin::v1::{FailureReason, SyncJob, hold::Reason};
use rollcall_proto::router::v1::lookup_result::Presence;
use rollcall_proto::router::v1::{
    Complete, Freshness, LookupOrder, ReadFailure, upload_request::Message as Say,
};

use crate::expect::{enabled, failed, held, succeeded, users};
use crate::scripted::{Router, complete, offer, ten_users};

/// The change number of a server at this time.
pub(crate) fn changed_at(time: &str) -> Option<Freshness> {
    let csn = format!("{time}.000000Z#000000#001#000000");
    Some(Freshness { context_csns: vec![csn], ..Freshness::default() })
}

/// Carries out an order to read: the first of the ten users are there, the others are looked up.
pub(crate) async fn read(
    router: &mut Router,
    there: u8,
    freshness: Option<Freshness>,
) -> Result<LookupOrder> {
    let order = router.order().await?;
    let mut upload = router.open(&order).await?;
    upload.say(offer(1, 0..there)).await?;
    upload.answer().await?;
    let said = Complete { freshness, ..complete(&order, there.into()) };
    upload.say(Say::Complete(said)).await?;
    let look_up = router.look_up().await?;
    let absent: Vec<_> = (there..10).map(|number| vec![number; 16]).collect();
    assert_eq!(look_up.immutable_ids, absent, "exactly the absent ones are looked up");
    Ok(look_up)
}

/// A sync of which the first users are there and this is said of the others.
async fn sync(world: &World, router: &mut Router, there: u8, said: Presence) -> Result<SyncJob> {
    let job = world.start_sync().await?;
    let look_up = read(router, there, None).await?;
    router.found(&look_up.request_id, vec![said; usize::from(10 - there)]).await?;
    world.finished(&job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_look_up_says_decides_who_is_disabled() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let job = sync(&world, &mut router, 5, Presence::InScope).await?;
    assert_eq!(succeeded(&job), [0, 0, 5, 0, 0], "who is in scope after all stays");
    assert_eq!(job.counts.unwrap_or_default().still_in_scope(), 5);
    assert_eq!(enabled(&users(&world).await?), 10);

    let job = sync(&world, &mut router, 6, Presence::NotFound).await?;
    let message = held(&job, Reason::UnexplainedAbsences);
    assert!(message.contains('4'), "{message}");
    assert_eq!(
        enabled(&users(&world).await?),
        10,
        "four of whom nobody knows what became of them are too many"
    );

    let job = sync(&world, &mut router, 6, Presence::OutOfScope).await?;
    assert_eq!(succeeded(&job), [0, 0, 6, 4, 0], "four who were found elsewhere are not");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_fails_fails_the_job_and_disables_nobody() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let job = world.start_sync().await?;
    let look_up = read(&mut router, 9, None).await?;
    let failure = ReadFailure {
        reason: FailureReason::DirectoryUnreachable.into(),
        message: "The second time nobody answered.".to_owned(),
        interrupted: false,
    };
    router.found_out_nothing(&look_up.request_id, failure.clone()).await?;
    // Asked again after a while, in which the directory may come back.
    let again = router.look_up().await?;
    assert_eq!(again.immutable_ids, look_up.immutable_ids);
    router.found_out_nothing(&again.request_id, failure).await?;
    let message = failed(&world.finished(&job).await?, FailureReason::DirectoryUnreachable);
    assert!(message.ends_with("The second time nobody answered."), "{message}");
    assert_eq!(enabled(&users(&world).await?), 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_and_a_lost_router_let_the_directory_be_read_again() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let colleague = Router::connect(&world, TENANT, "a-colleague").await?;
    let job = world.start_sync().await?;

    let look_up = read(&mut router, 9, None).await?;
    router.found("nobody-asked-for-this", vec![Presence::NotFound]).await?;
    colleague.found(&look_up.request_id, vec![Presence::NotFound]).await?;
    drop(colleague);
    router.found(&look_up.request_id, vec![Presence::NotFound; 2]).await?;

    let look_up = read(&mut router, 9, None).await?;
    assert_eq!(enabled(&users(&world).await?), 10, "one answer too many is no answer");
    router.reconnect().await?;
    router.found(&look_up.request_id, vec![Presence::NotFound]).await?;

    let look_up = read(&mut router, 9, None).await?;
    assert_eq!(enabled(&users(&world).await?), 10, "what was asked before the session was lost is void");
    router.found(&look_up.request_id, vec![Presence::NotFound]).await?;
    assert_eq!(succeeded(&world.finished(&job).await?), [0, 0, 9, 1, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_behind_its_own_former_state_disables_nobody() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let noon = changed_at("20260101120000");
    let job = world.start_sync().await?;
    let look_up = read(&mut router, 9, noon.clone()).await?;
    router.found(&look_up.request_id, vec![Presence::InScope]).await?;
    assert_eq!(succeeded(&world.finished(&job).await?), [0, 0, 9, 0, 0]);

    let job = world.start_sync().await?;
    let look_up = read(&mut router, 9, changed_at("20260101115959")).await?;
    router.found(&look_up.request_id, vec![Presence::NotFound]).await?;
    let job = world.finished(&job).await?;
    let message = held(&job, Reason::OlderServer);
    assert!(
        message.contains("2026-01-01 11:59:59") && message.contains("12:00:00"),
        "by how much: {message}"
    );
    assert_eq!(job.hold.unwrap_or_default().user_count, 1);
    assert_eq!(enabled(&users(&world).await?), 10);

    let job = world.start_sync().await?;
    let look_up = read(&mut router, 9, noon).await?;
    router.found(&look_up.request_id, vec![Presence::NotFound]).await?;
    assert_eq!(
        succeeded(&world.finished(&job).await?),
        [0, 0, 9, 1, 0],
        "once it is not behind it is believed"
    );
    Ok(())
}
