//! What a complete read proves: a server that is behind enables nobody, users that are not visible
//! are left alone, and a hold names every check that broke.

use anyhow::Result;
use harness::world::World;
use rollcall_proto::admin::v1::{
    RejectSyncJobRequest, SyncJob, hold::Reason, sync_job_detail::Category, user::AbsenceReason, user::Status,
};
use rollcall_proto::router::v1::lookup_result::Presence;
use rollcall_proto::router::v1::{
    Complete, Freshness, Records, upload_request::Message as Say, upload_response::Message as Answer,
};

use crate::expect::{enabled, held, succeeded, users};
use crate::look_up_protocol::{changed_at, read};
use crate::scripted::{PEOPLE, Router, complete, offer, record, ten_users};

const OLD: &str = "20260101110000";
const NEW: &str = "20260101120000";

/// A sync at this time of which the first users are there, and this is said of the others.
async fn sync(
    world: &World,
    router: &mut Router,
    said: &[Presence],
    freshness: Option<Freshness>,
) -> Result<SyncJob> {
    let job = world.start_sync().await?;
    let there = 10 - u8::try_from(said.len())?;
    let look_up = read(router, there, freshness).await?;
    router.found(&look_up.request_id, said.to_vec()).await?;
    world.finished(&job).await
}

/// A sync that has all ten, of whom the last one is wanted.
async fn sync_all(world: &World, router: &mut Router, freshness: Option<Freshness>) -> Result<SyncJob> {
    let job = world.start_sync().await?;
    let order = router.order().await?;
    let mut upload = router.open(&order).await?;
    upload.say(offer(1, 0..10)).await?;
    let Some(Answer::Want(want)) = upload.answer().await? else { anyhow::bail!("nothing is wanted") };
    assert_eq!(want.positions, [9], "the user who returns");
    upload.say(Say::Records(Records { sequence: 1, records: vec![record(9)], rejected: Vec::new() })).await?;
    assert!(matches!(upload.answer().await?, Some(Answer::Applied(_))));
    upload.say(Say::Complete(Complete { freshness, ..complete(&order, 10) })).await?;
    world.finished(&job).await
}

/// A source whose tenth user was deleted at a time that a server which is behind has not reached.
async fn one_is_deleted() -> Result<(World, Router)> {
    let (world, mut router) = ten_users().await?;
    let job = sync(&world, &mut router, &[Presence::Deleted], changed_at(NEW)).await?;
    assert_eq!(succeeded(&job), [0, 0, 9, 1, 0]);
    Ok((world, router))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_behind_enables_nobody_until_that_is_approved() -> Result<()> {
    let (world, mut router) = one_is_deleted().await?;
    let job = sync_all(&world, &mut router, changed_at(OLD)).await?;
    let message = held(&job, Reason::OlderServer);
    assert!(message.contains("disable 0 users and enable 1 again"), "{message}");
    assert_eq!(enabled(&users(&world).await?), 9);
    let listed = world.details(Category::WouldBeEnabled).await?;
    assert_eq!(listed.iter().map(|line| line.user_name.as_str()).collect::<Vec<_>>(), ["user9"]);

    let reject = RejectSyncJobRequest { name: job.name };
    world.admin.jobs.clone().reject_sync_job(reject).await?;
    assert_eq!(enabled(&users(&world).await?), 9, "a rejection leaves everything as it is");

    let job = sync_all(&world, &mut router, changed_at(OLD)).await?;
    held(&job, Reason::OlderServer);
    world.admin.approve(&job).await?;
    let job = world.admin.watch(&job.name, |_| {}).await?;
    assert_eq!(succeeded(&job), [0, 1, 9, 0, 0]);
    assert_eq!(enabled(&users(&world).await?), 10, "its state was declared the true one");

    let job = sync(&world, &mut router, &[Presence::Deleted], changed_at(OLD)).await?;
    assert_eq!(succeeded(&job), [0, 0, 9, 1, 0], "from then on the server counts as current");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_caught_up_enables_at_once() -> Result<()> {
    let (world, mut router) = one_is_deleted().await?;
    held(&sync_all(&world, &mut router, changed_at(OLD)).await?, Reason::OlderServer);
    let job = sync_all(&world, &mut router, changed_at(NEW)).await?;
    assert_eq!(succeeded(&job), [0, 1, 9, 0, 0]);
    assert_eq!(job.counts.unwrap_or_default().reenabled(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_who_are_not_visible_are_left_alone_and_listed() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let job = world.start_sync().await?;
    let look_up = read(&mut router, 7, None).await?;
    let name = |number: u8| format!("uid=user{number},{PEOPLE}");
    assert_eq!(look_up.distinguished_names, [7, 8, 9].map(name), "asked for by name, too");
    let [witness] = &look_up.witnesses[..] else { anyhow::bail!("one container, one witness") };
    assert_eq!(witness.container, PEOPLE);
    assert!(witness.immutable_id[0] < 7, "a user that the read had: {witness:?}");
    let said = vec![Presence::NotVisible, Presence::NotMatching, Presence::NotFound];
    router.found(&look_up.request_id, said).await?;
    let job = world.finished(&job).await?;
    assert_eq!(succeeded(&job), [0, 0, 7, 2, 0]);
    assert_eq!(job.counts.unwrap_or_default().not_visible(), 1);
    let listed = world.details(Category::NotVisible).await?;
    assert_eq!(listed.iter().map(|line| line.user_name.as_str()).collect::<Vec<_>>(), ["user7"]);

    let users = users(&world).await?;
    let of = |name: &str| (users[name].status(), users[name].absence_reason());
    assert_eq!(of("user7"), (Status::Enabled, AbsenceReason::Unspecified));
    assert_eq!(of("user8"), (Status::Disabled, AbsenceReason::NoLongerMatches));
    assert_eq!(of("user9"), (Status::Disabled, AbsenceReason::NotFound));
    for list in
        [world.details(Category::Disabled).await?, world.admin.export(&job.name, Category::Disabled).await?]
    {
        let messages: Vec<_> = list.iter().map(|line| line.message.as_str()).collect();
        assert!(messages[0].contains("no longer matches the source's filter"), "{messages:?}");
        assert!(messages[1].contains("no longer shows the entry"), "{messages:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_disables_no_user_who_is_not_visible() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let job = sync(&world, &mut router, &[Presence::NotFound; 4], None).await?;
    held(&job, Reason::UnexplainedAbsences);
    world.admin.approve(&job).await?;
    let look_up = router.look_up().await?;
    assert_eq!((look_up.immutable_ids.len(), look_up.witnesses.len()), (4, 1));
    let said = vec![Presence::NotVisible, Presence::NotVisible, Presence::NotVisible, Presence::NotFound];
    router.found(&look_up.request_id, said).await?;
    let job = world.admin.watch(&job.name, |_| {}).await?;
    assert_eq!(succeeded(&job), [0, 0, 6, 1, 0]);
    assert_eq!(job.counts.unwrap_or_default().not_visible(), 3);
    assert_eq!(enabled(&users(&world).await?), 9);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_names_every_check_that_broke() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let job = sync(&world, &mut router, &[Presence::InScope], changed_at(NEW)).await?;
    succeeded(&job);
    let job = sync(&world, &mut router, &[Presence::NotFound; 6], changed_at(OLD)).await?;
    held(&job, Reason::OlderServer);
    let hold = job.hold.unwrap_or_default();
    let checks: Vec<_> = hold.broken_checks.iter().map(|check| (check.reason(), check.user_count)).collect();
    assert_eq!(
        checks,
        [(Reason::OlderServer, 6), (Reason::DisableGuard, 6), (Reason::UnexplainedAbsences, 6)]
    );
    assert_eq!(hold.broken_checks[0].message, hold.message);
    Ok(())
}
