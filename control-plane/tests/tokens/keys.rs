//! Where keys come from: a file that changes, and an HTTPS server that changes, stalls, lies or is
//! down.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control_plane::api::middleware::tokens::{Issuer, KeyLocation, KeySet, TokenRejected, Tokens};
use control_plane::ca::{Authority, Subject};
use control_plane::clock::Clock;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::signer::{CONSOLE, NOW, Signer, alice, at, jwks, rules};

/// A clock that a test moves; seconds from [`NOW`].
#[derive(Clone, Default)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn clock(&self) -> Clock {
        let passed = Arc::clone(&self.0);
        Clock::from_fn(move || at(NOW + passed.load(Ordering::SeqCst)))
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// A server of one document, with a certificate of its own authority.
struct Server {
    folder: TempDir,
    port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
    _end: DropGuard,
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now = OffsetDateTime::now_utc();
        let (ca, out) = (folder.path().join("ca"), folder.path().join("server"));
        Authority::init(&ca, "issuer", now).expect("an authority");
        let authority = Authority::open(&ca).expect("an authority");
        let subject = Subject::Server(vec!["localhost".to_owned()]);
        authority.issue(&subject, now, now + time::Duration::days(1), &out).expect("a certificate");
        let certificate = CertificateDer::from_pem_file(out.with_extension("pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(out.with_extension("key")).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answer = Arc::new(Mutex::new(answer("503 Service Unavailable", "", b"")));
        let (asked, end) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (now_answers, counts, until) = (Arc::clone(&answer), Arc::clone(&asked), end.clone());
        tokio::spawn(async move {
            while let Some(Ok((tcp, _))) = until.run_until_cancelled(listener.accept()).await {
                let (acceptor, answers, counts) =
                    (acceptor.clone(), Arc::clone(&now_answers), Arc::clone(&counts));
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(tcp).await?;
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        request.push(stream.read_u8().await?);
                    }
                    counts.fetch_add(1, Ordering::SeqCst);
                    let answer = answers.lock().expect("a lock").clone();
                    stream.write_all(&answer).await?;
                    stream.shutdown().await?;
                    Ok::<_, io::Error>(())
                });
            }
        });
        Self { folder, port, answer, asked, _end: end.drop_guard() }
    }

    fn says(&self, whole: Vec<u8>) {
        *self.answer.lock().expect("a lock") = whole;
    }

    fn has(&self, keys: &[Value]) {
        self.says(answer("200 OK", "content-type: application/json\r\n", &jwks(keys)));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("ca/ca.pem")
    }

    fn issuer(&self, authority: &Path) -> Issuer {
        let url = format!("https://localhost:{}/keys?v=1", self.port).parse().expect("a URL");
        Issuer { rules: rules(), keys: KeyLocation::Url(url), keys_ca: Some(authority.to_owned()) }
    }

    /// Starts with these keys, once they were fetched.
    async fn tokens(&self, time: &Time) -> (Tokens, DropGuard) {
        let end = CancellationToken::new();
        let tokens = Tokens::start(&[self.issuer(&self.authority())], time.clock(), &end).expect("tokens");
        let before = self.asked();
        for _ in 0..1_000 {
            if self.asked() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (tokens, end.drop_guard())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_new_at_the_url_is_fetched_when_a_token_names_it_and_at_most_once_a_minute() {
    let (server, time, old, new) = (Server::start().await, Time::default(), Signer::ed(), Signer::p256());
    server.has(&[old.jwk("old")]);
    let (tokens, _end) = server.tokens(&time).await;
    assert!(tokens.verify(CONSOLE, &old.issue("old", &alice())).await.is_ok());
    server.has(&[new.jwk("new")]);
    assert!(tokens.verify(CONSOLE, &new.issue("new", &alice())).await.is_ok(), "rotated in");
    let asked = server.asked();
    let refused = tokens.verify(CONSOLE, &old.issue("old", &alice())).await;
    assert_eq!(refused, Err(TokenRejected::UnknownKey), "rotated out");
    for number in 0..20 {
        let made_up = new.issue(&format!("made-up-{number}"), &alice());
        assert_eq!(tokens.verify(CONSOLE, &made_up).await, Err(TokenRejected::UnknownKey));
    }
    assert_eq!(server.asked(), asked, "whoever makes up keys does not make us ask");
    time.pass(61);
    let _ = tokens.verify(CONSOLE, &new.issue("made-up", &alice())).await;
    assert_eq!(server.asked(), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_server_that_is_down_count_for_a_day_and_then_nobody_comes_in() {
    let (server, time, signer) = (Server::start().await, Time::default(), Signer::ed());
    server.has(&[signer.jwk("k1")]);
    let (tokens, _end) = server.tokens(&time).await;
    let token = |now: i64| {
        let mut claims = alice();
        (claims["iat"], claims["nbf"], claims["exp"]) =
            (json!(NOW + now), json!(NOW + now), json!(NOW + now + 600));
        signer.issue("k1", &claims)
    };
    assert!(tokens.verify(CONSOLE, &token(0)).await.is_ok());
    server.says(answer("503 Service Unavailable", "", b""));
    time.pass(86_000);
    assert!(tokens.verify(CONSOLE, &token(86_000)).await.is_ok(), "kept");
    time.pass(500);
    assert_eq!(
        tokens.verify(CONSOLE, &token(86_500)).await,
        Err(TokenRejected::NoKeys),
        "closed after a day"
    );
    server.has(&[signer.jwk("k1")]);
    time.pass(120);
    assert!(tokens.verify(CONSOLE, &token(86_620)).await.is_ok(), "and open again once it answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_jwks_or_comes_from_somewhere_else_changes_nothing() {
    let (server, time, signer) = (Server::start().await, Time::default(), Signer::ed());
    server.has(&[signer.jwk("k1")]);
    let (tokens, _end) = server.tokens(&time).await;
    let evil = Signer::ed();
    let set = jwks(&[evil.jwk("evil")]);
    let mut huge = set.clone();
    huge.extend(std::iter::repeat_n(b' ', 2 << 20));
    let elsewhere = Server::start().await;
    elsewhere.has(&[evil.jwk("evil")]);
    let location = format!("location: https://localhost:{}/keys\r\n", elsewhere.port);
    let secret = json!({"kty": "oct", "k": "AAAA", "kid": "evil"});
    for (what, answer) in [
        ("an error", answer("500 Internal Server Error", "", &set)),
        ("a redirect", answer("302 Found", &location, &set)),
        ("not JSON", answer("200 OK", "", b"<html>")),
        ("more than a megabyte", answer("200 OK", "", &huge)),
        ("cut", answer("200 OK", "", &set)[..120].to_vec()),
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n".to_vec()),
        ("a secret key", answer("200 OK", "", &jwks(&[evil.jwk("evil"), secret]))),
        ("one kid twice", answer("200 OK", "", &jwks(&[evil.jwk("evil"), Signer::ed().jwk("evil")]))),
        ("nothing usable", answer("200 OK", "", &jwks(&[]))),
    ] {
        server.says(answer);
        time.pass(61);
        let mut claims = alice();
        claims["exp"] = json!(NOW + 1_800);
        let refused = tokens.verify(CONSOLE, &evil.issue("evil", &claims)).await;
        assert_eq!(refused, Err(TokenRejected::UnknownKey), "{what}");
        assert!(
            tokens.verify(CONSOLE, &signer.issue("k1", &claims)).await.is_ok(),
            "{what}: the old keys stay"
        );
    }
    assert_eq!(elsewhere.asked(), 0, "nobody was sent on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_an_unknown_authority_vouches_for_is_not_believed() {
    let (server, other, time, signer) =
        (Server::start().await, Server::start().await, Time::default(), Signer::ed());
    server.has(&[signer.jwk("k1")]);
    let end = CancellationToken::new();
    let issuer = server.issuer(&other.authority());
    let tokens = Tokens::start(&[issuer], time.clock(), &end).expect("tokens");
    assert_eq!(tokens.verify(CONSOLE, &signer.issue("k1", &alice())).await, Err(TokenRejected::NoKeys));
    assert_eq!(server.asked(), 0, "it was asked nothing");
    end.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_keys_is_read_anew_when_it_changes_and_a_broken_one_changes_nothing() {
    let (folder, time) = (tempfile::tempdir().expect("a folder"), Time::default());
    let (old, new) = (Signer::ed(), Signer::ed());
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, jwks(&[old.jwk("old")])).expect("a file");
    let end = CancellationToken::new();
    let issuer = Issuer { rules: rules(), keys: KeyLocation::File(path.clone()), keys_ca: None };
    let tokens = Tokens::start(&[issuer], time.clock(), &end).expect("tokens");
    assert!(tokens.verify(CONSOLE, &old.issue("old", &alice())).await.is_ok());
    std::fs::write(&path, b"{").expect("a file");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(tokens.verify(CONSOLE, &old.issue("old", &alice())).await.is_ok(), "broken");
    std::fs::write(&path, jwks(&[new.jwk("new")])).expect("a file");
    let mut tries = 0;
    while tokens.verify(CONSOLE, &new.issue("new", &alice())).await.is_err() {
        tries += 1;
        assert!(tries < 600, "the new key is not known after a minute");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refused = tokens.verify(CONSOLE, &old.issue("old", &alice())).await;
    assert_eq!(refused, Err(TokenRejected::UnknownKey), "rotated out");
    end.cancel();
}

#[test]
fn keys_for_something_else_are_passed_over() {
    let signer = Signer::ed();
    let with = |name: &str, value: Value| {
        let mut jwk = signer.jwk("k1");
        jwk[name] = value;
        jwk
    };
    for (what, jwk) in [
        ("for encryption", with("use", json!("enc"))),
        ("for signing only", with("key_ops", json!(["sign"]))),
        ("of another algorithm", with("alg", json!("RS256"))),
        ("too short", with("x", json!("AAAA"))),
        ("of another curve", with("crv", json!("Ed448"))),
        ("without an id", with("kid", json!(""))),
        ("of P-384", Signer::p384().jwk("k1")),
    ] {
        assert!(KeySet::parse(&jwks(std::slice::from_ref(&jwk))).is_err(), "{what}: alone");
        assert!(KeySet::parse(&jwks(&[jwk, signer.jwk("k2")])).is_ok(), "{what}: beside a good one");
    }
    let mut weak = Signer::rsa().jwk("k1");
    weak["n"] = json!(super::signer::base64([0xff; 128]));
    assert!(KeySet::parse(&jwks(&[weak])).is_err(), "1024 bits");
    assert!(KeySet::parse(&jwks(&[with("d", json!("AAAA"))])).is_err(), "private");
    assert!(KeySet::parse(&jwks(&[with("use", json!("sig")), with("kid", json!("k3"))])).is_ok());
}
