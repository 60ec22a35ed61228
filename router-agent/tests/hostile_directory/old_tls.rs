//! A server that knows no TLS that is safe: it is refused with a sentence that says so, and hears
//! no name and no password.

use router_agent::directory::{self, Credential, DirectoryError, ReadRequest, Security, Server, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::server::{message, next, read_request, result, tls};

/// A ServerHello of this version, with a cipher of its time.
fn server_hello(minor: u8) -> Vec<u8> {
    let hello = [&[3, minor][..], &[7; 32], &[0, 0, 0x2F, 0]].concat();
    let length = [0, u8::try_from(hello.len()).expect("short")];
    let handshake = [&[2, 0][..], &length, &hello].concat();
    [&[0x16, 3, minor, 0, u8::try_from(handshake.len()).expect("short")][..], &handshake].concat()
}

#[tokio::test]
async fn a_server_with_nothing_newer_than_tls_1_1_is_refused_and_told_why_and_hears_no_credential() {
    // Servers of that time choose an older version, or hang up with an alert.
    let answers = [
        ("SSL 3", server_hello(0)),
        ("TLS 1.0", server_hello(1)),
        ("TLS 1.1", server_hello(2)),
        ("an alert", vec![0x15, 3, 1, 0, 2, 2, 70]),
    ];
    for (what, answer) in answers {
        for security in [Security::Ldaps, Security::StartTls] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let answer = answer.clone();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let mut sent = Vec::new();
                if security == Security::StartTls {
                    sent.extend(next(&mut stream).await.expect("the request"));
                    stream
                        .write_all(&message(1, &result(0x78, 0), &[]))
                        .await
                        .expect("a client that listens");
                }
                sent.push(stream.read_u8().await.expect("a ClientHello"));
                stream.write_all(&answer).await.expect("a client that listens");
                let _ = stream.read_to_end(&mut sent).await;
                sent
            });
            let servers = vec![Server { host: "127.0.0.1".to_owned(), port, security }];
            let credential = Credential { bind_dn: "cn=planted".to_owned(), password: "planted".into() };
            let (sink, _entries) = mpsc::channel(1);
            let read_request = ReadRequest { servers, ..read_request(port) };
            let outcome =
                directory::read(&read_request, &credential, tls(), &Timeouts::default(), sink).await;
            let Err(DirectoryError::Tls { why, .. }) = outcome else { panic!("{what}: {outcome:?}") };
            assert!(why.contains("TLS 1.2 or 1.3"), "{what}, {security:?}: {why}");
            let sent = server.await.expect("no panic");
            assert!(!sent.windows(7).any(|bytes| bytes == b"planted"), "{what}: sent a credential");
        }
    }
}
