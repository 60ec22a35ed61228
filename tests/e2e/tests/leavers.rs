//! Nobody is disabled by mistake: leavers, the guard, an empty answer, another base entry.

use anyhow::Result;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::{DisableGuard, FailureReason};

use crate::expect::{enabled, failed, flawless, join, succeeded, users};
use crate::on_both_databases;

on_both_databases! {
    leavers_within_the_guard_are_disabled_and_return,
    more_leavers_than_the_guard_allows_disable_nobody_and_adds_go_on,
    an_empty_directory_disables_nobody,
}

async fn world(database: Database, people: u64) -> Result<World> {
    let world = World::builder().database(database).these_people(flawless(people)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    succeeded(&world.sync_now().await?);
    Ok(world)
}

fn delete(world: &World, numbers: std::ops::Range<u64>) -> Result<()> {
    let people = flawless(numbers.end);
    numbers.into_iter().try_for_each(|number| {
        world.directory().delete(&people.person(number).dn(world.directory().base_dn()))
    })
}

async fn leavers_within_the_guard_are_disabled_and_return(database: Database) -> Result<()> {
    let world = world(database, 200).await?;
    let away = flawless(200).person(3);
    let base = world.directory().base_dn().to_owned();
    let archived = format!("{},{}", away.rdn, world.directory().archive_dn());
    world.directory().rename(&away.dn(&base), &away.rdn, Some(&world.directory().archive_dn()))?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 199, 1, 0]);
    assert_eq!(world.license().await?.used(), 199);

    world.directory().rename(&archived, &away.rdn, Some(&world.directory().people_dn()))?;
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 1, 199, 0, 0]);
    assert_eq!(job.counts.unwrap_or_default().reenabled(), 1);
    Ok(())
}

async fn more_leavers_than_the_guard_allows_disable_nobody_and_adds_go_on(database: Database) -> Result<()> {
    let world = world(database, 200).await?;
    delete(&world, 0..30)?;
    join(&world, "joiner", "joiner@lab.test")?;
    let message = failed(&world.sync_now().await?, FailureReason::DisableGuard);
    assert!(message.contains("30 users are gone") && message.contains("raise disable_guard"), "{message}");
    let kept = users(&world).await?;
    assert_eq!((enabled(&kept), kept.contains_key("joiner")), (201, true));

    let mut settings = world.settings();
    settings.disable_guard = Some(DisableGuard { max_users: 50, max_percent: 50 });
    world.update_and_publish_source(settings).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[3], 30);
    Ok(())
}

async fn an_empty_directory_disables_nobody(database: Database) -> Result<()> {
    let world = world(database, 4).await?;
    delete(&world, 0..4)?;
    failed(&world.sync_now().await?, FailureReason::DirectoryEmpty);
    assert_eq!(enabled(&users(&world).await?), 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_entry_that_was_made_anew_disables_nobody_until_published_again() -> Result<()> {
    let world = World::builder().start().await?;
    let team = format!("ou=Team,{}", world.directory().people_dn());
    let make = |members: &[&str]| -> Result<()> {
        world.directory().add(&format!("dn: {team}\nobjectClass: organizationalUnit\nou: Team\n"))?;
        members.iter().try_for_each(|uid| {
            world.directory().add(&format!(
                "dn: uid={uid},{team}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\nmail: {uid}@lab.test\n"
            ))
        })
    };
    make(&["anna", "ben"])?;
    let mut settings = world.settings();
    settings.roots = vec![team.clone()];
    world.create_and_publish_source(settings.clone()).await?;
    succeeded(&world.sync_now().await?);

    for dn in [format!("uid=anna,{team}"), format!("uid=ben,{team}"), team.clone()] {
        world.directory().delete(&dn)?;
    }
    make(&["carla"])?;
    failed(&world.sync_now().await?, FailureReason::RootChanged);
    assert_eq!(enabled(&users(&world).await?), 3);

    world.update_and_publish_source(settings).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[3], 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_immutable_id_keep_leavers_enabled() -> Result<()> {
    let world = World::builder().start().await?;
    let mut settings = world.settings();
    if let Some(mapping) = &mut settings.mapping {
        mapping.immutable_id = "employeeNumber".to_owned();
        mapping
            .set_immutable_id_format(rollcall_proto::admin::v1::attribute_mapping::ImmutableIdFormat::Text);
    }
    world.create_and_publish_source(settings).await?;
    for (uid, number) in [("anna", "1"), ("ben", "2")] {
        let entry = crate::expect::entry(&world, uid, &format!("{uid}@lab.test"));
        world.directory().add(&format!("{entry}employeeNumber: {number}\n"))?;
    }
    assert_eq!(succeeded(&world.sync_now().await?), [2, 0, 0, 0, 0]);

    let anna = format!("uid=anna,{}", world.directory().people_dn());
    world.directory().replace(&anna, "employeeNumber", &[])?;
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 0, 1, 0, 1]);
    assert_eq!(job.withheld_disables.map(|withheld| withheld.user_count), Some(1));
    assert_eq!(enabled(&users(&world).await?), 2);
    Ok(())
}
