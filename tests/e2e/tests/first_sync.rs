//! The first sync of a source, and the one after it.

use anyhow::Result;
use harness::People;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::{
    directory_server::Security, sync_job_detail::Category, user::DisabledReason,
};

use crate::expect::{enabled, flawless, mail, succeeded, usable, users};
use crate::on_both_databases;

on_both_databases! {
    the_first_sync_adds_everyone_who_can_be_a_user,
    a_sync_of_an_unchanged_directory_changes_nobody,
}

async fn the_first_sync_adds_everyone_who_can_be_a_user(database: Database) -> Result<()> {
    let people = People::new(2_500);
    let (usable, others) = usable(people.iter());
    let world = World::builder().database(database).these_people(people.clone()).start().await?;
    world.create_and_publish_source(world.settings()).await?;

    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [usable, 0, 0, 0, others]);

    let users = users(&world).await?;
    assert_eq!(users.len(), usize::try_from(usable)?);
    for person in people.iter() {
        let Some(user) = users.get(&person.uid) else { continue };
        assert_eq!((&user.immutable_id, Some(&user.mail)), (&person.entry_uuid.to_string(), mail(&person)));
        assert_eq!((&user.first_name, &user.last_name), (&person.first_name, &person.last_name));
        assert_eq!((&user.display_name, &user.phone), (&person.display_name, &person.phone));
        assert_eq!(user.policy_attributes["title"].values, [person.title]);
        let disabled = user.disabled_reason() == DisabledReason::DisabledInDirectory;
        assert_eq!(disabled, person.disabled, "{}", user.name);
    }
    assert_eq!(world.license().await?.used(), i32::try_from(enabled(&users))?);
    assert_eq!(world.details(Category::Added).await?.len(), 400, "Show Details lists at most 400");
    Ok(())
}

async fn a_sync_of_an_unchanged_directory_changes_nobody(database: Database) -> Result<()> {
    let people = People::new(1_500);
    let (usable, others) = usable(people.iter());
    let world = World::builder().database(database).these_people(people).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    world.sync_now().await?;
    let before = world.users().await?;

    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 0, usable, 0, others]);
    assert_eq!(world.users().await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn starttls_reads_the_same_as_ldaps() -> Result<()> {
    let world = World::builder().these_people(flawless(300)).start().await?;
    let mut settings = world.settings();
    settings.directory_servers[0].set_security(Security::Starttls);
    settings.directory_servers[0].port = i32::from(world.directory().ldap_port());
    world.create_and_publish_source(settings).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [300, 0, 0, 0, 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn small_pages_and_large_ones_read_the_same() -> Result<()> {
    let world = World::builder().these_people(flawless(700)).start().await?;
    let mut settings = world.settings();
    settings.page_size = 7;
    world.create_and_publish_source(settings.clone()).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [700, 0, 0, 0, 0]);
    settings.page_size = 5_000;
    world.update_and_publish_source(settings).await?;
    let [added, updated, unchanged, disabled, others] = succeeded(&world.sync_now().await?);
    assert_eq!((added, updated + unchanged, disabled, others), (0, 700, 0, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_below_two_roots_is_one_user() -> Result<()> {
    let world = World::builder().these_people(flawless(400)).start().await?;
    let mut settings = world.settings();
    let root = settings.roots[0].clone();
    settings.roots.push(format!("ou=Berlin,{root}"));
    world.create_and_publish_source(settings).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 400);
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 400, 0, 0]);
    Ok(())
}
