//! People whom a sign-in does not find, for whatever reason: denied, marked, and left as they are.
//! Only a complete sync disables for absence.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use harness::Person;
use harness::world::{Database, SOURCE, TENANT, World};
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::admin::v1::user::Status;
use rollcall_proto::admin::v1::{
    GetIdentitySourceRequest, IdentitySource, IdentitySourceSettings, ListUsersRequest, User,
};

use crate::expect::{enabled, flawless, join, succeeded, users};
use crate::just_in_time::{SignIn, on};
use crate::on_both_databases;

on_both_databases! {
    whatever_hides_people_from_sign_ins_denies_and_marks_them_and_disables_nobody,
    a_user_that_is_not_found_is_shown_as_absent_until_it_is_found_or_a_sync_disables_it,
}

const PEOPLE: u64 = 120;
/// Of them sign in behind each fault.
const SIGN_INS: usize = 25;
const READ_ALL: &str = "to * by users read by * none";

/// Users that are marked as not found.
async fn absent(world: &World) -> Result<Vec<User>> {
    let parent = format!("tenants/{TENANT}");
    let request = ListUsersRequest { parent, page_size: 1_000, absent: true, ..Default::default() };
    Ok(world.admin.users.clone().list_users(request).await?.into_inner().users)
}

async fn source(world: &World) -> Result<IdentitySource> {
    let request = GetIdentitySourceRequest { name: SOURCE.to_owned() };
    Ok(world.admin.sources.clone().get_identity_source(request).await?.into_inner())
}

/// All are denied and marked, and nothing else changes.
async fn denied(sign_in: &SignIn, people: &[Person], why: &str) -> Result<()> {
    let world = &sign_in.world;
    let used = world.license().await?.used();
    for person in people {
        let sync = sign_in.try_to(&person.uid).await?;
        assert_eq!((sync.outcome(), sync.allowed), (Outcome::Absent, false), "{why}: {}", sync.message);
        assert!(sync.message.contains("Start a sync"), "{}", sync.message);
        let user = sync.user.context("a user")?;
        assert!(user.status() == Status::Enabled && user.absent_since_time.is_some(), "{why}: {user:?}");
    }
    assert_eq!(absent(world).await?.len(), people.len(), "{why}");
    assert_eq!(enabled(&users(world).await?), usize::try_from(PEOPLE)?, "{why}: nobody is disabled");
    assert_eq!(world.license().await?.used(), used, "{why}: seats are kept");
    assert!(source(world).await?.sync_due_time.is_some(), "{why}: a sync is due");
    Ok(())
}

/// All are let in, and no mark is left.
async fn let_in(sign_in: &SignIn, people: &[Person], why: &str) -> Result<()> {
    for person in people {
        let sync = sign_in.try_to(&person.uid).await?;
        assert!(sync.allowed, "{why}: {:?} {}", sync.outcome(), sync.message);
    }
    assert_eq!(absent(&sign_in.world).await?, [], "{why}");
    Ok(())
}

async fn whatever_hides_people_from_sign_ins_denies_and_marks_them_and_disables_nobody(
    database: Database,
) -> Result<()> {
    let world = World::builder().database(database).these_people(flawless(PEOPLE)).start().await?;
    let (base, people_dn) = (world.directory().base_dn().to_owned(), world.directory().people_dn());
    let everybody: Vec<Person> = flawless(PEOPLE).iter().collect();
    let units: BTreeSet<String> =
        everybody.iter().map(|person| format!("{},{people_dn}", person.unit)).collect();
    let units: Vec<String> = units.into_iter().collect();
    // Names that an access rule can carry as they are.
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "=,.-".contains(c));
    let below = |dn: &str| -> Vec<Person> {
        let below = everybody.iter().filter(|person| person.dn(&base).ends_with(dn));
        below.filter(|person| is_plain(&person.dn(&base))).take(SIGN_INS).cloned().collect()
    };
    let first = units.iter().find(|unit| is_plain(unit)).context("a unit with a plain name")?;
    ensure!(units.len() > 1, "more than one unit");
    let some = below(&people_dn);
    let in_first = below(&format!(",{first}"));
    ensure!(!in_first.is_empty(), "people in {first}");
    let all_units = IdentitySourceSettings { roots: units.clone(), ..world.settings() };
    world.create_and_publish_source(all_units.clone()).await?;
    let sign_in = SignIn::over(world).await?;
    let world = &sign_in.world;
    assert_eq!(succeeded(&world.sync_now().await?)[0], i32::try_from(PEOPLE)?);

    let mistyped = IdentitySourceSettings { extra_filter: "(uid=nosuch*)".to_owned(), ..all_units.clone() };
    world.update_and_publish_source(mistyped).await?;
    denied(&sign_in, &some, "a mistyped filter").await?;
    world.update_and_publish_source(all_units).await?;
    let_in(&sign_in, &some, "the filter is right again").await?;

    let hidden = some.iter().map(|person| format!("to dn.base=\"{}\" by * none", person.dn(&base)));
    let hidden: Vec<String> = hidden.collect();
    let rules: Vec<&str> = hidden.iter().map(String::as_str).chain([READ_ALL]).collect();
    world.directory().allow(&rules)?;
    denied(&sign_in, &some, "people who are hidden").await?;
    world.directory().allow(&[READ_ALL])?;
    let_in(&sign_in, &some, "people who are visible again").await?;

    world.directory().allow(&[&format!("to dn.subtree=\"{first}\" by * none"), READ_ALL])?;
    denied(&sign_in, &in_first, "a root that is hidden").await?;
    world.directory().allow(&[READ_ALL])?;
    let_in(&sign_in, &in_first, "the root is visible again").await?;

    let (rdn, parent) = first.split_once(',').context("a DN")?;
    world.directory().rename(first, "ou=renamed", None)?;
    denied(&sign_in, &in_first, "a root that is missing").await?;
    world.directory().rename(&format!("ou=renamed,{parent}"), rdn, None)?;
    let_in(&sign_in, &in_first, "the root is there again").await?;

    // The id may be read, and not searched for.
    world.directory().allow(&["to attrs=entryUUID by users =r by * none", READ_ALL])?;
    denied(&sign_in, &some, "ids that cannot be searched for").await?;
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, i32::try_from(PEOPLE)?, 0, 0]);
    assert_eq!(absent(world).await?, [], "the sync has seen everybody");
    assert_eq!(source(world).await?.sync_due_time, None);
    denied(&sign_in, &some, "ids that cannot be searched for, still").await?;
    world.directory().allow(&[READ_ALL])?;
    let_in(&sign_in, &some, "ids can be searched for").await?;
    assert!(source(world).await?.sync_due_time.is_some(), "until a sync has succeeded");
    assert_eq!(succeeded(&world.sync_now().await?), [0, 0, i32::try_from(PEOPLE)?, 0, 0]);
    assert_eq!(source(world).await?.sync_due_time, None);
    Ok(())
}

async fn a_user_that_is_not_found_is_shown_as_absent_until_it_is_found_or_a_sync_disables_it(
    database: Database,
) -> Result<()> {
    let world = World::builder().database(database).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let mut sign_in = SignIn::over(world).await?;
    for name in ["anna", "ben", "carla"] {
        join(&sign_in.world, name, &format!("{name}@lab.test"))?;
    }
    assert_eq!(succeeded(&sign_in.world.sync_now().await?)[0], 3);
    let directory = sign_in.world.directory();
    let (people_dn, archive) = (directory.people_dn(), directory.archive_dn());
    directory.rename(&format!("uid=anna,{people_dn}"), "uid=anna", Some(&archive))?;
    directory.delete(&format!("uid=ben,{people_dn}"))?;
    let moved = sign_in.try_to("anna").await?;
    assert_eq!((moved.outcome(), moved.allowed), (Outcome::Absent, false));
    assert!(moved.message.contains("outside of the roots"), "{}", moved.message);
    let since = moved.user.context("a user")?.absent_since_time;
    assert_eq!(sign_in.came_to("ben@lab.test").await?, (Outcome::Absent, false));
    let again = sign_in.try_to("anna").await?;
    assert_eq!(again.user.context("a user")?.absent_since_time, since, "since the first time");
    let due = source(&sign_in.world).await?.sync_due_time;
    assert!(due.is_some());

    // It is not let in as last known either.
    let known = rollcall_proto::admin::v1::JustInTimeSettings {
        last_known_max_age: crate::just_in_time::seconds(3_600),
        deadline: crate::just_in_time::seconds(2),
        ..on()
    };
    sign_in.set(known).await?;
    sign_in.world.directory_mut().stop()?;
    assert_eq!(sign_in.came_to("carla").await?, (Outcome::LastKnown, true));
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::DirectoryUnreachable, false));
    sign_in.world.directory_mut().start_again()?;
    sign_in
        .set(rollcall_proto::admin::v1::JustInTimeSettings {
            deadline: crate::just_in_time::seconds(30),
            ..on()
        })
        .await?;

    let world = &sign_in.world;
    world.directory().rename(&format!("uid=anna,{archive}"), "uid=anna", Some(&people_dn))?;
    assert!(sign_in.came_to("anna").await?.1);
    assert_eq!(absent(world).await?.len(), 1, "found again");
    assert_eq!(succeeded(&world.sync_now().await?)[3], 1);
    let ben = users(world).await?.remove("ben").context("ben")?;
    assert_eq!((ben.status(), ben.absent_since_time), (Status::Disabled, None));
    assert_eq!((absent(world).await?, source(world).await?.sync_due_time), (Vec::new(), None));
    assert_eq!(sign_in.came_to("ben").await?, (Outcome::NotFound, false), "its name is free");
    Ok(())
}
