//! A database on a bad day: full, killed, cut off, down at the start, restored from a backup. A
//! sync waits for it, goes on by itself and ends with exact numbers.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::SmallDisk;
use harness::world::{Database, TENANT, World};
use rollcall_proto::admin::v1::sync_job::State;

use crate::expect::{enabled, flawless, numbers, users};
use crate::on_both_databases;

const PEOPLE: u64 = 12_000;
const PATIENCE: Duration = Duration::from_secs(100);

on_both_databases! {
    a_backup_taken_during_a_sync_goes_on_with_it_where_it_is_restored,
    a_start_that_is_killed_while_it_makes_the_tables_leaves_them_to_the_next_one,
}

async fn half_way(mut world: World) -> Result<(World, String)> {
    world.create_and_publish_source(world.settings()).await?;
    let job = world.start_sync().await?;
    while world.license().await?.used() == 0 {
        ensure!(world.control_plane()?.is_running(), "{}", world.logs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((world, job.name))
}

/// Waits for the end of the job, which it may be impossible to ask for meanwhile.
async fn ends_exactly(world: &World, job: &str) -> Result<()> {
    let watched = async {
        loop {
            if let Ok(job) = world.admin.watch(job, |_| {}).await
                && job.end_time.is_some()
            {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let Ok(job) = tokio::time::timeout(PATIENCE, watched).await else {
        anyhow::bail!("the job does not end:\n{}", world.logs());
    };
    assert_eq!(job.state(), State::Succeeded, "{:?}\n{}", job.error, world.logs());
    assert_eq!(numbers(&job), [i32::try_from(PEOPLE)?, 0, 0, 0, 0], "everyone once");
    let users = users(world).await?;
    assert_eq!((users.len() as u64, enabled(&users) as u64), (PEOPLE, PEOPLE));
    Ok(())
}

async fn a_backup_taken_during_a_sync_goes_on_with_it_where_it_is_restored(database: Database) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(PEOPLE)).start().await?;
    let (mut world, job) = half_way(world).await?;
    world.restore_a_backup()?;
    world.kill_control_plane()?;
    world.start_control_plane()?;
    ends_exactly(&world, &job).await
}

async fn a_start_that_is_killed_while_it_makes_the_tables_leaves_them_to_the_next_one(
    database: Database,
) -> Result<()> {
    let mut world = World::builder().database(database).without_router().start().await?;
    let operator = world.files.issue_operator("again")?;
    world.stop_control_plane()?;
    let config = world.files.control_plane_config();
    let (text, url) = (std::fs::read_to_string(&config)?, world.database_url().to_owned());
    ensure!(text.contains(&url), "the database is where this test looks for it:\n{text}");
    // A little later each time: from before the first statement to after the last one.
    for pause in (0..15).map(|time| time * 10) {
        let fresh = match &world.postgres {
            Some(server) => server.database()?,
            None => url.replace("rollcall.db", &format!("fresh-{pause}.db")),
        };
        std::fs::write(&config, text.replace(&url, &fresh))?;
        world.launch_control_plane()?;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        world.kill_control_plane()?;
        world.start_control_plane()?;
        let license = world.admin_as(&operator)?.set_license(TENANT, 7).await?;
        assert_eq!(license.user_limit(), 7, "after {pause} ms");
        world.stop_control_plane()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_a_sync_up_and_loses_nothing() -> Result<()> {
    let Some(disk) = SmallDisk::mount(4_096)? else { return Ok(()) };
    let world = World::builder().database_in(disk.path()).these_people(flawless(PEOPLE)).start().await?;
    let (mut world, job) = half_way(world).await?;
    let full = "the database's disk is full";
    world.control_plane()?.wait_for_log(full, PATIENCE)?;
    let held = world.users().await?.len() as u64;
    assert!(held > 0 && held < PEOPLE, "reading goes on: {held}");
    let lines = world.logs().matches(full).count();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let more = world.logs().matches(full).count() - lines;
    assert!(more < 60, "the log is not flooded: {more} lines in 4 s");
    disk.resize(256 << 10)?;
    ends_exactly(&world, &job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_killed_and_comes_back_holds_a_sync_up_and_loses_nothing() -> Result<()> {
    let world = World::builder().database(Database::Postgres).these_people(flawless(PEOPLE)).start().await?;
    let (mut world, job) = half_way(world).await?;
    let server = world.postgres.as_mut().expect("a world on PostgreSQL");
    server.kill()?;
    server.start_again()?;
    ends_exactly(&world, &job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_terminated_again_and_again_lose_nothing() -> Result<()> {
    let world = World::builder().database(Database::Postgres).these_people(flawless(PEOPLE)).start().await?;
    let (world, job) = half_way(world).await?;
    let server = world.postgres.as_ref().expect("a world on PostgreSQL");
    for _ in 0..5 {
        server.psql(
            world.database_url(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rollcall'",
        )?;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    ends_exactly(&world, &job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_waits_for_its_database_and_says_so() -> Result<()> {
    let mut world = World::builder().database(Database::Postgres).these_people(flawless(10)).start().await?;
    world.stop_control_plane()?;
    world.postgres.as_mut().expect("a world on PostgreSQL").stop()?;
    world.launch_control_plane()?;
    world.control_plane()?.wait_for_log("cannot open the database; not serving yet", PATIENCE)?;
    world.postgres.as_mut().expect("a world on PostgreSQL").start_again()?;
    let address = world.address();
    world.control_plane()?.wait_for_port(address, PATIENCE)?;
    assert_eq!(world.license().await?.used(), 0);
    Ok(())
}
