//! Killing any part at any moment loses nothing: the job goes on by itself, and the numbers stay
//! exact.

use std::time::Duration;

use anyhow::Result;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::sync_job::State;

use crate::expect::{enabled, flawless, numbers, users};
use crate::on_both_databases;

const PEOPLE: u64 = 12_000;

on_both_databases! {
    a_sync_survives_the_death_of_its_router,
    a_sync_survives_the_death_of_the_control_plane,
    a_sync_goes_on_after_an_orderly_restart_of_the_control_plane,
}

async fn half_way(database: Database) -> Result<(World, String)> {
    let world = World::builder().database(database).these_people(flawless(PEOPLE)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let job = world.start_sync().await?;
    while world.license().await?.used() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((world, job.name))
}

async fn ends_exactly(world: &World, job: &str) -> Result<()> {
    let job = world.admin.watch(job, |_| {}).await?;
    assert_eq!(job.state(), State::Succeeded, "{:?}", job.error);
    assert_eq!(numbers(&job), [i32::try_from(PEOPLE)?, 0, 0, 0, 0], "everyone once");
    let users = users(world).await?;
    assert_eq!((users.len() as u64, enabled(&users) as u64), (PEOPLE, PEOPLE));
    assert!(job.attempt > 1, "the read was repeated");
    Ok(())
}

async fn a_sync_survives_the_death_of_its_router(database: Database) -> Result<()> {
    let (mut world, job) = half_way(database).await?;
    world.kill_router()?;
    world.start_router()?;
    ends_exactly(&world, &job).await
}

async fn a_sync_survives_the_death_of_the_control_plane(database: Database) -> Result<()> {
    let (mut world, job) = half_way(database).await?;
    world.kill_control_plane()?;
    world.start_control_plane()?;
    ends_exactly(&world, &job).await
}

async fn a_sync_goes_on_after_an_orderly_restart_of_the_control_plane(database: Database) -> Result<()> {
    let (mut world, job) = half_way(database).await?;
    assert!(world.stop_control_plane()?.success(), "it ends by itself when it is told to");
    world.start_control_plane()?;
    ends_exactly(&world, &job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_survives_a_link_that_is_cut_again_and_again() -> Result<()> {
    let world = World::builder().these_people(flawless(PEOPLE)).cables().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let job = world.start_sync().await?;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.link()?.cut()?;
        world.link()?.mend()?;
    }
    let job = world.admin.watch(&job.name, |_| {}).await?;
    assert_eq!(job.state(), State::Succeeded, "{:?}", job.error);
    assert_eq!(numbers(&job), [i32::try_from(PEOPLE)?, 0, 0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_does_not_come_back_fails_the_job_in_time() -> Result<()> {
    let mut world =
        World::builder().these_people(flawless(10)).router_deadline(Duration::from_secs(2)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.router()?.freeze()?; // so that the job is there before the router is gone
    let job = world.start_sync().await?;
    world.kill_router()?;
    let job = world.finished(&job).await?;
    let message = crate::expect::failed(&job, rollcall_proto::admin::v1::FailureReason::RouterLost);
    assert!(message.contains("Check the router's service"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_runs_for_ever() -> Result<()> {
    let mut world =
        World::builder().these_people(flawless(10)).job_deadline(Duration::from_secs(2)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.router()?.freeze()?;
    let job = world.finished(&world.start_sync().await?).await?;
    let message = crate::expect::failed(&job, rollcall_proto::admin::v1::FailureReason::Stuck);
    assert!(message.contains("sync.job_deadline"), "{message}");
    world.router()?.thaw()?;
    world.router_connected().await?;
    Ok(())
}
