//! Random changes to a directory, each person at most once a round: joiners, leavers within the
//! guard, people who return, swapped and taken-over names, values of all kinds.

use std::collections::HashSet;
use std::fmt::Write;

use anyhow::{Context, Result};
use harness::ldap::{Slapd, ldif, ldif::Entry};
use harness::{Dice, People};

/// What the oracle and the changes look at.
const ATTRIBUTES: [&str; 10] = [
    "entryUUID",
    "uid",
    "mail",
    "givenName",
    "sn",
    "displayName",
    "telephoneNumber",
    "title",
    "departmentNumber",
    "employeeType",
];

/// Everybody below a DN.
pub(super) fn read(directory: &Slapd, base: &str) -> Result<Vec<Entry>> {
    ldif::entries(&directory.search(base, "(objectClass=inetOrgPerson)", &ATTRIBUTES)?)
}

struct Changes<'a> {
    directory: &'a Slapd,
    dice: Dice,
    present: Vec<Entry>,
    touched: HashSet<usize>,
    ldif: String,
}

/// Changes the directory. `next` is the number of the next new person; it grows. In a round with a
/// tight license nobody new contests a name, since who of them would get it depended on who got a
/// seat.
pub(super) fn change(
    directory: &Slapd,
    people: &People,
    dice: Dice,
    next: &mut u64,
    tight: bool,
) -> Result<()> {
    let present = read(directory, &directory.people_dn())?;
    let mut changes = Changes { directory, dice, present, touched: HashSet::new(), ldif: String::new() };
    changes.return_some()?;
    changes.leave(people, next, tight)?;
    changes.alter()?;
    changes.join(people, next, tight)?;
    directory.modify(&changes.ldif)
}

impl Changes<'_> {
    /// Somebody whom nothing has happened to in this round.
    fn somebody(&mut self) -> Result<Entry> {
        for _ in 0..10_000 {
            let at = self.dice.index(self.present.len());
            if self.touched.insert(at) {
                return Ok(self.present[at].clone());
            }
        }
        anyhow::bail!("everybody was changed already")
    }

    /// Somebody with a mail address that nobody else has.
    fn somebody_with_mail(&mut self) -> Result<(Entry, String)> {
        loop {
            let entry = self.somebody()?;
            let Some(mail) = entry.first("mail").map(str::to_owned) else { continue };
            let same =
                |other: &&Entry| other.first("mail").is_some_and(|other| other.eq_ignore_ascii_case(&mail));
            if self.present.iter().filter(same).count() == 1 {
                return Ok((entry, mail));
            }
        }
    }

    fn record(&mut self, dn: &str, lines: &[(&str, &str)]) -> Result<()> {
        let mut out = Vec::new();
        ldif::line(&mut out, "dn", dn)?;
        for (key, value) in lines {
            ldif::line(&mut out, key, value)?;
        }
        self.ldif.push_str(std::str::from_utf8(&out)?);
        self.ldif.push('\n');
        Ok(())
    }

    fn replace(&mut self, dn: &str, attribute: &str, value: Option<&str>) -> Result<()> {
        let mut lines = vec![("changetype", "modify"), ("replace", attribute)];
        lines.extend(value.map(|value| (attribute, value)));
        self.record(dn, &lines)
    }

    fn relocate(&mut self, dn: &str, parent: &str) -> Result<()> {
        // slapd writes a comma in a value as \2C
        let (rdn, _) = dn.split_once(',').context("a DN of one part")?;
        let lines =
            [("changetype", "modrdn"), ("newrdn", rdn), ("deleteoldrdn", "0"), ("newsuperior", parent)];
        self.record(dn, &lines)
    }

    fn return_some(&mut self) -> Result<()> {
        let archived = read(self.directory, &self.directory.archive_dn())?;
        for entry in archived {
            if self.dice.below(3) == 0 {
                let parent = self.directory.people_dn();
                self.relocate(&entry.dn, &parent)?;
            }
        }
        Ok(())
    }

    fn leave(&mut self, people: &People, next: &mut u64, tight: bool) -> Result<()> {
        for _ in 0..5 + self.dice.below(30) {
            let (entry, mail) = self.somebody_with_mail()?;
            match self.dice.below(4) {
                0 | 1 => {
                    let parent = self.directory.archive_dn();
                    self.relocate(&entry.dn, &parent)?;
                }
                kind => {
                    self.record(&entry.dn, &[("changetype", "delete")])?;
                    if kind == 3 && !tight {
                        let uid = entry.first("uid").unwrap_or_default().to_owned();
                        self.add(people, next, Some(&uid), Some(&mail))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn alter(&mut self) -> Result<()> {
        for number in 0..20 + self.dice.below(200) {
            let entry = self.somebody()?;
            let value = format!("Value {number} {}", self.dice.below(1000));
            match self.dice.below(8) {
                0 | 1 => self.replace(&entry.dn, "title", Some(&value))?,
                2 => self.replace(&entry.dn, "telephoneNumber", Some("+49 30 1"))?,
                3 => self.replace(&entry.dn, "displayName", Some(&format!("Zo\u{eb} {value}")))?,
                4 => self.replace(&entry.dn, "employeeType", Some("inactive"))?,
                5 => self.replace(&entry.dn, "employeeType", Some("employee"))?,
                6 => {
                    let parent = self.directory.people_dn();
                    if entry.dn.split_once(',').is_some_and(|(_, rest)| rest != parent) {
                        self.relocate(&entry.dn, &parent)?;
                    }
                }
                _ => match entry.first("mail") {
                    Some(_) => self.replace(&entry.dn, "mail", None)?,
                    None => {
                        let mail = format!("{}@late.example.com", entry.first("uid").unwrap_or_default());
                        self.replace(&entry.dn, "mail", Some(&mail))?;
                    }
                },
            }
        }
        for _ in 0..self.dice.below(6) {
            let ((one, one_mail), (other, other_mail)) =
                (self.somebody_with_mail()?, self.somebody_with_mail()?);
            self.replace(&one.dn, "mail", Some(&other_mail))?;
            self.replace(&other.dn, "mail", Some(&one_mail))?;
        }
        Ok(())
    }

    fn join(&mut self, people: &People, next: &mut u64, tight: bool) -> Result<()> {
        for _ in 0..10 + self.dice.below(120) {
            self.add(people, next, None, None)?;
        }
        for _ in 0..if tight { 0 } else { self.dice.below(4) } {
            let (_, mail) = self.somebody_with_mail()?;
            self.add(people, next, None, Some(&mail.to_uppercase()))?;
        }
        Ok(())
    }

    fn add(&mut self, people: &People, next: &mut u64, uid: Option<&str>, mail: Option<&str>) -> Result<()> {
        let mut person = people.person(*next);
        *next += 1;
        let own = format!("{}@joined.example.com", person.uid);
        person.mails = vec![mail.unwrap_or(&own).to_owned()];
        person.rdn = format!("cn=joiner {}", person.number);
        person.common_name = format!("joiner {}", person.number);
        if let Some(uid) = uid {
            uid.clone_into(&mut person.uid);
        }
        let mut out = Vec::new();
        person.write_ldif(&mut out, self.directory.base_dn())?;
        let text = String::from_utf8(out)?;
        // The server makes the entry's UUID, and wants to hear what the record is.
        for line in text.lines().filter(|line| !line.starts_with("entryUUID")) {
            writeln!(self.ldif, "{line}")?;
            if line.starts_with("dn:") {
                writeln!(self.ldif, "changetype: add")?;
            }
        }
        self.ldif.push('\n');
        Ok(())
    }
}
