//! Realistic people for a directory: many scripts, difficult names, people without mail, people who
//! share one. Each person is a function of seed and number alone, so a million of them need no
//! memory, and a test can compute what it must find. The same seed gives the same bytes for ever:
//! expectations and measurements rely on it.

mod names;

use std::io::{self, Write};

use uuid::Uuid;

use crate::{dice::Dice, ldap::ldif};
use names::{FIRST, LAST, SCRIPTS, TITLES};

/// The subtrees below `ou=people` with their share in percent; a parent comes before its child.
pub const UNITS: [(&str, u64); 8] = [
    ("ou=Berlin", 30),
    ("ou=Boston", 25),
    ("ou=Tokyo", 12),
    ("ou=Zürich", 10),
    ("ou=Sales\\, EMEA", 10),
    ("ou=R&D", 7),
    ("ou=Contractors,ou=Boston", 4),
    ("ou=Leavers", 2),
];

/// A number of people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct People {
    pub count: u64,
    pub seed: u64,
    /// How many of a thousand have no mail address.
    pub without_mail_permille: u64,
    /// How many of a thousand have the mail address of somebody else.
    pub shared_mail_permille: u64,
    /// How many of a thousand are `employeeType: inactive`.
    pub disabled_permille: u64,
}

/// How the name of an entry is difficult.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameShape {
    /// `uid=…`, or `cn=…` without anything to escape.
    Plain,
    Comma,
    Plus,
    Quotes,
    Backslash,
    LeadingHash,
    /// `cn=…+uid=…`
    MultiValued,
}

/// One person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// From 0.
    pub number: u64,
    pub entry_uuid: Uuid,
    pub uid: String,
    pub common_name: String,
    pub first_name: String,
    pub last_name: String,
    pub display_name: String,
    /// None, one or more; the first one counts.
    pub mails: Vec<String>,
    /// The earlier person whose only or first mail address this person has as well.
    pub shares_mail_with: Option<u64>,
    pub phone: String,
    pub title: &'static str,
    pub department: String,
    /// `employeeType: inactive` instead of `employee`.
    pub disabled: bool,
    pub has_photo: bool,
    pub name_shape: NameShape,
    /// Escaped, without what comes after: `uid=jdoe17`.
    pub rdn: String,
    /// One of [`UNITS`].
    pub unit: &'static str,
}

impl Person {
    pub fn dn(&self, base: &str) -> String {
        format!("{},{},ou=people,{base}", self.rdn, self.unit)
    }

    pub fn mail(&self) -> Option<&str> {
        self.mails.first().map(String::as_str)
    }

    /// Writes the entry with a blank line behind.
    pub fn write_ldif(&self, out: &mut impl Write, base: &str) -> io::Result<()> {
        ldif::line(out, "dn", &self.dn(base))?;
        out.write_all(b"objectClass: inetOrgPerson\n")?;
        ldif::line(out, "cn", &self.common_name)?;
        ldif::line(out, "sn", &self.last_name)?;
        ldif::line(out, "givenName", &self.first_name)?;
        ldif::line(out, "displayName", &self.display_name)?;
        ldif::line(out, "uid", &self.uid)?;
        for mail in &self.mails {
            ldif::line(out, "mail", mail)?;
        }
        ldif::line(out, "telephoneNumber", &self.phone)?;
        ldif::line(out, "title", self.title)?;
        ldif::line(out, "departmentNumber", &self.department)?;
        ldif::line(out, "employeeType", if self.disabled { "inactive" } else { "employee" })?;
        if self.has_photo {
            ldif::binary(out, "jpegPhoto", &photo(self.number))?;
        }
        writeln!(out, "entryUUID: {}\n", self.entry_uuid)
    }
}

impl People {
    pub fn new(count: u64) -> Self {
        Self { count, seed: 7, without_mail_permille: 60, shared_mail_permille: 5, disabled_permille: 30 }
    }

    /// The first `count` people of a seed.
    pub fn generate(count: u64, seed: u64) -> impl Iterator<Item = Person> {
        let people = Self { seed, ..Self::new(count) };
        (0..count).map(move |number| people.person(number))
    }

    pub fn iter(&self) -> impl Iterator<Item = Person> + '_ {
        (0..self.count).map(|number| self.person(number))
    }

    /// Writes `ou=people`, the subtrees and the people, one at a time. The entry of `base` itself
    /// is not written.
    pub fn write_ldif(&self, out: &mut impl Write, base: &str) -> io::Result<()> {
        let mut unit = |dn: String, name: &str| {
            ldif::line(out, "dn", &dn)?;
            out.write_all(b"objectClass: organizationalUnit\n")?;
            ldif::line(out, "ou", name)?;
            writeln!(out)
        };
        unit(format!("ou=people,{base}"), "people")?;
        for (rdn, _) in UNITS {
            let name = rdn.split(",ou=").next().unwrap_or(rdn).trim_start_matches("ou=").replace('\\', "");
            unit(format!("{rdn},ou=people,{base}"), &name)?;
        }
        self.iter().try_for_each(|person| person.write_ldif(out, base))
    }

    /// The person of a number, which may also lie beyond `count`: joiners for later.
    pub fn person(&self, number: u64) -> Person {
        let mut dice = Dice::new(self.seed, number);
        let name = Name::throw(&mut dice, number);
        let entry_uuid = dice.uuid();
        let (shape_throw, unit_throw) = (dice.below(1000), dice.below(100));
        let (name_shape, common_name) = shape(&name, number, shape_throw);
        let rdn = match name_shape {
            NameShape::MultiValued => format!("cn={}+uid={}", ldif::escape(&common_name), name.uid),
            NameShape::Plain if shape_throw >= 60 => format!("uid={}", name.uid),
            _ => format!("cn={}", ldif::escape(&common_name)),
        };
        let (mails, shares_mail_with) = self.mails(&mut dice, &name, number);
        Person {
            number,
            entry_uuid,
            common_name,
            display_name: format!("{} {}", name.first, name.last),
            mails,
            shares_mail_with,
            phone: format!("+49 30 {:07}", dice.below(10_000_000)),
            title: TITLES[dice.index(TITLES.len())],
            department: format!("D{:03}", dice.below(200)),
            disabled: dice.below(1000) < self.disabled_permille,
            has_photo: dice.below(1000) < 5,
            name_shape,
            rdn,
            unit: unit(unit_throw),
            uid: name.uid,
            first_name: name.first.to_owned(),
            last_name: name.last.to_owned(),
        }
    }

    fn mails(&self, dice: &mut Dice, name: &Name, number: u64) -> (Vec<String>, Option<u64>) {
        match self.mail_kind(number) {
            MailKind::None => (Vec::new(), None),
            MailKind::Own => {
                let mut mails = vec![name.mail("example.com")];
                // 8 % of all have more than one.
                if dice.below(1000) < 86 {
                    mails.extend(
                        ["eu.example.com", "us.example.com"]
                            .iter()
                            .take(1 + dice.index(2))
                            .map(|at| name.mail(at)),
                    );
                }
                (mails, None)
            }
            MailKind::Shared(owner) => {
                let theirs = Name::throw(&mut Dice::new(self.seed, owner), owner).mail("example.com");
                (vec![theirs], Some(owner))
            }
        }
    }

    fn mail_kind(&self, number: u64) -> MailKind {
        let throw = |number| Dice::new(self.seed ^ 0x6d61_696c, number).below(1000);
        let own_from = self.without_mail_permille + self.shared_mail_permille;
        match throw(number) {
            none if none < self.without_mail_permille => MailKind::None,
            // Of somebody close before, who has one of their own. Who has nobody before keeps an
            // own one.
            shared if shared < own_from => (number.saturating_sub(50)..number)
                .rev()
                .find(|earlier| throw(*earlier) >= own_from)
                .map_or(MailKind::Own, MailKind::Shared),
            _ => MailKind::Own,
        }
    }
}

enum MailKind {
    None,
    Own,
    Shared(u64),
}

struct Name {
    first: &'static str,
    last: &'static str,
    latin_first: String,
    uid: String,
}

impl Name {
    /// Always the first throws of a person's dice, so that the owner of a shared address can be
    /// found without the rest.
    fn throw(dice: &mut Dice, number: u64) -> Self {
        let ((first, latin_first), (last, latin_last)) = if dice.below(100) < 15 {
            let (firsts, lasts) = SCRIPTS[dice.index(SCRIPTS.len())];
            (firsts[dice.index(firsts.len())], lasts[dice.index(lasts.len())])
        } else {
            let (first, last) = (FIRST[dice.index(FIRST.len())], LAST[dice.index(LAST.len())]);
            ((first, first), (last, last))
        };
        let latin_first = latin_first.to_ascii_lowercase();
        let uid = format!("{}{}{number}", &latin_first[..1], latin_last.to_ascii_lowercase());
        Self { first, last, latin_first, uid }
    }

    fn mail(&self, domain: &str) -> String {
        format!("{}.{}@{domain}", self.latin_first, &self.uid[1..])
    }
}

fn shape(name: &Name, number: u64, throw: u64) -> (NameShape, String) {
    let (first, last) = (name.first, name.last);
    match throw {
        0..10 => (NameShape::Comma, format!("{last}, {first} {number}")),
        10..15 => (NameShape::Plus, format!("{first} + {last} {number}")),
        15..20 => (NameShape::Quotes, format!("{first} \"Ace\" {last} {number}")),
        20..23 => (NameShape::LeadingHash, format!("#{first} {last} {number}")),
        23..26 => (NameShape::Backslash, format!("{first} back\\slash {last} {number}")),
        26..30 => (NameShape::MultiValued, format!("{first} {last} {number}")),
        _ => (NameShape::Plain, format!("{first} {last} {number}")),
    }
}

fn unit(throw: u64) -> &'static str {
    let mut below = 0;
    UNITS.iter().find(|(_, share)| (below += share, throw < below).1).map_or(UNITS[0].0, |(rdn, _)| rdn)
}

fn photo(number: u64) -> Vec<u8> {
    let mut dice = Dice::new(0x7068_6f74, number);
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0];
    bytes.extend((0..255).flat_map(|_| dice.next().to_be_bytes()));
    bytes.extend([0xff, 0xd9]);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn share(people: &[Person], test: impl Fn(&Person) -> bool) -> f64 {
        people.iter().filter(|person| test(person)).count() as f64 * 100.0 / people.len() as f64
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_for_ever() {
        let mut out = Vec::new();
        People::new(2_000).write_ldif(&mut out, "dc=example,dc=com").expect("a vector takes every byte");
        // FNV-1a. If this changes on purpose, older measurements and expectations no longer
        // compare.
        let sum = out.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!((out.len(), sum), (757_535, 0xca0f_7a72_fc02_c68e));
    }

    #[test]
    fn people_are_mixed_as_promised() {
        let people: Vec<Person> = People::generate(20_000, 7).collect();
        for (what, expected, found) in [
            ("names outside ASCII", 15.0, share(&people, |person| !person.display_name.is_ascii())),
            ("without mail", 6.0, share(&people, |person| person.mails.is_empty())),
            ("sharing a mail", 0.5, share(&people, |person| person.shares_mail_with.is_some())),
            ("several mails", 8.0, share(&people, |person| person.mails.len() > 1)),
            ("disabled", 3.0, share(&people, |person| person.disabled)),
            ("with photo", 0.5, share(&people, |person| person.has_photo)),
            ("difficult DNs", 3.0, share(&people, |person| person.name_shape != NameShape::Plain)),
            ("in R&D", 7.0, share(&people, |person| person.unit == "ou=R&D")),
        ] {
            assert!(
                (found - expected).abs() < 0.2 + expected * 0.1,
                "{what}: {found} % instead of {expected} %"
            );
        }
    }

    #[test]
    fn ids_and_names_are_unique_and_shared_mails_have_an_owner() {
        let people: Vec<Person> = People::generate(20_000, 3).collect();
        let unique = |values: HashSet<String>| assert_eq!(values.len(), people.len());
        unique(people.iter().map(|person| person.uid.clone()).collect());
        unique(people.iter().map(|person| person.entry_uuid.to_string()).collect());
        unique(people.iter().map(|person| person.dn("dc=x")).collect());
        let own: Vec<&Person> = people.iter().filter(|person| person.shares_mail_with.is_none()).collect();
        let mails: HashSet<&str> = own.iter().filter_map(|person| person.mail()).collect();
        assert_eq!(mails.len(), own.iter().filter(|person| person.mail().is_some()).count());
        for person in people.iter().filter(|person| person.shares_mail_with.is_some()) {
            let owner = &people[person.shares_mail_with.expect("filtered") as usize];
            assert_eq!((person.mail(), owner.shares_mail_with), (owner.mail(), None));
            assert!(owner.number < person.number);
        }
    }

    #[test]
    fn nobody_lacks_mail_where_none_is_to() {
        let people = People { without_mail_permille: 0, shared_mail_permille: 0, ..People::new(3_000) };
        assert!(people.iter().all(|person| person.mail().is_some() && person.shares_mail_with.is_none()));
    }
}
