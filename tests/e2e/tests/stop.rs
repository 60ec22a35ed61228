//! Stop Sync.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::sync_job::State;

use crate::expect::{flawless, numbers, succeeded};
use crate::on_both_databases;

on_both_databases! {
    after_stop_has_answered_nothing_more_is_applied_and_what_was_applied_stays,
}

const PEOPLE: u64 = 20_000;

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
