//! Dry runs, plans that are applied, jobs that are undone, and drafts that are tried before they
//! are published.

use anyhow::{Context, Result};
use harness::world::{Database, SOURCE, World};
use rollcall_proto::admin::v1::{
    ApplySyncPlanRequest, ExportSyncPlanRequest, IdentitySource, IdentitySourceSettings, StartSyncRequest,
    SyncJob, SyncPlanEntry, UndoSyncJobRequest, UpdateIdentitySourceRequest,
    export_sync_plan_request::Format, hold::Reason, sync_job::Kind, sync_job_detail::Category, user::Status,
};
use tonic::{Code, Status as Refusal};

use crate::expect::{enabled, flawless, held, join, reasons, succeeded, users};
use crate::on_both_databases;

on_both_databases! {
    a_plan_shows_each_field_before_and_after_and_applying_it_does_that_and_nothing_else,
    a_job_is_undone_but_for_whom_something_has_changed_since,
}

pub(crate) async fn dry_run(world: &World, draft: bool) -> Result<SyncJob> {
    let request =
        StartSyncRequest { parent: SOURCE.to_owned(), validate_only: true, draft, ..Default::default() };
    let job = world.admin.jobs.clone().start_sync(request).await?.into_inner();
    assert_eq!(job.kind(), Kind::DryRun);
    world.admin.watch(&job.name, |_| ()).await
}

async fn apply(world: &World, plan: &SyncJob) -> Result<SyncJob> {
    let request = ApplySyncPlanRequest { name: plan.name.clone(), ..Default::default() };
    let job = world.admin.jobs.clone().apply_sync_plan(request).await?.into_inner();
    assert_eq!((job.kind(), &job.origin), (Kind::Plan, &plan.name));
    world.admin.watch(&job.name, |_| ()).await
}

async fn undo(world: &World, of: &SyncJob) -> Result<SyncJob> {
    let request = UndoSyncJobRequest { name: of.name.clone(), ..Default::default() };
    let job = world.admin.jobs.clone().undo_sync_job(request).await?.into_inner();
    assert_eq!((job.kind(), &job.origin), (Kind::Undo, &of.name));
    world.admin.watch(&job.name, |_| ()).await
}

async fn export(
    world: &World,
    plan: &SyncJob,
    format: Format,
) -> Result<(Vec<SyncPlanEntry>, Vec<String>), Refusal> {
    let request =
        ExportSyncPlanRequest { parent: plan.name.clone(), format: format.into(), ..Default::default() };
    let mut stream = world.admin.jobs.clone().export_sync_plan(request).await?.into_inner();
    let (mut entries, mut lines) = (Vec::new(), Vec::new());
    while let Some(message) = stream.message().await? {
        entries.extend(message.entry);
        lines.extend(Some(message.line).filter(|line| !line.is_empty()));
    }
    Ok((entries, lines))
}

fn dn(world: &World, uid: &str) -> String {
    format!("uid={uid},{}", world.directory().people_dn())
}

/// What people are at the first sync, and what changes then: anna moves to another mail address,
/// ben leaves, cleo is disabled, dora joins.
async fn four_changes(database: Database) -> Result<World> {
    let world = World::builder().database(database).these_people(flawless(30)).start().await?;
    for uid in ["anna", "ben", "cleo"] {
        join(&world, uid, &format!("{uid}@lab.test"))?;
    }
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 33);
    world.directory().replace(&dn(&world, "anna"), "mail", &["=anna@lab.test"])?;
    world.directory().delete(&dn(&world, "ben"))?;
    world.directory().replace(&dn(&world, "cleo"), "employeeType", &["INACTIVE"])?;
    join(&world, "dora", "dora@lab.test")?;
    Ok(world)
}

async fn a_plan_shows_each_field_before_and_after_and_applying_it_does_that_and_nothing_else(
    database: Database,
) -> Result<()> {
    let world = four_changes(database).await?;
    let before = users(&world).await?;
    let plan = dry_run(&world, false).await?;
    assert_eq!(succeeded(&plan), [1, 2, 30, 1, 0]);
    assert_eq!(users(&world).await?, before, "a dry run changes nobody");
    assert_eq!(world.details(Category::Updated).await?.len(), 2, "Show Details of the dry run");

    let (entries, _) = export(&world, &plan, Format::Unspecified).await?;
    let of = |uid: &str| {
        let is = |user: &Option<rollcall_proto::admin::v1::User>| {
            user.as_ref().is_some_and(|user| user.user_name == uid)
        };
        entries.iter().find(|entry| is(&entry.before) || is(&entry.after)).cloned().unwrap_or_default()
    };
    let state =
        |user: Option<rollcall_proto::admin::v1::User>| user.map(|user| (user.mail.clone(), user.status()));
    let mail = |name: &str| format!("{name}@lab.test");
    assert_eq!((entries.len(), of("anna").category()), (4, Category::Updated));
    assert_eq!(state(of("anna").before), Some((mail("anna"), Status::Enabled)));
    assert_eq!(state(of("anna").after), Some((mail("=anna"), Status::Enabled)));
    assert_eq!(of("anna").before.unwrap_or_default().name, before["anna"].name);
    assert_eq!((of("ben").category(), state(of("ben").after)), (Category::Disabled, None));
    assert_eq!(state(of("cleo").after), Some((mail("cleo"), Status::Disabled)));
    assert_eq!((of("dora").category(), of("dora").before), (Category::Added, None));

    let (_, lines) = export(&world, &plan, Format::JsonLines).await?;
    let parsed: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line)).collect::<std::result::Result<_, _>>()?;
    let anna = parsed.iter().find(|line| line["before"]["user_name"] == "anna").context("anna's line")?;
    assert_eq!((&anna["category"], &anna["after"]["mail"]), (&"UPDATED".into(), &"=anna@lab.test".into()));
    let (_, lines) = export(&world, &plan, Format::Csv).await?;
    assert!(
        lines[0].starts_with("category,user,immutable_id,reason,message,before_user_name,"),
        "{}",
        lines[0]
    );
    assert!(lines.iter().any(|line| line.contains(",'=anna@lab.test,")), "no formula: {lines:?}");

    // By now cleo is enabled again and dora has another address; emil is new.
    world.directory().replace(&dn(&world, "cleo"), "employeeType", &["employee"])?;
    world.directory().replace(&dn(&world, "dora"), "mail", &["other@lab.test"])?;
    join(&world, "emil", "emil@lab.test")?;
    let applied = apply(&world, &plan).await?;
    // Unchanged are the 30 and cleo, whom the plan would have disabled; left out are dora and emil,
    // and cleo's entry is listed.
    assert_eq!(succeeded(&applied), [0, 1, 31, 1, 3]);
    let left_out: Vec<String> = reasons(&world).await?.into_keys().collect();
    assert_eq!(left_out, ["cleo", "dora", "emil"]);
    let after = users(&world).await?;
    assert_eq!((after["anna"].mail.as_str(), after["ben"].status()), ("=anna@lab.test", Status::Disabled));
    assert_eq!((after["cleo"].status(), after.get("dora")), (Status::Enabled, None));

    let events = world.admin.trail("tenants/acme").await?;
    let planned =
        events.iter().filter(|event| event.subject == plan.name).map(|event| event.r#type().as_str_name());
    assert_eq!(planned.collect::<Vec<_>>(), ["SYNC_STARTED", "SYNC_PLANNED"]);
    Ok(())
}

async fn a_job_is_undone_but_for_whom_something_has_changed_since(database: Database) -> Result<()> {
    let mut world = four_changes(database).await?;
    let before = users(&world).await?;
    let sync = world.sync_now().await?;
    assert_eq!(succeeded(&sync), [1, 2, 30, 1, 0]);
    // Something has changed since for cleo.
    world.directory().replace(&dn(&world, "cleo"), "employeeType", &["employee"])?;
    assert_eq!(succeeded(&world.sync_now().await?)[1], 1);
    world.stop_router()?;
    let undone = undo(&world, &sync).await?;
    assert_eq!(succeeded(&undone), [0, 2, 0, 1, 1], "without any router");
    assert_eq!(reasons(&world).await?.into_keys().collect::<Vec<_>>(), ["cleo"]);
    let now = users(&world).await?;
    assert_eq!(now["anna"].mail, before["anna"].mail);
    assert_eq!((now["ben"].status(), now["dora"].status()), (Status::Enabled, Status::Disabled));
    assert_eq!(world.license().await?.used(), 33);
    // A job like others: it can be undone, too.
    let again = undo(&world, &undone).await?;
    assert_eq!(succeeded(&again), [0, 2, 0, 1, 0]);
    let now = users(&world).await?;
    assert_eq!((now["ben"].status(), now["dora"].status()), (Status::Disabled, Status::Enabled));
    let latest = UndoSyncJobRequest { name: format!("{SOURCE}/syncJobs/latest"), ..Default::default() };
    let refused = world.admin.jobs.clone().undo_sync_job(latest).await.expect_err("whichever is the latest");
    assert_eq!(refused.code(), Code::InvalidArgument);
    Ok(())
}

pub(crate) async fn draft(world: &World, settings: IdentitySourceSettings) -> Result<()> {
    let source = IdentitySource { name: SOURCE.to_owned(), draft: Some(settings), ..Default::default() };
    let request = UpdateIdentitySourceRequest { identity_source: Some(source), ..Default::default() };
    world.admin.sources.clone().update_identity_source(request).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_shows_what_publishing_it_leads_to_and_then_leads_to_that() -> Result<()> {
    let world = World::builder().these_people(flawless(60)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 60);
    let people = users(&world).await?;
    let (chosen, given) = {
        let one = people.values().next().context("someone")?;
        (one.user_name.clone(), one.first_name.clone())
    };
    // Without one person, and with another attribute for the first name.
    let mut settings = world.settings();
    settings.extra_filter = format!("(!(uid={chosen}))");
    if let Some(mapping) = &mut settings.mapping {
        mapping.first_name = "sn".to_owned();
    }
    draft(&world, settings.clone()).await?;
    let tried = dry_run(&world, true).await?;
    let shown = succeeded(&tried);
    assert_eq!([shown[0], shown[1], shown[2] + shown[1], shown[3]], [0, shown[1], 59, 1], "{shown:?}");
    assert!(shown[1] > 50, "first names change: {shown:?}");
    assert!(tried.plan.as_ref().is_some_and(|plan| plan.draft));
    let request = ApplySyncPlanRequest { name: tried.name.clone(), ..Default::default() };
    let refused = world.admin.jobs.clone().apply_sync_plan(request).await.expect_err("not published");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let now = users(&world).await?;
    assert_eq!((now[&chosen].status(), &now[&chosen].first_name), (Status::Enabled, &given));
    world.admin.publish(SOURCE).await?;
    assert_eq!(succeeded(&world.sync_now().await?), shown, "it leads to what was shown");
    assert_eq!(enabled(&users(&world).await?), 59);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_never_published_can_be_tried() -> Result<()> {
    let world = World::builder().these_people(flawless(20)).start().await?;
    let source = IdentitySource { draft: Some(world.settings()), ..Default::default() };
    let request = rollcall_proto::admin::v1::CreateIdentitySourceRequest {
        parent: "tenants/acme".to_owned(),
        identity_source_id: "hq".to_owned(),
        identity_source: Some(source),
    };
    world.admin.sources.clone().create_identity_source(request).await?;
    assert_eq!(succeeded(&dry_run(&world, true).await?), [20, 0, 0, 0, 0]);
    assert!(users(&world).await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_root_and_renamed_containers_turn_nobody_into_a_stranger() -> Result<()> {
    let both = |mut policy: harness::world::Policy| {
        let renamed = policy.roots[0].replacen("ou=people", "ou=staff", 1);
        policy.roots.push(renamed);
        policy
    };
    let world = World::builder().these_people(flawless(60)).policy(both).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 60);
    let before = users(&world).await?;
    let people = world.directory().people_dn();
    world.directory().rename(&people, "ou=staff", None)?;
    let mut settings = world.settings();
    settings.roots = vec![people.replacen("ou=people", "ou=staff", 1)];
    draft(&world, settings).await?;
    let tried = dry_run(&world, true).await?;
    assert_eq!(succeeded(&tried), [0, 60, 0, 0, 0], "everyone's distinguished name is another one");
    world.admin.publish(SOURCE).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 60, 0, 0, 0]);
    let after = users(&world).await?;
    let names = |users: &std::collections::BTreeMap<String, rollcall_proto::admin::v1::User>| {
        users.values().map(|user| user.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&after));
    assert!(after.values().all(|user| user.distinguished_name.contains("ou=staff")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_with_a_wrong_root_is_no_measure_of_the_next_also_where_it_applied_a_plan() -> Result<()> {
    let world = World::builder().these_people(flawless(60)).policy(|mut policy| {
        policy.roots.push("ou=archive,dc=example,dc=com".to_owned());
        policy
    });
    let world = world.start().await?;
    let archive = world.directory().archive_dn();
    for number in 0..4 {
        let person = flawless(60).person(number);
        world.directory().rename(&person.dn(world.directory().base_dn()), &person.rdn, Some(&archive))?;
    }
    let mut settings = world.settings();
    settings.roots.push(archive.clone());
    world.create_and_publish_source(settings).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 60);
    let plan = dry_run(&world, false).await?;
    world.directory().rename(&archive, "ou=attic", None)?;
    let applied = apply(&world, &plan).await?;
    succeeded(&applied);
    let withheld = applied.withheld_disables.context("nobody is disabled")?;
    assert!(withheld.message.contains("The plan did not show that"), "{withheld:?}");
    held(&world.sync_now().await?, Reason::RootMissing);
    assert_eq!(enabled(&users(&world).await?), 60);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_a_plan_is_the_approval_of_what_a_sync_would_hold() -> Result<()> {
    let world = World::builder().these_people(flawless(100)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    succeeded(&world.sync_now().await?);
    let people = flawless(100);
    for number in 0..40 {
        world.directory().delete(&people.person(number).dn(world.directory().base_dn()))?;
    }
    // Published anew, so that every record looks different and is not.
    world.admin.publish(SOURCE).await?;
    let plan = dry_run(&world, false).await?;
    assert_eq!(succeeded(&plan), [0, 0, 60, 40, 0]);
    let doubt = plan.plan.clone().context("a plan")?;
    assert_eq!(doubt.hold_reason(), Reason::DisableGuard, "{doubt:?}");
    // One more leaves after the plan was made: that was not shown.
    world.directory().delete(&people.person(50).dn(world.directory().base_dn()))?;
    let applied = apply(&world, &plan).await?;
    assert_eq!(succeeded(&applied), [0, 0, 59, 40, 1]);
    assert_eq!(enabled(&users(&world).await?), 60);
    Ok(())
}
