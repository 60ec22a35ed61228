//! What the store promises of webhooks, on both engines, with a clock that the test sets: messages
//! are there exactly with what they tell, are delivered one after the other by whoever has the
//! webhook, are given up in the end, and nobody is told twice that the license is nearly used up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use control_plane::model::{
    Absence, AttemptOutcome, AuditFilter, Delivery, DeliveryFailure, EventType, FailedAttempt, JobState,
    LicenseLevel, Receiver, SourceId, TenantId, Timestamp, Trail, UserFilter, Webhook, WebhookEvent,
    WebhookId, WebhookNo, WebhookState,
};
use control_plane::store::{self, NewWebhook, Outcome, StoreError, WebhookChange};
use control_plane::webhooks::retry::{self, AttemptError, MAX_MESSAGE_AGE};

use crate::conformance::{World, people};
use crate::database::{Engine, NOW, admin, block_on, on_both};
use crate::tool::Tool;

on_both! {
    a_message_is_there_exactly_if_what_it_tells_is
    one_replica_at_a_time_delivers_in_order_and_another_after_its_lease
    what_fails_holds_up_what_comes_behind_and_is_given_up_after_three_days
    what_fails_again_and_again_is_overtaken
    whoever_is_deleted_or_switched_off_is_told_nothing_that_waits
    a_receiver_that_is_gone_switches_off_the_webhook_that_was_meant_and_no_later_one
    a_suspended_tenant_is_sent_nothing_until_it_is_resumed
    a_tenant_takes_two_places_at_a_time
    each_webhook_gets_what_it_asked_for_and_nothing_of_another_tenant
    beyond_ten_thousand_new_messages_are_given_up
    a_test_comes_once_in_a_while_and_a_good_one_lets_what_waits_go
    every_way_to_take_and_give_back_seats_tells_once
    job_ends_and_changes_of_webhooks_never_wait_for_each_other_in_a_circle
}

const OWNER: &str = "replica-1";
const LEASE: Duration = Duration::from_secs(30);
const UNWELL: AttemptError = AttemptError { failure: DeliveryFailure::HttpStatus, status: Some(503) };

fn later(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn new(id: &str, events: &[WebhookEvent]) -> NewWebhook {
    let mut uid = [0; 16];
    uid[..id.len()].copy_from_slice(id.as_bytes());
    NewWebhook {
        id: id.into(),
        uid,
        secret: vec![7; 49],
        display_name: String::new(),
        url: format!("https://{id}.example.com/"),
        events: events.to_vec(),
        enabled: true,
    }
}

async fn make(world: &World, id: &str, events: &[WebhookEvent]) -> WebhookNo {
    let made = world.store.create_webhook(&world.tenant, new(id, events), 5, &admin(), NOW).await;
    made.expect("a webhook").receiver.number
}

async fn shown(world: &World, id: &str) -> Webhook {
    world.store.webhook(&world.tenant, &id.into()).await.expect("a webhook")
}

/// A job of the first source that ends well.
async fn told(world: &World) -> String {
    let (job, start) = world.reading("hq").await;
    world.store.begin_reconciling(start.fence).await.expect("reconciling");
    let done = Outcome::Succeeded { withheld: None, facts: None };
    world.store.finish_job(start.fence, done, NOW).await.expect("an end");
    job.id.to_string()
}

async fn due(world: &World, now: Timestamp) -> Vec<WebhookNo> {
    world.store.due_webhooks(now, 100).await.expect("a list")
}

async fn claim(world: &World, webhook: WebhookNo, owner: &str, now: Timestamp) -> Option<Delivery> {
    world.store.claim_delivery(webhook, owner, LEASE, 2, now).await.expect("an answer")
}

async fn end(world: &World, delivery: &Delivery, owner: &str, attempted: AttemptOutcome, now: Timestamp) {
    world.store.record_attempt(delivery, owner, attempted, now).await.expect("written down");
}

fn again(failed: AttemptError, delivery: &Delivery, now: Timestamp) -> AttemptOutcome {
    retry::after_attempt(Err(failed), delivery.attempts, delivery.created_at, now, 0)
}

async fn trail(world: &World) -> Vec<(EventType, String)> {
    let trail = Trail::Tenant(world.tenant.clone());
    let events = world.store.events_from(&trail, &AuditFilter::default(), 1, 100_000).await.expect("events");
    let kind = |number| EventType::from_number(number).expect("a type");
    events.into_iter().map(|event| (kind(event.kind), event.details)).collect()
}

async fn a_message_is_there_exactly_if_what_it_tells_is(engine: Engine) {
    let url = engine.url();
    let store = store::open(&url).await.expect("a store");
    let world = World::with(store, 10).await;
    let webhook = make(&world, "ops", &[]).await;
    let mut tool = Tool::open(&url).await;
    let (job, start) = world.reading("hq").await;
    // The message cannot be written: then the job has not ended.
    tool.run("ALTER TABLE webhook_messages RENAME TO elsewhere").await;
    let done = || Outcome::Succeeded { withheld: None, facts: None };
    world.store.begin_reconciling(start.fence).await.expect("reconciling");
    assert!(world.store.finish_job(start.fence, done(), NOW).await.is_err());
    tool.run("ALTER TABLE elsewhere RENAME TO webhook_messages").await;
    assert_eq!(world.store.job_by_number(job.number).await.expect("a job").state, JobState::Running);
    // The event cannot be written: then there is no message.
    tool.close_the_trail().await;
    assert!(world.store.finish_job(start.fence, done(), NOW).await.is_err());
    tool.open_the_trail().await;
    assert_eq!((shown(&world, "ops").await.pending, due(&world, NOW).await), (0, vec![]));
    world.store.finish_job(start.fence, done(), NOW).await.expect("an end");
    let delivery = claim(&world, webhook, OWNER, NOW).await.expect("a message");
    assert_eq!(delivery.event, WebhookEvent::SyncJobSucceeded);
    assert!(delivery.body.contains(&job.id.to_string()), "{}", delivery.body);
    assert_eq!(shown(&world, "ops").await.pending, 1);
}

async fn one_replica_at_a_time_delivers_in_order_and_another_after_its_lease(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let webhook = make(&world, "ops", &[]).await;
    let jobs = [told(&world).await, told(&world).await, told(&world).await];
    assert_eq!(due(&world, NOW).await, [webhook]);
    let mut claims = tokio::task::JoinSet::new();
    for replica in 0..10 {
        let store = Arc::clone(&world.store);
        claims.spawn(async move {
            let owner = format!("replica-{replica}");
            store
                .claim_delivery(webhook, &owner, LEASE, 2, NOW)
                .await
                .expect("an answer")
                .map(|it| (owner, it))
        });
    }
    let mut claimed: Vec<_> = claims.join_all().await.into_iter().flatten().collect();
    let (owner, first) = claimed.pop().expect("someone has it");
    assert!(claimed.is_empty(), "and nobody else");
    assert!(first.body.contains(&jobs[0]), "the oldest");
    assert!(due(&world, later(29)).await.is_empty());
    // The owner is silent: another one repeats it, under the same id.
    let repeated = claim(&world, webhook, "another", later(30)).await.expect("the lease is over");
    assert_eq!((&repeated.id, &repeated.body), (&first.id, &first.body));
    // Both come through; the message is counted once.
    end(&world, &first, &owner, AttemptOutcome::Delivered, later(31)).await;
    assert!(claim(&world, webhook, "third", later(31)).await.is_none(), "it is still the other one's");
    end(&world, &repeated, "another", AttemptOutcome::Delivered, later(32)).await;
    assert_eq!(shown(&world, "ops").await.pending, 2);
    assert!(due(&world, later(32)).await.is_empty(), "not in the same moment");
    for (job, now) in jobs[1..].iter().zip([33, 34]) {
        let next = claim(&world, webhook, OWNER, later(now)).await.expect("the next one");
        assert!(next.body.contains(job) && next.id != first.id);
        end(&world, &next, OWNER, AttemptOutcome::Delivered, later(now)).await;
    }
    let after = shown(&world, "ops").await;
    assert_eq!((after.pending, after.given_up, after.succeeded_at), (0, 0, Some(later(34))));
    assert!(due(&world, later(1_000)).await.is_empty());
}

async fn what_fails_holds_up_what_comes_behind_and_is_given_up_after_three_days(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let webhook = make(&world, "ops", &[]).await;
    let first = told(&world).await;
    let (mut now, mut attempts) = (NOW, 0);
    loop {
        assert_eq!(due(&world, now).await, [webhook], "after {attempts}");
        let delivery = claim(&world, webhook, OWNER, now).await.expect("it is due");
        assert!(delivery.body.contains(&first), "the first one again");
        assert_eq!(delivery.attempts, attempts);
        let attempted = again(UNWELL, &delivery, now);
        end(&world, &delivery, OWNER, attempted, now).await;
        attempts += 1;
        let AttemptOutcome::Again { at, .. } = attempted else { break };
        let state = shown(&world, "ops").await;
        let failed = FailedAttempt { at: now, failure: UNWELL.failure, status: UNWELL.status };
        assert_eq!((state.failed, state.next_attempt_at), (Some(failed), Some(at)));
        assert!(due(&world, Timestamp(at.0 - 1)).await.is_empty(), "not before its time");
        now = at;
    }
    assert_eq!(attempts, 81);
    assert!(
        now.since(NOW) + Duration::from_secs(3_600) > MAX_MESSAGE_AGE && now.since(NOW) <= MAX_MESSAGE_AGE
    );
    let state = shown(&world, "ops").await;
    assert_eq!((state.pending, state.given_up, state.state), (0, 1, WebhookState::Active));
    let (kind, details) = trail(&world).await.pop().expect("an event");
    assert_eq!(kind, EventType::WebhookMessageGivenUp);
    for part in [r#""attempts":"81""#, r#""reason":"HTTP_STATUS""#, r#""type":"sync_job.succeeded""#] {
        assert!(details.contains(part), "{details}");
    }
}

async fn what_fails_again_and_again_is_overtaken(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let webhook = make(&world, "ops", &[]).await;
    let first = told(&world).await;
    let second = told(&world).await;
    let mut now = NOW;
    // For eight attempts nothing passes the first one; with the ninth it steps aside.
    for attempt in 0..9 {
        let delivery = claim(&world, webhook, OWNER, now).await.expect("it is due");
        assert!(delivery.body.contains(&first), "attempt {attempt}");
        let attempted = again(UNWELL, &delivery, now);
        end(&world, &delivery, OWNER, attempted, now).await;
        let AttemptOutcome::Again { at, .. } = attempted else { panic!("given up") };
        if attempt < 8 {
            assert!(due(&world, now.plus(Duration::from_secs(1))).await.is_empty(), "attempt {attempt}");
            now = at;
        }
    }
    let tick = || Duration::from_secs(1);
    now = now.plus(tick());
    let delivery = claim(&world, webhook, OWNER, now).await.expect("the second one is due");
    assert!(delivery.body.contains(&second));
    end(&world, &delivery, OWNER, AttemptOutcome::Delivered, now).await;
    now = now.plus(tick());
    assert!(due(&world, now).await.is_empty(), "the first one keeps its own time");
    // A refusal is the message's own affair from its first attempt on.
    let third = told(&world).await;
    let fourth = told(&world).await;
    let delivery = claim(&world, webhook, OWNER, now).await.expect("the third one");
    assert!(delivery.body.contains(&third));
    let refused = AttemptError { status: Some(400), ..UNWELL };
    end(&world, &delivery, OWNER, again(refused, &delivery, now), now).await;
    now = now.plus(tick());
    let delivery = claim(&world, webhook, OWNER, now).await.expect("the fourth one");
    assert!(delivery.body.contains(&fourth));
}

async fn whoever_is_deleted_or_switched_off_is_told_nothing_that_waits(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let (deleted, off) = (make(&world, "deleted", &[]).await, make(&world, "off", &[]).await);
    told(&world).await;
    let under_way = claim(&world, deleted, OWNER, NOW).await.expect("a message");
    let also = claim(&world, off, OWNER, NOW).await.expect("a message");
    world.store.delete_webhook(&world.tenant, &"deleted".into(), &admin(), NOW).await.expect("deleted");
    let change = |enabled| WebhookChange { enabled: Some(enabled), ..WebhookChange::default() };
    let set = |enabled| {
        let (store, tenant) = (Arc::clone(&world.store), world.tenant.clone());
        async move { store.update_webhook(&tenant, &"off".into(), change(enabled), &admin(), NOW).await }
    };
    let switched = set(false).await.expect("switched off");
    assert_eq!((switched.state, switched.pending), (WebhookState::Off, 0));
    // Whoever was in the middle of it ends quietly.
    end(&world, &under_way, OWNER, again(UNWELL, &under_way, NOW), NOW).await;
    end(&world, &also, OWNER, AttemptOutcome::GivenUp { failure: UNWELL.failure, status: None }, NOW).await;
    told(&world).await;
    assert!(due(&world, later(100)).await.is_empty());
    let state = shown(&world, "off").await;
    assert_eq!((state.pending, state.given_up), (0, 0));
    set(true).await.expect("switched on");
    told(&world).await;
    assert_eq!(due(&world, later(1)).await, [off]);
    assert_eq!(shown(&world, "off").await.pending, 1, "from then on");
    let gone = world.store.webhook(&world.tenant, &"deleted".into()).await;
    assert!(matches!(gone, Err(StoreError::NotFound("webhook"))));
}

async fn a_receiver_that_is_gone_switches_off_the_webhook_that_was_meant_and_no_later_one(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let webhook = make(&world, "ops", &[]).await;
    told(&world).await;
    told(&world).await;
    let delivery = claim(&world, webhook, OWNER, NOW).await.expect("a message");
    let url = Some("https://new.example.com/".to_owned());
    let change = WebhookChange { url, ..WebhookChange::default() };
    world.store.update_webhook(&world.tenant, &"ops".into(), change, &admin(), NOW).await.expect("changed");
    end(&world, &delivery, OWNER, AttemptOutcome::Gone, NOW).await;
    let state = shown(&world, "ops").await;
    assert_eq!((state.state, state.pending), (WebhookState::Active, 2), "the new address was not asked");
    let delivery = claim(&world, webhook, OWNER, later(1)).await.expect("the same message");
    assert_eq!(delivery.receiver.url, "https://new.example.com/");
    end(&world, &delivery, OWNER, AttemptOutcome::Gone, later(1)).await;
    let state = shown(&world, "ops").await;
    assert_eq!((state.state, state.pending, state.given_up), (WebhookState::Gone, 0, 2));
    let events: Vec<_> = trail(&world).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(events.iter().filter(|kind| **kind == EventType::WebhookGone).count(), 1);
    told(&world).await;
    assert_eq!(shown(&world, "ops").await.pending, 0);
}

async fn a_suspended_tenant_is_sent_nothing_until_it_is_resumed(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let webhook = make(&world, "ops", &[]).await;
    let (job, _) = world.reading("hq").await;
    world.store.suspend_tenant(&world.tenant, "unpaid", &admin(), NOW).await.expect("suspended");
    assert_eq!(shown(&world, "ops").await.pending, 1, "that the job was stopped");
    assert!(due(&world, later(60)).await.is_empty());
    assert!(claim(&world, webhook, OWNER, later(60)).await.is_none());
    world.store.resume_tenant(&world.tenant, &admin(), later(60)).await.expect("resumed");
    let delivery = claim(&world, webhook, OWNER, later(60)).await.expect("now");
    assert_eq!(delivery.event, WebhookEvent::SyncJobStopped);
    assert!(delivery.body.contains(&job.id.to_string()));
}

async fn a_tenant_takes_two_places_at_a_time(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let mut webhooks = Vec::new();
    for number in 0..5 {
        webhooks.push(make(&world, &format!("w{number}"), &[]).await);
    }
    let sixth = world.store.create_webhook(&world.tenant, new("w5", &[]), 5, &admin(), NOW).await;
    assert!(matches!(sixth, Err(StoreError::TooManyWebhooks(5))));
    told(&world).await;
    assert_eq!(due(&world, NOW).await, webhooks);
    let first = claim(&world, webhooks[0], OWNER, NOW).await.expect("a place");
    claim(&world, webhooks[1], "another", NOW).await.expect("a place");
    assert!(claim(&world, webhooks[2], OWNER, NOW).await.is_none(), "the slow ones have both");
    end(&world, &first, OWNER, AttemptOutcome::Delivered, later(1)).await;
    claim(&world, webhooks[2], OWNER, later(2)).await.expect("a place that is free again");
    // Who was served last comes last.
    told(&world).await;
    assert_eq!(due(&world, later(2)).await, [webhooks[3], webhooks[4], webhooks[0]]);
}

async fn each_webhook_gets_what_it_asked_for_and_nothing_of_another_tenant(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let other = TenantId::from("globex");
    world.store.set_license_limit(&other, 10, true, &admin(), NOW).await.expect("a tenant");
    world.store.create_webhook(&other, new("theirs", &[]), 5, &admin(), NOW).await.expect("a webhook");
    make(&world, "all", &[]).await;
    make(&world, "failed", &[WebhookEvent::SyncJobFailed]).await;
    make(&world, "both", &[WebhookEvent::SyncJobSucceeded, WebhookEvent::SyncJobFailed]).await;
    told(&world).await;
    let (_, start) = world.reading("hq").await;
    let failure = control_plane::model::Failure::of(control_plane::model::FailureReason::ReadIncomplete);
    world.store.finish_job(start.fence, Outcome::Failed(failure), NOW).await.expect("an end");
    for (id, pending) in [("all", 2), ("failed", 1), ("both", 2)] {
        assert_eq!(shown(&world, id).await.pending, pending, "{id}");
    }
    let theirs = world.store.webhook(&other, &"theirs".into()).await.expect("a webhook");
    assert_eq!(theirs.pending, 0);
    for (tenant, id) in [(&other, "all"), (&world.tenant, "theirs")] {
        let id = WebhookId::from(id);
        let change = WebhookChange::default();
        let answers = [
            world.store.webhook(tenant, &id).await.map(drop),
            world.store.update_webhook(tenant, &id, change, &admin(), NOW).await.map(drop),
            world.store.rotate_webhook_secret(tenant, &id, vec![1], NOW, &admin(), NOW).await.map(drop),
            world.store.begin_webhook_test(tenant, &id, LEASE, &admin(), NOW).await.map(drop),
            world.store.delete_webhook(tenant, &id, &admin(), NOW).await,
        ];
        for answer in answers {
            assert!(matches!(answer, Err(StoreError::NotFound("webhook"))), "{answer:?}");
        }
    }
}

async fn beyond_ten_thousand_new_messages_are_given_up(engine: Engine) {
    let url = engine.url();
    let world = World::with(store::open(&url).await.expect("a store"), 10).await;
    make(&world, "ops", &[]).await;
    told(&world).await;
    Tool::open(&url).await.run("UPDATE webhooks SET pending = 10000").await;
    told(&world).await;
    let state = shown(&world, "ops").await;
    assert_eq!((state.pending, state.given_up), (10_000, 1));
}

async fn a_test_comes_once_in_a_while_and_a_good_one_lets_what_waits_go(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let webhook = make(&world, "ops", &[]).await;
    told(&world).await;
    let delivery = claim(&world, webhook, OWNER, NOW).await.expect("a message");
    end(&world, &delivery, OWNER, again(UNWELL, &delivery, NOW), NOW).await;
    assert!(due(&world, later(1)).await.is_empty());
    let pause = Duration::from_secs(5);
    let begin = |now| {
        let (store, tenant) = (Arc::clone(&world.store), world.tenant.clone());
        async move { store.begin_webhook_test(&tenant, &"ops".into(), pause, &admin(), now).await }
    };
    let receiver: Receiver = begin(later(1)).await.expect("begun");
    assert_eq!(receiver.number, webhook);
    assert!(matches!(begin(later(5)).await, Err(StoreError::TestedJustNow)));
    let failed = FailedAttempt { at: later(2), failure: DeliveryFailure::TimedOut, status: None };
    world.store.end_webhook_test(webhook, Some(failed), later(2)).await.expect("noted");
    assert_eq!(shown(&world, "ops").await.failed, Some(failed));
    assert!(due(&world, later(3)).await.is_empty());
    world.store.end_webhook_test(webhook, None, later(3)).await.expect("noted");
    assert_eq!(due(&world, later(3)).await, [webhook], "the receiver is there again");
    begin(later(6)).await.expect("five seconds later");
}

/// The levels that the trail was told, as they came.
async fn alarms(world: &World) -> Vec<EventType> {
    let events = trail(world).await.into_iter().map(|(kind, _)| kind);
    events.filter(|kind| (111..=114).contains(&kind.number())).collect()
}

async fn every_way_to_take_and_give_back_seats_tells_once(engine: Engine) {
    use EventType::{LicenseAbove85, LicenseAbove95, LicenseBelow85, LicenseBelow95};
    let world = World::new(&engine, 100).await;
    make(
        &world,
        "license",
        &[
            WebhookEvent::LicenseAbove85,
            WebhookEvent::LicenseAbove95,
            WebhookEvent::LicenseBelow95,
            WebhookEvent::LicenseBelow85,
        ],
    )
    .await;
    let mut told = Vec::new();
    let level = || async { world.store.license(&world.tenant).await.expect("a license").level };
    // A batch of a sync, which is told before the sync has ended.
    let (_, start) = world.reading("hq").await;
    let fence = start.fence;
    world.apply(fence, people(fence.tenant, 0..85)).await.expect("applied");
    assert_eq!(alarms(&world).await, told);
    for n in 85..88 {
        world.apply(fence, people(fence.tenant, n..n + 1)).await.expect("applied");
    }
    told.push(LicenseAbove85);
    assert_eq!((alarms(&world).await, level().await), (told.clone(), LicenseLevel::Above85), "once");
    // Seats that records waited for.
    world.apply(fence, people(fence.tenant, 88..97)).await.expect("applied");
    told.push(LicenseAbove95);
    assert_eq!((alarms(&world).await, level().await), (told.clone(), LicenseLevel::Above95));
    // Leavers.
    world.store.begin_reconciling(fence).await.expect("reconciling");
    let users =
        world.store.list_users(&world.tenant, &UserFilter::default(), None, 100).await.expect("users");
    let leavers = users.iter().take(8).map(|user| (user.number, Absence::Deleted)).collect();
    world.store.disable_absent(fence, leavers, None, NOW).await.expect("disabled");
    told.push(LicenseBelow95);
    assert_eq!((alarms(&world).await, level().await), (told.clone(), LicenseLevel::Above85));
    // The limit, down and up.
    let limit = |limit| world.store.set_license_limit(&world.tenant, limit, false, &ADMIN, NOW);
    limit(90).await.expect("a limit");
    told.push(LicenseAbove95);
    assert_eq!(alarms(&world).await, told);
    limit(1_000).await.expect("a limit");
    told.extend([LicenseBelow95, LicenseBelow85]);
    assert_eq!((alarms(&world).await, level().await), (told.clone(), LicenseLevel::Normal));
    limit(89).await.expect("a limit");
    told.extend([LicenseAbove85, LicenseAbove95]);
    // A source that is deleted with its users.
    world.store.stop_job(&world.tenant, &SourceId::from("hq"), None, &admin(), NOW).await.expect("stopped");
    world
        .store
        .delete_source(&world.tenant, &SourceId::from("hq"), true, &admin(), NOW)
        .await
        .expect("deleted");
    told.extend([LicenseBelow95, LicenseBelow85]);
    assert_eq!((alarms(&world).await, level().await), (told.clone(), LicenseLevel::Normal));
    let state = shown(&world, "license").await;
    assert_eq!(state.pending, i64::try_from(told.len()).expect("a few"), "and as many messages");
}

static ADMIN: std::sync::LazyLock<control_plane::model::Actor> = std::sync::LazyLock::new(admin);

async fn job_ends_and_changes_of_webhooks_never_wait_for_each_other_in_a_circle(engine: Engine) {
    let world = Arc::new(World::new(&engine, 100).await);
    for number in 0..4 {
        make(&world, &format!("w{number}"), &[]).await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    let running = Arc::clone(&world);
    tasks.spawn(async move {
        for _ in 0..40 {
            told(&running).await;
        }
    });
    let limits = Arc::clone(&world);
    tasks.spawn(async move {
        for round in 0..40 {
            let limit = if round % 2 == 0 { 0 } else { 100 };
            limits.store.set_license_limit(&limits.tenant, limit, false, &ADMIN, NOW).await.expect("a limit");
        }
    });
    for number in 0..4_u64 {
        let changes = Arc::clone(&world);
        tasks.spawn(async move {
            let id = format!("w{number}");
            for round in 0..20_u64 {
                let state = shown(&changes, &id).await;
                if let Some(delivery) = claim(&changes, state.receiver.number, OWNER, later(round)).await {
                    let attempted =
                        if round % 3 == 0 { AttemptOutcome::Gone } else { AttemptOutcome::Delivered };
                    end(&changes, &delivery, OWNER, attempted, later(round)).await;
                }
                let change = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
                let tenant = &changes.tenant;
                changes
                    .store
                    .update_webhook(tenant, &id.as_str().into(), change, &ADMIN, NOW)
                    .await
                    .expect("changed");
                if round % 5 == 4 {
                    changes
                        .store
                        .delete_webhook(tenant, &id.as_str().into(), &ADMIN, NOW)
                        .await
                        .expect("deleted");
                    make(&changes, &id, &[]).await;
                }
            }
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(60), tasks.join_all());
    all.await.expect("nobody waits for ever");
    // What is counted is what is there.
    let (mut numbers, mut now) = (BTreeSet::new(), 1_000);
    for number in 0..4 {
        let state = shown(&world, &format!("w{number}")).await;
        let mut left = 0;
        while let Some(delivery) = claim(&world, state.receiver.number, OWNER, later(now)).await {
            assert!(numbers.insert(delivery.id.clone()), "each id once");
            end(&world, &delivery, OWNER, AttemptOutcome::Delivered, later(now)).await;
            left += 1;
            now += 1;
        }
        assert_eq!(left, state.pending);
    }
}
