//! Where messages do not go, and which answers are none: a tenant must not reach through the
//! control plane what only that reaches.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::ldap::Certificate;
use harness::receiver::{Answer, Receiver};
use harness::world::World;
use rollcall_proto::admin::v1::audit_event::Type;
use rollcall_proto::admin::v1::webhook::{Failure, State};
use rollcall_proto::admin::v1::{CreateWebhookRequest, DeleteWebhookRequest, UpdateWebhookRequest, Webhook};
use tonic::{Code, Status};

use super::{HOOK, hook, test};
use crate::expect::{flawless, succeeded};

async fn make(world: &World, id: &str, url: &str) -> Result<Webhook, Status> {
    let webhook = Webhook { url: url.to_owned(), ..Default::default() };
    let request = CreateWebhookRequest {
        parent: "tenants/acme".to_owned(),
        webhook_id: id.to_owned(),
        webhook: Some(webhook),
    };
    Ok(world.admin.webhooks.clone().create_webhook(request).await?.into_inner())
}

async fn update(world: &World, webhook: Webhook) -> Result<Webhook, Status> {
    let request = UpdateWebhookRequest { webhook: Some(webhook), ..Default::default() };
    Ok(world.admin.webhooks.clone().update_webhook(request).await?.into_inner())
}

/// A webhook in the place of the one of before, which may be tested at once.
async fn anew(world: &World, url: &str) -> Result<()> {
    let request = DeleteWebhookRequest { name: HOOK.to_owned() };
    world.admin.webhooks.clone().delete_webhook(request).await?;
    make(world, "ops", url).await?;
    Ok(())
}

/// What comes of a test, once it may be repeated.
async fn tested(world: &World) -> Result<(Failure, i32, String)> {
    for _ in 0..100 {
        match test(world).await {
            Ok(answer) => {
                let failure = answer.failure.context("it was delivered")?;
                return Ok((failure.failure(), failure.http_status, failure.message));
            }
            Err(error) if error.to_string().contains("within the last 5 seconds") => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(error),
        }
    }
    anyhow::bail!("never tested")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_what_only_the_control_plane_reaches() -> Result<()> {
    // A receiver that would answer, with a certificate that would do: only the network is not
    // allowed.
    let receiver = Receiver::start().await?;
    let world = World::builder().without_router().start().await?;
    for url in [
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:192.168.0.1]/",
        "https://[fd00:ec2::254]/",
        "https://user:password@hooks.example.com/",
        "file:///etc/passwd",
        "",
    ] {
        let refused = make(&world, "inside", url).await.expect_err(url);
        assert_eq!(refused.code(), Code::InvalidArgument, "{url}");
        assert!(refused.message().starts_with("webhook.url must"), "{url}: {}", refused.message());
    }
    // A name says nothing; what it resolves to does.
    hook(&world, &receiver).await?;
    let (failure, _, message) = tested(&world).await?;
    assert_eq!(failure, Failure::AddressRefused, "{message}");
    assert!(message.contains("ask the operator"), "{message}");
    let inside = Webhook {
        name: HOOK.to_owned(),
        url: "https://nobody-has-this-name.invalid/".to_owned(),
        ..Default::default()
    };
    update(&world, inside).await?;
    assert_eq!(tested(&world).await?.0, Failure::NotResolved);
    assert_eq!(receiver.received(), [], "nothing arrived");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_only_if_it_is_small_whole_in_time_and_of_the_right_server() -> Result<()> {
    let mut receiver = Receiver::start().await?;
    let world = World::builder().receiver(&receiver).without_router().start().await?;
    hook(&world, &receiver).await?;
    let elsewhere = Receiver::start().await?;
    let location = format!("location: {}\r\n", elsewhere.url("/"));
    let huge = vec![b'x'; 65 << 10];
    let long = format!("x-long: {}\r\n", "x".repeat(300 << 10));
    let cut = |bytes: &[u8]| Answer { bytes: bytes.to_vec(), pause: Duration::ZERO };
    for (what, answer, failure, status) in [
        ("a redirect", Answer::of("302 Found", &location, b""), Failure::HttpStatus, 302),
        ("another", Answer::of("308 Permanent Redirect", &location, b""), Failure::HttpStatus, 308),
        (
            "an error",
            Answer::of("500 Internal Server Error", "", b"secret of the inside"),
            Failure::HttpStatus,
            500,
        ),
        ("too much", Answer::of("200 OK", "", &huge), Failure::AnswerTooLarge, 0),
        ("a head that is too large", Answer::of("200 OK", &long, b""), Failure::AnswerTooLarge, 0),
        ("cut", cut(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), Failure::NotHttp, 0),
        ("no HTTP", cut(b"SSH-2.0-OpenSSH\r\n"), Failure::NotHttp, 0),
        ("late", Answer::status("200 OK").after(Duration::from_secs(11)), Failure::TimedOut, 0),
    ] {
        receiver.answers(answer);
        anew(&world, &receiver.url("/")).await?;
        let (failed, code, message) = tested(&world).await?;
        assert_eq!((failed, code), (failure, status), "{what}: {message}");
        assert!(!message.contains("secret of the inside"), "{what}: {message}");
    }
    assert_eq!(elsewhere.received(), [], "no redirect was followed");
    receiver.stop();
    anew(&world, &receiver.url("/")).await?;
    assert_eq!(tested(&world).await?.0, Failure::NotConnected);
    for kind in
        [Certificate::ForHost("elsewhere.test".to_owned()), Certificate::Expired, Certificate::SelfSigned]
    {
        let impostor = Receiver::with(&kind).await?;
        anew(&world, &impostor.url("/")).await?;
        assert_eq!(tested(&world).await?.0, Failure::TlsFailed, "{kind:?}");
        assert_eq!(impostor.received(), []);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_told_nothing_more_until_it_is_switched_on_again() -> Result<()> {
    let receiver = Receiver::start().await?;
    let world = World::builder().receiver(&receiver).these_people(flawless(10)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    hook(&world, &receiver).await?;
    receiver.answers(Answer::status("410 Gone"));
    succeeded(&world.sync_now().await?);
    receiver.wait("sync_job.succeeded", 1).await?;
    let mut shown = world.admin.webhook(HOOK).await?;
    for _ in 0..100 {
        if shown.state() == State::Gone {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        shown = world.admin.webhook(HOOK).await?;
    }
    let deliveries = shown.deliveries.clone().unwrap_or_default();
    assert_eq!((shown.state(), shown.enabled), (State::Gone, Some(false)), "{shown:?}");
    assert_eq!((deliveries.pending_messages(), deliveries.given_up_messages()), (0, 1));
    receiver.answers(Answer::status("200 OK"));
    succeeded(&world.sync_now().await?);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.of("sync_job.succeeded").len(), 1);
    let trail = world.admin.trail("tenants/acme").await?;
    assert!(trail.iter().any(|event| event.r#type() == Type::WebhookGone && event.subject == HOOK));
    let on = Webhook { name: HOOK.to_owned(), enabled: Some(true), ..Default::default() };
    assert_eq!(update(&world, on).await?.state(), State::Active);
    succeeded(&world.sync_now().await?);
    receiver.wait("sync_job.succeeded", 2).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_five_webhooks_and_each_gets_what_it_asks_for() -> Result<()> {
    let receiver = Receiver::start().await?;
    let world = World::builder().receiver(&receiver).these_people(flawless(10)).license(10).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for (number, event) in [(1, 1), (2, 2), (3, 6), (4, 7)] {
        let webhook =
            Webhook { url: receiver.url(&format!("/{number}")), events: vec![event], ..Default::default() };
        world.admin.create_webhook(&format!("tenants/acme/webhooks/w{number}"), webhook).await?;
    }
    make(&world, "w5", &receiver.url("/all")).await?;
    let refused = make(&world, "w5", &receiver.url("/")).await.expect_err("a second one of the name");
    assert_eq!(refused.code(), Code::AlreadyExists);
    let refused = make(&world, "w6", &receiver.url("/")).await.expect_err("a sixth");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    succeeded(&world.sync_now().await?);
    receiver.wait("sync_job.succeeded", 2).await?;
    receiver.wait("license.above_85", 2).await?;
    receiver.wait("license.above_95", 2).await?;
    let paths = |kind: &str| {
        let mut paths: Vec<_> = receiver.of(kind).into_iter().map(|message| message.path).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths("sync_job.succeeded"), ["/1", "/all"]);
    assert_eq!(paths("license.above_85"), ["/3", "/all"]);
    assert_eq!(paths("license.above_95"), ["/4", "/all"]);
    let delete = DeleteWebhookRequest { name: "tenants/acme/webhooks/w5".to_owned() };
    world.admin.webhooks.clone().delete_webhook(delete.clone()).await?;
    let gone = world.admin.webhooks.clone().delete_webhook(delete).await.expect_err("it is gone");
    assert_eq!(gone.code(), Code::NotFound);
    Ok(())
}
