//! Answers that mean more than a failed page: a referral, a root that is gone, a server that says
//! goodbye.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use router_agent::directory::{self, DirectoryError, ReadComplete, Timeouts};
use tokio::sync::mpsc;

use super::server::{
    Request, credential, done, element, entries, entry_at, honest, message, read_request, serve, tls,
};

/// Reads `dc=x` from a server that is honest but for what the script answers; none is the honest
/// answer.
async fn read(
    script: impl Fn(u8, &Request) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Result<ReadComplete, DirectoryError> {
    let port = serve(move |id, asked| match (script(id, &asked), &asked) {
        (Some(answer), _) => answer,
        (None, Request::Search(_, 2)) => [entries(id, 1..4), done(id, 0, b"")].concat(),
        (None, Request::Search(base, 0)) if !base.is_empty() => {
            [entry_at(id, 0, base), honest(id, &asked)].concat()
        }
        _ => honest(id, &asked),
    })
    .await;
    let (sink, mut pages) = mpsc::channel(1);
    let drain = tokio::spawn(async move { while pages.recv().await.is_some() {} });
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, operation: second, page: second };
    let (read_request, credential) = (read_request(port), credential());
    let read = directory::read(&read_request, &credential, tls(), &timeouts, sink);
    let outcome = tokio::time::timeout(Duration::from_secs(20), read).await.expect("an end");
    drain.await.expect("drained");
    outcome
}

/// A result with a referral to this URL (RFC 4511, 4.1.10).
fn referral(id: u8, tag: u8, url: &str) -> Vec<u8> {
    let urls = element(0xA3, &element(4, url.as_bytes()));
    message(id, &element(tag, &[&[10, 1, 10, 4, 0, 4, 0][..], &urls].concat()), &[])
}

#[tokio::test]
async fn nobody_connects_to_where_a_referral_or_a_reference_points() {
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("a listener");
    let port = trap.local_addr().expect("an address").port();
    let within = move |path: &str| format!("ldap://127.0.0.1:{port}/{path}");
    type Lie = Box<dyn Fn(u8, &Request) -> Option<Vec<u8>> + Send + Sync>;
    let base = within("dc=x");
    let page = within("dc=x");
    let part = within("ou=part,dc=x");
    let bind = within("");
    let lies: [(&str, Lie); 4] = [
        (
            "for the base",
            Box::new(move |id, asked| {
                matches!(asked, Request::Search(name, 0) if !name.is_empty())
                    .then(|| referral(id, 0x65, &base))
            }),
        ),
        (
            "for a page",
            Box::new(move |id, asked| {
                matches!(asked, Request::Search(_, 2))
                    .then(|| [entries(id, 1..4), referral(id, 0x65, &page)].concat())
            }),
        ),
        (
            "for a part of the scope",
            Box::new(move |id, asked| {
                let reference = message(id, &element(0x73, &element(4, part.as_bytes())), &[]);
                matches!(asked, Request::Search(_, 2)).then(|| [reference, done(id, 0, b"")].concat())
            }),
        ),
        (
            "for the bind",
            Box::new(move |id, asked| matches!(asked, Request::Bind).then(|| referral(id, 0x61, &bind))),
        ),
    ];
    for (what, lie) in lies {
        match read(lie).await {
            Err(DirectoryError::Referral { target, .. }) => {
                assert_eq!(target, format!("127.0.0.1:{port}"), "{what}: says where to");
            }
            Err(DirectoryError::BindRejected { code: 10, .. }) => assert_eq!(what, "for the bind"),
            other => panic!("{what}: {other:?}"),
        }
        let nobody = trap.accept().expect_err("a connection to where the server pointed");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock, "{what}");
    }
}

#[tokio::test]
async fn a_page_that_says_that_the_root_is_gone_fails_the_read() {
    let outcome = read(|id, asked| {
        matches!(asked, Request::Search(_, 2)).then(|| [entries(id, 1..4), done(id, 32, b"")].concat())
    })
    .await;
    assert!(matches!(outcome, Err(DirectoryError::RootNotFound { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_says_goodbye_in_the_middle_of_a_page_has_not_ended_the_read() {
    // Notice of Disconnection (RFC 4511, 4.4.1): message id 0, then the end; also where it stays
    // open and says no more.
    let name = element(0x8A, b"1.3.6.1.4.1.1466.20036");
    let goodbye = message(0, &element(0x78, &[&[10, 1, 52, 4, 0, 4, 0][..], &name].concat()), &[]);
    let outcome = read(move |id, asked| {
        matches!(asked, Request::Search(_, 2)).then(|| [entries(id, 1..4), goodbye.clone()].concat())
    })
    .await;
    assert!(
        matches!(outcome, Err(DirectoryError::Broken { page: 1, .. } | DirectoryError::Protocol { .. })),
        "{outcome:?}"
    );
    let honest = read(|_, _| None).await.expect("a whole read");
    assert_eq!(honest.roots()[0].entries, 3, "the same server without a lie");
}
