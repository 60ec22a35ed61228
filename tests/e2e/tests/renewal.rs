//! A router's certificate is renewed by itself, whatever is under way and whatever dies; one that
//! was off for too long comes back.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::Dice;
use harness::world::{Database, Identity, Role, TENANT, World, router_name};
use rollcall_proto::admin::v1::IdentityRouter;
use rollcall_proto::admin::v1::identity_router::State;

use crate::expect::{flawless, succeeded};
use crate::on_both_databases;

const PATIENCE: Duration = Duration::from_secs(60);

async fn router(world: &World) -> Result<IdentityRouter> {
    world.admin.router(TENANT, &router_name(0)).await
}

/// Waits until the router is as it should be.
async fn until(world: &World, what: &str, is: impl Fn(&IdentityRouter) -> bool) -> Result<IdentityRouter> {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = router(world).await?;
        if is(&now) {
            return Ok(now);
        }
        ensure!(Instant::now() < end, "it did not come {what}: {now:?}\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

on_both_databases! {
    certificates_are_renewed_again_and_again_while_a_sync_runs_and_nothing_is_lost_or_repeated,
    a_router_that_is_killed_around_its_renewals_always_comes_back,
}

async fn certificates_are_renewed_again_and_again_while_a_sync_runs_and_nothing_is_lost_or_repeated(
    database: Database,
) -> Result<()> {
    const PEOPLE: u64 = 4_000;
    let world = World::builder().database(database).these_people(flawless(PEOPLE)).cables();
    let world = world.router_certificate_life(Duration::from_secs(10)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.directory_link()?.slow(Some(70_000));
    let before = router(&world).await?.certificate_generation;
    let job = world.start_sync().await?;
    until(&world, "to four renewals", |router| router.certificate_generation >= before + 4).await?;
    let middle = crate::replicas::look(&world.admin, &job.name).await?;
    ensure!(middle.counts.unwrap_or_default().added() < i32::try_from(PEOPLE)?, "they were while it ran");
    world.directory_link()?.slow(None);
    let job = world.finished(&job).await?;
    ensure!(succeeded(&job) == [i32::try_from(PEOPLE)?, 0, 0, 0, 0]);
    ensure!(job.attempt == 1, "it was read {} times", job.attempt);
    let logs = world.logs();
    ensure!(
        logs.matches(" connected to the control plane").count() == 1,
        "one session all the time:\n{logs}"
    );
    ensure!(!logs.contains("not renewed") && !logs.contains("not confirmed"), "{logs}");
    Ok(())
}

async fn a_router_that_is_killed_around_its_renewals_always_comes_back(database: Database) -> Result<()> {
    let world = World::builder().database(database).router_certificate_life(Duration::from_secs(10));
    let mut world = world.start().await?;
    let mut dice = Dice::new(7, 0);
    for round in 0..20 {
        // A renewal comes after four to six seconds, and takes some milliseconds: near one as often
        // as not.
        let connected = router(&world).await?.certificate_generation;
        if round % 2 == 0 {
            until(&world, "to a renewal", |router| router.certificate_generation > connected).await?;
            tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
        } else {
            tokio::time::sleep(Duration::from_millis(dice.below(2_000))).await;
        }
        world.kill_router()?;
        let killed = router(&world).await?.last_seen_time;
        world.start_router()?;
        until(&world, "back", |router| router.state() == State::Connected && router.last_seen_time != killed)
            .await?;
    }
    ensure!(router(&world).await?.certificate_generation > 8, "it was killed, and renewed nevertheless");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_was_off_past_its_certificate_comes_back_three_times_and_then_needs_a_code()
-> Result<()> {
    const LIFE: Duration = Duration::from_secs(12);
    let mut world = World::builder().router_certificate_life(LIFE).start().await?;
    for left in [2, 1, 0] {
        world.stop_router()?;
        tokio::time::sleep(LIFE + Duration::from_secs(1)).await;
        let before = router(&world).await?;
        world.start_router()?;
        let after = until(&world, "back", |router| {
            router.state() == State::Connected
                && router.certificate_generation > before.certificate_generation
        })
        .await?;
        ensure!(after.recoveries_left == left, "{after:?}");
    }
    world.stop_router()?;
    tokio::time::sleep(LIFE + Duration::from_secs(1)).await;
    world.start_router()?;
    world.router()?.wait_for_log("makes a new registration code", PATIENCE)?;

    // The running router takes its new identity by itself.
    world.enroll_nth_anew(0).await?;
    let anew = until(&world, "back", |router| router.state() == State::Connected).await?;
    ensure!(anew.recoveries_left == 3, "{anew:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_whose_control_plane_is_away_says_that_its_certificate_ends_and_recovers_by_itself()
-> Result<()> {
    let mut world = World::builder().router_certificate_life(Duration::from_secs(10)).start().await?;
    world.stop_control_plane()?;
    world.router()?.wait_for_log("certificate has expired until=", PATIENCE)?;
    world.start_control_plane()?;
    world.router()?.wait_for_log("has a valid certificate again", PATIENCE)?;
    let back = until(&world, "back", |router| router.state() == State::Connected).await?;
    ensure!(back.recoveries_left == 2, "{back:?}");
    until(&world, "to a regular renewal, which counts from new", |router| router.recoveries_left == 3)
        .await?;
    Ok(())
}

/// Old and new are trusted; the server shows the new one; the old one is trusted no more. In each
/// step the router renews.
#[tokio::test(flavor = "multi_thread")]
async fn the_control_planes_authority_is_replaced_without_a_failed_session() -> Result<()> {
    let mut world = World::builder().router_certificate_life(Duration::from_secs(10)).start().await?;
    let (dir, old) = (world.dir().to_owned(), std::fs::read_to_string(world.files.authority())?);
    let other = World::builder().unenrolled().start().await?; // lends its authority
    let new = std::fs::read_to_string(other.files.authority())?;
    let renewed = async |world: &World| -> Result<String> {
        let now = router(world).await?.certificate_generation;
        // Two: the first may have begun before the change.
        until(world, "to be renewed", |router| router.certificate_generation >= now + 2).await?;
        let trusted = world.files.state(0).authorities();
        let end = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&trusted)?;
            let found = std::fs::read_to_string(world.files.authority())?;
            if same(&text, &found) || Instant::now() > end {
                return Ok(text);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    ensure!(same(&std::fs::read_to_string(world.files.state(0).authorities())?, &old));

    std::fs::write(world.files.authority(), format!("{old}{new}"))?;
    ensure!(same(&renewed(&world).await?, &format!("{old}{new}")), "both are trusted");

    let alice = Identity::at(&dir.join(format!("admin-{TENANT}-alice")).to_string_lossy());
    world.admin = world.admin_as(&alice)?; // who trusts both now
    other.files.issue_server("localhost", &dir.join("server-2").to_string_lossy(), &[])?;
    std::fs::rename(dir.join("server-2.key"), dir.join("server.key"))?;
    std::fs::rename(dir.join("server-2.pem"), dir.join("server.pem"))?;
    std::fs::set_permissions(dir.join("server.key"), PermissionsExt::from_mode(0o600))?;
    world.control_plane()?.wait_for_log("certificates read anew", PATIENCE)?;
    renewed(&world).await?;
    world.stop_router()?;
    world.start_router()?;
    world.router_connected().await?;

    // The administrator's certificate is of the old authority still; asked is with one of the new.
    let admin = other.files.issue_admin("bob", Role::SuperAdmin)?;
    std::fs::write(world.files.authority(), &new)?;
    world.admin = world.admin_as(&admin)?;
    let end = Instant::now() + PATIENCE;
    while router(&world).await.is_err() {
        ensure!(Instant::now() < end, "the new authority's administrator is not let in:\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(same(&renewed(&world).await?, &new), "the old one is trusted no more");
    world.stop_router()?;
    world.start_router()?;
    world.router_connected().await?;
    let logs = world.nth_router(0)?.logs();
    ensure!(!logs.contains("not connected") && !logs.contains("not renewed"), "{logs}");
    Ok(())
}

/// Whether two files have the same certificates, in any order.
fn same(one: &str, other: &str) -> bool {
    let certificates = |text: &str| {
        let mut parts: Vec<_> =
            text.split("-----BEGIN").map(|part| part.split_whitespace().collect::<String>()).collect();
        parts.sort();
        parts
    };
    certificates(one) == certificates(other)
}
