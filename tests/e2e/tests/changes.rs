//! Changes of each kind between two syncs.

use anyhow::Result;
use harness::world::{Database, World};
use rollcall_proto::admin::v1::{NotSynchronizedReason, user::Status};

use crate::expect::{flawless, join, reasons, succeeded, users};
use crate::on_both_databases;

on_both_databases! {
    joiners_leavers_and_changes_are_told_apart,
    two_people_may_swap_their_mail_addresses,
    a_newcomer_may_take_the_names_of_one_who_leaves,
    whoever_is_disabled_in_the_directory_is_disabled_and_comes_back,
    a_value_that_is_taken_away_in_the_directory_is_gone_here_too,
}

async fn world(database: Database, people: u64) -> Result<World> {
    let world = World::builder().database(database).these_people(flawless(people)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    Ok(world)
}

async fn joiners_leavers_and_changes_are_told_apart(database: Database) -> Result<()> {
    let world = world(database, 300).await?;
    assert_eq!(succeeded(&world.sync_now().await?), [300, 0, 0, 0, 0]);
    let people = flawless(300);
    let base = world.directory().base_dn().to_owned();
    let directory = world.directory();
    let who = |number: u64| people.person(number);

    join(&world, "joiner", "joiner@lab.test")?;
    directory.delete(&who(1).dn(&base))?;
    directory.replace(&who(2).dn(&base), "mail", &["new@lab.test"])?;
    directory.replace(&who(3).dn(&base), "title", &["Chief"])?;
    directory.replace(&who(4).dn(&base), "uid", &["renamed"]).or_else(|_| {
        // The user name is a part of this entry's own name.
        directory.rename(&who(4).dn(&base), "uid=renamed", None)
    })?;
    directory.replace(&who(5).dn(&base), "mail", &[])?;
    directory.rename(&who(6).dn(&base), &who(6).rdn, Some(&world.directory().people_dn()))?;
    directory.rename(&who(7).dn(&base), &who(7).rdn, Some(&world.directory().archive_dn()))?;

    let before = users(&world).await?;
    let job = world.sync_now().await?;
    // Updated: mail, title, user name, and the moved one for its distinguished name.
    assert_eq!(succeeded(&job), [1, 4, 300 - 7, 2, 1]);
    let after = users(&world).await?;
    assert_eq!(after["joiner"].status(), Status::Enabled);
    assert_eq!(after[&who(1).uid].status(), Status::Disabled);
    assert_eq!(after[&who(2).uid].mail, "new@lab.test");
    assert_eq!(after[&who(3).uid].policy_attributes["title"].values, ["Chief"]);
    assert_eq!(after["renamed"].name, before[&who(4).uid].name, "a renamed user is the same user");
    assert_eq!(reasons(&world).await?[&who(5).uid], NotSynchronizedReason::MissingEmail);
    assert_eq!(after[&who(5).uid], before[&who(5).uid], "whoever cannot be synchronized stays as they were");
    assert_eq!(after[&who(6).uid].name, before[&who(6).uid].name, "a moved user is the same user");
    assert_eq!(after[&who(6).uid].status(), Status::Enabled);
    assert_eq!(after[&who(7).uid].status(), Status::Disabled);
    Ok(())
}

async fn two_people_may_swap_their_mail_addresses(database: Database) -> Result<()> {
    let world = world(database, 0).await?;
    join(&world, "anna", "anna@lab.test")?;
    join(&world, "ben", "ben@lab.test")?;
    assert_eq!(succeeded(&world.sync_now().await?), [2, 0, 0, 0, 0]);

    let people = world.directory().people_dn();
    world.directory().replace(&format!("uid=anna,{people}"), "mail", &["ben@lab.test"])?;
    world.directory().replace(&format!("uid=ben,{people}"), "mail", &["anna@lab.test"])?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 2, 0, 0, 0]);
    let users = users(&world).await?;
    assert_eq!((users["anna"].mail.as_str(), users["ben"].mail.as_str()), ("ben@lab.test", "anna@lab.test"));
    Ok(())
}

async fn a_newcomer_may_take_the_names_of_one_who_leaves(database: Database) -> Result<()> {
    let world = world(database, 0).await?;
    join(&world, "anna", "anna@lab.test")?;
    succeeded(&world.sync_now().await?);
    world.directory().delete(&format!("uid=anna,{}", world.directory().people_dn()))?;
    join(&world, "anna", "anna@lab.test")?; // another entry, so another person
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 0, 1, 0]);
    let named_anna: Vec<_> = world.users().await?.into_iter().map(|user| user.status()).collect();
    assert_eq!(named_anna, [Status::Disabled, Status::Enabled]);
    Ok(())
}

async fn whoever_is_disabled_in_the_directory_is_disabled_and_comes_back(database: Database) -> Result<()> {
    let world = world(database, 0).await?;
    join(&world, "anna", "anna@lab.test")?;
    succeeded(&world.sync_now().await?);
    let anna = format!("uid=anna,{}", world.directory().people_dn());

    world.directory().replace(&anna, "employeeType", &["INACTIVE"])?;
    let job = world.sync_now().await?;
    assert_eq!(succeeded(&job), [0, 1, 0, 0, 0]);
    assert_eq!(job.counts.unwrap_or_default().disabled_in_directory(), 1);
    assert_eq!(users(&world).await?["anna"].status(), Status::Disabled);
    assert_eq!(world.license().await?.used(), 0);

    world.directory().replace(&anna, "employeeType", &["employee"])?;
    let job = world.sync_now().await?;
    assert_eq!(job.counts.unwrap_or_default().reenabled(), 1);
    assert_eq!(users(&world).await?["anna"].status(), Status::Enabled);
    Ok(())
}

async fn a_value_that_is_taken_away_in_the_directory_is_gone_here_too(database: Database) -> Result<()> {
    let world = world(database, 50).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 50);
    let person = flawless(50).person(3);
    let dn = person.dn(world.directory().base_dn());
    for attribute in ["telephoneNumber", "title"] {
        world.directory().replace(&dn, attribute, &[])?;
    }
    assert_eq!(succeeded(&world.sync_now().await?), [0, 1, 49, 0, 0]);
    let user = users(&world).await?.remove(&person.uid).expect("a user");
    assert_eq!((user.phone.as_str(), user.policy_attributes.get("title")), ("", None));
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 50, 0, 0]);
    Ok(())
}
