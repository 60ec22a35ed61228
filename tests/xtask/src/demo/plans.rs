//! The second half of the demo: a draft that is tried before it is published, a plan that is
//! applied exactly, a job that is undone, and a user who is marked for deletion.

use anyhow::{Context, Result};
use harness::People;
use harness::world::{SOURCE, TENANT, World};
use rollcall_proto::admin::v1::{
    ApplySyncPlanRequest, IdentitySource, IdentitySourceSettings, MarkUserForDeletionRequest,
    StartSyncRequest, SyncJob, UndoSyncJobRequest, UpdateIdentitySourceRequest, sync_job_detail::Category,
};

use super::{show, story, watch};

pub(super) async fn tell(world: &World, people: &People) -> Result<()> {
    show::chapter("A draft that leaves people out: a dry run shows what publishing it would lead to");
    let settings = world.settings();
    let narrow = IdentitySourceSettings { extra_filter: "(!(uid=a*))".to_owned(), ..settings.clone() };
    draft(world, narrow).await?;
    println!("  the draft has the filter (!(uid=a*))");
    dry_run(world, true).await?;
    show::details(&world.details(Category::Disabled).await?, 3);
    draft(world, settings).await?;

    show::chapter("More people leave: a dry run, and its plan is applied exactly");
    println!("  - {}", story::leave(world, people)?);
    let plan = dry_run(world, false).await?;
    if let Some(plan) = &plan.plan {
        println!("  a sync would be held ({:?}); applying the plan is the approval", plan.hold_reason());
    }
    let request = ApplySyncPlanRequest { name: plan.name, ..Default::default() };
    let applied = world.admin.jobs.clone().apply_sync_plan(request).await?.into_inner();
    let applied = watch(world, &applied).await?;

    show::chapter("It was a mistake: the job is undone, without any directory");
    let request = UndoSyncJobRequest { name: applied.name, ..Default::default() };
    let undo = world.admin.jobs.clone().undo_sync_job(request).await?.into_inner();
    watch(world, &undo).await?;
    show::details(&world.details(Category::Updated).await?, 3);
    show::license(&world.license().await?);

    show::chapter("Whoever stays disabled can be marked for deletion");
    let users = world.users().await?;
    let disabled = users.into_iter().find(|user| user.disable_time.is_some()).context("a disabled user")?;
    let request = MarkUserForDeletionRequest { name: disabled.name };
    let marked = world.admin.users.clone().mark_user_for_deletion(request).await?.into_inner();
    let purge = marked.purge_time.map(|time| time.to_string()).unwrap_or_default();
    println!(
        "  {} will be deleted at {purge}; until then it can be undeleted, and a sync never deletes",
        marked.name
    );
    println!("  (marked: {TENANT}, by {})", marked.marked_by);
    Ok(())
}

async fn draft(world: &World, settings: IdentitySourceSettings) -> Result<()> {
    let source = IdentitySource { name: SOURCE.to_owned(), draft: Some(settings), ..Default::default() };
    let request = UpdateIdentitySourceRequest { identity_source: Some(source), ..Default::default() };
    world.admin.sources.clone().update_identity_source(request).await?;
    Ok(())
}

async fn dry_run(world: &World, draft: bool) -> Result<SyncJob> {
    let request =
        StartSyncRequest { parent: SOURCE.to_owned(), validate_only: true, draft, ..Default::default() };
    let job = world.admin.jobs.clone().start_sync(request).await?.into_inner();
    watch(world, &job).await
}
