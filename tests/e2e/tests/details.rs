//! Show Details, Synchronization Status, and the lists of jobs and users.

use anyhow::Result;
use harness::People;
use harness::world::{SOURCE, TENANT, World};
use rollcall_proto::admin::v1::{
    ListSyncJobDetailsRequest, ListSyncJobsRequest, ListUsersRequest, sync_job::State,
    sync_job_detail::Category, user,
};

use crate::expect::{flawless, join, succeeded};

#[tokio::test(flavor = "multi_thread")]
async fn details_list_at_most_400_of_a_category_and_are_replaced_by_the_next_sync() -> Result<()> {
    let people = People { without_mail_permille: 1_000, ..flawless(500) };
    let world = World::builder().these_people(people).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let first = world.sync_now().await?;
    assert_eq!(succeeded(&first), [0, 0, 0, 0, 500]);
    assert_eq!(world.details(Category::NotSynchronized).await?.len(), 400);
    join(&world, "joiner", "joiner@lab.test")?;
    succeeded(&world.sync_now().await?);
    let added = world.details(Category::Added).await?;
    assert_eq!((added.len(), added[0].user_name.as_str()), (1, "joiner"));
    let request = ListSyncJobDetailsRequest { parent: first.name, ..Default::default() };
    let gone = world.admin.jobs.clone().list_sync_job_details(request).await;
    assert_eq!(gone.expect_err("details of an older job").code(), tonic::Code::NotFound);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_live_and_its_stream_ends_with_the_job() -> Result<()> {
    let world = World::builder().these_people(flawless(10_000)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let job = world.start_sync().await?;
    let mut seen = Vec::new();
    let last = world.admin.watch(&job.name, |job| seen.push(job.counts.unwrap_or_default().read())).await?;
    assert_eq!(last.state(), State::Succeeded);
    assert!(seen.is_sorted(), "counts only grow: {seen:?}");
    assert!(seen.iter().any(|read| (1..10_000).contains(read)), "progress was shown: {seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_can_be_filtered() -> Result<()> {
    let world = World::builder().these_people(flawless(120)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for _ in 0..3 {
        succeeded(&world.sync_now().await?);
    }
    let mut jobs = world.admin.jobs.clone();
    let mut request = ListSyncJobsRequest { parent: SOURCE.to_owned(), page_size: 2, ..Default::default() };
    let page = jobs.list_sync_jobs(request.clone()).await?.into_inner();
    request.page_token = page.next_page_token;
    let rest = jobs.list_sync_jobs(request).await?.into_inner();
    assert_eq!((page.sync_jobs.len(), rest.sync_jobs.len(), rest.next_page_token.as_str()), (2, 1, ""));
    assert!(page.sync_jobs[0].name > rest.sync_jobs[0].name, "newest first");

    let mut users = world.admin.users.clone();
    let one = flawless(120).person(17);
    let mut request = ListUsersRequest {
        parent: format!("tenants/{TENANT}"),
        text: one.uid.to_uppercase(),
        status: user::Status::Enabled.into(),
        identity_source: SOURCE.to_owned(),
        ..Default::default()
    };
    let found = users.list_users(request.clone()).await?.into_inner().users;
    assert!(found.iter().any(|user| user.user_name == one.uid));
    request.page_token = "made up".to_owned();
    let refused = users.list_users(request).await.expect_err("a token of nobody's");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    Ok(())
}
