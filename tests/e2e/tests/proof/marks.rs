//! The mark of a disabled account: one that is hidden enables nobody, and one on an entry that
//! cannot be synchronized counts all the same.

use anyhow::{Context, Result};
use harness::world::World;
use harness::{Ds389, People, Person, Samba};
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::admin::v1::user::{DisabledReason, Status};
use rollcall_proto::admin::v1::{NotSynchronizedReason, User, sync_job::State};

use crate::expect::{enabled, flawless, join, reasons, succeeded, users};
use crate::just_in_time::SignIn;

/// Some are locked, and whoever is loses no word of it: too few for a guard.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_lock_on_389_ds_enables_no_user_and_lets_no_user_in() -> Result<()> {
    if !Ds389::can_run() {
        return Ok(());
    }
    let people = People { disabled_permille: 40, ..flawless(120) };
    let locked: Vec<Person> = people.iter().filter(|person| person.disabled).collect();
    assert!((2..10).contains(&locked.len()), "{} are locked", locked.len());
    let world =
        World::builder().directory_server(Ds389::builder().these_people(people.clone())).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let sign_in = SignIn::over(world).await?;
    let world = &sign_in.world;
    succeeded(&world.sync_now().await?);
    let before = enabled(&users(world).await?);

    world.directory_server()?.hide_attribute("nsAccountLock")?;
    for person in &locked {
        assert_eq!(sign_in.came_to(&person.uid).await?, (Outcome::MarkNotVisible, false), "{}", person.uid);
    }
    // A new one, who is locked as well.
    let newcomer = Person { disabled: true, ..people.person(120) };
    world.directory_server()?.join(&newcomer)?;
    assert_eq!(sign_in.came_to(&newcomer.uid).await?, (Outcome::MarkNotVisible, false));
    let job = world.sync_now().await?;
    assert!(matches!(job.state(), State::Succeeded | State::Held), "{job:?}");
    assert_eq!(job.counts.unwrap_or_default().reenabled(), 0);
    let reasons = reasons(world).await?;
    assert_eq!(reasons.get(&newcomer.uid), Some(&NotSynchronizedReason::MarkNotVisible));
    let after = users(world).await?;
    assert_eq!(enabled(&after), before, "enabled users stay, and no other one is");
    assert!(!after.contains_key(&newcomer.uid));

    world.directory_server()?.show_everything()?;
    assert_eq!(sign_in.came_to(&newcomer.uid).await?, (Outcome::DisabledNotAdded, false));
    succeeded(&world.sync_now().await?);
    assert_eq!(enabled(&users(world).await?), before);
    // With the right to read it back, an unlocked account is enabled as ever.
    let first = locked.first().context("a locked person")?;
    let directory = world.directory_server()?;
    directory.set_disabled(&directory.person_dn(first), false)?;
    assert_eq!(sign_in.came_to(&first.uid).await?, (Outcome::Reenabled, true));
    Ok(())
}

/// On Active Directory no filter tells an absent attribute from a hidden one, and each account has
/// userAccountControl.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_account_control_enables_no_user_and_lets_no_user_in() -> Result<()> {
    if !Samba::can_run() {
        return Ok(());
    }
    let people = People { disabled_permille: 100, ..flawless(40) };
    let locked = people.iter().find(|person| person.disabled).context("a disabled person")?;
    let open = people.iter().find(|person| !person.disabled).context("an enabled person")?;
    let world = World::builder().active_directory(Samba::builder().these_people(people)).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let sign_in = SignIn::over(world).await?;
    let (world, directory) = (&sign_in.world, sign_in.world.active_directory()?);
    world.sync_now().await?;
    let before = enabled(&users(world).await?);

    // userAccountControl, by the schema's id of it.
    let rule = "(OD;;RP;bf967a68-0de6-11d0-a285-00aa003049e2;;{agent})";
    let mut hidden = Vec::new();
    for person in [&locked, &open] {
        let dn = directory.person_dn(person);
        hidden.push((dn.clone(), directory.deny_agent(&dn, rule)?));
    }
    assert_eq!(sign_in.came_to(&locked.uid).await?, (Outcome::MarkNotVisible, false));
    let job = world.sync_now().await?;
    assert_eq!((job.state(), job.counts.unwrap_or_default().reenabled()), (State::Succeeded, 0));
    let after = users(world).await?;
    assert_eq!(after.get(&locked.uid).map(User::status), Some(Status::Disabled));
    assert_eq!(after.get(&open.uid).map(User::status), Some(Status::Enabled), "an enabled user stays");
    assert_eq!(enabled(&after), before);

    hidden.iter().try_for_each(|(dn, former)| directory.give_back(dn, former))?;
    directory.set_disabled(&directory.person_dn(&locked), false)?;
    assert_eq!(sign_in.came_to(&locked.uid).await?, (Outcome::Reenabled, true));
    Ok(())
}

/// One change disables the account and makes the entry one that cannot be synchronized.
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_entry_that_is_refused_disables_its_user() -> Result<()> {
    let world = World::builder().start().await?;
    world.create_and_publish_source(world.settings()).await?;
    for name in ["anna", "ben", "carla", "dora"] {
        join(&world, name, &format!("{name}@lab.test"))?;
    }
    assert_eq!(succeeded(&world.sync_now().await?)[0], 4);
    let change = |name: &str, lines: &str| {
        let dn = format!("uid={name},{}", world.directory().people_dn());
        let head = format!("dn: {dn}\nchangetype: modify\nreplace: employeeType\nemployeeType: inactive\n");
        world.directory().modify(&format!("{head}-\n{lines}"))
    };
    change("anna", "delete: mail\n")?;
    change("ben", "replace: mail\nmail: none\n")?;
    change("carla", "replace: mail\nmail: dora@lab.test\n")?;
    let job = world.sync_now().await?;
    assert_eq!(job.state(), State::Succeeded, "{:?}", job.error);
    let users = users(&world).await?;
    for name in ["anna", "ben", "carla"] {
        let user = users.get(name).with_context(|| format!("no user {name}"))?;
        let state = (user.status(), user.disabled_reason());
        assert_eq!(state, (Status::Disabled, DisabledReason::DisabledInDirectory), "{name}");
    }
    assert_eq!((enabled(&users), world.license().await?.used()), (1, 1));
    Ok(())
}
