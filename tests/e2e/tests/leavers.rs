//! Nobody is disabled by mistake: leavers, the guard, an empty answer, another base entry.

use anyhow::Result;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::sync_job_detail::Category;
use rollcall_proto::admin::v1::{DisableGuard, NotSynchronizedReason, hold::Reason};

use crate::expect::{enabled, flawless, held, join, reasons, succeeded, users};
use crate::on_both_databases;

on_both_databases! {
    leavers_within_the_guard_are_disabled_and_return,
    more_leavers_than_the_guard_allows_are_held_and_adds_go_on,
    an_empty_directory_is_held,
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

async fn more_leavers_than_the_guard_allows_are_held_and_adds_go_on(database: Database) -> Result<()> {
    let world = world(database, 200).await?;
    archive(&world, 0..30)?;
    join(&world, "joiner", "joiner@lab.test")?;
    let message = held(&world.sync_now().await?, Reason::DisableGuard);
    assert!(message.contains("30 users are gone") && message.contains("allows 10"), "{message}");
    let kept = users(&world).await?;
    assert_eq!((enabled(&kept), kept.contains_key("joiner")), (201, true));

    let mut settings = world.settings();
    settings.disable_guard = Some(DisableGuard { max_users: 50, max_percent: 50, ..Default::default() });
    world.update_and_publish_source(settings).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[3], 30);
    Ok(())
}

async fn an_empty_directory_is_held(database: Database) -> Result<()> {
    let world = world(database, 4).await?;
    delete(&world, 0..4)?;
    held(&world.sync_now().await?, Reason::DirectoryEmpty);
    assert_eq!(enabled(&users(&world).await?), 4);
    Ok(())
}

/// What a directory answers with success while it has lost its head, and what an administrator is
/// told.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_read_that_is_lost_disables_nobody() -> Result<()> {
    let world = world(Database::Sqlite, 200).await?;
    let people = world.directory().people_dn();
    let ous = world.directory().search(&people, "(objectClass=organizationalUnit)", &["1.1"])?;
    let ou =
        ous.lines().filter_map(|line| line.strip_prefix("dn: ")).find(|dn| *dn != people).unwrap_or_default();
    let rest = "to * by users read by * none";
    world.directory().allow(&[&format!("to dn.subtree=\"{ou}\" by * none"), rest])?;
    let job = world.sync_now().await?;
    let message = held(&job, Reason::ContainerEmpty);
    assert!(message.contains("hidden from the bind account"), "{message}");
    assert_eq!(enabled(&users(&world).await?), 200);

    // One by one they are left alone: the directory does not show that they are gone.
    let away: Vec<_> = (0..3).map(|n| flawless(200).person(n).dn(world.directory().base_dn())).collect();
    let hide: Vec<_> = away.iter().map(|dn| format!("to dn.base=\"{dn}\" by * none")).collect();
    let rules: Vec<_> = hide.iter().map(String::as_str).chain([rest]).collect();
    world.directory().allow(&rules)?;
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 0, 197, 0, 0]);
    assert_eq!(job.counts.and_then(|counts| counts.not_visible), Some(3));
    let listed = world.details(Category::NotVisible).await?;
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!(enabled(&users(&world).await?), 200);

    world.directory().allow(&[rest])?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 200, 0, 0], "when the right is back, so are they");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_is_suddenly_missing_changes_nobody_until_approved() -> Result<()> {
    let people = harness::People { disabled_permille: 100, ..flawless(200) };
    let world = World::builder().these_people(people).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    succeeded(&world.sync_now().await?);
    let before = users(&world).await?;
    assert!(enabled(&before) < 190, "some are disabled in the directory");

    world.directory().allow(&["to attrs=employeeType,title by * none", "to * by users read by * none"])?;
    join(&world, "joiner", "joiner@lab.test")?;
    let job = world.sync_now().await?;
    let message = held(&job, Reason::AttributeLoss);
    assert!(message.contains("employeeType") && message.contains("title"), "names them: {message}");
    assert_eq!(reasons(&world).await?["joiner"], NotSynchronizedReason::MarkNotVisible);
    let after = users(&world).await?;
    assert_eq!(before, after, "all keep their values and their status, and no new user is let in");

    world.directory().allow(&["to * by users read by * none"])?;
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 200, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leavers_that_drip_out_of_a_source_are_held_once_they_are_many() -> Result<()> {
    let world = world(Database::Sqlite, 200).await?;
    for drip in 0..2 {
        archive(&world, drip * 5..drip * 5 + 5)?;
        assert_eq!(succeeded(&world.sync_now().await?)[3], 5);
    }
    archive(&world, 10..12)?;
    let message = held(&world.sync_now().await?, Reason::DisableGuard);
    assert!(message.contains("last 24 hours disabled 10"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_roots_that_is_missing_is_held_and_named_and_the_other_goes_on() -> Result<()> {
    let world = World::builder().start().await?;
    let people = world.directory().people_dn();
    let unit = |name: &str| format!("ou={name},{people}");
    for name in ["North", "South"] {
        world
            .directory()
            .add(&format!("dn: {}\nobjectClass: organizationalUnit\nou: {name}\n", unit(name)))?;
    }
    let person = |uid: &str, name: &str| {
        world.directory().add(&format!(
            "dn: uid={uid},{}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\nmail: {uid}@lab.test\n",
            unit(name)
        ))
    };
    person("anna", "North")?;
    person("ben", "South")?;
    let mut settings = world.settings();
    settings.roots = vec![unit("North"), unit("South")];
    world.create_and_publish_source(settings).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 2);

    world.directory().rename(&unit("South"), "ou=Sud", None)?;
    person("carla", "North")?;
    let message = held(&world.sync_now().await?, Reason::RootMissing);
    assert!(message.contains("ou=South") && message.contains("is missing"), "{message}");
    assert_eq!(enabled(&users(&world).await?), 3);
    Ok(())
}

/// Moves people out of the source's root, where they can be found.
fn archive(world: &World, numbers: std::ops::Range<u64>) -> Result<()> {
    let people = flawless(numbers.end);
    numbers.into_iter().try_for_each(|number| {
        let person = people.person(number);
        let dn = person.dn(world.directory().base_dn());
        world.directory().rename(&dn, &person.rdn, Some(&world.directory().archive_dn()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_entry_that_was_made_anew_is_held_until_approved_or_published_again() -> Result<()> {
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
    held(&world.sync_now().await?, Reason::RootChanged);
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
    for (uid, number) in [("anna", "1"), ("ben", "2"), ("carla", "3")] {
        let entry = crate::expect::entry(&world, uid, &format!("{uid}@lab.test"));
        world.directory().add(&format!("{entry}employeeNumber: {number}\n"))?;
    }
    assert_eq!(succeeded(&world.sync_now().await?), [3, 0, 0, 0, 0]);

    let dn = |uid: &str| format!("uid={uid},{}", world.directory().people_dn());
    world.directory().replace(&dn("anna"), "employeeNumber", &[])?;
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 0, 2, 0, 1]);
    assert_eq!(job.counts.and_then(|counts| counts.not_visible), Some(1), "an entry has her name");
    assert_eq!(job.withheld_disables, None);

    world.directory().delete(&dn("ben"))?;
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 0, 1, 0, 1]);
    assert_eq!(job.withheld_disables.map(|withheld| withheld.user_count), Some(1), "he may be anyone");
    assert_eq!(enabled(&users(&world).await?), 3);
    Ok(())
}
