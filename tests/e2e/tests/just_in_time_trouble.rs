//! Sign-ins while router, directory or a sync of all are in the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::world::{Database, World};
use rollcall_proto::admin::v1::JustInTimeSettings;
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::admin::v1::user::Status;
use tokio::task::JoinSet;

use crate::expect::{entry, flawless, join, succeeded, users};
use crate::just_in_time::{SignIn, on, seconds};
use crate::on_both_databases;

on_both_databases! {
    sign_ins_beside_a_sync_of_all_come_to_what_the_directory_has,
    without_router_or_directory_nobody_enters_but_whom_the_settings_let_in_as_last_known,
}

const PEOPLE: u64 = 2_000;
/// People who change while they are read and sign in.
const RESTLESS: u64 = 150;
/// Callers at the same time.
const CALLERS: usize = 12;

/// The directory changes while all of it is read and while people sign in; the license has a few
/// seats less than there are people.
async fn sign_ins_beside_a_sync_of_all_come_to_what_the_directory_has(database: Database) -> Result<()> {
    let seats = i32::try_from(PEOPLE)? + 10;
    let builder = World::builder().database(database).these_people(flawless(PEOPLE)).license(seats).cables();
    let world = builder.start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let sign_in = Arc::new(SignIn::over(world).await?);
    let (world, people) = (&sign_in.world, flawless(PEOPLE));
    assert_eq!(succeeded(&world.sync_now().await?)[0], i32::try_from(PEOPLE)?);
    // Everybody is read again, slowly.
    let everyone = people.iter().map(|person| person.dn(world.directory().base_dn()));
    let change: Result<Vec<String>> =
        everyone.map(|dn| harness::ldap::ldif::replace(&dn, "title", &["Dr."])).collect();
    world.directory().modify(&change?.join("\n"))?;
    world.directory_link()?.slow(Some(400_000));
    let job = world.start_sync().await?;

    let (done, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (sign_in, done, calls, people) =
            (Arc::clone(&sign_in), Arc::clone(&done), Arc::clone(&calls), people.clone());
        callers.spawn(async move {
            let mut number = caller as u64;
            while !done.load(Ordering::SeqCst) {
                let login = match number % 5 {
                    0 => format!("joiner{}", number % 20),
                    _ => people.person(number * 7 % RESTLESS).uid,
                };
                sign_in.try_to(&login).await.expect("an answer");
                calls.fetch_add(1, Ordering::SeqCst);
                number += CALLERS as u64;
            }
        });
    }
    for round in 0..RESTLESS {
        let dn = people.person(round).dn(world.directory().base_dn());
        match round % 5 {
            0 => world.directory().replace(&dn, "displayName", &[&format!("Round {round}")])?,
            1 => world.directory().replace(&dn, "employeeType", &["inactive"])?,
            2 => world.directory().replace(&dn, "mail", &[&format!("moved{round}@lab.test")])?,
            3 if round < 20 => {
                world.directory().rename(
                    &dn,
                    &people.person(round).rdn,
                    Some(&world.directory().archive_dn()),
                )?;
            }
            4 if round < 100 => {
                let number = round / 5;
                join(world, &format!("joiner{number}"), &format!("joiner{number}@lab.test"))?;
            }
            _ => {}
        }
        let license = world.license().await?;
        assert!(license.used() <= license.user_limit(), "{license:?}");
    }
    world.directory_link()?.slow(None);
    let job = world.finished(&job).await?;
    done.store(true, Ordering::SeqCst);
    while let Some(caller) = callers.join_next().await {
        caller?;
    }
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls > 100, "{calls} sign-ins");
    succeeded(&job);

    // Whatever was left is brought by the next syncs; then everything is as the directory has it.
    for _ in 0..2 {
        succeeded(&world.sync_now().await?);
    }
    let last = world.sync_now().await?;
    let [added, updated, _, disabled, _] = succeeded(&last);
    assert_eq!([added, updated, disabled], [0, 0, 0], "nothing is left to do");
    let (users, people) = (users(world).await?, present(world)?);
    let wrong: Vec<_> = people
        .iter()
        .filter(|(uid, (title, mail, inactive))| {
            let Some(user) = users.get(*uid) else { return true };
            // Joiners who found no seat are no users.
            let status = if *inactive { Status::Disabled } else { Status::Enabled };
            &user.display_name != title || !mail.contains(&user.mail) || user.status() != status
        })
        .map(|(uid, _)| uid.clone())
        .filter(|uid| users.contains_key(uid))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
    let license = world.license().await?;
    let enabled = users.values().filter(|user| user.status() == Status::Enabled).count();
    assert_eq!(usize::try_from(license.used())?, enabled);
    assert!(license.used() <= license.user_limit());
    Ok(())
}

/// Display name, mail addresses, and whether inactive.
type Entry = (String, Vec<String>, bool);

/// Everyone in scope, by user name.
fn present(world: &World) -> Result<BTreeMap<String, Entry>> {
    let found = world.directory().search(
        &world.directory().people_dn(),
        "(objectClass=inetOrgPerson)",
        &["uid", "displayName", "mail", "employeeType"],
    )?;
    let people = harness::ldap::ldif::entries(&found)?.into_iter().map(|entry| {
        let uid = entry.first("uid").context("a user name")?.to_owned();
        let name = entry.first("displayName").unwrap_or_default().to_owned();
        let mails = entry.attributes.get("mail").cloned().unwrap_or_default();
        Ok((uid, (name, mails, entry.first("employeeType") == Some("inactive"))))
    });
    people.collect()
}

async fn without_router_or_directory_nobody_enters_but_whom_the_settings_let_in_as_last_known(
    database: Database,
) -> Result<()> {
    let world = World::builder().database(database).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let mut sign_in = SignIn::over(world).await?;
    for name in ["anna", "ben"] {
        join(&sign_in.world, name, &format!("{name}@lab.test"))?;
    }
    let carla = entry(&sign_in.world, "carla", "carla@lab.test") + "employeeType: inactive\n";
    sign_in.world.directory().add(&carla)?;
    let patient = JustInTimeSettings { deadline: seconds(2), ..on() };
    let trusting = JustInTimeSettings { last_known_max_age: seconds(3_600), ..patient.clone() };
    assert_eq!(succeeded(&sign_in.world.sync_now().await?)[0], 3);

    sign_in.set(patient.clone()).await?;
    sign_in.world.directory_mut().freeze()?;
    let begun = Instant::now();
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::DirectoryUnreachable, false));
    // Not a measure of speed: without a deadline of its own the router would wait for the directory
    // for much longer.
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    sign_in.set(trusting.clone()).await?;
    let known = sign_in.try_to("anna").await?;
    assert_eq!((known.outcome(), known.allowed), (Outcome::LastKnown, true));
    assert!(known.observe_time.is_some(), "since the sync of all");
    assert_eq!(
        sign_in.came_to("carla").await?,
        (Outcome::DirectoryUnreachable, false),
        "disabled is disabled"
    );
    assert_eq!(sign_in.came_to("nobody").await?, (Outcome::DirectoryUnreachable, false));
    sign_in.world.directory_mut().thaw()?;
    // The connections that were frozen are thrown away, not waited for.
    let end = Instant::now() + Duration::from_secs(60);
    while sign_in.came_to("anna").await? != (Outcome::Unchanged, true) {
        assert!(Instant::now() < end, "{}", sign_in.world.logs());
    }

    sign_in.world.directory_mut().stop()?;
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::LastKnown, true));
    sign_in.set(patient.clone()).await?;
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::DirectoryUnreachable, false));
    sign_in.world.directory_mut().start_again()?;
    let end = Instant::now() + Duration::from_secs(60);
    while sign_in.came_to("anna").await? != (Outcome::Unchanged, true) {
        assert!(Instant::now() < end, "{}", sign_in.world.logs());
    }

    sign_in.world.stop_router()?;
    let end = Instant::now() + Duration::from_secs(60);
    while sign_in.came_to("ben").await? != (Outcome::NoRouter, false) {
        assert!(Instant::now() < end, "{}", sign_in.world.logs());
    }
    sign_in.set(trusting).await?;
    assert_eq!(sign_in.came_to("ben@lab.test").await?, (Outcome::LastKnown, true));
    // On demand nobody is let in as last known.
    sign_in.world.start_router()?;
    sign_in.world.router_connected().await?;
    assert_eq!(sign_in.came_to("ben").await?, (Outcome::Unchanged, true));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_for_one_user_at_the_same_time_are_one_search() -> Result<()> {
    let world = World::builder().cables().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    join(&world, "anna", "anna@lab.test")?;
    let sign_in = Arc::new(SignIn::over(world).await?);
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::Added, true));
    let before = sign_in.world.directory().searches()?;
    assert_eq!(sign_in.came_to("anna").await?, (Outcome::Unchanged, true));
    let one = sign_in.world.directory().searches()? - before;

    let before = sign_in.world.directory().searches()?;
    sign_in.world.directory_link()?.stall();
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let sign_in = Arc::clone(&sign_in);
        calls.spawn(async move { sign_in.came_to("anna").await });
    }
    // Time for all of them to come. Who comes a second after the first makes a search of its own.
    tokio::time::sleep(Duration::from_millis(700)).await;
    sign_in.world.directory_link()?.resume();
    while let Some(call) = calls.join_next().await {
        assert_eq!(call??, (Outcome::Unchanged, true));
    }
    let fifty = sign_in.world.directory().searches()? - before;
    assert!(fifty <= 2 * one, "{fifty} searches, where one call is {one}");
    Ok(())
}

/// Each of sixty people signs in at the same time: one connection to the control plane takes 64
/// calls.
#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_of_many_at_the_same_time_share_a_few_connections_of_the_router() -> Result<()> {
    const PEOPLE: u64 = 60;
    let world = World::builder().these_people(flawless(PEOPLE)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let sign_in = Arc::new(SignIn::over(world).await?);
    let directory = sign_in.world.directory();
    assert_eq!(succeeded(&sign_in.world.sync_now().await?)[0], i32::try_from(PEOPLE)?);
    let (connections, searches) = (directory.connections()?, directory.searches()?);
    let mut callers = JoinSet::new();
    for person in flawless(PEOPLE).iter() {
        let sign_in = Arc::clone(&sign_in);
        callers.spawn(async move { sign_in.came_to(&person.uid).await });
    }
    while let Some(answer) = callers.join_next().await {
        assert_eq!(answer??, (Outcome::Unchanged, true));
    }
    let (connections, searches) = (directory.connections()? - connections, directory.searches()? - searches);
    println!("{PEOPLE} sign-ins: {searches} searches on {connections} connections");
    // The two questions here are a connection and a search each.
    assert!(searches >= PEOPLE, "everybody was searched for: {searches}");
    assert!((2..=2 + 4).contains(&connections), "{connections} connections");
    Ok(())
}
