//! The audit trail as administrators, operators and routers see it, and what it takes to notice
//! that somebody changed it.

use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::programs::program;
use harness::world::{Database, Role, SOURCE, World};
use rollcall_proto::admin::v1::audit_event::{Outcome, Type};
use rollcall_proto::admin::v1::hold::Reason;
use rollcall_proto::admin::v1::{
    AuditEvent, AuditFilter, FailureReason, ListAuditEventsRequest, StreamAuditEventsRequest,
};
use rollcall_proto::router::v1::AuditHead;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tonic::Code;

use crate::expect::{failed, flawless, held, succeeded};
use crate::on_both_databases;
use crate::scripted::Router;

const PATIENCE: Duration = Duration::from_secs(60);

on_both_databases! {
    what_an_administrator_does_is_in_the_trail_and_the_trail_shows_when_it_is_changed,
}

/// Runs `control-plane audit …`, beside the one that serves.
fn audit(world: &World, arguments: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(program("control-plane")?);
    command.arg("audit").args(arguments).arg("--config").arg(world.files.control_plane_config());
    let Output { status, stdout, stderr } = command.output()?;
    Ok((status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()))
}

/// Changes the database by hand: at least a row.
pub(crate) async fn by_hand(world: &World, sql: &'static str) -> Result<()> {
    let url = world.database_url();
    let statement = sqlx::raw_sql(AssertSqlSafe(sql));
    let changed = match url.strip_prefix("sqlite://") {
        Some(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
            options.connect().await?.execute(statement).await?.rows_affected()
        }
        None => sqlx::PgConnection::connect(url).await?.execute(statement).await?.rows_affected(),
    };
    ensure!(changed > 0, "nothing was changed");
    Ok(())
}

/// The tenant's events of what people and jobs do.
async fn done(world: &World) -> Result<Vec<AuditEvent>> {
    let mut events = world.admin.trail("tenants/acme").await?;
    events.retain(|event| event.r#type < Type::CodeCreated.into());
    Ok(events)
}

/// Waits for an event of this type in a trail.
async fn until(admin: &harness::world::Admin, trail: &str, kind: Type) -> Result<AuditEvent> {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let events = admin.trail(trail).await?;
        if let Some(event) = events.iter().find(|event| event.r#type() == kind) {
            return Ok(event.clone());
        }
        if std::time::Instant::now() > end {
            bail!("no {kind:?} in {trail}: {events:?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn what_an_administrator_does_is_in_the_trail_and_the_trail_shows_when_it_is_changed(
    database: Database,
) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(40)).license(100).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let first = world.sync_now().await?;
    assert_eq!(succeeded(&first)[0], 40);
    let people = flawless(40);
    let leave = |numbers: std::ops::Range<u64>| -> Result<()> {
        for number in numbers {
            world.directory().delete(&people.person(number).dn(world.directory().base_dn()))?;
        }
        Ok(())
    };
    leave(0..10)?;
    let second = world.sync_now().await?;
    held(&second, Reason::DisableGuard);
    world.admin.approve(&second).await?;
    succeeded(&world.admin.watch(&second.name, |_| {}).await?);
    leave(10..20)?;
    let third = world.sync_now().await?;
    held(&third, Reason::DisableGuard);
    world.admin.stop_sync(&third.name).await?;
    world.admin.stop_sync(&third.name).await?;

    let events = done(&world).await?;
    let (acme, alice, ops, system) = ("tenants/acme", "admins/alice", "operators/ops", "system");
    let expected = [
        (Type::TenantCreated, acme, ops),
        (Type::SourceCreated, SOURCE, alice),
        (Type::SourcePublished, SOURCE, alice),
        (Type::SyncStarted, &first.name, alice),
        (Type::SyncSucceeded, &first.name, system),
        (Type::SyncStarted, &second.name, alice),
        (Type::SyncHeld, &second.name, system),
        (Type::SyncApproved, &second.name, alice),
        (Type::SyncSucceeded, &second.name, system),
        (Type::SyncStarted, &third.name, alice),
        (Type::SyncHeld, &third.name, system),
        (Type::SyncStopped, &third.name, alice),
    ];
    let seen: Vec<_> =
        events.iter().map(|event| (event.r#type(), event.subject.as_str(), event.actor.as_str())).collect();
    assert_eq!(seen, expected);
    for event in &events {
        assert_eq!(event.outcome(), Outcome::Done);
        let address = if event.actor == system { "" } else { "127.0.0.1" };
        assert_eq!(event.address, address, "{event:?}");
    }
    assert_eq!(events[0].details["user_limit"], "100");
    assert_eq!(events[4].details["added"], "40");
    assert_eq!(events[6].details["users"], "10");
    assert_eq!(events[7].details["etag"], second.hold.clone().unwrap_or_default().etag);
    assert_eq!(events[8].details["disabled"], "10");
    let text = format!("{events:?}");
    for number in 0..40 {
        let person = people.person(number);
        assert!(!text.contains(&person.rdn), "a person is in the trail: {}", person.rdn);
    }

    let (sound, lines) = audit(&world, &["verify"])?;
    ensure!(sound && lines.contains("tenants/acme: sound"), "{lines}");
    let head = lines
        .lines()
        .find(|line| line.starts_with("tenants/acme"))
        .and_then(|line| line.split(' ').next_back());
    let head = head.context("a head")?.to_owned();
    world.admin.publish(SOURCE).await?;
    let (sound, lines) = audit(&world, &["verify", "--tenant", "acme", "--head", &head])?;
    ensure!(sound, "it has grown since, and the old head is still in it: {lines}");
    let (fine, lines) = audit(&world, &["export", "--tenant", "acme", "--from", "3"])?;
    let all = world.admin.trail(acme).await?;
    ensure!(fine && lines.lines().count() == all.len() - 2, "{lines}");
    for (line, event) in lines.lines().zip(&all[2..]) {
        ensure!(
            line.starts_with(&format!("{{\"sequence\":\"{}\",\"eventTime\":\"20", event.sequence)),
            "{line}"
        );
        ensure!(line.ends_with(&format!("\"hash\":\"{}\"}}", event.hash)), "{line}");
    }

    by_hand(
        &world,
        "UPDATE audit_events SET actor = 'admins/bob' WHERE sequence = 3 AND tenant_no = (SELECT tenant_no FROM tenants WHERE id = 'acme')",
    )
    .await?;
    let (sound, lines) = audit(&world, &["verify"])?;
    ensure!(!sound && lines.contains("tenants/acme: BROKEN: event 3 was changed"), "{lines}");
    ensure!(lines.contains("installation: "), "the others are looked at all the same: {lines}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_is_in_the_trail_of_the_callers_tenant_and_in_no_other() -> Result<()> {
    let world = World::builder().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let auditor = world.admin_as(&world.files.issue_admin("ann", Role::Auditor)?)?;
    for _ in 0..20 {
        assert!(auditor.start_sync(SOURCE).await.is_err());
    }
    let refused = until(&auditor, "tenants/acme", Type::CallRefused).await?;
    assert_eq!((refused.actor.as_str(), refused.outcome()), ("admins/ann", Outcome::Refused));
    assert_eq!(refused.subject, "/rollcall.admin.v1.SyncJobService/StartSync");
    assert_eq!((refused.details["role"].as_str(), refused.address.as_str()), ("AUDITOR", "127.0.0.1"));

    // Names of another tenant: an event of whoever asks, and nothing of whom is asked about.
    world.operator.set_license("globex", 10).await?;
    let stranger = world.admin_as(&world.files.issue_admin_of("globex", "mallory", Role::SuperAdmin)?)?;
    assert!(stranger.start_sync(SOURCE).await.is_err());
    let refused = until(&stranger, "tenants/globex", Type::CallRefused).await?;
    assert_eq!(refused.actor, "admins/mallory");
    assert!(!format!("{refused:?}").contains("acme"), "{refused:?}");
    assert!(world.operator.users("acme").await.is_err());
    let refused = until(&world.operator, "installation", Type::CallRefused).await?;
    assert_eq!((refused.actor.as_str(), refused.details["role"].as_str()), ("operators/ops", "OPERATOR"));

    let own = world.admin.trail("tenants/acme").await?;
    let foreign =
        |event: &&AuditEvent| event.actor.contains("mallory") || event.r#type() == Type::CallRefused;
    let calls: Vec<_> = own.iter().filter(foreign).collect();
    assert!(calls.len() <= 2 && calls.iter().all(|event| event.actor == "admins/ann"), "{calls:?}");

    for (admin, trail) in
        [(&world.operator, "tenants/acme"), (&world.admin, "installation"), (&stranger, "tenants/acme")]
    {
        let refused = admin.trail(trail).await.expect_err("not theirs");
        let code = refused.downcast_ref::<tonic::Status>().map(tonic::Status::code);
        assert_eq!(code, Some(Code::NotFound), "{trail}");
    }
    let help_desk = world.admin_as(&world.files.issue_admin("hal", Role::HelpDesk)?)?;
    assert!(help_desk.trail("tenants/acme").await.is_err(), "only Super Admins and auditors");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_follows_the_trail_and_ends_with_the_control_plane() -> Result<()> {
    let mut world = World::builder().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let request = StreamAuditEventsRequest {
        parent: "tenants/acme".to_owned(),
        start_sequence: 2,
        follow: true,
        filter: Some(AuditFilter { subject: SOURCE.to_owned(), ..AuditFilter::default() }),
    };
    let mut stream = world.admin.audit.clone().stream_audit_events(request).await?.into_inner();
    let mut next = async || -> Result<Option<AuditEvent>> {
        let message = tokio::time::timeout(PATIENCE, stream.message()).await.context("nothing comes")??;
        Ok(message.and_then(|message| message.audit_event))
    };
    for kind in [Type::SourceCreated, Type::SourcePublished] {
        assert_eq!(next().await?.context("an event")?.r#type(), kind);
    }
    // The license is not of this subject.
    world.set_license(7).await?;
    world.admin.publish(SOURCE).await?;
    let event = next().await?.context("an event")?;
    assert_eq!((event.r#type(), event.details["revision"].as_str()), (Type::SourcePublished, "2"));
    world.stop_control_plane()?;
    assert!(!matches!(next().await, Ok(Some(_))), "it ends");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_newest_first_page_by_page_and_a_wrong_filter_is_refused() -> Result<()> {
    let world = World::builder().unenrolled().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let list = async |request: ListAuditEventsRequest| {
        world.admin.audit.clone().list_audit_events(request).await.map(tonic::Response::into_inner)
    };
    let mut request =
        ListAuditEventsRequest { parent: "tenants/acme".to_owned(), page_size: 1, ..Default::default() };
    let mut sequences = Vec::new();
    loop {
        let page = list(request.clone()).await?;
        sequences.extend(page.audit_events.iter().map(|event| event.sequence));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(sequences, [3, 2, 1]);
    for filter in [
        AuditFilter { types: vec![99], ..AuditFilter::default() },
        AuditFilter { actor: "alice".to_owned(), ..AuditFilter::default() },
        AuditFilter { outcome: 9, ..AuditFilter::default() },
    ] {
        let request = ListAuditEventsRequest {
            parent: request.parent.clone(),
            filter: Some(filter),
            ..Default::default()
        };
        assert_eq!(list(request).await.expect_err("refused").code(), Code::InvalidArgument);
    }
    let nowhere = ListAuditEventsRequest { parent: "everywhere".to_owned(), ..Default::default() };
    assert_eq!(list(nowhere).await.expect_err("refused").code(), Code::InvalidArgument);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_routers_policy_forbids_is_in_the_trail() -> Result<()> {
    let world = World::builder().people(3).policy(|mut policy| {
        policy.roots = vec!["ou=elsewhere,dc=lab,dc=test".to_owned()];
        policy
    });
    let world = world.start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let job = world.sync_now().await?;
    failed(&job, FailureReason::RouterPolicy);
    let event = until(&world.admin, "tenants/acme", Type::RouterRefusedOrder).await?;
    assert_eq!(
        (event.subject.as_str(), event.details["reason"].as_str()),
        (job.name.as_str(), "ROUTER_POLICY")
    );
    assert!(event.actor.starts_with("identityRouters/"), "{event:?}");
    let event = until(&world.admin, "tenants/acme", Type::SyncFailed).await?;
    assert_eq!(event.details["reason"], "ROUTER_POLICY");
    Ok(())
}

/// Whoever can write to the database can cut the newest events off together with the head: what is
/// left fits together.
#[tokio::test(flavor = "multi_thread")]
async fn a_trail_whose_end_was_cut_off_is_found_by_the_router_that_saw_it() -> Result<()> {
    let mut world = World::builder().start().await?;
    world.stop_control_plane()?;
    by_hand(
        &world,
        "UPDATE audit_heads SET sequence = 1, hash = (SELECT hash FROM audit_events e WHERE e.tenant_no = audit_heads.tenant_no \
         AND e.sequence = 1) WHERE tenant_no = (SELECT tenant_no FROM tenants WHERE id = 'acme'); \
         DELETE FROM audit_events WHERE sequence > 1 AND tenant_no = (SELECT tenant_no FROM tenants WHERE id = 'acme')",
    )
    .await?;
    world.start_control_plane()?;
    let event = until(&world.admin, "tenants/acme", Type::AuditForked).await?;
    assert_eq!(event.actor, "identityRouters/hq-1");
    world.router()?.wait_for_log("audit trail", PATIENCE)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_saw_another_trail_is_told_and_the_trail_says_so() -> Result<()> {
    let world = World::builder().without_router().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let mut router = Router::connect(&world, "acme", "witness").await?;
    let first = router.reconnect_having_seen(None).await?;
    let seen = first.audit_head.context("a head")?;
    ensure!(seen.sequence >= 3 && seen.hash.len() == 32 && !first.audit_forked);
    world.admin.publish(SOURCE).await?;
    let second = router.reconnect_having_seen(Some(seen.clone())).await?;
    ensure!(!second.audit_forked && second.audit_head.context("a head")?.sequence > seen.sequence);

    // As after a restore of an old backup: what the router saw is not there.
    let later = AuditHead { sequence: seen.sequence + 1_000, ..seen.clone() };
    ensure!(router.reconnect_having_seen(Some(later)).await?.audit_forked);
    let event = until(&world.admin, "tenants/acme", Type::AuditForked).await?;
    assert_eq!(event.details["found"], "none");
    assert_eq!(event.details["sequence"], (seen.sequence + 1_000).to_string());
    assert_eq!(event.actor, "identityRouters/witness");
    let another = AuditHead { hash: vec![7; 32].into(), ..seen.clone() };
    ensure!(router.reconnect_having_seen(Some(another)).await?.audit_forked, "another hash");
    let garbage = AuditHead { hash: vec![7; 5].into(), ..seen };
    ensure!(router.reconnect_having_seen(Some(garbage)).await?.audit_forked, "no hash at all");
    Ok(())
}
