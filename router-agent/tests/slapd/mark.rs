//! Whether a mark that an entry does not show is absent or hidden.

use std::time::Duration;

use bytes::Bytes;
use harness::ldap::Slapd;
use rollcall_proto::admin::v1::{
    AttributeMapping, DisabledRule, ExpiryRule, IdentitySourceSettings, ValueList, disabled_rule, expiry_rule,
};
use rollcall_proto::router::v1::entry_version::Kind;
use router_agent::directory::{
    self, Fetched, FetchedEntry, MarkProver, Pool, PoolLimits, Timeouts, Unproved, UserSelector,
};
use router_agent::record::{Mapped, map_entry};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Source, person, source_of};

const PEOPLE: &str = "ou=people,dc=example,dc=com";
const HIDDEN_GROUP: &str = "cn=left,ou=archive,dc=example,dc=com";

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(Uuid::from_u128(number).as_bytes())
}

/// Anna (1) has no mark, Ben (2) is marked by `employeeType`, Carl (3) has another value.
fn directory() -> Slapd {
    let marked = |name: &str, number, mark: &str| person(name, PEOPLE, number) + mark;
    let plain =
        |name: &str, number| marked(name, number, "").replace("employeeType: staff\n", "title: staff\n");
    let ldif = plain("anna", 1)
        + &person("ben", PEOPLE, 2).replace("staff", "left")
        + &person("carl", PEOPLE, 3)
        + &(10..130).map(|number| plain(&format!("u{number}"), number)).collect::<String>()
        + &format!("dn: {HIDDEN_GROUP}\nobjectClass: groupOfNames\ncn: left\nmember: uid=ben,{PEOPLE}\n\n");
    Slapd::builder().ldif(&ldif).start().expect("a directory")
}

fn marked_by(slapd: &Slapd, attribute: &str, value: &str, change: fn(&mut AttributeMapping)) -> Source {
    let test = disabled_rule::Test::AnyValueOf(ValueList { values: vec![value.to_owned()] });
    let settings = super::settings(slapd, &[PEOPLE]);
    let mut mapping = AttributeMapping {
        disabled: Some(DisabledRule { attribute: attribute.to_owned(), test: Some(test) }),
        ..settings.mapping.clone().expect("a mapping")
    };
    change(&mut mapping);
    let settings = IdentitySourceSettings { extra_filter: String::new(), mapping: Some(mapping), ..settings };
    source_of(slapd, &settings)
}

async fn fetched(source: &Source, number: u128) -> FetchedEntry {
    let pool = Pool::new(PoolLimits::default());
    let from = directory::FetchSource { prove_mark: true, ..source.to_fetch(true) };
    let id = id(number);
    let fetched = directory::fetch(&pool, from, UserSelector::ById(&id), Duration::from_secs(30)).await;
    let (_, Fetched::Entry(entry)) = fetched.expect("an answer") else { panic!("{number} is not there") };
    entry
}

/// Whether the entry shows its mark, and whether the absence of what it does not show is proved.
async fn shown(source: &Source, number: u128) -> (bool, bool) {
    let entry = fetched(source, number).await;
    let Mapped::Record(record) = map_entry(&source.mapping, &entry) else { panic!("{entry:?}") };
    (record.mark_proved, entry.is_mark_absent)
}

/// The same by a connection of its own, for many.
async fn proved(source: &Source, slapd: &Slapd, numbers: &[(u128, &str)]) -> Vec<bool> {
    let Source { read_request, mapping, credential, tls, .. } = source;
    let mut prover = MarkProver::new(
        read_request.clone(),
        mapping.clone(),
        credential.clone(),
        tls.clone(),
        Timeouts::default(),
    );
    let unproved: Vec<_> = numbers
        .iter()
        .map(|(number, name)| Unproved {
            id: id(*number),
            dn: format!("UID={name}, {PEOPLE}"),
            unseen: mapping.all_marks(),
        })
        .collect();
    let before = slapd.searches().expect("a monitor");
    let proved = prover.prove(&source.read_request.servers[0], &unproved).await;
    let searches = slapd.searches().expect("a monitor") - before;
    assert!(searches <= 8 + numbers.len() as u64 / 50, "{searches} searches for {}", numbers.len());
    proved
}

async fn test_connection(source: &Source) -> String {
    let Source { read_request, mapping, credential, tls, timeouts, .. } = source;
    let server = &read_request.servers[0];
    let test = directory::probe((read_request, mapping), server, credential, tls.clone(), timeouts).await;
    assert_eq!(test.error, "");
    test.mark_proof
}

#[tokio::test]
async fn a_mark_that_is_hidden_is_not_proved_absent_and_one_that_is_absent_is() {
    let slapd = directory();
    let source = marked_by(&slapd, "employeeType", "left", |_| {});
    assert_eq!(shown(&source, 1).await, (false, true), "no mark");
    assert_eq!(shown(&source, 3).await, (true, false), "another value, which needs no proof");
    assert!(test_connection(&source).await.contains("proved by a filter"));
    let mut many: Vec<_> = (10..130_u128).map(|number| (number, format!("u{number}"))).collect();
    many.extend([(2, "ben".to_owned()), (1, "ben".to_owned()), (1, "anna".to_owned())]);
    let asked: Vec<_> = many.iter().map(|(number, name)| (*number, name.as_str())).collect();
    let answers = proved(&source, &slapd, &asked).await;
    assert!(answers[..120].iter().all(|proved| *proved));
    // A marked one, the name of one with the id of another, and one without a mark.
    assert_eq!(answers[120..], [false, false, true]);

    for rule in [
        "to attrs=employeeType by * none".to_owned(),
        format!("to dn.exact=\"uid=anna,{PEOPLE}\" attrs=employeeType by * none"),
    ] {
        slapd.allow(&[&rule, "to * by users read by * none"]).expect("hidden");
        assert_eq!(shown(&source, 1).await, (false, false), "{rule}");
        assert_eq!(proved(&source, &slapd, &[(1, "anna")]).await, [false], "{rule}");
    }
    // Hidden for all: Ben, who is marked, is not seen to be.
    slapd.allow(&["to attrs=employeeType by * none", "to * by users read by * none"]).expect("hidden");
    assert_eq!(shown(&source, 2).await, (false, false));
    let assumed = marked_by(&slapd, "employeeType", "left", |mapping| mapping.assume_absent_mark = true);
    assert!(shown(&assumed, 1).await.0);
    assert!(test_connection(&assumed).await.contains("assume_absent_mark is set"));
}

#[tokio::test]
async fn a_server_on_which_nothing_is_hidden_from_the_account_proves_nothing_by_filters() {
    let slapd = directory();
    // Its own password can be read, so that filters cannot be shown to have three values.
    slapd.allow_everything().expect("allowed");
    let source = marked_by(&slapd, "employeeType", "left", |_| {});
    assert_eq!(shown(&source, 1).await, (false, false));
    let said = test_connection(&source).await;
    assert!(said.contains("assume_absent_mark") && said.contains("danger"), "{said}");
}

#[tokio::test]
async fn an_attribute_that_every_account_has_is_never_absent() {
    let slapd = directory();
    let source = marked_by(&slapd, "useraccountcontrol", "514", |mapping| mapping.assume_absent_mark = true);
    assert_eq!(shown(&source, 1).await, (false, false));
    assert!(test_connection(&source).await.contains("Every account has"));
}

#[tokio::test]
async fn both_rules_have_to_be_proved() {
    let slapd = directory();
    let expires = |mapping: &mut AttributeMapping| {
        let format = expiry_rule::Format::GeneralizedTime.into();
        mapping.expires = Some(ExpiryRule { attribute: "krbPrincipalExpiration".to_owned(), format });
    };
    let source = marked_by(&slapd, "employeeType", "left", expires);
    assert_eq!(shown(&source, 1).await, (false, true));
    slapd
        .allow(&["to attrs=krbPrincipalExpiration by * none", "to * by users read by * none"])
        .expect("hidden");
    assert_eq!(shown(&source, 1).await, (false, false));
    assert_eq!(shown(&source, 3).await, (false, false), "one rule was read, the other is hidden");
}

#[tokio::test]
async fn a_mark_by_groups_is_proved_by_the_members_of_the_group() {
    let slapd = directory();
    let source = marked_by(&slapd, "memberOf", &HIDDEN_GROUP.replace(',', ", "), |_| {});
    assert_eq!(shown(&source, 1).await, (false, true));
    assert_eq!(shown(&source, 2).await, (false, false), "a member");
    assert!(test_connection(&source).await.contains("members"));
    slapd.allow(&["to attrs=member by * none", "to * by users read by * none"]).expect("hidden");
    assert_eq!(shown(&source, 1).await, (false, false));
    let gone = marked_by(&slapd, "memberOf", "cn=renamed,dc=example,dc=com", |_| {});
    assert_eq!(shown(&gone, 1).await, (false, false));
}

#[tokio::test]
async fn each_entry_has_the_version_that_moves_with_its_changes() {
    let slapd = directory();
    let source = marked_by(&slapd, "employeeType", "left", |_| {});
    let version = async |number| fetched(&source, number).await.version.expect("a version");
    let (anna, ben) = (version(1).await, version(2).await);
    assert_eq!(anna.kind(), Kind::EntryCsn);
    slapd.replace(&format!("uid=anna,{PEOPLE}"), "title", &["captain"]).expect("changed");
    assert!(version(1).await.value > anna.value);
    assert_eq!(version(2).await, ben);
    // A whole read has the same.
    let timeouts = Timeouts::default();
    let open = directory::open_read(&source.read_request, &source.credential, source.tls.clone(), &timeouts);
    let open = open.await.expect("a server");
    let versions = open.versions().clone();
    let (sink, mut pages) = mpsc::channel(100);
    open.run(&source.read_request, &timeouts, sink).await.expect("a whole read");
    let mut found = None;
    while let Some(page) = pages.recv().await {
        let ben = page.iter().find(|entry| entry.values("uid").next() == Some(b"ben"));
        found = ben.and_then(|entry| versions.version_of(entry)).or(found);
    }
    assert_eq!(found, Some(ben));
}
