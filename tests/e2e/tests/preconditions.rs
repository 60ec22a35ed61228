//! What Synchronize Now needs, said by reason and in words.

use anyhow::Result;
use harness::world::{SOURCE, World};
use rollcall_proto::admin::v1::{StartSyncRequest, sync_job::State};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::expect::flawless;

#[track_caller]
fn refused<T: std::fmt::Debug>(result: anyhow::Result<T>) -> (Code, String, String) {
    let error = result.expect_err("a refusal");
    let status = error.downcast_ref::<Status>().expect("a gRPC status");
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason, status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_needs_a_router_that_is_connected_and_a_published_source() -> Result<()> {
    let mut world = World::builder().unenrolled().start().await?;
    let source = rollcall_proto::admin::v1::CreateIdentitySourceRequest {
        parent: "tenants/acme".to_owned(),
        identity_source_id: "hq".to_owned(),
        identity_source: Some(rollcall_proto::admin::v1::IdentitySource {
            draft: Some(world.settings()),
            ..Default::default()
        }),
    };
    world.admin.sources.clone().create_identity_source(source).await?;
    let (code, reason, message) = refused(world.start_sync().await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "SOURCE_NOT_PUBLISHED"), "{message}");
    assert!(message.contains("PublishIdentitySource"), "{message}");

    world.admin.publish(SOURCE).await?;
    let (code, reason, message) = refused(world.start_sync().await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "NO_IDENTITY_ROUTER"), "{message}");

    world.enroll_nth(0).await?;
    world.start_router()?;
    world.router_connected().await?;
    world.stop_router()?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let (code, reason, message) = refused(world.start_sync().await);
    assert_eq!(
        (code, reason.as_str()),
        (Code::FailedPrecondition, "NO_IDENTITY_ROUTER_CONNECTED"),
        "{message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_one_job_at_a_time_and_a_request_id_starts_it_once() -> Result<()> {
    let world = World::builder().these_people(flawless(20_000)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let mut jobs = world.admin.jobs.clone();
    let request = StartSyncRequest {
        parent: SOURCE.to_owned(),
        request_id: "2f0c9a4e-52a5-4f0e-9d3a-0d2f6f0f7a11".to_owned(),
        ..Default::default()
    };
    let job = jobs.start_sync(request.clone()).await?.into_inner();
    let same = jobs.start_sync(request).await?.into_inner();
    assert_eq!(same.name, job.name);
    let (code, reason, message) = refused(world.start_sync().await);
    assert_eq!((code, reason.as_str()), (Code::AlreadyExists, "SYNC_JOB_RUNNING"));
    assert!(message.contains(&job.name), "names the job: {message}");
    assert_eq!(world.admin.stop_sync(&job.name).await?.state(), State::Stopped);
    Ok(())
}
