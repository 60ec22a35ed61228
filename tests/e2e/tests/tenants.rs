//! The life of a tenant: made, suspended in the middle of everything, resumed.

use std::time::Duration;

use anyhow::Result;
use harness::world::{Database, Role, SOURCE, TENANT, World};
use rollcall_proto::admin::v1 as admin;
use rollcall_proto::admin::v1::audit_service_client::AuditServiceClient;
use rollcall_proto::admin::v1::{sync_job, tenant};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::expect::{enabled, users};
use crate::on_both_databases;
use crate::scripted::{Router, records, ten_users};

on_both_databases! {
    a_suspended_tenant_stands_still_and_goes_on_as_it_was,
}

/// How long what ends within seconds may take here.
const SOON: Duration = Duration::from_secs(60);

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn suspended(error: anyhow::Error) {
    let status = error.downcast::<Status>().expect("a status");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "TENANT_SUSPENDED"));
}

async fn suspend(world: &World, tenant: &str) -> Result<admin::Tenant> {
    let request =
        admin::SuspendTenantRequest { name: format!("tenants/{tenant}"), reason: "unpaid".to_owned() };
    Ok(world.operator.tenants.clone().suspend_tenant(request).await?.into_inner())
}

async fn a_suspended_tenant_stands_still_and_goes_on_as_it_was(database: Database) -> Result<()> {
    let world = World::builder().database(database).without_router().start().await?;
    let mut router = Router::connect(&world, TENANT, "scripted").await?;
    world.create_and_publish_source(world.settings()).await?;
    let job = world.start_sync().await?;
    let order = router.order().await?;
    let mut upload = router.open(&order).await?;
    upload.say(records(1, 0..10)).await?;
    assert!(upload.answer().await?.is_some());
    let request = admin::WatchSyncJobRequest { name: job.name.clone() };
    let mut watch = world.admin.jobs.clone().watch_sync_job(request).await?.into_inner();
    assert!(watch.message().await?.is_some());

    let shown = suspend(&world, TENANT).await?;
    assert_eq!(shown.state(), tenant::State::Suspended);
    upload.say(records(2, 10..20)).await?;
    let refused = tokio::time::timeout(SOON, upload.refusal()).await??;
    assert_ne!(refused.code(), Code::Ok, "nothing more of the job is taken in");
    let watched = async { while let Ok(Some(_)) = watch.message().await {} };
    tokio::time::timeout(SOON, watched).await?;
    suspended(world.start_sync().await.expect_err("a refusal"));
    suspended(world.users().await.expect_err("a refusal"));
    suspended(world.license().await.expect_err("a refusal"));
    let again = Router::connect(&world, TENANT, "other").await;
    suspended(again.err().expect("a router is sent away"));

    let request = admin::GetTenantRequest { name: format!("tenants/{TENANT}") };
    let own = world.admin.tenants.clone().get_tenant(request.clone()).await?.into_inner();
    assert_eq!(own, shown, "its administrators see why");
    let channel = harness::world::connect::channel(
        world.address().port(),
        Some(&world.files.issue_admin("ann", Role::Auditor)?),
        &world.files.authority(),
    )?;
    let request = admin::ListAuditEventsRequest { parent: format!("tenants/{TENANT}"), ..Default::default() };
    let events = AuditServiceClient::new(channel).list_audit_events(request).await?.into_inner();
    let suspension = events
        .audit_events
        .iter()
        .find(|event| event.r#type() == admin::audit_event::Type::TenantSuspended)
        .expect("an event");
    assert_eq!(suspension.actor, "operators/ops");
    assert_eq!(suspension.details.get("stopped_jobs").map(String::as_str), Some("1"));
    let twice = suspend(&world, TENANT).await?;
    assert_eq!(twice, shown, "once more changes nothing");

    let request = admin::ResumeTenantRequest { name: format!("tenants/{TENANT}") };
    let resumed = world.operator.tenants.clone().resume_tenant(request).await?.into_inner();
    assert_eq!((resumed.state(), resumed.suspend_time), (tenant::State::Active, None));
    let request = admin::GetSyncJobRequest { name: job.name.clone() };
    let stopped = world.admin.jobs.clone().get_sync_job(request).await?.into_inner();
    assert_eq!((stopped.state(), stopped.stopped_by.as_str()), (sync_job::State::Stopped, "operators/ops"));
    let users = users(&world).await?;
    assert_eq!((users.len(), enabled(&users)), (10, 10), "nobody was disabled, nobody was added");
    router.reconnect().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_lasts_ends_when_its_tenant_is_suspended() -> Result<()> {
    let (world, mut router) = ten_users().await?;
    let job = world.start_sync().await?;
    let _order = router.order().await?;
    let request = admin::WatchSyncJobRequest { name: job.name };
    let mut watch = world.admin.jobs.clone().watch_sync_job(request).await?.into_inner();
    assert!(watch.message().await?.is_some());
    suspend(&world, TENANT).await?;
    let ended = async { while let Ok(Some(_)) = watch.message().await {} };
    tokio::time::timeout(SOON, ended).await?;
    assert!(world.start_sync().await.is_err());
    assert!(SOURCE.starts_with("tenants/"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_made_once_and_listed_in_pages() -> Result<()> {
    let world = World::builder().without_router().start().await?;
    let mut tenants = world.operator.tenants.clone();
    for id in ["globex", "initech"] {
        let request = admin::CreateTenantRequest { tenant_id: id.to_owned(), user_limit: Some(3) };
        let made = tenants.create_tenant(request.clone()).await?.into_inner();
        assert_eq!((made.name.as_str(), made.state()), (&*format!("tenants/{id}"), tenant::State::Active));
        let twice = tenants.create_tenant(request).await.expect_err("a refusal");
        assert_eq!((twice.code(), reason(&twice).as_str()), (Code::AlreadyExists, "TENANT_EXISTS"));
        assert_eq!(world.operator.license(id).await?.user_limit, Some(3));
    }
    for (id, limit) in [("", Some(1)), ("Globex", Some(1)), ("a/b", Some(1)), ("x", None), ("x", Some(-1))] {
        let request = admin::CreateTenantRequest { tenant_id: id.to_owned(), user_limit: limit };
        let refused = tenants.create_tenant(request).await.expect_err("a refusal");
        assert_eq!(refused.code(), Code::InvalidArgument, "{id} {limit:?}");
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = admin::ListTenantsRequest { page_size: 1, page_token };
        let page = tenants.list_tenants(request).await?.into_inner();
        listed.extend(page.tenants.into_iter().map(|tenant| tenant.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ["tenants/acme", "tenants/globex", "tenants/initech"]);
    Ok(())
}
