//! Lies when one person is asked for: nobody signs in as somebody else for it, and nothing of it is
//! left for the next question.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use harness::Certificate;
use rollcall_proto::admin::v1::{AttributeMapping, NotSynchronizedReason as Reason};
use router_agent::directory::{
    self, DirectoryError, FetchSource, Fetched, Pool, PoolLimits, Presence, ReadRequest, UserSelector,
};
use router_agent::record::{Mapped, Mapping, Name, NameQuery, map_entry};
use tempfile::TempDir;
use uuid::Uuid;

use super::server::{
    Request, beginning, credential, element, entry_at, honest, message, read_request, result, serve,
    serve_dripping, shown,
};

const ROOT: &str = "ou=people,dc=x";
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A router and the hostile directory that it asks.
struct HostileDirectory {
    read_request: ReadRequest,
    mapping: Mapping,
    pool: Pool,
    authority: TempDir,
}

type Outcome = Result<(String, Fetched), DirectoryError>;

impl HostileDirectory {
    fn at(ports: &[u16]) -> Self {
        let servers = ports.iter().flat_map(|port| read_request(*port).servers).collect();
        let attributes = ["entryUUID", "uid", "mail"].map(str::to_owned).to_vec();
        let read_request =
            ReadRequest { servers, attributes, roots: vec![ROOT.to_owned()], ..read_request(0) };
        let settings = AttributeMapping {
            immutable_id: "entryUUID".to_owned(),
            user_name: "uid".to_owned(),
            mail: "mail".to_owned(),
            ..AttributeMapping::default()
        };
        let mapping = Mapping::new(&settings, 1, 0).expect("a mapping");
        let authority = tempfile::tempdir().expect("a folder");
        harness::ldap::certificate::write(authority.path(), &Certificate::Valid).expect("an authority");
        Self { read_request, mapping, pool: Pool::new(PoolLimits::default()), authority }
    }

    /// One of which only the answers to searches below the root are scripted: what the script gets
    /// is the message id, and the number of the search from 1.
    async fn start(search: impl Fn(u8, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let searches = AtomicUsize::new(0);
        let script = move |id, asked: Request| match &asked {
            Request::Search(base, 2) if base == ROOT => {
                search(id, searches.fetch_add(1, Ordering::Relaxed) + 1)
            }
            Request::Search(base, 0) if base == ROOT => root(id),
            _ => honest(id, &asked),
        };
        Self::at(&[serve(script).await])
    }

    async fn ask(&self, whom: UserSelector<'_>, within: Duration) -> Outcome {
        let ca_file = self.authority.path().join("ca.pem");
        let source = FetchSource {
            request: &self.read_request,
            mapping: &self.mapping,
            credential: &credential(),
            ca_file: Some(&ca_file),
            look_up_moved: true,
            prove_mark: false,
        };
        let fetch = directory::fetch(&self.pool, source, whom, within);
        tokio::time::timeout(TEST_TIMEOUT * 2, fetch).await.expect("an end in time")
    }

    async fn fetch_within(&self, name: &str, within: Duration) -> Outcome {
        let named = NameQuery::new(&self.mapping, Name::User(name)).expect("mapped").expect("a name");
        self.ask(UserSelector::ByName(&named), within).await
    }

    async fn fetch(&self, name: &str) -> Outcome {
        self.fetch_within(name, TEST_TIMEOUT).await
    }
}

fn found(id: u8, code: u8) -> Vec<u8> {
    message(id, &result(0x65, code), &[])
}

/// The root itself.
fn root(id: u8) -> Vec<u8> {
    [entry_at(id, 0, ROOT), found(id, 0)].concat()
}

/// The person with this number and name.
fn person(id: u8, number: u32, name: &str) -> Vec<u8> {
    let value = format!("00000000-0000-0000-0000-{number:012}");
    let attributes = [("entryUUID", value.as_bytes()), ("uid", name.as_bytes()), ("mail", b"a@x.test")];
    shown(id, &format!("uid=u{number},{ROOT}"), &attributes)
}

fn is_anna(outcome: &Outcome) -> bool {
    let Ok((_, Fetched::Entry(entry))) = outcome else { return false };
    entry.values("uid").next() == Some(b"anna")
}

fn is_nobody(outcome: &Outcome) -> bool {
    matches!(outcome, Ok((_, Fetched::Absent(Presence::NotFound))))
}

#[tokio::test]
async fn who_has_another_name_than_was_asked_for_is_not_who_was_asked_for() {
    let mut hostile = HostileDirectory::start(|id, search| match search {
        1 => [person(id, 1, "root"), found(id, 0)].concat(),
        2 => [person(id, 1, "ann\u{e4}"), person(id, 2, "\u{430}nna"), found(id, 0)].concat(),
        3 => [shown(id, &format!("uid=anna,{ROOT}"), &[("cn", b"anna")]), found(id, 0)].concat(),
        _ => [person(id, 1, "root"), person(id, 2, "anna"), person(id, 3, "ben"), found(id, 0)].concat(),
    })
    .await;
    for search in 1..=3 {
        // On a new connection, so that each question is one search.
        hostile.pool = Pool::new(PoolLimits::default());
        let outcome = hostile.fetch("anna").await;
        assert!(is_nobody(&outcome), "{search}: {outcome:?}");
    }
    let outcome = hostile.fetch("Anna").await;
    assert!(is_anna(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn who_has_another_id_than_was_asked_for_is_not_who_was_asked_for() {
    let number = Arc::new(AtomicUsize::new(7));
    let shown_number = Arc::clone(&number);
    let hostile = HostileDirectory::start(move |id, _| {
        let number = u32::try_from(shown_number.load(Ordering::Relaxed)).expect("small");
        [person(id, number, "anna"), found(id, 0)].concat()
    })
    .await;
    let id = Bytes::copy_from_slice(Uuid::from_u128(1).as_bytes());
    let outcome = hostile.ask(UserSelector::ById(&id), TEST_TIMEOUT).await;
    assert!(is_nobody(&outcome), "{outcome:?}");
    number.store(1, Ordering::Relaxed);
    let outcome = hostile.ask(UserSelector::ById(&id), TEST_TIMEOUT).await;
    assert!(is_anna(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn a_used_connection_that_finds_nobody_is_asked_again_on_a_new_one() {
    // A proxy whose connection goes on as with a stranger after the first search.
    let binds = Arc::new(AtomicUsize::new(0));
    let bound = Arc::clone(&binds);
    let searches = AtomicUsize::new(0);
    let port = serve(move |id, asked| match &asked {
        Request::Bind => {
            bound.fetch_add(1, Ordering::Relaxed);
            searches.store(0, Ordering::Relaxed);
            honest(id, &asked)
        }
        Request::Search(base, 0) if base == ROOT => root(id),
        Request::Search(base, 2) if base == ROOT => match searches.fetch_add(1, Ordering::Relaxed) {
            0 => [person(id, 1, "anna"), found(id, 0)].concat(),
            _ => found(id, 0),
        },
        _ => honest(id, &asked),
    })
    .await;
    let hostile = HostileDirectory::at(&[port]);
    for connections in 1..=3 {
        let outcome = hostile.fetch("anna").await;
        assert!(is_anna(&outcome), "{outcome:?}");
        assert_eq!(binds.load(Ordering::Relaxed), connections);
        assert_eq!(hostile.pool.connections(), 1, "the old one is retired");
    }
}

#[tokio::test]
async fn a_root_that_answers_success_with_nothing_is_there_only_if_its_own_entry_is() {
    let port = serve(|id, asked| honest(id, &asked)).await;
    let hostile = HostileDirectory::at(&[port]);
    let outcome = hostile.fetch("anna").await;
    assert!(matches!(outcome, Err(DirectoryError::RootNotFound { .. })), "{outcome:?}");
}

#[tokio::test]
async fn more_entries_than_were_asked_for_are_nobody_and_entries_without_end_fail_the_fetch() {
    let hostile = HostileDirectory::start(|id, search| {
        let count = if search == 1 { 200 } else { 20_000 };
        let people: Vec<u8> = (0..count).flat_map(|number| person(id, number, "anna")).collect();
        [people, found(id, 0)].concat()
    })
    .await;
    let outcome = hostile.fetch("anna").await;
    assert!(matches!(outcome, Ok((_, Fetched::Ambiguous(200)))), "{outcome:?}");
    let outcome = hostile.fetch("anna").await;
    assert!(
        matches!(&outcome, Err(DirectoryError::Protocol { why, .. }) if why.contains("more entries")),
        "{outcome:?}"
    );
    assert_eq!(hostile.pool.connections(), 0, "the connection was kept");
}

#[tokio::test]
async fn an_answer_that_drips_without_end_ends_in_time() {
    let searching = |asked: &Request| matches!(asked, Request::Search(base, 2) if base == ROOT);
    let script = move |id, asked: Request| match searching(&asked) {
        true => [person(id, 1, "anna").repeat(100), found(id, 0)].concat(),
        false => honest(id, &asked),
    };
    let hostile = HostileDirectory::at(&[serve_dripping(script, searching).await]);
    let outcome = hostile.fetch_within("anna", Duration::from_secs(1)).await;
    assert!(
        matches!(&outcome, Err(DirectoryError::FetchFailed { why, .. }) if why.contains("in time")),
        "{outcome:?}"
    );
    assert_eq!(hostile.pool.connections(), 0, "the connection was kept");
}

#[tokio::test]
async fn an_entry_from_outside_of_the_root_fails_the_fetch() {
    for place in ["ou=archive,dc=x", "ou=xpeople,dc=x", "dc=x", "no name at all"] {
        let hostile = HostileDirectory::start(move |id, _| {
            let dn = format!("uid=anna,{place}");
            [shown(id, &dn, &[("uid", b"anna")]), found(id, 0)].concat()
        })
        .await;
        let outcome = hostile.fetch("anna").await;
        assert!(matches!(outcome, Err(DirectoryError::Protocol { .. })), "{place}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_search_that_fails_fails_the_fetch_whatever_its_code_and_whatever_was_found() {
    for code in 1..=80 {
        let hostile =
            HostileDirectory::start(move |id, _| [person(id, 1, "anna"), found(id, code)].concat()).await;
        let outcome = hostile.fetch("anna").await;
        let expected = match code {
            10 => matches!(outcome, Err(DirectoryError::Referral { .. })),
            32 => matches!(outcome, Err(DirectoryError::RootNotFound { .. })),
            _ => matches!(outcome, Err(DirectoryError::FetchFailed { .. })),
        };
        assert!(expected, "{code}: {outcome:?}");
    }
}

#[tokio::test]
async fn of_more_than_the_limit_two_with_the_name_are_nobody_and_one_is_not_known_to_be_alone() {
    let hostile = HostileDirectory::start(|id, search| match search {
        1 => [person(id, 1, "anna"), person(id, 2, "ANNA"), found(id, 4)].concat(),
        _ => [person(id, 1, "anna"), person(id, 2, "ann\u{e4}"), found(id, 4)].concat(),
    })
    .await;
    let outcome = hostile.fetch("anna").await;
    assert!(matches!(outcome, Ok((_, Fetched::Ambiguous(2)))), "{outcome:?}");
    let outcome = hostile.fetch("anna").await;
    assert!(matches!(outcome, Err(DirectoryError::FetchFailed { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_reference_fails_the_fetch_whatever_name_it_carries() {
    let refer = |id, url: &str| message(id, &element(0x73, &element(4, url.as_bytes())), &[]);
    for url in [
        "ldap://other.test/ou=berlin,ou=people,dc=x",
        "ldap://other.test",
        "ldap://other.test/ou=branch,dc=other",
        "ldap://x.test/CN=Configuration,dc=x",
    ] {
        let hostile = HostileDirectory::start(move |id, _| {
            [refer(id, url), person(id, 1, "anna"), found(id, 0)].concat()
        })
        .await;
        let outcome = hostile.fetch("anna").await;
        assert!(matches!(outcome, Err(DirectoryError::Referral { .. })), "{url}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_answer_to_another_question_is_no_answer_and_its_connection_is_not_used_again() {
    let hostile = HostileDirectory::start(|id, search| match search {
        1 => [person(id + 1, 1, "anna"), found(id + 1, 0)].concat(),
        2 => [person(id + 1, 1, "anna"), found(id, 0)].concat(),
        _ => found(id, 0),
    })
    .await;
    for _ in 0..2 {
        let outcome = hostile.fetch("anna").await;
        assert!(matches!(outcome, Err(DirectoryError::Protocol { .. })), "{outcome:?}");
        assert_eq!(hostile.pool.connections(), 0, "the connection was kept");
    }
    let outcome = hostile.fetch("anna").await;
    assert!(is_nobody(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn what_comes_behind_an_answer_is_not_taken_for_the_next_ones() {
    // Behind the first answer comes what would be the second one.
    let hostile = HostileDirectory::start(|id, search| match search {
        1 => [person(id, 1, "ben"), found(id, 0), person(id + 1, 2, "anna"), found(id + 1, 0)].concat(),
        _ => found(id, 0),
    })
    .await;
    let first = hostile.fetch("ben").await;
    assert!(matches!(first, Ok((_, Fetched::Entry(_)))), "{first:?}");
    let outcome = hostile.fetch("anna").await;
    assert!(is_nobody(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_one_that_cannot_be_used() {
    let hostile = HostileDirectory::start(|id, _| {
        let start = beginning(id, 9, &format!("uid=anna,{ROOT}"));
        let rest = (9 << 20) + 6 - start.len();
        [start, vec![b'x'; rest], found(id, 0)].concat()
    })
    .await;
    let outcome = hostile.fetch("anna").await;
    let Ok((_, Fetched::Entry(entry))) = outcome else { panic!("{outcome:?}") };
    let Mapped::Rejected(rejected) = map_entry(&hostile.mapping, &entry) else { panic!("{entry:?}") };
    assert_eq!((rejected.reason(), rejected.user_name.as_str()), (Reason::EntryUnreadable, "anna"));
}

#[tokio::test]
async fn a_connection_that_is_closed_in_a_search_is_replaced_once_if_it_was_used_before_and_not_for_ever() {
    // Every second search ends the connection.
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let hostile = HostileDirectory::start(move |id, search| {
        counted.fetch_add(1, Ordering::Relaxed);
        match search % 2 {
            1 => [person(id, 1, "anna"), found(id, 0)].concat(),
            _ => Vec::new(),
        }
    })
    .await;
    for _ in 0..5 {
        let outcome = hostile.fetch("anna").await;
        assert!(is_anna(&outcome), "{outcome:?}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 9);

    let hostile = HostileDirectory::start(|_, _| Vec::new()).await;
    let outcome = hostile.fetch("anna").await;
    assert!(matches!(outcome, Err(DirectoryError::FetchFailed { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_is_busy_or_breaks_the_protocol_leaves_the_answer_to_the_other() {
    let lies: [fn(u8) -> Vec<u8>; 4] = [
        |id| found(id, 51),
        |id| found(id, 52),
        |id| [person(id, 1, "anna"), found(id + 1, 0)].concat(),
        |_| vec![0x30, 0],
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let script = |answer: fn(u8) -> Vec<u8>| {
            move |id, asked: Request| match &asked {
                Request::Search(base, 2) if base == ROOT => answer(id),
                _ => honest(id, &asked),
            }
        };
        let good: fn(u8) -> Vec<u8> = |id| [person(id, 1, "anna"), found(id, 0)].concat();
        let other = serve(script(good)).await;
        let hostile = HostileDirectory::at(&[serve(script(lie)).await, other]);
        for _ in 0..2 {
            let outcome = hostile.fetch("anna").await;
            assert!(is_anna(&outcome), "{number}: {outcome:?}");
            assert_eq!(outcome.expect("an answer").0, format!("127.0.0.1:{other}"));
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_however_many_people_are_asked_for() {
    let binds = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&binds);
    let port = serve(move |id, asked| match asked {
        Request::Bind => {
            counted.fetch_add(1, Ordering::Relaxed);
            message(id, &result(0x61, 49), &[])
        }
        _ => honest(id, &asked),
    })
    .await;
    let hostile = HostileDirectory::at(&[port]);
    let fetch = || hostile.fetch("anna");
    let (a, b, c, d, e, f) = tokio::join!(fetch(), fetch(), fetch(), fetch(), fetch(), fetch());
    for outcome in [a, b, c, d, e, f, fetch().await] {
        assert!(matches!(outcome, Err(DirectoryError::BindRejected { code: 49, .. })), "{outcome:?}");
    }
    assert_eq!(binds.load(Ordering::Relaxed), 1, "tried for each, it would lock the account");
}

#[tokio::test]
async fn who_is_elsewhere_by_the_word_of_a_lying_server_is_not_in_scope() {
    let port = serve(|id, asked| match &asked {
        Request::Search(base, 0) if base.is_empty() => {
            [shown(id, "", &[("namingContexts", b"dc=x")]), found(id, 0)].concat()
        }
        Request::Search(base, 2) if base == "dc=x" => {
            [entry_at(id, 1, "uid=anna,ou=archive,dc=x"), found(id, 0)].concat()
        }
        Request::Search(base, 0) if base == ROOT => root(id),
        _ => honest(id, &asked),
    })
    .await;
    let hostile = HostileDirectory::at(&[port]);
    let id = Bytes::copy_from_slice(
        Uuid::try_parse("00000000-0000-0000-0000-000000000001").expect("an id").as_bytes(),
    );
    let outcome = hostile.ask(UserSelector::ById(&id), TEST_TIMEOUT).await;
    assert!(matches!(outcome, Ok((_, Fetched::Absent(Presence::OutOfScope)))), "{outcome:?}");
}

#[tokio::test]
async fn what_one_search_breaks_on_a_connection_costs_no_other_search_its_answer() {
    // The fifth search finds more than were asked for, while others are under way beside it.
    let mut hostile = HostileDirectory::start(|id, search| match search {
        5 => [person(id, 1, "anna").repeat(300), found(id, 0)].concat(),
        _ => [person(id, 1, "anna"), found(id, 0)].concat(),
    })
    .await;
    // It serves one connection at a time.
    hostile.pool = Pool::new(PoolLimits { max_per_target: 1, ..PoolLimits::default() });
    let hostile = Arc::new(hostile);
    assert!(is_anna(&hostile.fetch("anna").await));
    let fetches: Vec<_> = (0..12)
        .map(|_| {
            let hostile = Arc::clone(&hostile);
            tokio::spawn(async move { hostile.fetch("anna").await })
        })
        .collect();
    let mut failed = 0;
    for fetch in fetches {
        match fetch.await.expect("no panic") {
            outcome if is_anna(&outcome) => {}
            Err(DirectoryError::Protocol { .. }) => failed += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failed, 1, "the one that it was");
}

#[tokio::test]
async fn a_server_that_cannot_take_a_bind_costs_the_credential_nothing() {
    for code in [51, 52, 80, 1, 2, 3] {
        let is_back = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let state = Arc::clone(&is_back);
        let port = serve(move |id, asked| match &asked {
            Request::Bind if !state.load(Ordering::Relaxed) => message(id, &result(0x61, code), &[]),
            Request::Search(base, 2) if base == ROOT => [person(id, 1, "anna"), found(id, 0)].concat(),
            _ => honest(id, &asked),
        })
        .await;
        let hostile = HostileDirectory::at(&[port]);
        let outcome = hostile.fetch("anna").await;
        assert!(matches!(outcome, Err(DirectoryError::BindUnanswered { .. })), "{code}: {outcome:?}");
        is_back.store(true, Ordering::Relaxed);
        // At once, not after a pause.
        let outcome = hostile.fetch("anna").await;
        assert!(is_anna(&outcome), "{code}: {outcome:?}");
    }
}
