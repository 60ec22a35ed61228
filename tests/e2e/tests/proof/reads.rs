//! What a whole read proves: references within the scope, the sync limit, and two entries with one
//! id.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use harness::world::World;
use rollcall_proto::admin::v1::attribute_mapping::ImmutableIdFormat;
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::admin::v1::{FailureReason, IdentitySourceSettings};

use crate::expect::{enabled, entry, failed, flawless, join, reasons, succeeded, users};
use crate::just_in_time::SignIn;

/// RFC 4511, 4.5.3: a continuation reference is a part of the scope, whatever name its URL carries.
#[tokio::test(flavor = "multi_thread")]
async fn a_reference_with_a_foreign_name_in_the_scope_fails_the_read() -> Result<()> {
    let world = World::builder().these_people(flawless(40)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    assert_eq!(succeeded(&world.sync_now().await?)[0], 40);
    let base = world.directory().base_dn().to_owned();
    // Two of them are now behind the reference.
    for number in 0..2 {
        world.directory().delete(&flawless(40).person(number).dn(&base))?;
    }
    world.directory().add_referral(
        &format!("ou=branch,{}", world.directory().people_dn()),
        "ldap://other.example.com/ou=branch,dc=other",
    )?;
    let message = failed(&world.sync_now().await?, FailureReason::DirectoryReferral);
    assert!(message.contains("other.example.com"), "{message}");
    assert_eq!(enabled(&users(&world).await?), 40);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_limit_is_stable_while_users_leave() -> Result<()> {
    let world = World::builder().these_people(flawless(120)).start().await?;
    let settings = IdentitySourceSettings { sync_limit: 40, ..world.settings() };
    world.create_and_publish_source(settings).await?;
    let numbers = succeeded(&world.sync_now().await?);
    assert_eq!((numbers[0], numbers[4]), (40, 80));
    let known: BTreeSet<String> = users(&world).await?.into_keys().collect();
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 40, 0, 80], "an unchanged directory");

    let base = world.directory().base_dn().to_owned();
    let mut here = flawless(120).iter().filter(|person| known.contains(&person.uid)).collect::<Vec<_>>();
    here.truncate(2);
    for person in &here {
        world.directory().delete(&person.dn(&base))?;
    }
    let numbers = succeeded(&world.sync_now().await?);
    assert_eq!(numbers[3], 2);
    let used = world.license().await?.used();
    assert!(used <= 40, "{used} seats");
    // Those who have become users since stay, and no one else comes.
    for round in 0..4 {
        let numbers = succeeded(&world.sync_now().await?);
        let used = world.license().await?.used();
        assert_eq!((used, numbers[0] + numbers[2], numbers[3]), (40, 40, 0), "round {round}: {numbers:?}");
    }
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, 40, 0, 78]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_entries_with_one_id_take_no_user_from_each_other() -> Result<()> {
    let world = World::builder().start().await?;
    let mut settings = world.settings();
    if let Some(mapping) = &mut settings.mapping {
        mapping.immutable_id = "employeeNumber".to_owned();
        mapping.set_immutable_id_format(ImmutableIdFormat::Text);
    }
    world.create_and_publish_source(settings).await?;
    let number = |uid: &str, number: &str| -> Result<()> {
        let dn = format!("uid={uid},{}", world.directory().people_dn());
        world.directory().replace(&dn, "employeeNumber", &[number])
    };
    world.directory().add(&(entry(&world, "anna", "anna@lab.test") + "employeeNumber: 1\n"))?;
    world.directory().add(&(entry(&world, "ben", "ben@lab.test") + "employeeNumber: 2\n"))?;
    assert_eq!(succeeded(&world.sync_now().await?), [2, 0, 0, 0, 0]);
    let anna = users(&world).await?.remove("anna").context("a user")?;

    // A new person gets Anna's number. The name is read before hers.
    join(&world, "aaron", "aaron@lab.test")?;
    number("aaron", "1")?;
    let job = world.sync_now().await?;
    let numbers = succeeded(&job);
    assert_eq!((numbers[0], numbers[3], numbers[4]), (0, 0, 2), "both are listed: {numbers:?}");
    let after = users(&world).await?;
    assert_eq!(after.get("anna").map(|user| &user.name), Some(&anna.name), "the user stays Anna's");
    assert!(!after.contains_key("aaron") && enabled(&after) == 2, "{:?}", after.keys());
    let listed: BTreeSet<String> = reasons(&world).await?.into_keys().collect();
    assert_eq!(listed, BTreeSet::from(["aaron".to_owned(), "anna".to_owned()]));

    // A mark on one of the two counts for neither.
    let dn = format!("uid=aaron,{}", world.directory().people_dn());
    world.directory().replace(&dn, "employeeType", &["inactive"])?;
    succeeded(&world.sync_now().await?);
    assert_eq!(enabled(&users(&world).await?), 2);
    number("aaron", "3")?;
    world.directory().replace(&dn, "employeeType", &["employee"])?;
    assert_eq!(succeeded(&world.sync_now().await?), [1, 0, 2, 0, 0]);

    // Two new ones with one number: neither signs in, by whatever name it is found.
    for uid in ["carla", "dora"] {
        join(&world, uid, &format!("{uid}@lab.test"))?;
        number(uid, "4")?;
    }
    let sign_in = SignIn::over(world).await?;
    for login in ["carla", "dora@lab.test"] {
        assert_eq!(sign_in.came_to(login).await?, (Outcome::Ambiguous, false), "{login}");
    }
    assert_eq!(users(&sign_in.world).await?.len(), 3, "neither is added");
    Ok(())
}
