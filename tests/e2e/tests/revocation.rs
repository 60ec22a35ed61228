//! Routers that must not connect any more: revoked by an administrator, or there twice.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::Running;
use harness::programs::program;
use harness::world::{Database, TENANT, World, router_name};
use rollcall_proto::admin::v1::identity_router::State;
use tonic_types::StatusExt;

use crate::expect::flawless;
use crate::on_both_databases;
use crate::replicas::{look, until};

const PATIENCE: Duration = Duration::from_secs(60);
const PEOPLE: u64 = 6_000;

/// Revokes the router that reads, at one replica, while another one may have the job; then looks
/// whether anything more is applied.
async fn nothing_more_is_applied(mut world: World, at: usize) -> Result<()> {
    world.create_and_publish_source(world.settings()).await?;
    world.directory_link()?.slow(Some(400_000));
    let job = world.start_sync().await?;
    until(&world.admin, &job.name, |job| job.counts.unwrap_or_default().added() > 500).await?;
    world.admins[at].revoke_router(TENANT, &router_name(0)).await?;
    let answered = Instant::now();
    let applied = world.license().await?.used();
    world.directory_link()?.slow(None);
    ensure!(u64::try_from(applied)? < PEOPLE, "it was in its middle");
    world.router()?.wait_for_log("an administrator has revoked this router for ever", PATIENCE)?;
    // The other replica looks every two seconds; a loaded machine adds to it.
    ensure!(answered.elapsed() < Duration::from_secs(10), "{:?}", answered.elapsed());
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let now = world.license().await?.used();
        ensure!(now == applied, "{} more were applied after the answer", now - applied);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let router = world.admins[at].router(TENANT, &router_name(0)).await?;
    ensure!(router.state() == State::Revoked && !router.state_message.is_empty(), "{router:?}");

    // Never again: neither with what it has, nor with a new code for the name.
    world.stop_router()?;
    let told = "an administrator has revoked";
    let times = world.nth_router(0)?.logs().matches(told).count();
    world.start_router()?;
    let end = Instant::now() + PATIENCE;
    while world.nth_router(0)?.logs().matches(told).count() == times {
        ensure!(Instant::now() < end, "{}", world.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = world.admin.registration_code(TENANT, &router_name(0)).await.expect_err("a refusal");
    let status = refused.downcast_ref::<tonic::Status>().context("a status")?;
    ensure!(
        status.get_details_error_info().is_some_and(|info| info.reason == "ROUTER_REVOKED"),
        "{status:?}"
    );
    let job = look(&world.admin, &job.name).await?;
    ensure!(job.counts.unwrap_or_default().added() == applied, "what is counted was applied: {job:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_router_that_is_revoked_while_it_reads_nothing_more_is_applied() -> Result<()> {
    let world = World::builder().these_people(flawless(PEOPLE)).cables().start().await?;
    Box::pin(nothing_more_is_applied(world, 0)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_router_that_is_revoked_at_another_replica_nothing_more_is_applied() -> Result<()> {
    let world = World::builder().database(Database::Postgres).replicas(2).these_people(flawless(PEOPLE));
    Box::pin(nothing_more_is_applied(world.cables().start().await?, 1)).await
}

on_both_databases! {
    where_two_machines_have_one_identity_neither_is_let_in_until_a_new_code_says_which,
}

async fn where_two_machines_have_one_identity_neither_is_let_in_until_a_new_code_says_which(
    database: Database,
) -> Result<()> {
    let world = World::builder().database(database).router_certificate_life(Duration::from_secs(12));
    let mut world = world.start().await?;
    let copy = world.dir().join("copy");
    copy_folder(&world.files.state(0).0, &copy)?;
    let config = std::fs::read_to_string(world.files.router_config())?;
    let other = world.dir().join("router-copy.toml");
    std::fs::write(&other, config.replace("state = \"state\"", "state = \"copy\""))?;
    let before = world.admin.router(TENANT, &router_name(0)).await?.certificate_generation;
    let end = Instant::now() + PATIENCE;
    while world.admin.router(TENANT, &router_name(0)).await?.certificate_generation == before {
        ensure!(Instant::now() < end, "the first one renews");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Confirmed, too: until then the old one is as good.
    world.router()?.wait_for_log("certificate is renewed", PATIENCE)?;
    let mut command = Command::new(program("router-agent")?);
    let mut clone = Running::start(
        "the clone",
        command.arg("run").arg("--config").arg(&other),
        &world.dir().join("clone.log"),
    )?;
    let suspended = "this router is suspended";
    clone.wait_for_log(suspended, PATIENCE)?;
    world.router()?.wait_for_log(suspended, PATIENCE)?;
    let router = world.admin.router(TENANT, &router_name(0)).await?;
    ensure!(router.state() == State::Suspended && !router.state_message.is_empty(), "{router:?}");

    world.enroll_nth_anew(0).await?;
    world.router_connected().await?;
    clone.terminate(PATIENCE)?;
    let mut command = Command::new(program("router-agent")?);
    let mut clone = Running::start(
        "the clone",
        command.arg("run").arg("--config").arg(&other),
        &world.dir().join("clone-again.log"),
    )?;
    clone.wait_for_log("has enrolled anew since", PATIENCE)?;
    let router = world.admin.router(TENANT, &router_name(0)).await?;
    ensure!(router.state() == State::Connected, "the clone changes nothing any more: {router:?}");
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
