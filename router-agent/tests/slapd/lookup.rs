//! Where people are found who were not in a read.

use bytes::Bytes;
use harness::ldap::Slapd;
use router_agent::directory::{
    self, DirectoryError, Evidence, LastName, LookupAnswer, LookupRequest, Presence, Witness,
};
use uuid::Uuid;

use super::{Source, person, source, unit};

const PEOPLE: &str = "ou=people,dc=example,dc=com";
const ARCHIVE: &str = "ou=archive,dc=example,dc=com";

fn id(number: u128) -> Bytes {
    Bytes::copy_from_slice(Uuid::from_u128(number).as_bytes())
}

/// Anna (1) to Dora (4) directly below the people, Eva (5) in Hamburg, Finn (6) in Lyon.
fn directory() -> Slapd {
    let (hamburg, lyon) = (format!("ou=hamburg,{PEOPLE}"), format!("ou=lyon,{PEOPLE}"));
    let mut ldif = unit("hamburg", PEOPLE) + &unit("lyon", PEOPLE);
    for (number, name) in (1..).zip(["anna", "ben", "carl", "dora"]) {
        ldif += &person(name, PEOPLE, number);
    }
    ldif += &(person("eva", &hamburg, 5) + &person("finn", &lyon, 6));
    Slapd::builder().ldif(&ldif).start().expect("a directory")
}

async fn look_up(
    source: &Source,
    ids: &[Bytes],
    include_moved: bool,
) -> Result<LookupAnswer, DirectoryError> {
    look_up_with(source, ids, include_moved, Evidence::default()).await
}

async fn look_up_with(
    source: &Source,
    ids: &[Bytes],
    include_moved: bool,
    evidence: Evidence<'_>,
) -> Result<LookupAnswer, DirectoryError> {
    let wanted = LookupRequest { ids, mapping: &source.mapping, include_moved, evidence };
    directory::lookup(&source.read_request, wanted, &source.credential, source.tls.clone(), &source.timeouts)
        .await
}

async fn presences(source: &Source, numbers: &[u128]) -> Vec<Presence> {
    let ids: Vec<_> = numbers.iter().map(|number| id(*number)).collect();
    look_up(source, &ids, true).await.expect("a whole look-up").presences
}

#[tokio::test]
async fn who_moved_left_the_filter_was_deleted_or_stayed_is_told_apart() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    slapd.rename(&format!("uid=ben,{PEOPLE}"), "uid=ben", Some(ARCHIVE)).expect("moved");
    slapd.replace(&format!("uid=carl,{PEOPLE}"), "employeeType", &["guest"]).expect("changed");
    slapd.delete(&format!("uid=dora,{PEOPLE}")).expect("deleted");
    let ids: Vec<_> = [4, 3, 2, 1, 99].map(id).to_vec();
    let found = look_up(&source, &ids, true).await.expect("a whole look-up");
    use Presence::{InScope, NotFound, NotMatching, OutOfScope};
    assert_eq!(found.presences, [NotFound, NotMatching, OutOfScope, InScope, NotFound]);
    assert_eq!(found.server, format!("localhost:{}", slapd.ldaps_port()));
}

#[tokio::test]
async fn where_the_policy_forbids_it_nobody_is_searched_outside_of_the_roots() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    slapd.rename(&format!("uid=ben,{PEOPLE}"), "uid=ben", Some(ARCHIVE)).expect("moved");
    slapd.replace(&format!("uid=carl,{PEOPLE}"), "employeeType", &["guest"]).expect("changed");
    let found = look_up(&source, &[id(1), id(2), id(3)], false).await.expect("a whole look-up");
    assert_eq!(found.presences, [Presence::InScope, Presence::NotFound, Presence::NotFound]);
}

#[tokio::test]
async fn who_is_hidden_from_the_bind_account_is_not_found_rather_than_out_of_scope() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    let rules = |hidden: &str| {
        format!(
            "dn: olcDatabase={{1}}mdb,cn=config\nchangetype: modify\nreplace: olcAccess\n\
             olcAccess: {{0}}to attrs=userPassword by anonymous auth by * none\n{hidden}"
        )
    };
    let hamburg = format!(
        "olcAccess: {{1}}to dn.subtree=\"ou=hamburg,{PEOPLE}\" by * none\nolcAccess: {{2}}to * by users read by * none\n"
    );
    slapd.configure(&rules(&hamburg)).expect("hidden");
    assert_eq!(presences(&source, &[1, 5]).await, [Presence::InScope, Presence::NotFound]);

    // An account that sees nothing but the people cannot search the naming context; that proves
    // nothing of anyone.
    let only =
        format!("olcAccess: {{1}}to dn.subtree=\"{PEOPLE}\" by users read\nolcAccess: {{2}}to * by * none\n");
    slapd.configure(&rules(&only)).expect("hidden");
    slapd.rename(&format!("uid=ben,{PEOPLE}"), "uid=ben", Some(ARCHIVE)).expect("moved");
    assert_eq!(presences(&source, &[1, 2]).await, [Presence::InScope, Presence::NotFound]);
}

#[tokio::test]
async fn who_is_in_a_subtree_that_was_renamed_is_found_where_it_is_now() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    slapd.rename(&format!("ou=hamburg,{PEOPLE}"), "ou=bremen", None).expect("renamed");
    slapd.rename(&format!("ou=lyon,{PEOPLE}"), "ou=lyon", Some(ARCHIVE)).expect("moved");
    assert_eq!(presences(&source, &[5, 6]).await, [Presence::InScope, Presence::OutOfScope]);
}

#[tokio::test]
async fn a_root_that_is_missing_leaves_the_others_to_be_searched_and_all_missing_are_an_error() {
    let slapd = directory();
    let (hamburg, lyon) = (format!("ou=hamburg,{PEOPLE}"), format!("ou=lyon,{PEOPLE}"));
    let source = source(&slapd, &[&hamburg, &lyon]);
    slapd.rename(&format!("uid=finn,{lyon}"), "uid=finn", Some(ARCHIVE)).expect("moved");
    slapd.delete(&lyon).expect("deleted");
    assert_eq!(presences(&source, &[5, 6]).await, [Presence::InScope, Presence::OutOfScope]);
    slapd.rename(&hamburg, "ou=bremen", None).expect("renamed");
    let outcome = look_up(&source, &[id(5)], true).await;
    assert!(matches!(outcome, Err(DirectoryError::RootNotFound { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_thousand_ids_are_looked_up_at_once_and_one_more_is_refused() {
    let slapd = Slapd::builder()
        .ldif(&(1..=120).map(|number| person(&format!("u{number}"), PEOPLE, number)).collect::<String>())
        .start()
        .expect("a directory");
    let source = source(&slapd, &[PEOPLE]);
    let ids: Vec<_> = (1..=1_000).map(id).collect();
    let found = look_up(&source, &ids, true).await.expect("a whole look-up").presences;
    for (number, presence) in (1..).zip(found) {
        let expected = if number <= 120 { Presence::InScope } else { Presence::NotFound };
        assert_eq!(presence, expected, "{number}");
    }
    for ids in [Vec::new(), (0..=1_000).map(id).collect()] {
        let outcome = look_up(&source, &ids, true).await;
        assert!(matches!(outcome, Err(DirectoryError::SourceInvalid(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_reference_that_may_hide_a_part_of_the_scope_fails_the_look_up_and_one_elsewhere_does_not() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    let elsewhere = "ldap://elsewhere.invalid/ou=partners,dc=example,dc=com";
    slapd.add_referral("ou=partners,dc=example,dc=com", elsewhere).expect("a reference");
    assert_eq!(presences(&source, &[1, 99]).await, [Presence::InScope, Presence::NotFound]);
    let within = format!("ldap://elsewhere.invalid/ou=sales,{PEOPLE}");
    slapd.add_referral(&format!("ou=sales,{PEOPLE}"), &within).expect("a reference");
    let outcome = look_up(&source, &[id(1)], true).await;
    assert!(matches!(outcome, Err(DirectoryError::Referral { .. })), "{outcome:?}");
}

/// The presences of these people, who were last known by these names, with Dora as the witness of
/// the people's container.
async fn judged(source: &Source, known: &[(u128, &str)]) -> Vec<Presence> {
    let ids: Vec<_> = known.iter().map(|(number, _)| id(*number)).collect();
    let names: Vec<_> = known.iter().map(|(_, name)| LastName::Known((*name).to_owned())).collect();
    let witnesses = [Witness { container: PEOPLE.to_owned(), id: id(4) }];
    let evidence = Evidence { names: &names, witnesses: &witnesses };
    look_up_with(source, &ids, true, evidence).await.expect("a whole look-up").presences
}

#[tokio::test]
async fn only_a_name_that_is_gone_from_a_visible_container_is_not_found() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    let name = |uid: &str| format!("uid={uid},{PEOPLE}");
    let (anna, ben, carl, finn) =
        (name("anna"), name("ben"), name("carl"), format!("uid=finn,ou=lyon,{PEOPLE}"));
    slapd.delete(&anna).expect("deleted");
    slapd.delete(&finn).expect("deleted");
    use Presence::{NotFound, NotVisible};
    // Gone, with a witness, and from a container that has none.
    assert_eq!(judged(&source, &[(1, &anna), (6, &finn)]).await, [NotFound, NotFound]);
    // The name was given to another person.
    let other = person("anna", PEOPLE, 17);
    let other: Vec<_> = other.lines().filter(|line| !line.starts_with("entryUUID")).collect();
    slapd.add(&other.join("\n")).expect("added");
    assert_eq!(judged(&source, &[(1, &anna)]).await, [NotFound]);

    // Hidden by access rules: the server says that there is no such entry, and no nearest one.
    slapd
        .allow(&[&format!("to dn.exact=\"{ben}\" by * none"), "to * by users read by * none"])
        .expect("hidden");
    assert_eq!(judged(&source, &[(2, &ben)]).await, [NotVisible]);
    // The witness is hidden, so its container may hide others as well.
    slapd.delete(&carl).expect("deleted");
    slapd
        .allow(&[&format!("to dn.exact=\"{}\" by * none", name("dora")), "to * by users read by * none"])
        .expect("hidden");
    assert_eq!(judged(&source, &[(3, &carl)]).await, [NotVisible]);
    // The container is hidden, or gone with all of its people.
    slapd.delete(&format!("ou=lyon,{PEOPLE}")).expect("deleted");
    assert_eq!(judged(&source, &[(6, &finn)]).await, [NotVisible]);
    // The policy does not allow asking for the name.
    let evidence = Evidence { names: &[LastName::Denied], witnesses: &[] };
    let denied = look_up_with(&source, &[id(3)], true, evidence).await.expect("a whole look-up");
    assert_eq!(denied.presences, [NotVisible]);
}

#[tokio::test]
async fn an_id_that_cannot_be_searched_for_is_not_visible() {
    let slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    // It may be read, and not searched for.
    slapd
        .allow(&[
            "to attrs=entryUUID by users =rsc",
            "to attrs=entryUUID by * none",
            "to * by users read by * none",
        ])
        .expect("allowed");
    let fine = judged(&source, &[(99, &format!("uid=x,{PEOPLE}"))]).await;
    assert_eq!(fine, [Presence::NotFound], "it may be searched for");
    slapd.allow(&["to attrs=entryUUID by users =rc", "to * by users read by * none"]).expect("allowed");
    let hidden =
        judged(&source, &[(1, &format!("uid=anna,{PEOPLE}")), (99, &format!("uid=x,{PEOPLE}"))]).await;
    assert_eq!(hidden, [Presence::NotVisible; 2]);
}
