//! Persons at a console: what their tokens let them do, for how long, and what is remembered of it.

use std::time::Duration;

use anyhow::Result;
use harness::world::{Admin, CONSOLE, Issuer, Role, SOURCE, World, connect};
use rollcall_proto::admin::v1 as admin;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::scripted::Router;

/// How long what ends within seconds may take here.
const SOON: Duration = Duration::from_secs(60);

fn console(world: &World) -> Result<Admin> {
    let identity = world.files.issue_console(CONSOLE)?;
    Ok(Admin::over(connect::channel(world.address().port(), Some(&identity), &world.files.authority())?))
}

fn by<T>(token: &str, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", MetadataValue::try_from(format!("Bearer {token}"))?);
    Ok(request)
}

fn users() -> admin::ListUsersRequest {
    admin::ListUsersRequest { parent: "tenants/acme".to_owned(), ..Default::default() }
}

fn why(status: &Status) -> (Code, String) {
    let info = status.get_error_details().error_info().cloned();
    let why = info.and_then(|info| info.metadata.get("why").cloned()).unwrap_or_default();
    (status.code(), why)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_does_at_a_console_what_the_role_allows_and_is_named_with_the_console() -> Result<()> {
    let issuer = Issuer::new("k1")?;
    let mut world = World::builder().issuer(&issuer).without_router().start().await?;
    let mut router = Router::connect(&world, "acme", "scripted").await?;
    world.create_and_publish_source(world.settings()).await?;
    let console = console(&world)?;
    let carol = issuer.person("acme", "carol@quagga.test", Role::SuperAdmin, 600)?;
    let start = admin::StartSyncRequest { parent: SOURCE.to_owned(), ..Default::default() };
    let job = console.jobs.clone().start_sync(by(&carol, start.clone())?).await?.into_inner();
    assert_eq!(job.started_by, "admins/carol@quagga.test");
    router.order().await?;
    let erin = issuer.person("acme", "erin@quagga.test", Role::Auditor, 600)?;
    assert!(console.users.clone().list_users(by(&erin, users())?).await.is_ok());
    let refused = console.jobs.clone().start_sync(by(&erin, start)?).await.expect_err("a refusal");
    assert_eq!(refused.code(), Code::PermissionDenied);

    // What was done and what was refused are both in the trail, with the person and the console;
    // the log has no person.
    let request = admin::ListAuditEventsRequest { parent: "tenants/acme".to_owned(), ..Default::default() };
    let trail = connect::channel(
        world.address().port(),
        Some(&world.files.issue_admin("ann", Role::Auditor)?),
        &world.files.authority(),
    )?;
    let mut trail = admin::audit_service_client::AuditServiceClient::new(trail);
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let events = trail.list_audit_events(request.clone()).await?.into_inner().audit_events;
        let has = |actor: &str, kind| {
            events
                .iter()
                .any(|event| event.actor == actor && event.via == "consoles/portal" && event.r#type() == kind)
        };
        if has("admins/carol@quagga.test", admin::audit_event::Type::SyncStarted)
            && has("admins/erin@quagga.test", admin::audit_event::Type::CallRefused)
        {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{events:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.stop_control_plane()?;
    assert!(!world.logs().contains("quagga"), "{}", world.logs());
    assert!(!world.logs().contains(&carol));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_says_why_and_shows_nothing_of_itself() -> Result<()> {
    let issuer = Issuer::new("k1")?;
    let mut world = World::builder().issuer(&issuer).without_router().start().await?;
    let console = console(&world)?;
    let forger = Issuer::new("k1")?;
    let (good, other) = (issuer.person("acme", "carol", Role::Auditor, 600)?, Issuer::new("k2")?);
    let huge = issuer.person("acme", &"quagga".repeat(1_400), Role::Auditor, 600)?;
    for (token, reason) in [
        (issuer.person("acme", "carol", Role::Auditor, -120)?, "EXPIRED"),
        (issuer.person("acme", "carol", Role::Auditor, 9_000)?, "LIFE_TOO_LONG"),
        (forger.person("acme", "carol", Role::Auditor, 600)?, "WRONG_SIGNATURE"),
        (other.person("acme", "carol", Role::Auditor, 600)?, "UNKNOWN_KEY"),
        (issuer.token(r#"{"iss":"https://evil.test","aud":"rollcall"}"#)?, "UNKNOWN_ISSUER"),
        (issuer.token(r#"{"iss":"https://login.example.com","aud":"quagga","exp":1}"#)?, "WRONG_AUDIENCE"),
        (huge, "MALFORMED"),
        ("quagga".to_owned(), "MALFORMED"),
        (format!("{good} {good}"), "MALFORMED"),
    ] {
        let refused = console.users.clone().list_users(by(&token, users())?).await.expect_err(reason);
        assert_eq!(why(&refused), (Code::Unauthenticated, reason.to_owned()));
        assert!(!refused.message().contains("quagga"), "{}", refused.message());
    }
    let mut twice = by(&good, users())?;
    twice.metadata_mut().append("authorization", MetadataValue::try_from(format!("Bearer {good}"))?);
    let refused = console.users.clone().list_users(twice).await.expect_err("two tokens");
    assert_eq!(why(&refused), (Code::Unauthenticated, "MALFORMED".to_owned()));
    let stranger = issuer.person("globex", "carol", Role::SuperAdmin, 600)?;
    let refused = console.users.clone().list_users(by(&stranger, users())?).await.expect_err("a refusal");
    assert_eq!(refused.code(), Code::NotFound, "another tenant's person");
    assert!(console.users.clone().list_users(by(&good, users())?).await.is_ok(), "and the good one is good");
    world.stop_control_plane()?;
    assert!(!world.logs().contains("quagga"), "{}", world.logs());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_known_and_the_old_one_is_not_without_a_restart() -> Result<()> {
    let (old, new) = (Issuer::new("k1")?, Issuer::new("k2")?);
    let world = World::builder().issuer(&old).without_router().start().await?;
    let console = console(&world)?;
    let before = old.person("acme", "carol", Role::Auditor, 600)?;
    assert!(console.users.clone().list_users(by(&before, users())?).await.is_ok());
    std::fs::write(world.dir().join("jwks.json"), new.jwks())?;
    let after = new.person("acme", "carol", Role::Auditor, 600)?;
    let end = tokio::time::Instant::now() + SOON;
    while console.users.clone().list_users(by(&after, users())?).await.is_err() {
        assert!(tokio::time::Instant::now() < end, "the new key is not known in a minute");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let refused = console.users.clone().list_users(by(&before, users())?).await.expect_err("rotated out");
    assert_eq!(why(&refused), (Code::Unauthenticated, "UNKNOWN_KEY".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_lasts_ends_with_the_token() -> Result<()> {
    let issuer = Issuer::new("k1")?;
    let world = World::builder().issuer(&issuer).without_router().start().await?;
    let mut router = Router::connect(&world, "acme", "scripted").await?;
    world.create_and_publish_source(world.settings()).await?;
    let job = world.start_sync().await?;
    router.order().await?;
    let console = console(&world)?;
    // Expired, but within the leeway for some seconds more.
    let token = issuer.person("acme", "carol", Role::Auditor, -45)?;
    let request = by(&token, admin::WatchSyncJobRequest { name: job.name.clone() })?;
    let mut watch = console.jobs.clone().watch_sync_job(request).await?.into_inner();
    assert!(watch.message().await?.is_some(), "it was good at first");
    let ended = async {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the watch ended well"),
                Err(status) => return status,
            }
        }
    };
    let status = tokio::time::timeout(SOON, ended).await?;
    assert_eq!(why(&status), (Code::Unauthenticated, "EXPIRED".to_owned()));
    let job = world.admin.jobs.clone().get_sync_job(admin::GetSyncJobRequest { name: job.name }).await?;
    assert!(job.into_inner().end_time.is_none(), "the job went on meanwhile");
    Ok(())
}
