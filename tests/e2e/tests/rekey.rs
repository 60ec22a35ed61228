//! A source with users gets another immutable id: through our two real programs and a real
//! OpenLDAP, on both databases.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use harness::world::{Database, Policy, SOURCE, World};
use rollcall_proto::admin::v1::{
    FailureReason, IdentitySource, IdentitySourceSettings, NotSynchronizedReason,
    PublishIdentitySourceRequest, SyncJob, attribute_mapping::ImmutableIdFormat, single_sync::Outcome,
    user::Status,
};
use tonic::{Code, Status as Refusal};

use crate::expect::{entry, failed, flawless, join, reasons, succeeded, users};
use crate::just_in_time::SignIn;
use crate::on_both_databases;
use crate::plans::{draft, dry_run};

on_both_databases! {
    another_immutable_id_makes_nobody_a_stranger_neither_there_nor_back,
    another_immutable_id_is_not_published_before_a_dry_run_has_read_both,
}

async fn publish(world: &World) -> Result<IdentitySource, Refusal> {
    let request = PublishIdentitySourceRequest { name: SOURCE.to_owned(), ..Default::default() };
    Ok(world.admin.sources.clone().publish_identity_source(request).await?.into_inner())
}

/// The world's settings with another immutable id.
fn known_by(world: &World, attribute: &str, format: ImmutableIdFormat) -> IdentitySourceSettings {
    let mut settings = world.settings();
    if let Some(mapping) = &mut settings.mapping {
        mapping.immutable_id = attribute.to_owned();
        mapping.set_immutable_id_format(format);
    }
    settings
}

/// Users by name, and as whom they are known and whether they may enter.
async fn known(world: &World) -> Result<BTreeMap<String, (String, Status)>> {
    let of = |user: &rollcall_proto::admin::v1::User| (user.name.clone(), user.status());
    Ok(users(world).await?.iter().map(|(name, user)| (name.clone(), of(user))).collect())
}

/// Gives each user's entry a number of its own.
async fn number_everyone(world: &World) -> Result<()> {
    let mut changes = String::new();
    for (number, user) in users(world).await?.values().enumerate() {
        let dn = &user.distinguished_name;
        write!(
            changes,
            "dn: {dn}\nchangetype: modify\nreplace: employeeNumber\nemployeeNumber: {number}\n\n"
        )?;
    }
    world.directory().modify(&changes)
}

async fn another_immutable_id_makes_nobody_a_stranger_neither_there_nor_back(
    database: Database,
) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(30)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let sign_in = SignIn::over(world).await?;
    let world = &sign_in.world;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 30);
    number_everyone(world).await?;
    join(world, "anna", "anna@lab.test")?;
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 30, 0, 0]);
    let before = known(world).await?;

    draft(world, known_by(world, "employeeNumber", ImmutableIdFormat::Text)).await?;
    let run = dry_run(world, true).await?;
    assert_eq!(succeeded(&run), [0, 0, 30, 0, 1], "nobody else is anyone else");
    assert_eq!(reasons(world).await?, [("anna".to_owned(), NotSynchronizedReason::MissingUniqueId)].into());
    let lacks = world.details(rollcall_proto::admin::v1::sync_job_detail::Category::NotSynchronized).await?;
    assert!(lacks[0].message.contains("taken for gone"), "{}", lacks[0].message);
    let anna = format!("uid=anna,{}", world.directory().people_dn());
    world.directory().replace(&anna, "employeeNumber", &["1000"])?;

    // Somebody signs in for the first time, between dry run and publication.
    world.directory().add(&format!("{}employeeNumber: 1001\n", entry(world, "ben", "ben@lab.test")))?;
    assert_eq!(sign_in.came_to("ben").await?, (Outcome::Added, true));
    let refused = publish(world).await.expect_err("ben is in no dry run");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("Make the dry run again"), "{}", refused.message());
    let run = dry_run(world, true).await?;
    assert_eq!(succeeded(&run), [0, 0, 32, 0, 0]);
    publish(world).await?;
    let with_ben = known(world).await?;
    assert!(before.iter().all(|(name, user)| with_ben.get(name) == Some(user)), "the same users");
    assert!(sign_in.came_to("anna").await?.1, "by the new id");
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 32, 0, 0]);
    assert_eq!(users(world).await?["ben"].immutable_id, "1001");

    // And back.
    draft(world, world.settings()).await?;
    assert_eq!(succeeded(&dry_run(world, true).await?), [0, 0, 32, 0, 0]);
    publish(world).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 32, 0, 0]);
    assert_eq!(known(world).await?, with_ben);
    Ok(())
}

async fn another_immutable_id_is_not_published_before_a_dry_run_has_read_both(
    database: Database,
) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(20)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 20);
    let before = known(&world).await?;
    draft(&world, known_by(&world, "uid", ImmutableIdFormat::Text)).await?;
    let refused = publish(&world).await.expect_err("strangers");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("dry run of the draft"), "{}", refused.message());
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 20, 0, 0], "what is published is still read");
    assert_eq!(
        succeeded(&dry_run(&world, true).await?),
        [0, 0, 20, 0, 0],
        "everyone is found by the former id"
    );
    publish(&world).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 20, 0, 0]);
    assert_eq!(known(&world).await?, before);
    Ok(())
}

/// The dry run fails: the router's policy allows the draft, but not what users are known by.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_forbids_either_immutable_id_forbids_the_dry_run_of_another() -> Result<()> {
    let mut world = World::builder().these_people(flawless(5)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 5);
    draft(&world, known_by(&world, "uid", ImmutableIdFormat::Text)).await?;
    world.stop_router()?;
    let mut policy = Policy::of(&[world.directory().access()], &[]);
    policy.attributes.retain(|attribute| attribute != "entryUUID");
    world.files.write_policy(&policy)?;
    world.start_router()?;
    world.router_connected().await?;
    let run: SyncJob = dry_run(&world, true).await?;
    let message = failed(&run, FailureReason::RouterPolicy);
    assert!(message.contains("entryUUID"), "{message}");
    publish(&world).await.err().context("nothing was read")?;
    Ok(())
}
