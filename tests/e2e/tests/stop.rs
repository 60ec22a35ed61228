//! Stop Sync: in every phase of a job it answers soon, and nothing of the job is applied any more.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::{SyncJob, sync_job::State};

use crate::expect::{flawless, numbers, succeeded};
use crate::on_both_databases;
use crate::replicas::until;

on_both_databases! {
    after_stop_has_answered_nothing_more_is_applied_and_what_was_applied_stays,
    a_job_that_waits_for_a_router_can_be_stopped,
    a_job_whose_link_is_stalled_can_be_stopped_and_what_was_on_its_way_is_not_applied,
    a_job_whose_directory_is_stalled_can_be_stopped,
    a_job_whose_router_is_frozen_in_its_middle_can_be_stopped,
    a_job_whose_router_is_gone_can_be_stopped,
    a_sync_may_be_started_right_after_each_of_many_stops,
}

const PEOPLE: u64 = 20_000;
/// How long a stop may take to answer: less than anything that a job itself waits for.
const ANSWER: Duration = Duration::from_secs(10);

async fn after_stop_has_answered_nothing_more_is_applied_and_what_was_applied_stays(
    database: Database,
) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(PEOPLE)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let job = world.start_sync().await?;
    loop {
        let mut jobs = world.admin.jobs.clone();
        let request = rollcall_proto::admin::v1::GetSyncJobRequest { name: job.name.clone() };
        let now = jobs.get_sync_job(request).await?.into_inner();
        assert!(!matches!(now.state(), State::Succeeded | State::Failed), "ended before it could be stopped");
        if now.counts.unwrap_or_default().added() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let asked = Instant::now();
    let stopped = world.admin.stop_sync(&job.name).await?;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let at_stop = world.license().await?.used();
    assert_eq!(stopped.state(), State::Stopped);
    assert_eq!(stopped.stopped_by, "admins/alice");
    assert!(i64::from(at_stop) < i64::try_from(PEOPLE)?, "it was stopped in the middle");
    assert_eq!(numbers(&stopped)[0], at_stop, "what was applied is counted, and stays");

    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.license().await?.used(), at_stop, "nothing is applied after the answer");
    let again = world.admin.stop_sync(&job.name).await?;
    assert_eq!(again.counts, stopped.counts, "a second stop changes nothing");

    let [added, _, unchanged, disabled, _] = succeeded(&world.sync_now().await?);
    assert_eq!((added, unchanged, disabled), (i32::try_from(PEOPLE)? - at_stop, at_stop, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_router_does_not_answer_can_be_stopped() -> Result<()> {
    let mut world = World::builder().these_people(flawless(10)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.router()?.freeze()?;
    let job = world.start_sync().await?;
    let stopped = world.admin.stop_sync(&job.name).await?;
    assert_eq!(stopped.state(), State::Stopped);
    world.router()?.thaw()?;
    assert_eq!(succeeded(&world.sync_now().await?), [10, 0, 0, 0, 0]);
    Ok(())
}

/// Stops a job that no router can end now: in time, twice, for good.
async fn stops(world: &World, job: &SyncJob) -> Result<SyncJob> {
    let stopped = tokio::time::timeout(ANSWER, world.admin.stop_sync(&job.name)).await??;
    assert_eq!(stopped.state(), State::Stopped);
    assert_eq!(numbers(&stopped)[0], world.license().await?.used(), "what was applied is counted, and stays");
    assert_eq!(world.admin.stop_sync(&job.name).await?, stopped, "a second stop is harmless");
    Ok(stopped)
}

/// A sync right after the stop adds exactly those who are missing: nothing of the stopped job has
/// come in between.
async fn the_next_sync_adds_the_rest(world: &World, stopped: &SyncJob) -> Result<()> {
    let everyone = i32::try_from(world.directory().search_count("(objectClass=inetOrgPerson)")?)?;
    let before = numbers(stopped)[0];
    assert_eq!(succeeded(&world.sync_now().await?), [everyone - before, 0, before, 0, 0]);
    assert_eq!(world.admin.stop_sync(&stopped.name).await?, *stopped, "the stopped job stays as it was");
    assert_eq!(world.license().await?.used(), everyone);
    Ok(())
}

/// A read that lasts, with some users applied.
async fn in_the_middle(database: Database) -> Result<(World, SyncJob)> {
    let world = World::builder().database(database).these_people(flawless(4_000)).cables().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.directory_link()?.slow(Some(400_000));
    let job = world.start_sync().await?;
    let job = until(&world.admin, &job.name, |job| job.counts.unwrap_or_default().added() > 0).await?;
    Ok((world, job))
}

async fn a_job_that_waits_for_a_router_can_be_stopped(database: Database) -> Result<()> {
    let mut world = World::builder().database(database).these_people(flawless(10)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.router()?.freeze()?; // so that the job is there before the router is gone
    let job = world.start_sync().await?;
    assert_eq!(job.state(), State::Queued);
    world.kill_router()?;
    let stopped = stops(&world, &job).await?;
    world.start_router()?;
    world.router_connected().await?;
    the_next_sync_adds_the_rest(&world, &stopped).await
}

async fn a_job_whose_link_is_stalled_can_be_stopped_and_what_was_on_its_way_is_not_applied(
    database: Database,
) -> Result<()> {
    let (world, job) = in_the_middle(database).await?;
    world.link()?.stall();
    world.directory_link()?.slow(None); // the router reads on, and its batches wait in the cable
    let stopped = stops(&world, &job).await?;
    world.link()?.resume();
    the_next_sync_adds_the_rest(&world, &stopped).await
}

async fn a_job_whose_directory_is_stalled_can_be_stopped(database: Database) -> Result<()> {
    let (world, job) = in_the_middle(database).await?;
    world.directory_link()?.stall();
    let stopped = stops(&world, &job).await?;
    world.directory_link()?.slow(None);
    world.directory_link()?.resume();
    the_next_sync_adds_the_rest(&world, &stopped).await
}

async fn a_job_whose_router_is_frozen_in_its_middle_can_be_stopped(database: Database) -> Result<()> {
    let (mut world, job) = in_the_middle(database).await?;
    world.router()?.freeze()?;
    let stopped = stops(&world, &job).await?;
    world.directory_link()?.slow(None);
    world.router()?.thaw()?;
    the_next_sync_adds_the_rest(&world, &stopped).await
}

async fn a_job_whose_router_is_gone_can_be_stopped(database: Database) -> Result<()> {
    let (mut world, job) = in_the_middle(database).await?;
    world.kill_router()?;
    let stopped = stops(&world, &job).await?;
    world.directory_link()?.slow(None);
    world.start_router()?;
    world.router_connected().await?;
    the_next_sync_adds_the_rest(&world, &stopped).await
}

async fn a_sync_may_be_started_right_after_each_of_many_stops(database: Database) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(4_000)).cables().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.directory_link()?.slow(Some(2_000_000));
    let mut applied = 0;
    for pause in [0, 5, 40, 200, 500, 900] {
        let job = world.start_sync().await?;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let stopped = tokio::time::timeout(ANSWER, world.admin.stop_sync(&job.name)).await??;
        let [added, ..] = numbers(&stopped);
        applied += added;
        assert_eq!(world.license().await?.used(), applied, "after {pause} ms");
    }
    world.directory_link()?.slow(None);
    assert_eq!(succeeded(&world.sync_now().await?), [4_000 - applied, 0, applied, 0, 0]);
    Ok(())
}
