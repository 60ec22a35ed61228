//! Several replicas of the control plane on one PostgreSQL: whichever is asked, frozen or killed, a
//! job is done once and exactly.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use harness::world::{Admin, Database, SOURCE, TENANT, World, router_name};
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::admin::v1::sync_user_request::Whom;
use rollcall_proto::admin::v1::{GetSyncJobRequest, SingleSync, SyncJob, SyncUserRequest, sync_job::State};

use crate::expect::{enabled, flawless, numbers, succeeded, users};

const PEOPLE: u64 = 6_000;
const LEASE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(90);

/// Two replicas, each with a router of its own.
async fn world() -> Result<World> {
    let world = World::builder().database(Database::Postgres).replicas(2).routers_at(&[0, 1]);
    let world = world.lease(LEASE).these_people(flawless(PEOPLE)).cables().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    Ok(world)
}

pub(crate) async fn look(admin: &Admin, job: &str) -> Result<SyncJob> {
    let request = GetSyncJobRequest { name: job.to_owned() };
    Ok(admin.jobs.clone().get_sync_job(request).await?.into_inner())
}

/// Waits until the job, asked for at a replica, is as it should be.
pub(crate) async fn until(admin: &Admin, job: &str, what: impl Fn(&SyncJob) -> bool) -> Result<SyncJob> {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = look(admin, job).await?;
        if what(&now) {
            return Ok(now);
        }
        if matches!(now.state(), State::Succeeded | State::Failed | State::Stopped) || Instant::now() > end {
            bail!("it did not come to that: {now:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Starts a sync that lasts, and waits for its middle. Says which replica carries it.
async fn half_way(world: &World) -> Result<(SyncJob, usize)> {
    world.directory_link()?.slow(Some(600_000));
    let job = world.start_sync().await?;
    let job = until(&world.admin, &job.name, |job| job.counts.unwrap_or_default().added() > 0).await?;
    let owner = usize::from(!job.identity_router.ends_with(&router_name(0)));
    Ok((job, owner))
}

/// Waits until another router reads, and lets the directory be quick again.
async fn taken_over(world: &World, job: &SyncJob, by: usize) -> Result<()> {
    until(&world.admins[by], &job.name, |now| now.identity_router.ends_with(&router_name(by))).await?;
    world.directory_link()?.slow(None);
    Ok(())
}

async fn everyone_once(world: &World, at: usize, job: &SyncJob) -> Result<()> {
    let job = world.admins[at].watch(&job.name, |_| {}).await?;
    assert_eq!(succeeded(&job), [i32::try_from(PEOPLE)?, 0, 0, 0, 0], "everyone once");
    assert_eq!(job.attempt, 2, "read once by each");
    assert_eq!(world.admins[at].users(TENANT).await?.len() as u64, PEOPLE);
    assert_eq!(u64::try_from(world.admins[at].license(TENANT).await?.used())?, PEOPLE);
    Ok(())
}

/// Waits until a thawed replica has given up the job that it still believed in.
async fn gives_up(world: &mut World, replica: usize) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !world.replica(replica)?.logs().contains("no longer this replica's") {
        ensure!(Instant::now() < end, "it did not give up:\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn nothing_is_left_to_do(world: &World) -> Result<()> {
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 0, i32::try_from(PEOPLE)?, 0, 0]);
    let users = users(world).await?;
    assert_eq!((users.len() as u64, enabled(&users) as u64), (PEOPLE, PEOPLE));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_thaws_while_another_one_has_its_job_writes_nothing() -> Result<()> {
    let mut world = world().await?;
    let (job, owner) = half_way(&world).await?;
    let other = 1 - owner;
    world.replica(owner)?.freeze()?;
    taken_over(&world, &job, other).await?;
    world.replica(owner)?.thaw()?;
    everyone_once(&world, other, &job).await?;
    gives_up(&mut world, owner).await?;
    assert_eq!(look(&world.admins[owner], &job.name).await?, look(&world.admins[other], &job.name).await?);
    nothing_is_left_to_do(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_thaws_after_its_job_has_ended_elsewhere_changes_nothing() -> Result<()> {
    let mut world = world().await?;
    let (job, owner) = half_way(&world).await?;
    let other = 1 - owner;
    world.replica(owner)?.freeze()?;
    taken_over(&world, &job, other).await?;
    everyone_once(&world, other, &job).await?;
    let at_end = (look(&world.admins[other], &job.name).await?, world.admins[other].users(TENANT).await?);
    world.replica(owner)?.thaw()?;
    gives_up(&mut world, owner).await?;
    let after = (look(&world.admins[owner], &job.name).await?, world.admins[owner].users(TENANT).await?);
    assert!(at_end == after, "the job or a user has changed");
    nothing_is_left_to_do(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_ends_the_job_of_one_that_was_killed() -> Result<()> {
    let mut world = world().await?;
    let (job, owner) = half_way(&world).await?;
    let other = 1 - owner;
    world.replica(owner)?.kill()?;
    taken_over(&world, &job, other).await?;
    everyone_once(&world, other, &job).await?;
    world.replica(owner)?.start()?;
    nothing_is_left_to_do(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_told_to_end_hands_its_job_over() -> Result<()> {
    let mut world = world().await?;
    let (job, owner) = half_way(&world).await?;
    let other = 1 - owner;
    assert!(world.replica(owner)?.stop()?.success());
    taken_over(&world, &job, other).await?;
    everyone_once(&world, other, &job).await?;
    world.replica(owner)?.start()?;
    nothing_is_left_to_do(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_is_asked_at_another_replica_stops_the_job() -> Result<()> {
    let world = world().await?;
    let (job, owner) = half_way(&world).await?;
    let stopped = world.admins[1 - owner].stop_sync(&job.name).await?;
    assert_eq!(stopped.state(), State::Stopped);
    let at_stop = world.license().await?.used();
    assert_eq!(numbers(&stopped)[0], at_stop, "what was applied is counted");
    assert!(u64::try_from(at_stop)? < PEOPLE, "it was stopped in its middle");
    world.directory_link()?.slow(None);
    let next = world.sync_now().await?;
    assert_eq!(
        succeeded(&next),
        [i32::try_from(PEOPLE)? - at_stop, 0, at_stop, 0, 0],
        "nothing came after the stop"
    );
    assert_eq!(look(&world.admin, &job.name).await?, stopped);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_that_are_asked_at_once_one_starts_the_job() -> Result<()> {
    let world = world().await?;
    for _ in 0..3 {
        let (one, other) =
            tokio::join!(world.admins[0].start_sync(SOURCE), world.admins[1].start_sync(SOURCE));
        let started: Vec<_> = [one, other].into_iter().filter_map(Result::ok).collect();
        assert_eq!(started.len(), 1, "{started:?}");
        world.admins[0].watch(&started[0].name, |_| {}).await?;
    }
    nothing_is_left_to_do(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_a_router_says_that_another_one_has_it() -> Result<()> {
    let world = World::builder().database(Database::Postgres).replicas(2).routers_at(&[0]);
    let world = world.these_people(flawless(2)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let uid = flawless(2).person(1).uid;
    let sync = async |admin: &Admin| -> Result<SingleSync> {
        let request =
            SyncUserRequest { parent: format!("tenants/{TENANT}"), whom: Some(Whom::UserName(uid.clone())) };
        Ok(admin.just_in_time.clone().sync_user(request).await?.into_inner().sync.unwrap_or_default())
    };
    let elsewhere = sync(&world.admins[1]).await?;
    assert_eq!(elsewhere.outcome(), Outcome::NoRouter);
    assert!(elsewhere.message.contains("another replica"), "{}", elsewhere.message);
    assert_eq!(sync(&world.admins[0]).await?.outcome(), Outcome::Added);
    Ok(())
}
