//! Receivers that are down, slow or wrong for a while, and control planes that die: everything is
//! told at least once, under the same id.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::receiver::{Answer, Receiver};
use harness::world::{Database, SOURCE, World};
use rollcall_proto::admin::v1::Webhook;
use rollcall_proto::admin::v1::webhook::Failure;

use super::{HOOK, hook, is_ours, says};
use crate::expect::{flawless, succeeded};
use crate::on_both_databases;

on_both_databases! {
    what_was_committed_is_told_after_the_control_plane_was_killed,
    a_receiver_that_was_down_is_told_later_and_in_order,
}

/// Waits until nothing waits for the webhook.
async fn settled(world: &World) -> Result<Webhook> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let webhook = world.admin.webhook(HOOK).await?;
        if webhook.deliveries.clone().unwrap_or_default().pending_messages() == 0 {
            return Ok(webhook);
        }
        ensure!(Instant::now() < end, "{webhook:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn failed_for(world: &World, failure: Failure) -> Result<Webhook> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let webhook = world.admin.webhook(HOOK).await?;
        let last = webhook.deliveries.clone().unwrap_or_default().last_failure;
        if last.is_some_and(|last| last.failure() == failure) {
            return Ok(webhook);
        }
        ensure!(Instant::now() < end, "{webhook:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn a_receiver_that_was_down_is_told_later_and_in_order(database: Database) -> Result<()> {
    let mut receiver = Receiver::start().await?;
    let world = World::builder().database(database).receiver(&receiver).these_people(flawless(30));
    let world = world.start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let secret = hook(&world, &receiver).await?.secret;
    receiver.stop();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let job = world.sync_now().await?;
        succeeded(&job);
        jobs.push(job.name);
    }
    let shown = failed_for(&world, Failure::NotConnected).await?.deliveries.unwrap_or_default();
    assert_eq!(shown.pending_messages(), 3, "{shown:?}");
    assert!(shown.next_attempt_time.is_some() && shown.last_success_time.is_none(), "{shown:?}");
    assert!(shown.last_failure.unwrap_or_default().message.contains("Check that the receiver runs"));
    receiver.start_again().await?;
    let told = receiver.wait("sync_job.succeeded", 3).await?;
    for (message, job) in told.iter().zip(&jobs) {
        assert!(says(message, "sync_job", &format!("{job:?}")), "in order: {} is not of {job}", message.body);
        assert!(is_ours(&secret, message, &message.body)?);
    }
    let shown = settled(&world).await?.deliveries.unwrap_or_default();
    assert!(shown.last_success_time.is_some() && shown.next_attempt_time.is_none(), "{shown:?}");
    // One that answers with an error is told again, with the same id and the same words.
    receiver.answers(Answer::status("503 Service Unavailable"));
    succeeded(&world.sync_now().await?);
    receiver.wait("sync_job.succeeded", 4).await?;
    receiver.answers(Answer::status("200 OK"));
    let told = receiver.wait("sync_job.succeeded", 5).await?;
    assert_eq!(told[3].header("webhook-id"), told[4].header("webhook-id"));
    assert_eq!(told[3].body, told[4].body);
    assert!(told[4].at - told[3].at >= Duration::from_secs(4), "not at once");
    assert!(is_ours(&secret, &told[4], &told[4].body)?, "signed anew for its own time");
    settled(&world).await?;
    assert_eq!(receiver.of("sync_job.succeeded").len(), 5, "and no more once it has arrived");
    Ok(())
}

async fn what_was_committed_is_told_after_the_control_plane_was_killed(database: Database) -> Result<()> {
    let mut receiver = Receiver::start().await?;
    let world = World::builder().database(database).receiver(&receiver).these_people(flawless(30));
    let mut world = world.start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let secret = hook(&world, &receiver).await?.secret;
    // Committed, and not delivered by anyone.
    receiver.stop();
    let first = world.sync_now().await?;
    succeeded(&first);
    world.kill_control_plane()?;
    receiver.start_again().await?;
    world.start_control_plane()?;
    let told = receiver.wait("sync_job.succeeded", 1).await?.remove(0);
    assert!(says(&told, "sync_job", &format!("{:?}", first.name)), "{}", told.body);
    assert!(is_ours(&secret, &told, &told.body)?);
    settled(&world).await?;
    // Sent, and the sender killed before it heard the answer.
    receiver.answers(Answer::status("200 OK").after(Duration::from_secs(9)));
    world.router_connected().await?;
    succeeded(&world.sync_now().await?);
    receiver.wait("sync_job.succeeded", 2).await?;
    world.kill_control_plane()?;
    receiver.answers(Answer::status("200 OK"));
    world.start_control_plane()?;
    let told = receiver.wait("sync_job.succeeded", 3).await?;
    assert_eq!(told[1].header("webhook-id"), told[2].header("webhook-id"), "the same message once more");
    assert_eq!(told[1].body, told[2].body);
    settled(&world).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_delays_neither_another_nor_a_sync() -> Result<()> {
    let (slow, quick) = (Receiver::start().await?, Receiver::start().await?);
    // Both have certificates of their own authorities: the world trusts both.
    let both = std::env::temp_dir().join(format!("rollcall-both-{}.pem", std::process::id()));
    std::fs::write(
        &both,
        std::fs::read_to_string(slow.authority())? + &std::fs::read_to_string(quick.authority())?,
    )?;
    let world = World::builder().receivers(&both).these_people(flawless(10)).start().await?;
    std::fs::remove_file(&both)?;
    world.create_and_publish_source(world.settings()).await?;
    slow.answers(Answer::status("200 OK").after(Duration::from_secs(9)));
    hook(&world, &slow).await?;
    let other = Webhook { url: quick.url("/"), ..Default::default() };
    world.admin.create_webhook("tenants/acme/webhooks/quick", other).await?;
    for number in 1..=3 {
        let begun = Instant::now();
        let job = world.admin.start_sync(SOURCE).await?;
        succeeded(&world.finished(&job).await?);
        quick.wait("sync_job.succeeded", number).await?;
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
    assert!(slow.of("sync_job.succeeded").len() < 3, "the slow one is still with an earlier message");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_tells() -> Result<()> {
    let receiver = Receiver::start().await?;
    let world = World::builder().database(Database::Postgres).replicas(2).receiver(&receiver);
    let world = world.these_people(flawless(20)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    hook(&world, &receiver).await?;
    for _ in 0..10 {
        succeeded(&world.sync_now().await?);
    }
    receiver.wait("sync_job.succeeded", 10).await?;
    settled(&world).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = receiver.of("sync_job.succeeded");
    let ids: std::collections::BTreeSet<_> =
        told.iter().map(|message| message.header("webhook-id")).collect();
    assert_eq!((told.len(), ids.len()), (10, 10), "each once");
    Ok(())
}
