//! Several identity routers of one tenant: any of them can read a source, and one that dies is
//! replaced.

use anyhow::Result;
use harness::world::{Database, Member, Policy, World, router_name};
use rollcall_proto::admin::v1::FailureReason;

use crate::expect::{enabled, failed, flawless, succeeded, users};
use crate::on_both_databases;
use crate::replicas::until;

const PEOPLE: u64 = 6_000;

on_both_databases! {
    when_a_router_dies_in_the_middle_of_a_read_another_one_ends_it_exactly,
    when_a_router_falls_silent_in_the_middle_of_a_read_another_one_ends_it_exactly,
}

async fn when_a_router_dies_in_the_middle_of_a_read_another_one_ends_it_exactly(
    database: Database,
) -> Result<()> {
    another_one_ends_it_exactly(database, Member::kill).await
}

/// Its sockets stay open: only its silence tells.
async fn when_a_router_falls_silent_in_the_middle_of_a_read_another_one_ends_it_exactly(
    database: Database,
) -> Result<()> {
    another_one_ends_it_exactly(database, Member::freeze).await
}

async fn another_one_ends_it_exactly(
    database: Database,
    end: impl Fn(&mut Member) -> Result<()>,
) -> Result<()> {
    let world = World::builder().database(database).routers(2).these_people(flawless(PEOPLE)).cables();
    let mut world = world.start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.directory_link()?.slow(Some(600_000));
    let job = world.start_sync().await?;
    let job = until(&world.admin, &job.name, |job| job.counts.unwrap_or_default().added() > 0).await?;
    let reads = usize::from(!job.identity_router.ends_with(&router_name(0)));
    end(world.nth_router(reads)?)?;
    world.directory_link()?.slow(None);

    let job = world.finished(&job).await?;
    assert_eq!(succeeded(&job), [i32::try_from(PEOPLE)?, 0, 0, 0, 0], "everyone once");
    assert!(job.identity_router.ends_with(&router_name(1 - reads)), "{}", job.identity_router);
    assert_eq!(job.attempt, 2, "read once by each");
    let users = users(&world).await?;
    assert_eq!((users.len() as u64, enabled(&users) as u64), (PEOPLE, PEOPLE));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_that_read_a_source_last_reads_it_again() -> Result<()> {
    let mut world = World::builder().routers(2).these_people(flawless(20)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for last in [1, 0, 1] {
        let away = 1 - last;
        world.nth_router(away)?.stop()?;
        succeeded(&world.sync_now().await?);
        world.nth_router(away)?.start()?;
        world.nth_router_connected(away).await?;
        let job = world.sync_now().await?;
        assert_eq!(succeeded(&job), [0, 0, 20, 0, 0]);
        assert!(job.identity_router.ends_with(&router_name(last)), "{} after {last}", job.identity_router);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_may_not_read_the_source_is_replaced_by_one_that_may() -> Result<()> {
    let mut world = World::builder().routers(2).these_people(flawless(20)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let mut narrow = Policy::of(&[world.directory().access()], &[]);
    narrow.roots = vec!["ou=elsewhere,dc=example,dc=com".to_owned()];
    world.files.write_policy(&narrow)?;
    world.nth_router(0)?.stop()?;
    world.nth_router(0)?.start()?;
    world.nth_router_connected(0).await?;
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [20, 0, 0, 0, 0]);
    assert!(job.identity_router.ends_with(&router_name(1)), "{}", job.identity_router);

    world.nth_router(1)?.stop()?;
    let message = failed(&world.sync_now().await?, FailureReason::RouterPolicy);
    assert!(
        message.contains("policy does not allow"),
        "where no other is left, its reason is told: {message}"
    );
    Ok(())
}
