//! Lies while a source is read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use router_agent::directory::{self, DirectoryError, ReadComplete, ReadRequest, Timeouts};
use tokio::sync::mpsc;

use super::server::{
    Request, beginning, credential, done, element, entries, entry, entry_at, honest, message, read_request,
    result, serve, serve_dripping, shown, tls,
};

/// Answers pages after an honest bind and an honest base entry: what it gets is the message id and
/// the number of the page from 1.
async fn read(
    page: impl Fn(u8, usize) -> Vec<u8> + Send + Sync + 'static,
) -> Result<ReadComplete, DirectoryError> {
    read_from(page, |id| there(id, "dc=x")).await
}

async fn read_from(
    page: impl Fn(u8, usize) -> Vec<u8> + Send + Sync + 'static,
    base: impl Fn(u8) -> Vec<u8> + Send + Sync + 'static,
) -> Result<ReadComplete, DirectoryError> {
    let pages = AtomicUsize::new(0);
    let port = serve(move |id, asked| match &asked {
        Request::Search(name, 0) if !name.is_empty() => base(id),
        Request::Search(_, 2) => page(id, pages.fetch_add(1, Ordering::Relaxed) + 1),
        _ => honest(id, &asked),
    })
    .await;
    read_all_of(&read_request(port)).await
}

async fn read_all_of(read_request: &ReadRequest) -> Result<ReadComplete, DirectoryError> {
    let (sink, mut entries) = mpsc::channel(1);
    let drain = tokio::spawn(async move { while entries.recv().await.is_some() {} });
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, operation: second, page: second };
    let credential = credential();
    let read = directory::read(read_request, &credential, tls(), &timeouts, sink);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("an end");
    drain.await.expect("drained");
    read
}

#[tokio::test]
async fn a_read_that_was_whole_is_complete() {
    let complete = read(|id, page| match page {
        1 => [entries(id, 1..11), done(id, 0, b"more")].concat(),
        _ => [entries(id, 11..15), done(id, 0, b"")].concat(),
    })
    .await
    .expect("a whole read");
    assert_eq!((complete.roots()[0].pages, complete.roots()[0].entries), (2, 14));
}

#[tokio::test]
async fn a_page_that_fails_fails_the_read_whatever_its_code_and_whatever_comes_after() {
    for code in (1..=9).chain(11..=31).chain(33..=80) {
        for failing in 1..=3 {
            let outcome = read(move |id, page| {
                let code = if page == failing { code } else { 0 };
                let cookie: &[u8] = if page == 3 { b"" } else { &[u8::try_from(page).expect("small")] };
                [entries(id, 0..2), done(id, code, cookie)].concat()
            })
            .await;
            let expected = u32::from(code);
            assert!(
                matches!(outcome, Err(DirectoryError::ReadIncomplete { code, page, .. }) if code == expected && page == failing as u64),
                "code {code} on page {failing}: {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_without_the_paging_control_is_not_the_last_one() {
    let outcome = read(|id, _| [entries(id, 0..5), message(id, &result(0x65, 0), &[])].concat()).await;
    // As where a server is about to stop: the read may be repeated.
    assert!(matches!(outcome, Err(DirectoryError::Broken { page: 1, .. })), "{outcome:?}");
}

#[tokio::test]
async fn an_entry_from_outside_of_the_root_fails_the_read() {
    for place in ["uid=a,dc=y", "uid=a,dc=xx", "", "no name at all"] {
        let outcome = read(move |id, _| [entry_at(id, 1, place), done(id, 0, b"")].concat()).await;
        assert!(matches!(outcome, Err(DirectoryError::Protocol { .. })), "{place}: {outcome:?}");
    }
    let base = read_from(|id, _| done(id, 0, b""), |id| there(id, "dc=y")).await;
    assert!(matches!(base, Err(DirectoryError::Protocol { .. })), "{base:?}");
}

#[tokio::test]
async fn a_reference_fails_the_read_whatever_name_it_carries_unless_it_is_active_directorys_own() {
    let refer = |id, url: &str| message(id, &element(0x73, &element(4, url.as_bytes())), &[]);
    let own: [(&str, &[u8]); 4] = [
        ("supportedCapabilities", b"1.2.840.113556.1.4.800"),
        ("configurationNamingContext", b"CN=Configuration,dc=x"),
        ("defaultNamingContext", b"dc=x"),
        ("rootDomainNamingContext", b"dc=x"),
    ];
    for (url, is_harmless) in [
        ("ldap://x.test/CN=Configuration,DC=x", true),
        ("ldap://x.test/DC=DomainDnsZones,dc=x", true),
        ("ldap://x.test/DC=ForestDnsZones,dc=x", true),
        ("ldap://child.x.test/dc=child,dc=x", false),
        ("ldap://x.test/DC=DomainDnsZones,dc=child,dc=x", false),
        ("ldap://other.example.com/ou=branch,dc=other", false),
        ("ldap://other.example.com", false),
    ] {
        for is_active_directory in [true, false] {
            let port = serve(move |id, asked| match &asked {
                Request::Search(name, 0) if name.is_empty() && is_active_directory => {
                    [shown(id, "", &own), end(id, 0)].concat()
                }
                Request::Search(name, 0) if !name.is_empty() => there(id, name),
                Request::Search(_, 2) => [refer(id, url), entries(id, 1..4), done(id, 0, b"")].concat(),
                _ => honest(id, &asked),
            })
            .await;
            match read_all_of(&read_request(port)).await {
                Ok(complete) => {
                    assert!(is_harmless && is_active_directory, "{url}");
                    assert_eq!(complete.roots()[0].ignored_references, 1);
                }
                Err(error @ DirectoryError::Referral { .. }) => {
                    assert!(!(is_harmless && is_active_directory), "{url}");
                    let said = error.to_string();
                    let name = url.splitn(4, '/').nth(3).unwrap_or("a part");
                    assert!(said.contains(name) && said.contains("source of its own"), "{said}");
                    assert!(said.contains("organizational unit"), "{said}");
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_same_page_again_and_empty_pages_without_end_are_noticed() {
    let same = read(|id, _| [entries(id, 0..5), done(id, 0, b"same")].concat()).await;
    assert!(matches!(same, Err(DirectoryError::Protocol { .. })), "{same:?}");
    let circle = read(|id, page| [entries(id, 0..5), done(id, 0, &[b"ab"[page % 2]])].concat()).await;
    assert!(matches!(circle, Err(DirectoryError::Protocol { .. })), "{circle:?}");
    for cookie in [None, Some(b"same")] {
        let empty = read(move |id, page| match cookie {
            Some(cookie) => done(id, 0, cookie),
            None => done(id, 0, &page.to_be_bytes()),
        })
        .await;
        assert!(matches!(empty, Err(DirectoryError::Protocol { .. })), "{empty:?}");
    }
}

#[tokio::test]
async fn a_cookie_may_stay_the_same_from_page_to_page() {
    let complete = read(|id, page| {
        let first = u32::try_from(page).expect("small") * 5;
        let cookie: &[u8] = if page == 6 { b"" } else { b"same" };
        [entries(id, first..first + 5), done(id, 0, cookie)].concat()
    })
    .await
    .expect("a whole read");
    assert_eq!((complete.roots()[0].pages, complete.roots()[0].entries), (6, 30));
}

#[tokio::test]
async fn more_entries_than_were_asked_for_are_not_taken() {
    let outcome = read(|id, _| entries(id, 0..5_000)).await;
    assert!(matches!(outcome, Err(DirectoryError::Protocol { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_connection_that_is_cut_is_not_the_end_of_the_read() {
    let whole = |id| [entries(id, 0..3), done(id, 0, b"")].concat();
    let length = whole(1).len();
    for cut in (1..length).step_by(41) {
        let outcome =
            read(move |id, page| if page == 1 { whole(id)[..cut].to_vec() } else { Vec::new() }).await;
        assert!(
            matches!(outcome, Err(DirectoryError::Broken { .. })),
            "cut after {cut} of {length}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn messages_that_would_kill_a_parser_only_fail_the_read() {
    let mut deep = vec![5, 0];
    for _ in 0..20_000 {
        deep = element(0x30, &deep);
    }
    let hostile: [(&str, Vec<u8>); 5] = [
        ("20,000 levels", deep),
        ("two gigabytes", vec![0x30, 0x84, 0x80, 0, 0, 0, 1, 2, 3]),
        ("an empty SEQUENCE", vec![0x30, 0]),
        ("an unknown operation", element(0x30, &[2, 1, 3, 0x7E, 0])),
        ("no BER at all", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in hostile {
        let outcome = read(move |_, _| bytes.clone()).await;
        assert!(matches!(outcome, Err(DirectoryError::Protocol { .. })), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_entry_that_is_too_large_is_one_entry_of_a_complete_read_and_those_beside_it_are_whole() {
    let port = serve(|id, asked| match &asked {
        Request::Search(_, 2) => {
            let large = shown(id, "uid=large,dc=x", &[("description", &vec![b'x'; 50 << 20])]);
            [entry(id, 1), large, entry(id, 2), done(id, 0, b"")].concat()
        }
        Request::Search(name, 0) if !name.is_empty() => there(id, name),
        _ => honest(id, &asked),
    })
    .await;
    let (sink, mut pages) = mpsc::channel(1);
    let (read_request, credential, timeouts) = (read_request(port), credential(), Timeouts::default());
    let complete =
        directory::read(&read_request, &credential, tls(), &timeouts, sink).await.expect("a whole read");
    assert_eq!(complete.roots()[0].entries, 3);
    let page = pages.recv().await.expect("a page");
    let seen: Vec<_> = page.iter().map(|entry| (entry.dn(), entry.is_too_large())).collect();
    assert_eq!(seen, [(&b"uid=u1,dc=x"[..], false), (b"uid=large,dc=x", true), (b"uid=u2,dc=x", false)]);
    assert_eq!(page[1].values("description").count(), 0);
    assert_eq!(page[2].values("entryUUID").count(), 1);
}

#[tokio::test]
async fn a_large_entry_that_is_cut_or_too_large_to_be_thrown_away_or_the_base_fails_the_read() {
    let cut = read(|id, page| if page == 1 { beginning(id, 9, "uid=a,dc=x") } else { Vec::new() }).await;
    assert!(matches!(cut, Err(DirectoryError::Broken { page: 1, .. })), "{cut:?}");
    let endless = read(|id, _| beginning(id, 300, "uid=a,dc=x")).await;
    assert!(
        matches!(&endless, Err(DirectoryError::Protocol { why, .. }) if why.contains("256 MiB")),
        "{endless:?}"
    );
    let base = read_from(|id, _| done(id, 0, b""), |id| beginning(id, 9, "dc=x")).await;
    assert!(
        matches!(&base, Err(DirectoryError::Protocol { why, .. }) if why.contains("8 MiB")),
        "no base entry is that large: {base:?}"
    );
}

#[tokio::test]
async fn a_base_that_becomes_another_entry_while_it_is_read_is_noticed() {
    let asked = std::sync::atomic::AtomicU32::new(0);
    let outcome = read_from(
        |id, _| [entries(id, 0..3), done(id, 0, b"")].concat(),
        move |id| {
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            [entry_at(id, number, "dc=x"), end(id, 0)].concat()
        },
    )
    .await;
    assert!(matches!(outcome, Err(DirectoryError::RootChanged { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_page_that_drips_is_given_up_when_the_time_for_a_page_is_over() {
    let port = serve_dripping(
        |id, asked| match &asked {
            Request::Search(_, 2) => [entries(id, 1..4), done(id, 0, b"")].concat(),
            Request::Search(name, 0) if !name.is_empty() => there(id, name),
            _ => honest(id, &asked),
        },
        |asked| matches!(asked, Request::Search(_, 2)),
    )
    .await;
    let outcome = read_all_of(&read_request(port)).await;
    assert!(matches!(outcome, Err(DirectoryError::Broken { page: 1, .. })), "{outcome:?}");
}

/// Reads `ou=a,dc=x` and `ou=b,dc=x`, of which only the answers to base searches are scripted: by
/// the name, and the number of the search for it from 1.
async fn two_roots(
    base: impl Fn(u8, &str, usize) -> Vec<u8> + Send + Sync + 'static,
) -> Result<ReadComplete, DirectoryError> {
    let asked_for = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let port = serve(move |id, asked| match &asked {
        Request::Search(name, 0) if name.starts_with("ou=") => {
            let count = &asked_for[usize::from(name.starts_with("ou=b"))];
            base(id, name, count.fetch_add(1, Ordering::Relaxed) + 1)
        }
        Request::Search(root, 2) => {
            let people = (1..4).flat_map(|number| entry_at(id, number, &format!("uid=u{number},{root}")));
            [people.collect(), done(id, 0, b"")].concat()
        }
        _ => honest(id, &asked),
    })
    .await;
    let roots = ["ou=a,dc=x", "ou=b,dc=x"].map(str::to_owned).to_vec();
    read_all_of(&ReadRequest { roots, ..read_request(port) }).await
}

fn end(id: u8, code: u8) -> Vec<u8> {
    message(id, &result(0x65, code), &[])
}

fn there(id: u8, name: &str) -> Vec<u8> {
    [entry_at(id, 0, name), end(id, 0)].concat()
}

#[tokio::test]
async fn a_root_that_is_not_there_is_missing_only_if_its_own_base_says_so_and_another_is_there() {
    // No such object, and success with nothing.
    for absent in [32, 0] {
        let one =
            two_roots(move |id, name, _| if name == "ou=b,dc=x" { end(id, absent) } else { there(id, name) });
        let complete = one.await.expect("a whole read");
        let [first, second] = complete.roots() else { panic!("{complete:?}") };
        assert!(!first.missing && first.entries == 3, "{first:?}");
        assert!(second.missing && second.pages == 0 && second.fingerprint == [0; 16], "{second:?}");
        let both = two_roots(move |id, _, _| end(id, absent)).await;
        assert!(matches!(both, Err(DirectoryError::RootNotFound { .. })), "{both:?}");
    }
    for code in (1..=9).chain(11..=31).chain(33..=80) {
        let other =
            two_roots(move |id, name, _| if name == "ou=b,dc=x" { end(id, code) } else { there(id, name) });
        let other = other.await;
        assert!(matches!(other, Err(DirectoryError::ReadIncomplete { .. })), "{code}: {other:?}");
    }
}

#[tokio::test]
async fn a_root_that_goes_while_it_is_read_or_comes_while_others_are_fails_the_read() {
    for absent in [32, 0] {
        let gone = two_roots(move |id, name, time| match (name, time) {
            ("ou=a,dc=x", 2) => end(id, absent),
            _ => there(id, name),
        });
        let gone = gone.await;
        assert!(matches!(gone, Err(DirectoryError::RootNotFound { .. })), "{gone:?}");
        let come = two_roots(move |id, name, time| match (name, time) {
            ("ou=a,dc=x", 1) => end(id, absent),
            _ => there(id, name),
        });
        let come = come.await;
        assert!(matches!(come, Err(DirectoryError::RootChanged { .. })), "{come:?}");
    }
}

/// What a server says of how recent it is, when its own entry and the entries that this names have
/// these attributes.
async fn freshness(
    own: &'static [(&'static str, &'static [u8])],
    others: &'static [(&'static str, &'static [u8])],
) -> directory::Freshness {
    let port = serve(move |id, asked| match &asked {
        Request::Search(name, 0) if name.is_empty() => [shown(id, "", own), end(id, 0)].concat(),
        Request::Search(name, 0) if name == "dc=x" || name == "cn=dc1" => {
            [shown(id, name, others), end(id, 0)].concat()
        }
        Request::Search(_, 2) => done(id, 0, b""),
        _ => honest(id, &asked),
    })
    .await;
    read_all_of(&read_request(port)).await.expect("a whole read").freshness().clone()
}

#[tokio::test]
async fn active_directorys_update_number_counts_only_with_the_copy_that_it_is_of() {
    const OWN: &[(&str, &[u8])] = &[("highestCommittedUSN", b"12345"), ("dsServiceName", b"cn=dc1")];
    let whole = freshness(OWN, &[("invocationId", &[7; 16])]).await;
    assert_eq!((whole.invocation_id, whole.highest_committed_usn), (Some([7; 16]), Some(12_345)));
    let nothing = directory::Freshness::default();
    assert_eq!(freshness(OWN, &[("invocationId", &[7; 15])]).await, nothing);
    assert_eq!(freshness(OWN, &[]).await, nothing);
    assert_eq!(
        freshness(&[("highestCommittedUSN", b"many"), ("dsServiceName", b"cn=dc1")], &[]).await,
        nothing
    );
}
