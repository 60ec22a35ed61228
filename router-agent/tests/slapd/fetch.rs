//! Who is found when one person is asked for.

use std::time::Duration;

use bytes::Bytes;
use harness::ldap::Slapd;
use harness::{Dice, People};
use rollcall_proto::admin::v1::{
    AttributeMapping, DisabledRule, IdentitySourceSettings, ValueList, disabled_rule,
};
use rollcall_proto::prost::Message;
use router_agent::directory::{self, DirectoryError, Fetched, Pool, PoolLimits, Presence, UserSelector};
use router_agent::record::{Entry, Mapped, Name, NameQuery, map_entry};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Source, fetch_named, person, source, source_of, unit};

#[expect(dead_code, reason = "what has to become of an entry is another test's matter")]
#[path = "../../../tests/e2e/tests/zoo.rs"]
mod zoo;

const PEOPLE: &str = "ou=people,dc=example,dc=com";
const ARCHIVE: &str = "ou=archive,dc=example,dc=com";
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(Uuid::from_u128(number).as_bytes())
}

fn pool() -> Pool {
    Pool::new(PoolLimits::default())
}

/// In a few words: the user name of who was found, or why nobody was.
fn describe(source: &Source, fetched: &Fetched) -> String {
    match fetched {
        Fetched::Entry(entry) => match map_entry(&source.mapping, entry) {
            Mapped::Record(record) => record.user_name,
            Mapped::Rejected(rejected) => format!("rejected {}", rejected.user_name),
        },
        other => format!("{other:?}"),
    }
}

async fn by_name(source: &Source, name: Name<'_>) -> String {
    match NameQuery::new(&source.mapping, name).expect("mapped") {
        None => "not asked".to_owned(),
        Some(_) => {
            let (_, fetched) = fetch_named(&pool(), source, name, TEST_TIMEOUT).await.expect("an answer");
            describe(source, &fetched)
        }
    }
}

async fn by_id(source: &Source, number: u128, look_up_moved: bool) -> String {
    let id = id(number);
    let fetched =
        directory::fetch(&pool(), source.to_fetch(look_up_moved), UserSelector::ById(&id), TEST_TIMEOUT)
            .await;
    describe(source, &fetched.expect("an answer").1)
}

/// All entries of the source, as a whole read has them.
async fn read(source: &Source) -> Vec<Entry> {
    let (sink, mut pages) = mpsc::channel(1);
    let collect = async {
        let mut entries = Vec::new();
        while let Some(page) = pages.recv().await {
            entries.extend(page);
        }
        entries
    };
    let read =
        directory::read(&source.read_request, &source.credential, source.tls.clone(), &source.timeouts, sink);
    let (read, entries) = tokio::join!(read, collect);
    read.expect("a whole read");
    entries
}

/// What the control plane is sent of an entry, digest and all.
fn bytes(source: &Source, entry: &Entry) -> Vec<u8> {
    match map_entry(&source.mapping, entry) {
        Mapped::Record(record) => record.encode_to_vec(),
        Mapped::Rejected(rejected) => rejected.encode_to_vec(),
    }
}

/// A source that maps all there is to map.
fn full(slapd: &Slapd, filter: &str) -> Source {
    let mark = ValueList { values: vec!["inactive".to_owned()] };
    let mapping = AttributeMapping {
        immutable_id: "entryUUID".to_owned(),
        user_name: "uid".to_owned(),
        mail: "mail".to_owned(),
        first_name: "givenName".to_owned(),
        last_name: "sn".to_owned(),
        display_name: "displayName".to_owned(),
        phone: "telephoneNumber".to_owned(),
        disabled: Some(DisabledRule {
            attribute: "employeeType".to_owned(),
            test: Some(disabled_rule::Test::AnyValueOf(mark)),
        }),
        policy_attributes: ["title", "departmentNumber", "audio"].map(str::to_owned).to_vec(),
        ..AttributeMapping::default()
    };
    let settings = IdentitySourceSettings {
        roots: vec![PEOPLE.to_owned()],
        object_class: "inetOrgPerson".to_owned(),
        extra_filter: filter.to_owned(),
        page_size: 500,
        mapping: Some(mapping),
        ..super::settings(slapd, &[PEOPLE])
    };
    source_of(slapd, &settings)
}

/// Each of these entries is fetched by each of its names and by its id; what comes is what the read
/// had, byte for byte, or is said to be nobody's alone.
async fn all_are_fetched_as_they_were_read(source: &Source, entries: &[Entry], which: &[usize]) -> usize {
    let pool = pool();
    let mut alone = 0;
    for entry in which.iter().map(|at| &entries[*at]) {
        let expected = bytes(source, entry);
        if let Some(id) = source.mapping.immutable_id(entry) {
            let fetched =
                directory::fetch(&pool, source.to_fetch(true), UserSelector::ById(&id), TEST_TIMEOUT).await;
            let (_, Fetched::Entry(found)) = fetched.expect("an answer") else { panic!("{entry:?}") };
            assert_eq!(bytes(source, &found), expected);
        }
        let names = |attribute| entry.values(attribute).filter_map(|value| std::str::from_utf8(value).ok());
        let users = names("uid").flat_map(|name| [Name::User(name), Name::Login(name)]);
        for name in users.chain(names("mail").flat_map(|name| [Name::Mail(name), Name::Login(name)])) {
            let Some(asked) = NameQuery::new(&source.mapping, name).expect("mapped") else { continue };
            let having = entries.iter().filter(|entry| asked.matches_entry(entry)).count();
            let (_, fetched) = fetch_named(&pool, source, name, TEST_TIMEOUT).await.expect("an answer");
            match fetched {
                Fetched::Entry(found) if having == 1 => {
                    alone += 1;
                    assert_eq!(bytes(source, &found), expected, "{name:?}");
                }
                Fetched::Ambiguous(more) if having > 1 => assert_eq!(more, having, "{name:?}"),
                other => panic!("{name:?}: {other:?}, and {having} have it"),
            }
        }
    }
    alone
}

#[tokio::test]
async fn generated_people_are_fetched_as_a_whole_read_has_them_byte_for_byte() {
    let people = People { shared_mail_permille: 40, ..People::new(3_000) };
    let slapd = Slapd::builder().these_people(people).start().expect("a directory");
    let source = full(&slapd, "");
    let entries = read(&source).await;
    assert_eq!(entries.len(), 3_000);
    let mut dice = Dice::new(11, 0);
    let which: Vec<_> = (0..400).map(|_| usize::try_from(dice.below(3_000)).expect("small")).collect();
    let alone = all_are_fetched_as_they_were_read(&source, &entries, &which).await;
    assert!(alone > 1_000, "{alone}");
}

#[tokio::test]
async fn the_entries_of_the_zoo_are_fetched_as_a_whole_read_has_them_byte_for_byte() {
    let animals = zoo::all(PEOPLE);
    let ldif = zoo::ldif(PEOPLE, &animals).expect("LDIF");
    let slapd = Slapd::builder().ldif(&ldif).start().expect("a directory");
    let source = full(&slapd, "");
    let entries = read(&source).await;
    assert_eq!(entries.len(), animals.len());
    let all: Vec<_> = (0..entries.len()).collect();
    assert!(all_are_fetched_as_they_were_read(&source, &entries, &all).await > animals.len());
}

/// Anna (1), Ben (2) and Carl (3) below the people.
fn directory() -> Slapd {
    let ldif: String =
        (1..).zip(["anna", "ben", "carl"]).map(|(number, name)| person(name, PEOPLE, number)).collect();
    Slapd::builder().ldif(&ldif).start().expect("a directory")
}

#[tokio::test]
async fn a_name_counts_whatever_its_case_and_normalization_and_no_name_that_merely_looks_like_it() {
    let müller = person("m\u{fc}ller", PEOPLE, 4).replace("mail: m\u{fc}ller@", "mail: mueller@");
    let slapd = Slapd::builder().ldif(&(person("anna", PEOPLE, 1) + &müller)).start().expect("a directory");
    let source = source(&slapd, &[PEOPLE]);
    let not_found = format!("{:?}", Fetched::Absent(Presence::NotFound));
    for (name, expected) in [
        (Name::User("ANNA"), "anna"),
        (Name::User(" anna "), "anna"),
        (Name::Mail("Anna@Example.COM"), "anna"),
        (Name::Login("aNNa"), "anna"),
        (Name::Login("anna@example.com"), "anna"),
        (Name::User("MU\u{308}LLER"), "m\u{fc}ller"),
        (Name::User("muller"), &not_found),
        (Name::User("\u{430}nna"), &not_found),
        (Name::User("\u{ff41}nna"), &not_found), // a wide a, which this server takes for an a
        (Name::User("anna@example.com"), &not_found),
        (Name::Mail("anna"), &not_found),
    ] {
        assert_eq!(by_name(&source, name).await, expected, "{name:?}");
    }
}

#[tokio::test]
async fn what_is_typed_finds_nobody_who_does_not_have_exactly_that_name() {
    let star = person("st*r", PEOPLE, 4).replace("st*r@", "star@");
    let ldif = person("anna", PEOPLE, 1) + &star + &person("star", PEOPLE, 5).replace("star@", "other@");
    let slapd = Slapd::builder().ldif(&ldif).start().expect("a directory");
    let source = source(&slapd, &[PEOPLE]);
    let not_found = format!("{:?}", Fetched::Absent(Presence::NotFound));
    let long = "a".repeat(10_000);
    for typed in [
        "*",
        "a*",
        "*)(uid=*",
        "anna)(uid=*",
        "anna)(|(uid=*",
        "*)(objectClass=*",
        "\\2a",
        "\\2A",
        "an\\6ea",
        "anna\\00",
        "anna)",
        "(anna",
        "&",
        "|(uid=*)",
        "uid=anna",
        "anna,ou=people",
        "!",
        "anna\\",
        "ou=people,dc=example,dc=com",
    ] {
        for name in [Name::User(typed), Name::Mail(typed), Name::Login(typed)] {
            assert_eq!(by_name(&source, name).await, not_found, "{name:?}");
        }
    }
    for typed in ["", " ", "\0", "anna\0", "\0anna", "an\nna", &long] {
        assert_eq!(by_name(&source, Name::Login(typed)).await, "not asked", "{typed:?}");
    }
    assert_eq!(by_name(&source, Name::Login("st*r")).await, "st*r");
    assert_eq!(by_name(&source, Name::Login("star")).await, "star");
}

#[tokio::test]
async fn a_name_that_several_have_is_nobodys_and_their_number_is_told() {
    // Ben's user name is the mail address of Anna and of Carl.
    let ldif = person("anna", PEOPLE, 1)
        + &person("ben", PEOPLE, 2).replace("uid: ben", "uid: ben\nuid: anna@example.com")
        + &person("carl", PEOPLE, 3).replace("mail: carl@", "mail: anna@")
        + &(10..30)
            .map(|number| {
                person(&format!("x{number}"), PEOPLE, number).replace(&format!("x{number}@"), "all@")
            })
            .collect::<String>();
    let slapd = Slapd::builder().ldif(&ldif).start().expect("a directory");
    let source = source(&slapd, &[PEOPLE]);
    let several = |number| format!("{:?}", Fetched::Ambiguous(number));
    assert_eq!(by_name(&source, Name::Mail("anna@example.com")).await, several(2));
    assert_eq!(by_name(&source, Name::Login("anna@example.com")).await, several(3));
    assert_eq!(by_name(&source, Name::User("anna@example.com")).await, "ben");
    // More are not counted.
    assert_eq!(by_name(&source, Name::Mail("all@example.com")).await, several(10));
}

#[tokio::test]
async fn who_is_disabled_in_the_directory_is_fetched_as_disabled() {
    let inactive = person("ben", PEOPLE, 2).replace("staff", "inactive");
    let slapd = Slapd::builder().ldif(&(person("anna", PEOPLE, 1) + &inactive)).start().expect("a directory");
    let source = full(&slapd, "");
    for (name, expected) in [("anna", false), ("ben", true)] {
        let (_, fetched) =
            fetch_named(&pool(), &source, Name::User(name), TEST_TIMEOUT).await.expect("an answer");
        let Fetched::Entry(entry) = fetched else { panic!("{fetched:?}") };
        let Mapped::Record(record) = map_entry(&source.mapping, &entry) else { panic!("{entry:?}") };
        assert_eq!(record.disabled, expected, "{name}");
    }
}

#[tokio::test]
async fn who_left_the_scope_is_not_found_by_name_and_is_told_where_by_id_as_far_as_the_policy_allows() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    slapd.rename(&format!("uid=ben,{PEOPLE}"), "uid=ben", Some(ARCHIVE)).expect("moved");
    slapd.replace(&format!("uid=carl,{PEOPLE}"), "employeeType", &["guest"]).expect("changed");
    let absent = |presence| format!("{:?}", Fetched::Absent(presence));
    for name in ["ben", "carl", "dora"] {
        assert_eq!(by_name(&source, Name::User(name)).await, absent(Presence::NotFound), "{name}");
    }
    assert_eq!(by_id(&source, 1, true).await, "anna");
    for (number, moved) in [(2, Presence::OutOfScope), (3, Presence::NotMatching), (99, Presence::NotFound)] {
        assert_eq!(by_id(&source, number, true).await, absent(moved), "{number}");
        assert_eq!(by_id(&source, number, false).await, absent(Presence::NotFound), "{number}");
    }
    slapd.delete(&format!("uid=anna,{PEOPLE}")).expect("deleted");
    assert_eq!(by_id(&source, 1, true).await, absent(Presence::NotFound));
}

#[tokio::test]
async fn roots_within_each_other_have_an_entry_once_and_all_roots_missing_show_nothing() {
    let hamburg = format!("ou=hamburg,{PEOPLE}");
    let ldif = unit("hamburg", PEOPLE) + &person("eva", &hamburg, 5) + &person("anna", PEOPLE, 1);
    let slapd = Slapd::builder().ldif(&ldif).start().expect("a directory");
    let nowhere = format!("ou=nowhere,{PEOPLE}");
    let overlapping = source(&slapd, &[PEOPLE, &nowhere, &hamburg]);
    assert_eq!(by_name(&overlapping, Name::User("eva")).await, "eva");
    let only_hamburg = source(&slapd, &[&nowhere, &hamburg]);
    let not_found = format!("{:?}", Fetched::Absent(Presence::NotFound));
    assert_eq!(by_name(&only_hamburg, Name::User("anna")).await, not_found);
    let missing = source(&slapd, &[&nowhere]);
    let outcome = fetch_named(&pool(), &missing, Name::User("anna"), TEST_TIMEOUT).await;
    assert!(matches!(outcome, Err(DirectoryError::RootNotFound { .. })), "{outcome:?}");
    for include_moved in [false, true] {
        let hidden = format!("{:?}", Fetched::Absent(Presence::NotVisible));
        assert_eq!(by_id(&missing, 1, include_moved).await, hidden);
    }
}

#[tokio::test]
async fn a_server_that_may_not_show_all_says_nothing_of_anyone() {
    // The server stops at one entry: whether there is another with this name nobody knows.
    let twin = person("ben", PEOPLE, 2).replace("mail: ben@", "mail: anna@");
    let slapd = Slapd::builder()
        .ldif(&(person("anna", PEOPLE, 1) + &twin))
        .agent_size_limit(1)
        .start()
        .expect("a directory");
    let source = source(&slapd, &[PEOPLE]);
    let outcome = fetch_named(&pool(), &source, Name::Mail("anna@example.com"), TEST_TIMEOUT).await;
    let Err(DirectoryError::FetchFailed { why, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("result code 4"), "{why}");
    assert_eq!(by_name(&source, Name::User("anna")).await, "anna");
}

#[tokio::test]
async fn a_reference_that_may_hide_the_person_fails_the_fetch() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    slapd
        .add_referral(&format!("ou=sales,{PEOPLE}"), &format!("ldap://elsewhere.invalid/ou=sales,{PEOPLE}"))
        .expect("a reference");
    let outcome = fetch_named(&pool(), &source, Name::User("anna"), TEST_TIMEOUT).await;
    assert!(matches!(outcome, Err(DirectoryError::Referral { .. })), "{outcome:?}");
}
