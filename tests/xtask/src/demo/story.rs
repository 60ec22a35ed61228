//! What happens to the demo's directory between the two syncs: people join, leave, marry, move,
//! swap and are locked out.

use anyhow::{Context, Result};
use harness::world::World;
use harness::{People, Person};

/// Free seats that the new license leaves before leavers free some: fewer than people who join.
pub(super) const SEATS_LEFT: i32 = 2;

const JOINERS: u64 = 70;
const LEAVERS: usize = 12;
const MORE_LEAVERS: usize = 20;
const MOVED: &str = "ou=Contractors,ou=Boston";

/// Changes the directory and says in words what changed.
pub(super) fn changes(world: &World, people: &People) -> Result<Vec<String>> {
    let directory = world.directory();
    let base = directory.base_dn();
    // People without anything special, so that each change shows what it is meant to show.
    let mut plain =
        people.iter().filter(|p| p.mails.len() == 1 && p.shares_mail_with.is_none() && !p.disabled);
    let mut next = || plain.next().context("the demo's directory has too few people");
    let mut said = Vec::new();

    for _ in 0..LEAVERS {
        directory.delete(&next()?.dn(base))?;
    }
    said.push(format!("{LEAVERS} people leave"));

    let mut joiners = Vec::new();
    for number in people.count..people.count + JOINERS {
        people.person(number).write_ldif(&mut joiners, base)?;
    }
    directory.add(&without_operational_attributes(&String::from_utf8(joiners)?))?;
    said.push(format!("{JOINERS} people join"));

    let (one, other) = (next()?, next()?);
    for (person, mail) in [(&one, &other.mails[0]), (&other, &one.mails[0])] {
        directory.replace(&person.dn(base), "mail", &[mail])?;
    }
    said.push("two people swap their mail addresses".to_owned());

    let married = next()?;
    directory.replace(&married.dn(base), "sn", &["O’Brien-Müller"])?;
    said.push("one marries and gets a new last name".to_owned());

    directory.replace(&next()?.dn(base), "employeeType", &["inactive"])?;
    said.push("one is disabled in the directory".to_owned());

    directory.replace(&next()?.dn(base), "mail", &[])?;
    said.push("one loses the mail address".to_owned());

    let moved = move_unit(world, people)?;
    said.push(format!("a whole subtree of {moved} people moves to another place within the root"));
    Ok(said)
}

/// More people leave, from the end of the list, where nothing else happens.
pub(super) fn leave(world: &World, people: &People) -> Result<String> {
    let directory = world.directory();
    let mut plain = (0..people.count)
        .rev()
        .map(|number| people.person(number))
        .filter(|p| p.mails.len() == 1 && !p.disabled && p.unit != MOVED);
    for _ in 0..MORE_LEAVERS {
        let leaver = plain.next().context("the demo's directory has too few people")?;
        directory.delete(&leaver.dn(directory.base_dn()))?;
    }
    Ok(format!("{MORE_LEAVERS} people leave"))
}

/// Moves `ou=Contractors` with everyone in it from one place to another.
fn move_unit(world: &World, people: &People) -> Result<usize> {
    let root = world.directory().people_dn();
    let unit = MOVED;
    world.directory().rename(&format!("{unit},{root}"), "ou=Contractors", Some(&root))?;
    Ok(people.iter().filter(|person: &Person| person.unit == unit).count())
}

/// A running server makes these itself.
fn without_operational_attributes(ldif: &str) -> String {
    let kept = ldif.lines().filter(|line| !line.starts_with("entryUUID:"));
    kept.map(|line| format!("{line}\n")).collect()
}
