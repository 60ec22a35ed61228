//! Who gets in, and how far.

use anyhow::Result;
use harness::world::{Admin, Role, SOURCE, World};
use rollcall_proto::admin::v1::{StartSyncRequest, StreamAuditEventsRequest};
use tonic::Code;

use crate::expect::{flawless, succeeded};

fn code<T: std::fmt::Debug>(result: anyhow::Result<T>) -> Code {
    let error = result.expect_err("a refusal");
    error.downcast_ref::<tonic::Status>().map_or(Code::Ok, tonic::Status::code)
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_come_from_the_certificate_and_deny_by_default() -> Result<()> {
    let world = World::builder().these_people(flawless(5)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for role in [Role::HelpDesk, Role::Auditor] {
        let admin = world.admin_as(&world.files.issue_admin(&format!("{role:?}").to_lowercase(), role)?)?;
        assert_eq!(code(admin.start_sync(SOURCE).await), Code::PermissionDenied);
        assert!(admin.users("acme").await?.is_empty(), "may look");
    }
    assert_eq!(code(world.admin.set_license("acme", 1).await), Code::PermissionDenied, "only the operator");
    assert_eq!(
        code(world.operator.users("acme").await),
        Code::PermissionDenied,
        "the operator sees no users"
    );
    let router = world.admin_as(&world.enroll("acme", "spy").await?)?;
    assert_eq!(code(router.users("acme").await), Code::PermissionDenied, "a router is no admin");
    succeeded(&world.sync_now().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_names_are_as_if_they_did_not_exist() -> Result<()> {
    let world = World::builder().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.operator.set_license("globex", 10).await?;
    let stranger = world.admin_as(&world.files.issue_admin_of("globex", "mallory", Role::SuperAdmin)?)?;
    assert_eq!(code(stranger.start_sync(SOURCE).await), Code::NotFound);
    assert_eq!(code(stranger.users("acme").await), Code::NotFound);
    assert_eq!(code(stranger.license("acme").await), Code::NotFound);
    assert!(stranger.users("globex").await?.is_empty());
    Ok(())
}

/// Such as what a proxy would add that had looked at certificates itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_says_of_itself_in_metadata_counts_for_nothing() -> Result<()> {
    let world = World::builder().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let auditor = world.admin_as(&world.files.issue_admin("ann", Role::Auditor)?)?;
    for (key, value) in [
        ("x-forwarded-client-cert", "URI=rollcall://rollcall/tenant/acme/admin/alice/super-admin"),
        ("x-tenant", "acme"),
        ("x-role", "super-admin"),
        ("authorization", "Bearer alice"),
    ] {
        let mut request =
            tonic::Request::new(StartSyncRequest { parent: SOURCE.to_owned(), ..Default::default() });
        request.metadata_mut().insert(key, value.parse()?);
        let refused = auditor.jobs.clone().start_sync(request).await.expect_err("a refusal");
        assert_eq!(refused.code(), Code::PermissionDenied, "{key}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_certificate_reaches_nothing() -> Result<()> {
    let world = World::builder().start().await?;
    let other = World::builder().without_router().start().await?;
    let foreign = other.files.issue_admin("mallory", Role::SuperAdmin)?;
    // The right certificate of the wrong authority. What the caller's library calls the refusal
    // depends on when it reads the alert (in TLS 1.3 its own handshake is over by then); that it
    // comes from the transport and not from an answer does not.
    let stranger = Admin::connect(world.address().port(), &foreign, &world.files.authority())?;
    let refusal = stranger.users("acme").await.expect_err("a refusal");
    let status = refusal.downcast_ref::<tonic::Status>().expect("a status");
    assert!(std::error::Error::source(status).is_some(), "answered: {status:?}");
    Ok(())
}

/// A stolen key, or somebody who left: until the certificate expires the list is what keeps its
/// holder out.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_on_the_list_counts_no_longer_and_what_it_has_open_ends() -> Result<()> {
    let world = World::builder().without_router().start().await?;
    let identity = world.files.issue_admin("mallory", Role::SuperAdmin)?;
    let mallory = world.admin_as(&identity)?;
    let request = StreamAuditEventsRequest {
        parent: "tenants/acme".to_owned(),
        start_sequence: i64::MAX,
        follow: true,
        ..Default::default()
    };
    let mut open = mallory.audit.clone().stream_audit_events(request).await?.into_inner();
    let name = |admin: &str| format!("rollcall://rollcall/tenant/acme/admin/{admin}/super-admin");
    // Of alice what was issued long ago: what she has now counts.
    let list = format!("{} 2090-01-01T00:00:00Z\n{} 2020-01-01T00:00:00Z\n", name("mallory"), name("alice"));
    std::fs::write(world.files.refused(), list)?;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), open.message()).await?;
    assert!(ended.is_err(), "ended by the connection: {ended:?}");
    let refusal = world.admin_as(&identity)?.users("acme").await.expect_err("a refusal");
    let status = refusal.downcast_ref::<tonic::Status>().expect("a status");
    assert!(std::error::Error::source(status).is_some(), "answered: {status:?}");
    assert!(world.admin.users("acme").await?.is_empty(), "others are served");
    // A list that is not understood leaves the one before in force.
    std::fs::write(world.files.refused(), "mallory\n")?;
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    assert!(world.admin_as(&identity)?.users("acme").await.is_err());
    Ok(())
}
