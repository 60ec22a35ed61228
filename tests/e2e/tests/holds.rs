//! Disables that wait for an administrator: shown, approved, rejected, stopped, superseded,
//! expired.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use harness::world::{Database, SOURCE, World};
use rollcall_proto::admin::v1::{
    ApproveSyncJobRequest, RejectSyncJobRequest, SyncJob, hold::Decision, hold::Reason, sync_job::State,
    sync_job_detail::Category, user::Status,
};
use tonic::Code;

use crate::expect::{enabled, flawless, held, join, numbers, succeeded, users};
use crate::on_both_databases;

on_both_databases! {
    exactly_the_list_that_was_shown_is_disabled_and_its_seats_are_given_out,
    whole_lists_are_exported_and_kept_for_the_newest_jobs,
}

const PEOPLE: u64 = 40;

/// A license of as many seats as there are people; ten of them leave, three join.
async fn ten_leave(world: &World) -> Result<SyncJob> {
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 40);
    let people = flawless(PEOPLE);
    for number in 0..10 {
        world.directory().delete(&people.person(number).dn(world.directory().base_dn()))?;
    }
    for joiner in ["ada", "bob", "cyd"] {
        join(world, joiner, &format!("{joiner}@lab.test"))?;
    }
    world.sync_now().await
}

async fn world(database: Database) -> Result<World> {
    World::builder().database(database).these_people(flawless(PEOPLE)).license(40).start().await
}

async fn exactly_the_list_that_was_shown_is_disabled_and_its_seats_are_given_out(
    database: Database,
) -> Result<()> {
    let world = world(database).await?;
    let job = ten_leave(&world).await?;
    held(&job, Reason::DisableGuard);
    assert_eq!(numbers(&job), [0, 0, 30, 0, 3], "those who join wait for seats");
    let list = world.details(Category::WouldBeDisabled).await?;
    assert_eq!(list.len(), 10);
    assert!(list.iter().all(|line| line.message.contains("no longer shows the entry")), "{list:?}");

    let hold = job.hold.clone().unwrap_or_default();
    let approve = |etag: &str| {
        let request = ApproveSyncJobRequest { name: job.name.clone(), etag: etag.to_owned() };
        let mut jobs = world.admin.jobs.clone();
        async move { jobs.approve_sync_job(request).await }
    };
    let refused = approve("").await.expect_err("an etag is required");
    assert!(refused.code() == Code::InvalidArgument && refused.message().contains("hold.etag"), "{refused}");
    let refused = approve("another").await.expect_err("another list");
    assert!(
        refused.code() == Code::FailedPrecondition && refused.message().contains("Look at the list"),
        "{refused}"
    );

    approve(&hold.etag).await?;
    assert!(approve(&hold.etag).await.is_err(), "one decision is enough");
    let job = world.admin.watch(&job.name, |_| {}).await?;
    assert_eq!(succeeded(&job), [3, 0, 30, 10, 0], "the seats go to those who waited for them");
    let decided = job.hold.unwrap_or_default();
    assert_eq!((decided.decision(), decided.decided_by.as_str()), (Decision::Approved, "admins/alice"));
    let users = users(&world).await?;
    let disabled: BTreeSet<_> =
        users.values().filter(|user| user.status() == Status::Disabled).map(|user| &user.name).collect();
    assert_eq!(disabled, list.iter().map(|line| &line.user).collect());
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 33, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_back_when_the_list_is_approved_is_left_out() -> Result<()> {
    let world = world(Database::Sqlite).await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 40);
    let (people, directory) = (flawless(PEOPLE), world.directory());
    for number in 0..10 {
        let person = people.person(number);
        directory.rename(&person.dn(directory.base_dn()), &person.rdn, Some(&directory.archive_dn()))?;
    }
    let job = world.sync_now().await?;
    held(&job, Reason::DisableGuard);
    for number in 0..4 {
        let person = people.person(number);
        let archived = format!("{},{}", person.rdn, directory.archive_dn());
        directory.rename(&archived, &person.rdn, Some(&directory.people_dn()))?;
    }
    world.admin.approve(&job).await?;
    let job = world.admin.watch(&job.name, |_| {}).await?;
    assert_eq!(succeeded(&job)[3], 6);
    assert_eq!(job.counts.unwrap_or_default().still_in_scope(), 4);
    assert_eq!(enabled(&users(&world).await?), 34);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_by_rejection_by_stop_or_by_the_next_sync_and_disables_nobody() -> Result<()> {
    let world = world(Database::Sqlite).await?;
    let first = ten_leave(&world).await?;
    held(&first, Reason::DisableGuard);

    let second = world.sync_now().await?;
    held(&second, Reason::DisableGuard);
    let first = world.admin.watch(&first.name, |_| {}).await?;
    assert_eq!(first.hold.clone().unwrap_or_default().decision(), Decision::Superseded);
    assert!(world.admin.approve(&first).await.is_err(), "a list that was superseded cannot be approved");

    let reject = RejectSyncJobRequest { name: second.name.clone() };
    let second = world.admin.jobs.clone().reject_sync_job(reject).await?.into_inner();
    assert_eq!(
        (second.state(), second.hold.unwrap_or_default().decision()),
        (State::Succeeded, Decision::Rejected)
    );
    assert_eq!(second.withheld_disables.unwrap_or_default().user_count, 10);

    let third = world.sync_now().await?;
    held(&third, Reason::DisableGuard);
    assert_eq!(world.admin.stop_sync(&third.name).await?.state(), State::Stopped);
    assert!(world.admin.approve(&third).await.is_err(), "a job that was stopped cannot be approved");
    assert_eq!(enabled(&users(&world).await?), 40);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_approval_and_a_rejection_at_once_one_counts() -> Result<()> {
    for _ in 0..4 {
        let world = world(Database::Sqlite).await?;
        let job = ten_leave(&world).await?;
        held(&job, Reason::DisableGuard);
        let (approving, mut rejecting) = (world.admin.clone(), world.admin.jobs.clone());
        let reject = RejectSyncJobRequest { name: job.name.clone() };
        let (approved, rejected) = tokio::join!(approving.approve(&job), rejecting.reject_sync_job(reject));
        assert_ne!(approved.is_ok(), rejected.is_ok(), "{approved:?} {rejected:?}");
        let job = world.admin.watch(&job.name, |_| {}).await?;
        let (decision, disabled) =
            if approved.is_ok() { (Decision::Approved, 10) } else { (Decision::Rejected, 0) };
        assert_eq!(job.hold.clone().unwrap_or_default().decision(), decision);
        assert_eq!(succeeded(&job)[3], disabled);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_disabled_because_nobody_decided() -> Result<()> {
    let world =
        World::builder().these_people(flawless(PEOPLE)).hold_expiry(Duration::from_secs(1)).start().await?;
    let job = ten_leave(&world).await?;
    held(&job, Reason::DisableGuard);
    let mut stream = world.admin.jobs.clone();
    let request = rollcall_proto::admin::v1::WatchSyncJobRequest { name: job.name.clone() };
    let mut states = stream.watch_sync_job(request).await?.into_inner();
    let mut last = job.clone();
    while let Some(state) = states.message().await? {
        last = state;
    }
    assert_eq!(
        (last.state(), last.hold.unwrap_or_default().decision()),
        (State::Succeeded, Decision::Expired)
    );
    assert_eq!(enabled(&users(&world).await?), 43);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_job_survives_the_death_of_both_programs() -> Result<()> {
    let mut world = world(Database::Sqlite).await?;
    let job = ten_leave(&world).await?;
    world.admin.approve(&job).await?;
    world.kill_control_plane()?;
    world.kill_router()?;
    world.start_control_plane()?;
    world.start_router()?;
    let job = world.admin.watch(&job.name, |_| {}).await?;
    assert_eq!(succeeded(&job), [3, 0, 30, 10, 0]);
    Ok(())
}

async fn whole_lists_are_exported_and_kept_for_the_newest_jobs(database: Database) -> Result<()> {
    const MANY: u64 = 1_300;
    let world = World::builder().database(database).these_people(flawless(MANY)).license(600).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let first = world.sync_now().await?;
    assert_eq!(numbers(&first), [600, 0, 0, 0, 700]);
    for (category, count) in
        [(Category::Added, 600), (Category::NotSynchronized, 700), (Category::Updated, 0)]
    {
        assert_eq!(world.admin.export(&first.name, category).await?.len(), count, "{category:?}");
    }
    assert_eq!(world.details(Category::NotSynchronized).await?.len(), 400);
    let refused = world.admin.export(&first.name, Category::NotSynchronized).await?;
    assert!(
        refused.iter().all(|line| line.message.contains("license") && !line.user_name.is_empty()),
        "with reasons"
    );

    for _ in 0..4 {
        world.sync_now().await?;
    }
    assert_eq!(world.admin.export(&first.name, Category::Added).await?.len(), 600, "the fifth newest");
    let latest = format!("{SOURCE}/syncJobs/latest");
    assert_eq!(world.admin.export(&latest, Category::NotSynchronized).await?.len(), 700);
    world.sync_now().await?;
    assert!(world.admin.export(&first.name, Category::Added).await.is_err(), "the sixth newest");
    Ok(())
}
