//! Lies about single people.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::admin::v1::AttributeMapping;
use router_agent::directory::{
    self, DirectoryError, Evidence, LookupAnswer, LookupRequest, Presence, ReadRequest, Timeouts,
};
use router_agent::record::Mapping;
use uuid::Uuid;

use super::server::{
    Request, beginning, credential, element, entries, entry_at, honest, message, read_request, result, serve,
    shown, tls,
};

const ROOT: &str = "ou=people,dc=x";
const CONTEXT: &str = "dc=x";

/// Looks up the people 1 to 3 below the root, on a server of which only the answers to searches are
/// scripted: what the script gets is the message id, the base, and the number of the search from 1.
/// It says itself that its naming context is `dc=x`.
async fn look_up(
    search: impl Fn(u8, &str, usize) -> Vec<u8> + Send + Sync + 'static,
) -> Result<LookupAnswer, DirectoryError> {
    let searches = AtomicUsize::new(0);
    let port = serve(move |id, asked| match &asked {
        Request::Search(base, 0) if base.is_empty() => {
            [shown(id, "", &[("namingContexts", CONTEXT.as_bytes())]), found(id, 0)].concat()
        }
        // Every name that is asked for is an entry.
        Request::Search(base, 0) => [entry_at(id, 0, base), found(id, 0)].concat(),
        Request::Search(base, _) => search(id, base, searches.fetch_add(1, Ordering::Relaxed) + 1),
        _ => honest(id, &asked),
    })
    .await;
    let read_request = ReadRequest { roots: vec![ROOT.to_owned()], ..read_request(port) };
    let settings = AttributeMapping {
        immutable_id: "entryUUID".to_owned(),
        user_name: "uid".to_owned(),
        mail: "mail".to_owned(),
        ..AttributeMapping::default()
    };
    let mapping = Mapping::new(&settings, 1, 0).expect("a mapping");
    let number =
        |number: u32| Uuid::try_parse(&format!("00000000-0000-0000-0000-{number:012}")).expect("an id");
    let ids = [1, 2, 3].map(|id| Bytes::copy_from_slice(number(id).as_bytes()));
    let wanted =
        LookupRequest { ids: &ids, mapping: &mapping, include_moved: true, evidence: Evidence::default() };
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, operation: second, page: second };
    let credential = credential();
    let looked_up = directory::lookup(&read_request, wanted, &credential, tls(), &timeouts);
    tokio::time::timeout(Duration::from_secs(20), looked_up).await.expect("an end")
}

fn found(id: u8, code: u8) -> Vec<u8> {
    message(id, &result(0x65, code), &[])
}

fn at(number: u32, parent: &str) -> String {
    format!("uid=u{number},{parent}")
}

#[tokio::test]
async fn people_with_another_id_than_was_asked_for_prove_nothing() {
    let looked_up = look_up(|id, base, _| match base {
        ROOT => [entry_at(id, 1, &at(1, ROOT)), entry_at(id, 77, &at(2, ROOT)), found(id, 0)].concat(),
        _ => [entry_at(id, 78, &at(2, CONTEXT)), shown(id, &at(3, CONTEXT), &[]), found(id, 0)].concat(),
    })
    .await
    .expect("a whole look-up");
    assert_eq!(looked_up.presences, [Presence::InScope, Presence::NotFound, Presence::NotFound]);
}

#[tokio::test]
async fn an_entry_from_outside_of_what_was_searched_fails_the_look_up() {
    for place in ["ou=archive,dc=x", "ou=xpeople,dc=x", "dc=x", "no name at all"] {
        let outcome = look_up(move |id, _, _| [entry_at(id, 1, &at(1, place)), found(id, 0)].concat()).await;
        assert!(matches!(outcome, Err(DirectoryError::Protocol { .. })), "{place}: {outcome:?}");
    }
    let outcome = look_up(|id, base, _| match base {
        ROOT => found(id, 0),
        _ => [entry_at(id, 1, &at(1, "dc=y")), found(id, 0)].concat(),
    })
    .await;
    assert!(matches!(outcome, Err(DirectoryError::Protocol { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_search_that_fails_fails_the_look_up_whatever_its_code_and_whatever_was_found() {
    for code in (1..=31).chain(33..=80) {
        for failing in [ROOT, CONTEXT] {
            let outcome = look_up(move |id, base, _| {
                let code = if base == failing { code } else { 0 };
                [entry_at(id, 1, &at(1, ROOT)), found(id, code)].concat()
            })
            .await;
            assert!(
                matches!(&outcome, Err(DirectoryError::LookupFailed { base, .. }) if base == failing),
                "code {code} below {failing}: {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_reference_into_the_scope_fails_the_look_up_and_one_to_elsewhere_does_not() {
    let refer = |id, url: &str| message(id, &element(0x73, &element(4, url.as_bytes())), &[]);
    for (url, fails) in [
        ("ldap://other.test/ou=berlin,ou=people,dc=x", true),
        ("ldap://other.test/dc=x", true),
        ("ldap://other.test", true),
        ("ldap://child.x.test/dc=child,dc=x", false),
        ("ldap://x.test/CN=Configuration,dc=x", false),
    ] {
        let outcome = look_up(move |id, base, _| match base {
            ROOT => found(id, 0),
            _ => [refer(id, url), found(id, 0)].concat(),
        })
        .await;
        assert_eq!(matches!(outcome, Err(DirectoryError::Referral { .. })), fails, "{url}: {outcome:?}");
        assert_eq!(outcome.is_err(), fails, "{url}: {outcome:?}");
    }
}

#[tokio::test]
async fn more_people_than_could_be_asked_for_fail_the_look_up() {
    let outcome = look_up(|id, _, _| [entries(id, 0..201), found(id, 0)].concat()).await;
    assert!(
        matches!(&outcome, Err(DirectoryError::Protocol { why, .. }) if why.contains("more entries")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_entry_that_is_too_large_fails_the_look_up_since_it_may_be_the_one_that_was_asked_for() {
    let outcome = look_up(|id, _, _| beginning(id, 9, &at(1, ROOT))).await;
    assert!(
        matches!(&outcome, Err(DirectoryError::Protocol { why, .. }) if why.contains("8 MiB")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_connection_that_ends_in_the_middle_says_nothing_of_anyone() {
    let outcome = look_up(|id, base, _| match base {
        ROOT => [entry_at(id, 1, &at(1, ROOT)), found(id, 0)].concat(),
        _ => Vec::new(),
    })
    .await;
    assert!(matches!(outcome, Err(DirectoryError::LookupFailed { .. })), "{outcome:?}");
}

#[tokio::test]
async fn who_was_deleted_is_told_from_who_moved_and_a_living_entry_outweighs_a_deleted_one() {
    let deleted = |id, number: u32| {
        let value = format!("00000000-0000-0000-0000-{number:012}");
        let attributes = [("entryUUID", value.as_bytes()), ("isDeleted", b"TRUE")];
        shown(id, &format!("CN=u{number}\\0ADEL:{value},CN=Deleted Objects,dc=x"), &attributes)
    };
    let looked_up = look_up(move |id, base, _| match base {
        ROOT => found(id, 0),
        _ => [deleted(id, 1), deleted(id, 2), entry_at(id, 2, &at(2, "ou=archive,dc=x")), found(id, 0)]
            .concat(),
    })
    .await
    .expect("a whole look-up");
    assert_eq!(looked_up.presences, [Presence::Deleted, Presence::OutOfScope, Presence::NotFound]);
}

#[tokio::test]
async fn who_moves_within_the_scope_while_it_is_searched_is_in_scope() {
    // Not in the root at first, then below it in the naming context, then in the root, too.
    let looked_up = look_up(|id, _, search| match search {
        1 => found(id, 0),
        2 => [entry_at(id, 1, &at(1, ROOT)), entry_at(id, 2, &at(2, ROOT)), found(id, 0)].concat(),
        _ => [entry_at(id, 1, &at(1, ROOT)), found(id, 0)].concat(),
    })
    .await
    .expect("a whole look-up");
    assert_eq!(looked_up.presences, [Presence::InScope, Presence::NotMatching, Presence::NotFound]);
}

#[tokio::test]
async fn where_no_entry_is_found_by_its_id_an_absence_by_id_proves_nothing() {
    // An entry is there, and the search by its id does not find it.
    let is_id_search = AtomicUsize::new(0);
    let looked_up = look_up(move |id, base, _| match base {
        // In scope by id; in the context by id; a sample; by the sample's id, by the root's id.
        ROOT if is_id_search.fetch_add(1, Ordering::Relaxed) == 1 => {
            [entry_at(id, 9, &at(9, ROOT)), found(id, 0)].concat()
        }
        _ => found(id, 0),
    })
    .await
    .expect("a whole look-up");
    assert_eq!(looked_up.presences, [Presence::NotVisible; 3]);
}
