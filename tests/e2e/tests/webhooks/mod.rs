//! Webhooks as a receiver sees them: a real HTTPS server with a certificate, told by the real
//! control plane what became of real syncs. Signatures are checked by the script that the
//! documentation gives to receivers.

mod refused;
mod trouble;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use harness::receiver::{Received, Receiver, documented};
use harness::world::{Database, Role, TENANT, World};
use rollcall_proto::admin::v1::audit_event::Type;
use rollcall_proto::admin::v1::license::Level;
use rollcall_proto::admin::v1::sync_job::State;
use rollcall_proto::admin::v1::webhook::State as WebhookState;
use rollcall_proto::admin::v1::{
    FailureReason, ListWebhooksRequest, RotateWebhookSecretRequest, TestWebhookRequest, TestWebhookResponse,
    Webhook,
};

use crate::expect::{failed, flawless, join, numbers, succeeded};
use crate::on_both_databases;

on_both_databases! {
    every_outcome_is_told_to_the_receiver_and_to_the_trail,
    a_license_that_is_nearly_used_up_is_told_once_and_again_only_after_it_was_not,
}

const HOOK: &str = "tenants/acme/webhooks/ops";

/// A webhook for all events.
async fn hook(world: &World, receiver: &Receiver) -> Result<Webhook> {
    let webhook = Webhook { url: receiver.url("/rollcall"), ..Default::default() };
    world.admin.create_webhook(HOOK, webhook).await
}

async fn test(world: &World) -> Result<TestWebhookResponse> {
    let request = TestWebhookRequest { name: HOOK.to_owned() };
    Ok(world.admin.webhooks.clone().test_webhook(request).await?.into_inner())
}

/// Asks the documentation's own script whether a message is ours.
fn is_ours(secret: &str, message: &Received, body: &str) -> Result<bool> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../control-plane/README.md");
    let script = documented(&readme, "```python\n", "```")?;
    let main = "\nimport sys\nsecret, identity, seconds, signature = sys.argv[1:]\n\
         headers = {'webhook-id': identity, 'webhook-timestamp': seconds, 'webhook-signature': signature}\n\
         print(verify(secret, headers, sys.stdin.buffer.read()))\n";
    let mut python = Command::new("python3")
        .args(["-c", &(script + main), secret])
        .args(["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| message.header(name)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("python3 is needed to run the documentation's script")?;
    python.stdin.take().context("a pipe")?.write_all(body.as_bytes())?;
    let output = python.wait_with_output()?;
    ensure!(output.status.success(), "the documented script failed");
    Ok(String::from_utf8(output.stdout)?.trim() == "True")
}

/// Whether the text has this member, as the bodies are written: without spaces.
fn says(message: &Received, name: &str, value: &str) -> bool {
    message.body.contains(&format!("\"{name}\":{value}"))
}

async fn every_outcome_is_told_to_the_receiver_and_to_the_trail(database: Database) -> Result<()> {
    let receiver = Receiver::start().await?;
    let world =
        World::builder().database(database).receiver(&receiver).these_people(flawless(40)).license(40);
    let world = world.start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let secret = hook(&world, &receiver).await?.secret;
    assert!(test(&world).await?.delivered);
    let ping = receiver.wait("ping", 1).await?.remove(0);
    assert!(is_ours(&secret, &ping, &ping.body)?);
    assert_eq!(ping.header("content-type"), "application/json");

    // Finished.
    let first = world.sync_now().await?;
    assert_eq!(succeeded(&first), [40, 0, 0, 0, 0]);
    let told = receiver.wait("sync_job.succeeded", 1).await?.remove(0);
    assert!(is_ours(&secret, &told, &told.body)?);
    assert!(!is_ours(&secret, &told, &told.body.replace("\"added\":40", "\"added\":41"))?, "changed");
    assert!(!is_ours("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &told, &told.body)?, "of another");
    for (name, value) in [
        ("sync_job", format!("{:?}", first.name)),
        ("identity_source", "\"tenants/acme/identitySources/hq\"".to_owned()),
        ("tenant", "\"tenants/acme\"".to_owned()),
        ("state", "\"SUCCEEDED\"".to_owned()),
        ("added", "40".to_owned()),
        ("read", "40".to_owned()),
    ] {
        assert!(says(&told, name, &value), "{name}: {}", told.body);
    }

    // Over the license: two who join find no seat.
    join(&world, "ada", "ada@lab.test")?;
    join(&world, "bob", "bob@lab.test")?;
    let second = world.sync_now().await?;
    assert_eq!(succeeded(&second), [0, 0, 40, 0, 2]);
    let over = receiver.wait("sync_job.over_license", 1).await?.remove(0);
    assert!(says(&over, "left_out_users", "2") && says(&over, "LICENSE_LIMIT", "2"), "{}", over.body);
    assert!(says(&over, "used", "40") && says(&over, "user_limit", "40"), "{}", over.body);

    // Held, then stopped; held again, then superseded by one that fails.
    let people = flawless(40);
    for number in 0..12 {
        world.directory().delete(&people.person(number).dn(world.directory().base_dn()))?;
    }
    let held = world.sync_now().await?;
    assert_eq!(held.state(), State::Held);
    let told = receiver.wait("sync_job.held", 1).await?.remove(0);
    assert!(says(&told, "users", "12") && says(&told, "decision", "\"PENDING\""), "{}", told.body);
    world.admin.stop_sync(&held.name).await?;
    let told = receiver.wait("sync_job.stopped", 1).await?.remove(0);
    assert!(says(&told, "sync_job", &format!("{:?}", held.name)), "{}", told.body);
    let superseded = world.sync_now().await?;
    assert_eq!(superseded.state(), State::Held);
    world.files.write_bind_password("wrong")?;
    failed(&world.sync_now().await?, FailureReason::BindRejected);
    let told = receiver.wait("sync_job.failed", 1).await?.remove(0);
    assert!(says(&told, "reason", "\"BIND_REJECTED\""), "{}", told.body);
    let ended = receiver.wait("sync_job.succeeded", 3).await?.remove(2);
    assert!(
        says(&ended, "decision", "\"SUPERSEDED\"") && says(&ended, "withheld_users", "12"),
        "{}",
        ended.body
    );

    for message in receiver.received() {
        for personal in ["lab.test", "uid=", "ada", &people.person(0).uid] {
            assert!(!message.body.contains(personal), "{personal} in {}", message.body);
        }
        assert!(is_ours(&secret, &message, &message.body)?);
    }

    // The trail has each of them by number, with the counts, and users where they are few.
    let trail = world.admin.trail("tenants/acme").await?;
    let of = |kind: Type| trail.iter().filter(|event| event.r#type() == kind).cloned().collect::<Vec<_>>();
    let done = of(Type::SyncSucceeded);
    assert_eq!((done[0].subject.as_str(), done[0].details["added"].as_str()), (first.name.as_str(), "40"));
    assert!(!done[0].details.contains_key("added_users"), "forty are not few");
    assert_eq!(
        (done[1].details["not_synchronized"].as_str(), done[1].details["license_limit"].as_str()),
        ("2", "2")
    );
    let over = of(Type::SyncOverLicense).remove(0);
    assert_eq!((over.subject.as_str(), over.details["users"].as_str()), (second.name.as_str(), "2"));
    for (kind, subject) in [
        (Type::SyncHeld, &held.name),
        (Type::SyncStopped, &held.name),
        (Type::SyncHoldSuperseded, &superseded.name),
    ] {
        let event = of(kind).remove(0);
        assert_eq!(&event.subject, subject, "{kind:?}");
        assert_eq!(event.details["unchanged"], "28", "{kind:?}: {event:?}");
    }
    assert_eq!(of(Type::SyncFailed).remove(0).details["reason"], "BIND_REJECTED");
    Ok(())
}

async fn a_license_that_is_nearly_used_up_is_told_once_and_again_only_after_it_was_not(
    database: Database,
) -> Result<()> {
    let receiver = Receiver::start().await?;
    let world =
        World::builder().database(database).receiver(&receiver).these_people(flawless(86)).license(100);
    let world = world.start().await?;
    world.create_and_publish_source(world.settings()).await?;
    hook(&world, &receiver).await?;
    assert_eq!(world.license().await?.level(), Level::Normal);
    succeeded(&world.sync_now().await?);
    let told = receiver.wait("license.above_85", 1).await?.remove(0);
    assert!(says(&told, "used", "86") && says(&told, "user_limit", "100"), "{}", told.body);
    assert_eq!(world.license().await?.level(), Level::Above85);
    // Around 85 percent nobody is told again.
    for limit in [102, 100, 104, 101] {
        world.set_license(limit).await?;
    }
    assert_eq!(world.license().await?.level(), Level::Above85);
    world.set_license(90).await?;
    assert_eq!(world.license().await?.level(), Level::Above95);
    receiver.wait("license.above_95", 1).await?;
    world.set_license(200).await?;
    receiver.wait("license.below_85", 1).await?;
    assert_eq!(world.license().await?.level(), Level::Normal);
    world.set_license(86).await?;
    receiver.wait("license.above_95", 2).await?;
    let kinds = ["license.above_85", "license.above_95", "license.below_95", "license.below_85"];
    assert_eq!(kinds.map(|kind| receiver.of(kind).len()), [2, 2, 1, 1]);
    let trail = world.admin.trail("tenants/acme").await?;
    let alarms =
        trail.iter().map(|event| event.r#type()).filter(|kind| (111..=114).contains(&i32::from(*kind)));
    assert_eq!(
        alarms.collect::<Vec<_>>(),
        [
            Type::LicenseAbove85,
            Type::LicenseAbove95,
            Type::LicenseBelow95,
            Type::LicenseBelow85,
            Type::LicenseAbove85,
            Type::LicenseAbove95,
        ]
    );
    let last = trail.iter().rfind(|event| event.r#type() == Type::LicenseAbove95).context("an alarm")?;
    assert_eq!((last.details["used"].as_str(), last.details["limit"].as_str()), ("86", "86"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_after_its_rotation_both_sign_for_a_while() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut world = World::builder().receiver(&receiver).without_router().start().await?;
    let made = hook(&world, &receiver).await?;
    assert_eq!((made.state(), made.enabled), (WebhookState::Active, Some(true)));
    let auditor = world.admin_as(&world.files.issue_admin("ann", Role::Auditor)?)?;
    assert_eq!(auditor.webhook(HOOK).await?, Webhook { secret: String::new(), ..made.clone() });
    let list = ListWebhooksRequest { parent: format!("tenants/{TENANT}"), ..Default::default() };
    let listed = auditor.webhooks.clone().list_webhooks(list).await?.into_inner().webhooks;
    assert_eq!(listed, [Webhook { secret: String::new(), ..made.clone() }]);

    let rotate = |seconds: Option<i64>| RotateWebhookSecretRequest {
        name: HOOK.to_owned(),
        previous_valid_for: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
    };
    let mut webhooks = world.admin.webhooks.clone();
    let second = webhooks.rotate_webhook_secret(rotate(None)).await?.into_inner();
    assert!(second.previous_secret_expire_time.is_some());
    assert!(test(&world).await?.delivered);
    let both = receiver.wait("ping", 1).await?.remove(0);
    for secret in [&made.secret, &second.secret] {
        assert!(is_ours(secret, &both, &both.body)?);
    }
    let third = webhooks.rotate_webhook_secret(rotate(Some(0))).await?.into_inner();
    assert_eq!(third.previous_secret_expire_time, None);
    // A test may be repeated after five seconds only.
    let refused = test(&world).await.expect_err("too soon");
    assert!(refused.to_string().contains("5 seconds"), "{refused}");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert!(test(&world).await?.delivered);
    let one = receiver.wait("ping", 2).await?.remove(1);
    assert!(is_ours(&third.secret, &one, &one.body)?);
    assert!(!is_ours(&second.secret, &one, &one.body)? && !is_ours(&made.secret, &one, &one.body)?);

    let kinds: Vec<_> = world.admin.trail("tenants/acme").await?.iter().map(|event| event.r#type()).collect();
    for kind in [Type::WebhookCreated, Type::WebhookSecretRotated, Type::WebhookTested] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
    world.stop_control_plane()?;
    let mut kept = world.logs().into_bytes();
    for file in std::fs::read_dir(world.dir())? {
        let path = file?.path();
        if path.to_string_lossy().contains("rollcall.db") {
            kept.extend(std::fs::read(path)?);
        }
    }
    for secret in [&made.secret, &second.secret, &third.secret] {
        let text = secret.trim_start_matches("whsec_");
        assert!(
            !kept.windows(text.len()).any(|bytes| bytes == text.as_bytes()),
            "the secret is written down"
        );
    }
    let url = receiver.url("/rollcall");
    assert!(!world.logs().contains(&url), "the address of some receivers is a secret, too");
    Ok(())
}

/// How many of all are the tests of one user for the numbers of a job.
#[tokio::test(flavor = "multi_thread")]
async fn where_few_users_are_concerned_the_trail_names_them_by_number() -> Result<()> {
    let world = World::builder().these_people(flawless(30)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [30, 0, 0, 0, 0]);
    join(&world, "ada", "ada@lab.test")?;
    let leaver = flawless(30).person(3);
    world.directory().delete(&leaver.dn(world.directory().base_dn()))?;
    let second = world.sync_now().await?;
    assert_eq!(numbers(&second), [1, 0, 29, 1, 0]);
    let users = world.users().await?;
    let number = |name: &str| {
        let user = users.iter().find(|user| user.user_name == name);
        user.and_then(|user| user.name.rsplit('/').next()).map(str::to_owned).context("a user")
    };
    let trail = world.admin.trail("tenants/acme").await?;
    let ended = trail.iter().rfind(|event| event.r#type() == Type::SyncSucceeded).context("an end")?;
    assert_eq!(ended.details["added_users"], number("ada")?);
    assert_eq!(ended.details["disabled_users"], number(&leaver.uid)?);
    assert!(!ended.details.contains_key("updated_users"));
    Ok(())
}
