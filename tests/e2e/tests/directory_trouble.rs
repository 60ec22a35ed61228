//! A directory on a bad day: a job that could not read everything ends FAILED with a reason that
//! says what to do, and nobody is disabled.

use std::time::Duration;

use anyhow::Result;
use harness::world::{Builder, Database, World};
use harness::{Certificate, Direction, Slapd};
use rollcall_proto::admin::v1::{FailureReason, SyncJob, directory_server::Security};

use crate::expect::{enabled, failed, flawless, succeeded, users};
use crate::on_both_databases;

on_both_databases! {
    a_read_that_is_cut_in_the_middle_disables_nobody,
    a_size_limit_of_the_bind_account_disables_nobody,
}

const PEOPLE: u64 = 1_500;

async fn synchronized(database: Database) -> Result<World> {
    synchronize(World::builder().database(database)).await
}

async fn synchronize(world: Builder) -> Result<World> {
    let world = world.these_people(flawless(PEOPLE)).cables().start().await?;
    let mut settings = world.settings();
    settings.page_size = 100;
    world.create_and_publish_source(settings).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0] as u64, PEOPLE);
    Ok(world)
}

/// Starts a sync whose read is slow, and returns when a third of it has come. One read came before.
async fn in_the_middle_of_a_read(world: &World) -> Result<SyncJob> {
    let cable = world.directory_link()?;
    let whole = cable.bytes_down();
    cable.slow(Some(whole / 8));
    let job = world.start_sync().await?;
    while cable.bytes_down() < whole + whole / 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(job)
}

async fn all_are_enabled(world: &World) -> Result<()> {
    assert_eq!(enabled(&users(world).await?) as u64, PEOPLE);
    Ok(())
}

async fn a_read_that_is_cut_in_the_middle_disables_nobody(database: Database) -> Result<()> {
    let world = synchronized(database).await?;
    for bytes in [20_000, 100_000, 300_000] {
        world.directory_link()?.cut_after(Direction::Down, bytes);
        let job = world.sync_now().await?;
        let message = failed(&job, FailureReason::DirectoryUnreachable);
        assert!(message.contains("localhost"), "names the server: {message}");
        all_are_enabled(&world).await?;
        world.directory_link()?.mend()?;
    }
    assert_eq!(succeeded(&world.sync_now().await?)[2] as u64, PEOPLE);
    Ok(())
}

/// As a machine does whose disk hangs: its sockets stay open, and nobody answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_freezes_in_the_middle_of_a_read_disables_nobody() -> Result<()> {
    let mut world = synchronized(Database::Sqlite).await?;
    let job = in_the_middle_of_a_read(&world).await?;
    world.directory_mut().freeze()?;
    world.directory_link()?.slow(None);
    // The page is given up; then nobody answers the next connection either.
    let job = world.finished(&job).await?;
    let message = failed(&job, FailureReason::DirectoryUnreachable);
    assert!(message.contains("silent"), "{message}");
    assert!(job.attempt > 1, "it was in the middle: {}", job.attempt);
    all_are_enabled(&world).await?;
    world.directory_mut().thaw()?;
    assert_eq!(succeeded(&world.sync_now().await?)[2] as u64, PEOPLE);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_in_the_middle_of_a_read_is_awaited() -> Result<()> {
    let deadline = Duration::from_secs(30);
    let mut world = synchronize(World::builder().directory_deadline(deadline)).await?;
    let job = in_the_middle_of_a_read(&world).await?;
    world.directory_mut().stop()?;
    world.directory_link()?.slow(None);
    // Longer than the first pause: it is not back when it is tried again.
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.directory_mut().start_again()?;
    let job = world.finished(&job).await?;
    assert_eq!(succeeded(&job), [0, 0, i32::try_from(PEOPLE)?, 0, 0]);
    assert!(job.attempt > 2, "broken off, not back, read: {}", job.attempt);
    all_are_enabled(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_breaks_off_the_look_ups_at_the_end_of_a_job_is_awaited() -> Result<()> {
    let world = World::builder().directory_deadline(Duration::from_secs(30));
    let world = world.these_people(flawless(300)).cables().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    succeeded(&world.sync_now().await?);
    for person in flawless(300).iter().take(3) {
        let (directory, rdn) = (world.directory(), &person.rdn);
        directory.rename(&person.dn(directory.base_dn()), rdn, Some(&directory.archive_dn()))?;
    }
    let cable = world.directory_link()?;
    let before = cable.connections();
    cable.slow(Some(100_000));
    let job = world.start_sync().await?;
    // The second connection is that of the look-ups.
    while cable.connections() < before + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cable.cut()?;
    cable.slow(None);
    // Longer than the first pause.
    tokio::time::sleep(Duration::from_secs(3)).await;
    cable.mend()?;
    let job = world.finished(&job).await?;
    assert_eq!(succeeded(&job), [0, 0, 297, 3, 0]);
    assert_eq!(job.attempt, 1, "it was read once");
    Ok(())
}

async fn a_size_limit_of_the_bind_account_disables_nobody(database: Database) -> Result<()> {
    let world = synchronized(database).await?;
    world.directory().limit_agent(Some(500))?;
    let message = failed(&world.sync_now().await?, FailureReason::ReadIncomplete);
    assert!(message.to_lowercase().contains("size"), "says which limit: {message}");
    all_are_enabled(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referral_within_the_scope_disables_nobody_and_is_not_followed() -> Result<()> {
    let world = synchronized(Database::Sqlite).await?;
    let people = world.directory().people_dn();
    world.directory().add_referral(
        &format!("ou=Elsewhere,{people}"),
        &format!("ldap://elsewhere.invalid/ou=Elsewhere,{people}"),
    )?;
    let message = failed(&world.sync_now().await?, FailureReason::DirectoryReferral);
    assert!(message.contains("elsewhere.invalid"), "{message}");
    all_are_enabled(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_does_not_exist_fails_and_names_it() -> Result<()> {
    let world = World::builder().policy(|mut policy| {
        policy.roots.push("dc=rollcall,dc=test".to_owned());
        policy
    });
    let world = world.start().await?;
    let mut settings = world.settings();
    settings.roots = vec![format!("ou=nobody,{}", world.directory().people_dn())];
    world.create_and_publish_source(settings).await?;
    let message = failed(&world.sync_now().await?, FailureReason::RootNotFound);
    assert!(message.contains("ou=nobody"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_bind_password_says_so() -> Result<()> {
    let world = World::builder().these_people(flawless(10)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.files.write_bind_password("wrong")?;
    let message = failed(&world.sync_now().await?, FailureReason::BindRejected);
    assert!(!message.contains("wrong\""), "{message}");
    world.files.write_bind_password(world.directory().agent_password())?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 10, "the password is read again at each connect");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_directory_certificate_is_refused() -> Result<()> {
    let world = World::builder().directory(|slapd| slapd.certificate(Certificate::Expired)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let message = failed(&world.sync_now().await?, FailureReason::DirectoryTls);
    assert!(message.to_lowercase().contains("expired"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_certificate_for_another_host_is_refused() -> Result<()> {
    let other = Certificate::ForHost("elsewhere.example.com".to_owned());
    let world = World::builder().directory(|slapd| slapd.certificate(other)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    failed(&world.sync_now().await?, FailureReason::DirectoryTls);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_is_read_when_the_first_is_down() -> Result<()> {
    let spare = Slapd::builder().these_people(flawless(200));
    let mut world = World::builder().these_people(flawless(200)).spare(spare).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.directories[0].stop()?;
    assert_eq!(succeeded(&world.sync_now().await?), [200, 0, 0, 0, 0]);
    world.directories[1].stop()?;
    let message = failed(&world.sync_now().await?, FailureReason::DirectoryUnreachable);
    assert_eq!(message.matches("localhost:").count(), 2, "names both: {message}");
    assert_eq!(enabled(&users(&world).await?), 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unprotected_connection_needs_the_leave_of_the_routers_policy() -> Result<()> {
    for allowed in [false, true] {
        let world = World::builder().these_people(flawless(10)).policy(move |mut policy| {
            policy.allow_plain = allowed;
            policy
        });
        let world = world.start().await?;
        let mut settings = world.settings();
        settings.directory_servers[0].set_security(Security::Plain);
        settings.directory_servers[0].port = i32::from(world.directory().ldap_port());
        world.create_and_publish_source(settings).await?;
        let job = world.sync_now().await?;
        if allowed {
            assert_eq!(succeeded(&job)[0], 10);
        } else {
            let message = failed(&job, FailureReason::RouterPolicy);
            assert!(message.contains("allow_plain"), "says what to change: {message}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_the_policy_does_not_name_does_not_leave() -> Result<()> {
    let world = World::builder().these_people(flawless(10)).policy(|mut policy| {
        policy.attributes.retain(|attribute| attribute != "telephoneNumber");
        policy
    });
    let world = world.start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let message = failed(&world.sync_now().await?, FailureReason::RouterPolicy);
    assert!(message.contains("telephoneNumber"), "{message}");
    assert!(world.users().await?.is_empty());
    Ok(())
}
