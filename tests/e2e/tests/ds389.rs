//! 389 Directory Server, as its administrators change it: one real server, which takes seconds to
//! start, so what is promised here is proved step by step on the same one.

use anyhow::{Context, Result};
use harness::world::World;
use harness::{Ds389, People, Person};
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::admin::v1::user::{DisabledReason, Status};

use crate::expect::{enabled, flawless, succeeded, users};
use crate::just_in_time::SignIn;

const PEOPLE: u64 = 250;

struct Lab {
    sign_in: SignIn,
    people: People,
}

impl Lab {
    fn world(&self) -> &World {
        &self.sign_in.world
    }

    fn directory(&self) -> Result<&Ds389> {
        self.world().directory_server()
    }

    /// The nth person that is enabled.
    fn person(&self, nth: usize) -> Result<Person> {
        self.people.iter().filter(|person| !person.disabled).nth(nth).context("a person")
    }

    fn dn(&self, nth: usize) -> Result<String> {
        Ok(self.directory()?.person_dn(&self.person(nth)?))
    }

    async fn sync(&self) -> Result<[i32; 5]> {
        Ok(succeeded(&self.world().sync_now().await?))
    }

    async fn status(&self, name: &str) -> Result<(Status, DisabledReason)> {
        let user = users(self.world()).await?.remove(name).with_context(|| format!("no user {name}"))?;
        Ok((user.status(), user.disabled_reason()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_389_directory_server_is_synchronized_as_its_administrators_change_it() -> Result<()> {
    if !Ds389::can_run() {
        return Ok(());
    }
    let people = People { disabled_permille: 50, ..flawless(PEOPLE) };
    let world =
        World::builder().directory_server(Ds389::builder().these_people(people.clone())).start().await?;
    world.create_and_publish_source(world.settings()).await?;
    let lab = Lab { sign_in: SignIn::over(world).await?, people };
    let all = i32::try_from(PEOPLE)?;

    // The first sync, and one without changes.
    assert_eq!(lab.sync().await?, [all, 0, 0, 0, 0]);
    let locked = lab.people.iter().filter(|person| person.disabled).count();
    let found = users(lab.world()).await?;
    assert!(locked > 0 && enabled(&found) == found.len() - locked, "{locked} of {}", found.len());
    for person in lab.people.iter() {
        let user = found.get(&person.uid).context("a user")?;
        assert_eq!(user.immutable_id, Ds389::unique_id(&person));
        assert_eq!(user.status() == Status::Disabled, person.disabled);
        assert_eq!(user.display_name, person.display_name);
    }
    assert_eq!(lab.sync().await?, [0, 0, all, 0, 0]);
    assert_eq!(users(lab.world()).await?, found);

    // Somebody joins, changes, moves, is deleted.
    let joiner = Person { disabled: false, ..lab.people.person(PEOPLE) };
    lab.directory()?.join(&joiner)?;
    lab.directory()?.replace(&lab.dn(0)?, "displayName", &["Zoë"])?;
    let moved = lab.person(1)?;
    let unit = if moved.unit == "ou=Tokyo" { "ou=Berlin" } else { "ou=Tokyo" };
    let parent = format!("{unit},{}", lab.directory()?.people_dn());
    lab.directory()?.rename(&lab.dn(1)?, &moved.rdn, Some(&parent))?;
    lab.directory()?.delete(&lab.dn(2)?)?;
    assert_eq!(lab.sync().await?, [1, 2, all - 3, 1, 0]);
    let gone = (Status::Disabled, DisabledReason::OutOfScope);
    assert_eq!(lab.status(&lab.person(2)?.uid).await?, gone);
    assert_eq!(lab.status(&joiner.uid).await?.0, Status::Enabled);

    // An account is locked, and unlocked.
    let (dn, uid) = (lab.dn(3)?, lab.person(3)?.uid);
    lab.directory()?.set_disabled(&dn, true)?;
    assert_eq!(lab.sync().await?, [0, 1, all - 1, 0, 0]);
    assert_eq!(lab.status(&uid).await?, (Status::Disabled, DisabledReason::DisabledInDirectory));
    lab.directory()?.set_disabled(&dn, false)?;
    assert_eq!(lab.sync().await?, [0, 1, all - 1, 0, 0]);
    assert_eq!(lab.status(&uid).await?.0, Status::Enabled);

    // The same at sign-ins.
    assert_eq!(lab.sign_in.came_to(&uid).await?, (Outcome::Unchanged, true));
    lab.directory()?.set_disabled(&dn, true)?;
    assert_eq!(lab.sign_in.came_to(&uid).await?, (Outcome::DisabledInDirectory, false));
    lab.directory()?.set_disabled(&dn, false)?;
    assert_eq!(lab.sign_in.came_to(&uid).await?, (Outcome::Reenabled, true));
    let late = Person { disabled: false, ..lab.people.person(PEOPLE + 1) };
    lab.directory()?.join(&late)?;
    assert_eq!(lab.sign_in.came_to(&late.uid).await?, (Outcome::Added, true));
    assert_eq!(lab.sync().await?, [0, 0, all + 1, 0, 0], "the sync finds what the sign-ins left");
    Ok(())
}
