//! A scripted directory that lies: whatever it does, the read fails with a reason, the process lives, and nothing is complete that was
//! not. Only a read that was whole is a `ReadComplete`.

use std::sync::Arc;
use std::time::Duration;

use router_agent::directory::{
    self, Credential, DirectoryError, Plan, ReadComplete, Scope, Security, Server, Timeouts,
};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A BER element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small").to_be_bytes();
    [&[tag, 0x84][..], &length, content].concat()
}

/// An LDAP message with an optional control.
fn message(id: u8, operation: &[u8], controls: &[u8]) -> Vec<u8> {
    let controls = if controls.is_empty() { Vec::new() } else { element(0xA0, controls) };
    element(0x30, &[&[2, 1, id], operation, &controls].concat())
}

fn result(tag: u8, code: u8) -> Vec<u8> {
    element(tag, &[10, 1, code, 4, 0, 4, 0])
}

fn paged(cookie: &[u8]) -> Vec<u8> {
    let value = element(0x30, &[&[2, 1, 0][..], &element(4, cookie)].concat());
    element(0x30, &[element(4, b"1.2.840.113556.1.4.319"), element(4, &value)].concat())
}

fn entry(id: u8, number: u32) -> Vec<u8> {
    let value = format!("00000000-0000-0000-0000-{number:012}");
    let attribute =
        element(0x30, &[element(4, b"entryUUID"), element(0x31, &element(4, value.as_bytes()))].concat());
    let content = [element(4, format!("uid=u{number},dc=x").as_bytes()), element(0x30, &attribute)].concat();
    message(id, &element(0x64, &content), &[])
}

fn entries(id: u8, numbers: std::ops::Range<u32>) -> Vec<u8> {
    numbers.flat_map(|number| entry(id, number)).collect()
}

/// Answers pages after an honest bind and an honest base entry: what it gets is the message id and the number of the page from 1.
async fn read(
    page: impl Fn(u8, usize) -> Vec<u8> + Send + Sync + 'static,
) -> Result<ReadComplete, DirectoryError> {
    read_from(page, |id| [entry(id, 0), message(id, &result(0x65, 0), &[])].concat()).await
}

async fn read_from(
    page: impl Fn(u8, usize) -> Vec<u8> + Send + Sync + 'static,
    base: impl Fn(u8) -> Vec<u8> + Send + Sync + 'static,
) -> Result<ReadComplete, DirectoryError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut pages = 0;
        while let Some(request) = next(&mut stream).await {
            let id = request[id_at(&request)];
            let operation = request[id_at(&request) + 1];
            let answer = match operation {
                0x60 => message(id, &result(0x61, 0), &[]),
                // Base searches have scope 0 behind the base DN; page searches scope 2.
                0x63 if request.windows(3).any(|bytes| bytes == [10, 1, 2]) => {
                    pages += 1;
                    page(id, pages)
                }
                0x63 => base(id),
                _ => return,
            };
            if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
    let plan = plan(port);
    let credential = Credential { bind_dn: "cn=a".to_owned(), password: "b".into() };
    let (sink, mut entries) = mpsc::channel(1);
    let drain = tokio::spawn(async move { while entries.recv().await.is_some() {} });
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, operation: second, page: second };
    let read = directory::read(&plan, &credential, tls(), &timeouts, sink);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("an end");
    drain.await.expect("drained");
    server.abort();
    read
}

fn plan(port: u16) -> Plan {
    Plan {
        servers: vec![Server { host: "127.0.0.1".to_owned(), port, security: Security::Plain }],
        roots: vec!["dc=x".to_owned()],
        scope: Scope::Subtree,
        filter: "(objectClass=person)".to_owned(),
        page_size: 10,
        attributes: vec!["entryUUID".to_owned()],
        immutable_id_attribute: "entryUUID".to_owned(),
    }
}

fn tls() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    Arc::new(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

/// One request, as far as this server has to understand it.
async fn next(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let (mut length, mut request) = (usize::from(head[1]), head.to_vec());
    if head[1] >= 0x80 {
        let mut digits = vec![0; usize::from(head[1] & 0x7F)];
        stream.read_exact(&mut digits).await.ok()?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        request.extend(digits);
    }
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await.ok()?;
    request.extend(content);
    Some(request)
}

fn id_at(request: &[u8]) -> usize {
    let header = if request[1] < 0x80 { 2 } else { 2 + usize::from(request[1] & 0x7F) };
    header + 2
}

fn done(id: u8, code: u8, cookie: &[u8]) -> Vec<u8> {
    message(id, &result(0x65, code), &paged(cookie))
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
    assert!(matches!(outcome, Err(DirectoryError::Protocol { .. })), "{outcome:?}");
}

#[tokio::test]
async fn the_same_cookie_again_and_empty_pages_without_end_are_noticed() {
    let same = read(|id, _| [entries(id, 0..5), done(id, 0, b"same")].concat()).await;
    assert!(matches!(same, Err(DirectoryError::Protocol { .. })), "{same:?}");
    let empty = read(|id, page| done(id, 0, &page.to_be_bytes())).await;
    assert!(matches!(empty, Err(DirectoryError::Protocol { .. })), "{empty:?}");
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
async fn a_base_that_becomes_another_entry_while_it_is_read_is_noticed() {
    let asked = std::sync::atomic::AtomicU32::new(0);
    let outcome = read_from(
        |id, _| [entries(id, 0..3), done(id, 0, b"")].concat(),
        move |id| {
            let number = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            [entry(id, number), message(id, &result(0x65, 0), &[])].concat()
        },
    )
    .await;
    assert!(matches!(outcome, Err(DirectoryError::RootChanged { .. })), "{outcome:?}");
}

#[tokio::test]
async fn an_empty_password_is_never_sent() {
    // Nobody listens there; an attempt would be another error.
    let plan = plan(9);
    let credential = Credential { bind_dn: "cn=a".to_owned(), password: "".into() };
    let (sink, _entries) = mpsc::channel(1);
    let outcome = directory::read(&plan, &credential, tls(), &Timeouts::default(), sink).await;
    assert_eq!(outcome, Err(DirectoryError::EmptyCredential));
}

/// A server that gives this answer to StartTLS; returns what the router says, and every byte it sent.
async fn start_tls(answer: Vec<u8>) -> (DirectoryError, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut sent = next(&mut stream).await.expect("the request");
        stream.write_all(&answer).await.expect("a client that listens");
        let _ = stream.read_to_end(&mut sent).await;
        sent
    });
    let plan = Plan {
        servers: vec![Server { host: "127.0.0.1".to_owned(), port, security: Security::StartTls }],
        ..plan(port)
    };
    let credential = Credential { bind_dn: "cn=planted".to_owned(), password: "planted".into() };
    let (sink, _entries) = mpsc::channel(1);
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, operation: second, page: second };
    let outcome = directory::read(&plan, &credential, tls(), &timeouts, sink).await;
    (outcome.expect_err("no TLS"), server.await.expect("no panic"))
}

#[tokio::test]
async fn where_start_tls_is_stripped_or_something_is_injected_no_credential_is_sent() {
    let success = message(1, &result(0x78, 0), &[]);
    let answers = [
        ("refused", message(1, &result(0x78, 2), &[]), "refuses StartTLS"),
        ("stripped: another answer", message(1, &result(0x61, 0), &[]), "another answer"),
        ("injected behind it", [success.clone(), message(2, &result(0x61, 0), &[])].concat(), "injected"),
        ("success, then no TLS", [success, b"not TLS at all".to_vec()].concat(), "injected"),
        ("closed", Vec::new(), "silent"),
    ];
    for (what, answer, expected) in answers {
        let (error, sent) = start_tls(answer).await;
        assert!(error.to_string().contains(expected), "{what}: {error}");
        assert!(!sent.windows(7).any(|bytes| bytes == b"planted"), "{what}: sent a credential");
    }
}
