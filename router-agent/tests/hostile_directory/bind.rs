//! Lies before anything is read: about TLS, and about whom the bind was for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use router_agent::directory::{self, Credential, DirectoryError, ReadRequest, Security, Server, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::server::{
    Request, credential, drip, element, honest, message, next, read_request, result, serve, serve_dripping,
    tls,
};

async fn read(port: u16, credential: &Credential) -> DirectoryError {
    let (sink, _entries) = mpsc::channel(1);
    let read_request = read_request(port);
    directory::read(&read_request, credential, tls(), &Timeouts::default(), sink).await.expect_err("no read")
}

#[tokio::test]
async fn an_empty_password_or_name_is_never_sent_even_to_a_server_that_takes_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let port = serve(move |id, asked| {
        counted.fetch_add(1, Ordering::Relaxed);
        honest(id, &asked)
    })
    .await;
    for (bind_dn, password) in [("cn=a", ""), ("", "b"), (" ", "b")] {
        let credential = Credential { bind_dn: bind_dn.to_owned(), password: password.into() };
        assert_eq!(read(port, &credential).await, DirectoryError::EmptyCredential);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "it was asked");
}

#[tokio::test]
async fn a_bind_that_is_accepted_and_treated_as_anonymous_is_a_rejected_bind() {
    // Success with an empty name, and with none at all.
    for name in [element(0x8B, b""), Vec::new()] {
        let port = serve(move |id, asked| match asked {
            Request::WhoAmI => {
                let content = [&[10, 1, 0, 4, 0, 4, 0][..], &name].concat();
                message(id, &element(0x78, &content), &[])
            }
            Request::Search(..) => panic!("searched as a stranger"),
            _ => honest(id, &asked),
        })
        .await;
        let error = read(port, &credential()).await;
        assert!(matches!(error, DirectoryError::BindAnonymous { .. }), "{error:?}");
        assert!(error.to_string().contains("treats the bind as anonymous"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_password_is_tried_once_however_many_servers_there_are() {
    // Invalid credentials, and what servers say of an account that is locked, or may not log in
    // here.
    for code in [49, 53, 19] {
        let binds = Arc::new(AtomicUsize::new(0));
        let mut servers = Vec::new();
        for _ in 0..3 {
            let counted = Arc::clone(&binds);
            let port = serve(move |id, asked| match asked {
                Request::Bind => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    message(id, &result(0x61, code), &[])
                }
                _ => honest(id, &asked),
            });
            servers.extend(read_request(port.await).servers);
        }
        let read_request = ReadRequest { servers, ..read_request(0) };
        let (sink, _entries) = mpsc::channel(1);
        let outcome = directory::read(&read_request, &credential(), tls(), &Timeouts::default(), sink).await;
        assert!(
            matches!(outcome, Err(DirectoryError::BindRejected { code: said, .. }) if said == u32::from(code)),
            "{outcome:?}"
        );
        assert_eq!(binds.load(Ordering::Relaxed), 1, "tried everywhere, it would lock the account");
    }
}

#[tokio::test]
async fn a_server_that_cannot_take_a_bind_leaves_it_to_the_next_and_one_without_protection_does_not() {
    for (code, is_next_asked) in [(51, true), (52, true), (80, true), (1, true), (2, true), (3, true)]
        .into_iter()
        .chain([(8, false), (13, false), (50, false), (7, false), (34, false), (32, false), (48, false)])
    {
        let first = serve(move |id, asked| match asked {
            Request::Bind => message(id, &result(0x61, code), &[]),
            _ => honest(id, &asked),
        });
        let binds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&binds);
        let second = serve(move |id, asked| {
            counted.fetch_add(usize::from(matches!(asked, Request::Bind)), Ordering::Relaxed);
            honest(id, &asked)
        });
        let mut servers = read_request(first.await).servers;
        servers.extend(read_request(second.await).servers);
        let read_request = ReadRequest { servers, ..read_request(0) };
        let (sink, _entries) = mpsc::channel(1);
        let error = directory::read(&read_request, &credential(), tls(), &Timeouts::default(), sink)
            .await
            .expect_err("no root");
        assert_eq!(binds.load(Ordering::Relaxed) == 1, is_next_asked, "{code}: {error}");
        if matches!(code, 8 | 13) {
            assert!(matches!(error, DirectoryError::BindNotProtected { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_names_the_account_or_does_not_know_the_question_is_read() {
    let named = [&[10, 1, 0, 4, 0, 4, 0][..], &element(0x8B, b"dn:cn=a")].concat();
    for answer in [element(0x78, &named), result(0x78, 2), result(0x78, 53)] {
        let port = serve(move |id, asked| match asked {
            Request::WhoAmI => message(id, &answer, &[]),
            _ => honest(id, &asked),
        })
        .await;
        // It has no root, which only who searched can know.
        let error = read(port, &credential()).await;
        assert!(matches!(error, DirectoryError::RootNotFound { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_drips_is_given_up_at_every_step_before_the_first_page() {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, operation: second, page: second };
    let steps: [fn(&Request) -> bool; 3] = [
        |asked| matches!(asked, Request::Bind),
        |asked| matches!(asked, Request::WhoAmI),
        |asked| matches!(asked, Request::Search(base, _) if base.is_empty()),
    ];
    for drips in steps {
        let read_request = read_request(serve_dripping(|id, asked| honest(id, &asked), drips).await);
        let (sink, _entries) = mpsc::channel(1);
        let credential = credential();
        let outcome = directory::read(&read_request, &credential, tls(), &timeouts, sink).await;
        assert!(
            matches!(outcome, Err(DirectoryError::Unreachable(_) | DirectoryError::Broken { .. })),
            "{outcome:?}"
        );
    }
    // Within the answer to StartTLS, and within the first record of the handshake behind it.
    let success = message(1, &result(0x78, 0), &[]);
    for whole in [0, success.len()] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answer = [&success[..], &[0x16, 3, 3, 0x40, 0], &[2; 500]].concat();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            next(&mut stream).await.expect("the request");
            let (at_once, dripping) = answer.split_at(whole);
            stream.write_all(at_once).await.expect("a client that listens");
            // Not before the client speaks TLS: what comes earlier counts as injected.
            if whole > 0 {
                stream.read_u8().await.expect("a ClientHello");
            }
            let _ = drip(&mut stream, dripping).await;
        });
        let read_request = ReadRequest {
            servers: vec![Server { host: "127.0.0.1".to_owned(), port, security: Security::StartTls }],
            ..read_request(port)
        };
        let (sink, _entries) = mpsc::channel(1);
        let credential = credential();
        let outcome = directory::read(&read_request, &credential, tls(), &timeouts, sink).await;
        assert!(
            matches!(&outcome, Err(DirectoryError::Unreachable(why)) if why.contains("silent")),
            "{outcome:?}"
        );
        server.abort();
    }
}

/// A server that gives this answer to StartTLS; returns what the router says, and every byte it
/// sent.
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
    let read_request = ReadRequest {
        servers: vec![Server { host: "127.0.0.1".to_owned(), port, security: Security::StartTls }],
        ..read_request(port)
    };
    let credential = Credential { bind_dn: "cn=planted".to_owned(), password: "planted".into() };
    let (sink, _entries) = mpsc::channel(1);
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, operation: second, page: second };
    let outcome = directory::read(&read_request, &credential, tls(), &timeouts, sink).await;
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

#[tokio::test]
async fn a_connection_that_is_cut_off_before_tls_begins_is_an_unreachable_server_not_a_wrong_certificate() {
    let success = message(1, &result(0x78, 0), &[]);
    // A load balancer without a server behind it: closed in good order, and reset.
    for (security, reset) in
        [Security::Ldaps, Security::StartTls].into_iter().flat_map(|of| [(of, false), (of, true)])
    {
        for answers_start_tls in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let success = success.clone();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a client");
                if security == Security::StartTls {
                    next(&mut stream).await.expect("the request");
                }
                if security == Security::StartTls && answers_start_tls {
                    stream.write_all(&success).await.expect("a client that listens");
                    stream.read_u8().await.expect("a ClientHello");
                }
                if reset {
                    stream.set_zero_linger().expect("a socket");
                }
            });
            let read_request = ReadRequest {
                servers: vec![Server { host: "127.0.0.1".to_owned(), port, security }],
                ..read_request(port)
            };
            let (sink, _entries) = mpsc::channel(1);
            let outcome =
                directory::read(&read_request, &credential(), tls(), &Timeouts::default(), sink).await;
            let case = format!("{security:?} {reset} {answers_start_tls}");
            let Err(DirectoryError::Unreachable(why)) = outcome else { panic!("{case}: {outcome:?}") };
            assert!(!why.contains("certificate"), "{case}: {why}");
        }
    }
}
