//! Passwords that a server takes and says nothing of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rollcall_proto::admin::v1::IdentitySourceSettings;
use router_agent::directory::{Password, Security, Server, verify};
use router_agent::policy::Policy;

use crate::server::{Request, honest, serve, serve_dripping};

#[tokio::test]
async fn a_password_that_one_server_may_have_seen_is_shown_to_no_other() {
    let policy = Policy { verify_passwords: true, ..Policy::default() };
    let server = |port| Server { host: "127.0.0.1".to_owned(), port, security: Security::Plain };
    let hangs_up = serve(|id, asked| match asked {
        Request::Bind => Vec::new(),
        asked => honest(id, &asked),
    });
    let drips = serve_dripping(|id, asked| honest(id, &asked), |asked| matches!(asked, Request::Bind));
    for first in [hangs_up.await, drips.await] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        let second = serve(move |id, asked| {
            counts.fetch_add(1, Ordering::SeqCst);
            honest(id, &asked)
        });
        let servers = [server(first), server(second.await)];
        let ask = async |servers: &[Server]| {
            let allowed = policy.may_verify(&IdentitySourceSettings::default()).expect("allowed");
            let password = Password::from("anna-secret".to_owned());
            verify(allowed, servers, "uid=anna,dc=lab", &password, None, Duration::from_secs(2)).await
        };
        assert!(ask(&servers).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 0, "the second server was asked, too");
        // One that cannot be reached has not seen it.
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let nobody = server(closed.local_addr().expect("an address").port());
        drop(closed);
        let _ = ask(&[nobody, servers[1].clone()]).await;
        assert!(asked.load(Ordering::SeqCst) > 0, "the next server is asked");
    }
}
