//! Users are marked, undeleted and deleted, by administrators and by themselves: through our two
//! real programs, a real OpenLDAP and both databases.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::world::{Admin, Database, TENANT, World};
use rollcall_proto::admin::v1::audit_event::Type;
use rollcall_proto::admin::v1::user::{DisabledReason, MarkReason, Status};
use rollcall_proto::admin::v1::{
    AuditEvent, BatchMarkUsersForDeletionRequest, BatchUndeleteUsersRequest, DeleteUserRequest,
    DeletionSettings, GetDeletionSettingsRequest, GetUserRequest, ListUsersRequest,
    MarkUserForDeletionRequest, UndeleteUserRequest, UpdateDeletionSettingsRequest, User, sync_job::State,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::audit::by_hand;
use crate::expect::{flawless, join, succeeded, users};
use crate::just_in_time::{SignIn, seconds};
use crate::on_both_databases;
use crate::replicas::{look, until};

on_both_databases! {
    whoever_is_marked_is_gone_when_the_time_is_over_and_comes_back_as_somebody_new,
    a_disabled_user_is_deleted_at_once_and_an_enabled_one_never,
    many_users_are_marked_and_undeleted_in_one_call_or_none_of_them,
    whoever_never_signed_in_and_is_seen_by_no_sync_is_marked_and_whoever_signs_in_is_not,
    users_who_are_deleted_while_they_are_synchronized_are_gone_or_new_and_the_numbers_add_up,
}

const PATIENCE: Duration = Duration::from_secs(60);

async fn world(database: Database, names: &[&str]) -> Result<World> {
    let world = World::builder().database(database).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for name in names {
        join(&world, name, &format!("{name}@lab.test"))?;
    }
    assert_eq!(succeeded(&world.sync_now().await?)[0], i32::try_from(names.len())?);
    Ok(world)
}

async fn set(world: &World, settings: DeletionSettings) -> Result<DeletionSettings, tonic::Status> {
    let settings = DeletionSettings { name: format!("tenants/{TENANT}/deletionSettings"), ..settings };
    let request = UpdateDeletionSettingsRequest { deletion_settings: Some(settings) };
    Ok(world.admin.users.clone().update_deletion_settings(request).await?.into_inner())
}

async fn mark(admin: &Admin, name: &str) -> Result<User, tonic::Status> {
    let request = MarkUserForDeletionRequest { name: name.to_owned() };
    Ok(admin.users.clone().mark_user_for_deletion(request).await?.into_inner())
}

async fn mark_all(admin: &Admin, names: Vec<String>) -> Result<Vec<User>, tonic::Status> {
    let request = BatchMarkUsersForDeletionRequest { parent: format!("tenants/{TENANT}"), names };
    Ok(admin.users.clone().batch_mark_users_for_deletion(request).await?.into_inner().users)
}

async fn undelete_all(world: &World, names: Vec<String>) -> Result<Vec<User>, tonic::Status> {
    let request = BatchUndeleteUsersRequest { parent: format!("tenants/{TENANT}"), names };
    Ok(world.admin.users.clone().batch_undelete_users(request).await?.into_inner().users)
}

async fn delete(world: &World, name: &str) -> Result<(), tonic::Status> {
    let request = DeleteUserRequest { name: name.to_owned() };
    world.admin.users.clone().delete_user(request).await.map(|_| ())
}

async fn get(world: &World, name: &str) -> Result<User, tonic::Status> {
    let request = GetUserRequest { name: name.to_owned() };
    Ok(world.admin.users.clone().get_user(request).await?.into_inner())
}

async fn pending(world: &World) -> Result<Vec<User>> {
    let request = ListUsersRequest {
        parent: format!("tenants/{TENANT}"),
        pending_deletion: true,
        page_size: 1_000,
        ..Default::default()
    };
    Ok(world.admin.users.clone().list_users(request).await?.into_inner().users)
}

/// Waits until a user is no more.
async fn gone(world: &World, name: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match get(world, name).await {
            Err(status) if status.code() == Code::NotFound => return Ok(()),
            _ if Instant::now() > end => bail!("{name} is still there:\n{}", world.logs()),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn events(world: &World, kind: Type) -> Result<Vec<AuditEvent>> {
    let mut events = world.admin.trail(&format!("tenants/{TENANT}")).await?;
    events.retain(|event| event.r#type() == kind);
    Ok(events)
}

fn move_out(world: &World, name: &str) -> Result<()> {
    let directory = world.directory();
    let (dn, rdn) = (format!("uid={name},{}", directory.people_dn()), format!("uid={name}"));
    directory.rename(&dn, &rdn, Some(&directory.archive_dn()))
}

fn move_in(world: &World, name: &str) -> Result<()> {
    let directory = world.directory();
    let (dn, rdn) = (format!("uid={name},{}", directory.archive_dn()), format!("uid={name}"));
    directory.rename(&dn, &rdn, Some(&directory.people_dn()))
}

fn reason(status: &tonic::Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

async fn whoever_is_marked_is_gone_when_the_time_is_over_and_comes_back_as_somebody_new(
    database: Database,
) -> Result<()> {
    let world = world(database, &["anna", "ben", "carla"]).await?;
    move_out(&world, "anna")?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 2, 1, 0]);
    let anna = users(&world).await?.remove("anna").context("anna")?;
    assert_eq!(anna.disabled_reason(), DisabledReason::OutOfScope);
    let marked = mark(&world.admin, &anna.name).await?;
    let times = marked.mark_time.zip(marked.purge_time).context("both times")?;
    assert_eq!(times.1.seconds - times.0.seconds, 7 * 86_400);
    assert!(marked.marked_by.starts_with("admins/"), "{}", marked.marked_by);
    assert_eq!((marked.mark_reason(), marked.status()), (MarkReason::Administrator, Status::Disabled));
    assert_eq!(pending(&world).await?, [marked]);
    let undelete = UndeleteUserRequest { name: anna.name.clone() };
    assert_eq!(world.admin.users.clone().undelete_user(undelete).await?.into_inner(), anna);
    assert_eq!(pending(&world).await?, []);

    let ben = users(&world).await?.remove("ben").context("ben")?;
    set(&world, DeletionSettings { pending_period: seconds(3), ..Default::default() }).await?;
    let marked = mark_all(&world.admin, vec![ben.name.clone(), anna.name.clone()]).await?;
    assert_eq!(marked.len(), 2);
    assert_eq!(get(&world, &ben.name).await?.status(), Status::Enabled, "a mark disables nobody");
    gone(&world, &anna.name).await?;
    gone(&world, &ben.name).await?;
    assert_eq!(world.license().await?.used(), 1, "one seat is free");
    assert_eq!(events(&world, Type::UserMarked).await?.len(), 3);
    assert_eq!(events(&world, Type::UserUndeleted).await?.len(), 1);
    let purged = events(&world, Type::UsersPurged).await?;
    assert!(purged.iter().all(|event| event.actor == "system" && event.details.len() == 2));
    let users_gone: i32 = purged.iter().filter_map(|event| event.details["users"].parse::<i32>().ok()).sum();
    assert_eq!(users_gone, 2);

    move_in(&world, "anna")?;
    assert_eq!(succeeded(&world.sync_now().await?), [2, 0, 1, 0, 0], "both are in scope, and new");
    let again = users(&world).await?;
    for (name, before) in [("anna", &anna), ("ben", &ben)] {
        let now = &again[name];
        assert_eq!((now.status(), &now.immutable_id), (Status::Enabled, &before.immutable_id));
        let number = |user: &User| user.name.rsplit('/').next().unwrap_or_default().parse::<u32>();
        assert!(number(now)? > 3, "a number that nobody had: {}", now.name);
    }
    Ok(())
}

async fn a_disabled_user_is_deleted_at_once_and_an_enabled_one_never(database: Database) -> Result<()> {
    let world = world(database, &["anna", "ben"]).await?;
    let anna = users(&world).await?.remove("anna").context("anna")?;
    let refused = delete(&world, &anna.name).await.expect_err("she is enabled");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "USER_NOT_DISABLED"));
    assert!(refused.message().contains("MarkUserForDeletion"), "{}", refused.message());

    let dn = format!("uid=anna,{}", world.directory().people_dn());
    world.directory().replace(&dn, "employeeType", &["inactive"])?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 1, 1, 0, 0]);
    delete(&world, &anna.name).await?;
    for status in [
        get(&world, &anna.name).await.expect_err("gone"),
        delete(&world, &anna.name).await.expect_err("gone"),
        mark(&world.admin, &anna.name).await.expect_err("gone"),
    ] {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NOT_FOUND"));
    }
    let deleted = events(&world, Type::UserDeleted).await?;
    assert_eq!(deleted.len(), 1);
    assert_eq!((&deleted[0].subject, deleted[0].details.len()), (&anna.name, 0));
    assert_eq!(world.license().await?.used(), 1);
    // Still in scope, and disabled there: a new user, who is disabled.
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 1, 0, 0]);
    let again = users(&world).await?.remove("anna").context("anna")?;
    assert_ne!(again.name, anna.name);
    assert_eq!(again.disabled_reason(), DisabledReason::DisabledInDirectory);
    assert_eq!(world.license().await?.used(), 1);
    Ok(())
}

async fn many_users_are_marked_and_undeleted_in_one_call_or_none_of_them(database: Database) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(1_001)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    succeeded(&world.sync_now().await?);
    let names: Vec<String> = world.users().await?.into_iter().map(|user| user.name).collect();
    for wrong in [Vec::new(), names.clone()] {
        let status = mark_all(&world.admin, wrong).await.expect_err("none, or too many");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("1 to 1000"), "{}", status.message());
    }
    let strangers = [77_777, 88_888].map(|number| format!("tenants/{TENANT}/users/{number}"));
    let with_strangers = [&names[..10], &strangers].concat();
    let status = mark_all(&world.admin, with_strangers).await.expect_err("strangers");
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("77777, 88888"), "{}", status.message());
    assert_eq!(pending(&world).await?.len(), 0);

    let marked = mark_all(&world.admin, [&names[..1_000], &names[..0]].concat()).await?;
    assert_eq!(marked.len(), 1_000);
    let twice = mark_all(&world.admin, vec![names[0].clone(), names[0].clone()]).await?;
    assert_eq!(twice.len(), 1, "one that is named twice counts once");
    assert_eq!(events(&world, Type::UserMarked).await?.len(), 1_000, "one that is marked is no event");
    assert_eq!(undelete_all(&world, names[..999].to_vec()).await?.len(), 999);
    assert_eq!(pending(&world).await?.len(), 1);
    assert_eq!(world.users().await?.len(), 1_001);
    Ok(())
}

async fn whoever_never_signed_in_and_is_seen_by_no_sync_is_marked_and_whoever_signs_in_is_not(
    database: Database,
) -> Result<()> {
    let mut sign_in = SignIn::over(world(database, &["anna", "ben", "carla"]).await?).await?;
    let settings =
        set(&sign_in.world, DeletionSettings { unused_for: seconds(30 * 86_400), ..Default::default() });
    assert_eq!(settings.await?.pending_period.map(|period| period.seconds), Some(7 * 86_400));
    assert!(sign_in.came_to("anna").await?.1);
    // What was answered is written down at the latest when the control plane ends.
    sign_in.world.stop_control_plane()?;
    sign_in.world.start_control_plane()?;
    let anna = users(&sign_in.world).await?.remove("anna").context("anna")?;
    assert!(anna.last_sign_in_time.is_some());
    // A month goes by, and nobody synchronizes.
    let month = "UPDATE users SET created_at = created_at - 2678400000000, updated_at = updated_at - 2678400000000; \
                 UPDATE identity_sources SET synced_at = synced_at - 2678400000000";
    by_hand(&sign_in.world, month).await?;
    sign_in.world.stop_control_plane()?;
    sign_in.world.start_control_plane()?;
    sign_in.world.router_connected().await?;
    let world = &sign_in.world;
    let end = Instant::now() + PATIENCE;
    while pending(world).await?.len() < 2 {
        ensure!(Instant::now() < end, "nobody was marked:\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let marked = pending(world).await?;
    let names: Vec<_> = marked.iter().map(|user| user.user_name.as_str()).collect();
    assert_eq!(names, ["ben", "carla"]);
    assert!(marked.iter().all(|user| user.mark_reason() == MarkReason::LongUnused
        && user.marked_by == "system"
        && user.status() == Status::Enabled));
    let event = events(world, Type::UsersMarked).await?.remove(0);
    assert_eq!((event.details["users"].as_str(), event.details["reason"].as_str()), ("2", "LONG_UNUSED"));

    // Ben comes, and is no longer to be deleted.
    let end = Instant::now() + PATIENCE;
    while !sign_in.came_to("ben").await?.1 {
        ensure!(Instant::now() < end, "the router did not come back:\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let end = Instant::now() + PATIENCE;
    while pending(world).await?.len() > 1 {
        ensure!(Instant::now() < end, "the mark was not taken off:\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(pending(world).await?[0].user_name, "carla");
    // Carla's time is over.
    by_hand(world, "UPDATE users SET purge_at = marked_at WHERE purge_at IS NOT NULL").await?;
    gone(world, &marked[1].name).await?;
    assert_eq!(users(world).await?.into_keys().collect::<Vec<_>>(), ["anna", "ben"]);
    let request = GetDeletionSettingsRequest { name: format!("tenants/{TENANT}/deletionSettings") };
    let shown = world.admin.users.clone().get_deletion_settings(request).await?.into_inner();
    assert_eq!(shown.unused_for.map(|period| period.seconds), Some(30 * 86_400));
    assert_eq!(shown.disabled_for, None);
    Ok(())
}

/// Half of the people change in the directory and all are marked; their time is over while a sync
/// reads them.
async fn users_who_are_deleted_while_they_are_synchronized_are_gone_or_new_and_the_numbers_add_up(
    database: Database,
) -> Result<()> {
    const PEOPLE: u64 = 3_000;
    let world = World::builder().database(database).these_people(flawless(PEOPLE)).cables().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    succeeded(&world.sync_now().await?);
    let before = world.users().await?;
    let last = before.iter().filter_map(|user| user.name.rsplit('/').next()?.parse::<u64>().ok()).max();
    for number in (0..PEOPLE).step_by(20) {
        let dn = flawless(PEOPLE).person(number).dn(world.directory().base_dn());
        world.directory().replace(&dn, "displayName", &["Somebody Else"])?;
    }
    set(&world, DeletionSettings { pending_period: seconds(0), ..Default::default() }).await?;
    world.directory_link()?.slow(Some(150_000));
    let job = world.start_sync().await?;
    until(&world.admin, &job.name, |job| job.counts.unwrap_or_default().read() > 500).await?;
    let names: Vec<String> = before.iter().map(|user| user.name.clone()).collect();
    for names in names.chunks(1_000) {
        mark_all(&world.admin, names.to_vec()).await?;
    }
    for name in [&names[0], &names[1_500], &names[2_999]] {
        gone(&world, name).await?;
    }
    assert_eq!(look(&world.admin, &job.name).await?.state(), State::Running, "it took too long");
    world.directory_link()?.slow(None);
    let job = world.finished(&job).await?;
    let [added, updated, unchanged, disabled, others] = succeeded(&job);
    let some = added > 0 && updated + unchanged > 0;
    assert!(some, "some before and some after: {added} added, {updated} updated, {unchanged} unchanged");
    assert_eq!(added + updated + unchanged + others, i32::try_from(PEOPLE)?);
    assert_eq!(disabled, 0, "nobody left");
    let purged = events(&world, Type::UsersPurged).await?;
    let users_gone: usize =
        purged.iter().filter_map(|event| event.details["users"].parse::<usize>().ok()).sum();
    assert_eq!(users_gone, names.len(), "each once");
    let kept = world.users().await?;
    assert_eq!(kept.len(), usize::try_from(added)?, "whoever is there is new");
    assert_eq!(world.license().await?.used(), added);
    let number = |user: &User| user.name.rsplit('/').next().and_then(|number| number.parse::<u64>().ok());
    assert!(kept.iter().all(|user| number(user) > last), "with a number that nobody had");

    let job = world.sync_now().await?;
    let [more, _, same, none, _] = succeeded(&job);
    assert_eq!((more + added, same, none), (i32::try_from(PEOPLE)?, added, 0));
    assert_eq!(world.license().await?.used(), i32::try_from(PEOPLE)?);
    Ok(())
}
