//! The door: TLS 1.3 only, a certificate of our own authorities that is valid and names someone, no
//! resumption, a deadline; and the other door, for routers that enroll.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control_plane::api::middleware::limits::Limits;
use control_plane::ca::{Authority, Subject};
use control_plane::clock::Clock;
use control_plane::config::{self, Tls};
use control_plane::server::{AcceptedConnections, Certificates, Connection, EnrollmentConnection, listen};
use rollcall_proto::code::PROTOCOL;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use time::{Duration as Days, OffsetDateTime};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(2);
/// Much longer than anything takes.
const LONG: Duration = Duration::from_secs(30);

struct Door {
    folder: TempDir,
    port: u16,
    known: Receiver<std::io::Result<Connection>>,
    enrolling: Receiver<std::io::Result<EnrollmentConnection>>,
}

fn client(name: &str) -> Subject {
    Subject::Client(["tenant", "acme", "admin", name, "auditor"].map(str::to_owned).to_vec())
}

fn issue(folder: &Path, ca: &str, subject: &Subject, valid: Days, out: &str) -> PathBuf {
    let now = OffsetDateTime::now_utc();
    if !folder.join(ca).exists() {
        Authority::init(&folder.join(ca), "rollcall", now).expect("an authority");
    }
    let out = folder.join(out);
    Authority::open(&folder.join(ca))
        .expect("an authority")
        .issue(subject, now, now + valid, &out)
        .expect("a certificate");
    out
}

async fn door() -> Door {
    door_with(true).await
}

/// With an authority of routers, or without.
async fn door_with(authority: bool) -> Door {
    let folder = tempfile::tempdir().expect("a folder");
    issue(folder.path(), "ca", &Subject::Server(vec!["localhost".to_owned()]), Days::days(1), "server");
    let files = Tls {
        certificate: folder.path().join("server.pem"),
        key: folder.path().join("server.key"),
        client_ca: folder.path().join("ca/ca.pem"),
        refused: None,
    };
    let authority = authority.then(|| config::Authority {
        dir: folder.path().join("ca/routers"),
        router_certificate_life: Duration::from_secs(60),
        recovery: Duration::from_secs(60),
        server_ca: files.client_ca.clone(),
    });
    let certificates = Certificates::load(&files, authority.as_ref()).expect("certificates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let limits = Limits::default();
    let AcceptedConnections { known, enrolling } =
        listen(listener, certificates, DEADLINE, &limits, Clock::system(), CancellationToken::new());
    Door { folder, port, known, enrolling }
}

impl Door {
    /// Knocks with a certificate; true if the connection was let in.
    async fn lets_in(&mut self, config: Arc<ClientConfig>) -> bool {
        let Some(mut stream) = self.connect(config).await else { return false };
        tokio::select! {
            let_in = self.known.recv() => matches!(let_in, Some(Ok(_))),
            _ = self.enrolling.recv() => panic!("whoever has a certificate came through the wrong door"),
            // A refusal comes after the handshake, as the client sees it.
            _ = stream.read_u8() => false,
            () = tokio::time::sleep(LONG) => panic!("neither let in nor refused"),
        }
    }

    /// Asks for the protocols of these names without a certificate; true if it came through the
    /// door for those who enroll.
    async fn lets_enroll(&mut self, protocols: &[&[u8]]) -> bool {
        let mut config = Arc::unwrap_or_clone(self.config(None, TLS13));
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let Some(mut stream) = self.connect(Arc::new(config)).await else { return false };
        tokio::select! {
            _ = self.known.recv() => panic!("whoever is not known came through the wrong door"),
            let_in = self.enrolling.recv() => matches!(let_in, Some(Ok(_))),
            _ = stream.read_u8() => false,
            () = tokio::time::sleep(LONG) => panic!("neither let in nor refused"),
        }
    }

    async fn connect(&self, config: Arc<ClientConfig>) -> Option<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(config).connect(name, tcp).await.ok()
    }

    fn config(
        &self,
        identity: Option<&Path>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.folder.path().join("ca/ca.pem")).expect("a CA"))
            .expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let certificate =
                    CertificateDer::from_pem_file(path.with_extension("pem")).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(path.with_extension("key")).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("an identity")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[tokio::test]
async fn only_a_valid_certificate_of_our_own_authority_is_let_in() {
    let mut door = door().await;
    let folder = door.folder.path().to_owned();
    let good = issue(&folder, "ca", &client("alice"), Days::days(1), "alice");
    assert!(door.lets_in(door.config(Some(&good), TLS13)).await);
    assert!(!door.lets_in(door.config(None, TLS13)).await, "no certificate");
    assert!(!door.lets_in(door.config(Some(&good), TLS12)).await, "TLS 1.2");
    let foreign = issue(&folder, "other-ca", &client("alice"), Days::days(1), "foreign");
    assert!(!door.lets_in(door.config(Some(&foreign), TLS13)).await, "another authority");
    let expired = issue(&folder, "ca", &client("bob"), Days::hours(-1), "expired");
    assert!(!door.lets_in(door.config(Some(&expired), TLS13)).await, "expired");
    let nobody = issue(&folder, "ca", &Subject::Client(vec!["nobody".to_owned()]), Days::days(1), "nobody");
    assert!(!door.lets_in(door.config(Some(&nobody), TLS13)).await, "names nobody");
    let server = folder.join("server");
    assert!(!door.lets_in(door.config(Some(&server), TLS13)).await, "the server's own certificate");
}

#[tokio::test]
async fn who_enrolls_shows_no_certificate_and_comes_through_a_door_of_its_own() {
    let mut door = door().await;
    assert!(door.lets_enroll(&[PROTOCOL]).await);
    assert!(door.lets_enroll(&[b"h2", PROTOCOL]).await, "whoever can do both enrolls");
    assert!(!door.lets_enroll(&[b"h2"]).await, "everything else takes a certificate");
    assert!(!door.lets_enroll(&[b"rollcall-enroll/2"]).await, "another version");
    assert!(!door.lets_enroll(&[]).await, "no protocol");
    assert!(!door_with(false).await.lets_enroll(&[PROTOCOL]).await, "without an authority nobody enrolls");
}

#[tokio::test]
async fn a_stolen_key_of_the_routers_authority_makes_no_administrator_and_the_other_one_no_router() {
    let mut door = door().await;
    let folder = door.folder.path().to_owned();
    let router = Subject::Client(["tenant", "acme", "router", "hq-1"].map(str::to_owned).to_vec());
    let good = issue(&folder, "ca/routers", &router, Days::days(1), "router");
    assert!(door.lets_in(door.config(Some(&good), TLS13)).await);
    let admin = issue(&folder, "ca/routers", &client("alice"), Days::days(1), "admin");
    assert!(
        !door.lets_in(door.config(Some(&admin), TLS13)).await,
        "an administrator of the routers' authority"
    );
    let operator = Subject::Client(["operator", "ops"].map(str::to_owned).to_vec());
    let operator = issue(&folder, "ca/routers", &operator, Days::days(1), "operator");
    assert!(
        !door.lets_in(door.config(Some(&operator), TLS13)).await,
        "an operator of the routers' authority"
    );
    let other = issue(&folder, "ca", &router, Days::days(1), "other");
    assert!(!door.lets_in(door.config(Some(&other), TLS13)).await, "a router of the people's authority");
    let mut without = door_with(false).await;
    let own = issue(without.folder.path(), "ca", &router, Days::days(1), "router");
    assert!(!without.lets_in(without.config(Some(&own), TLS13)).await, "no authority, no routers");
}

#[tokio::test]
async fn few_enroll_at_once() {
    let mut door = door().await;
    let mut config = Arc::unwrap_or_clone(door.config(None, TLS13));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let (mut held, mut refused) = (Vec::new(), 0);
    for _ in 0..40 {
        let tcp = TcpStream::connect(("127.0.0.1", door.port)).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        match connector.connect(name, tcp).await {
            Ok(stream) => held.push((stream, door.enrolling.recv().await.expect("a connection"))),
            Err(_) => refused += 1,
        }
    }
    assert_eq!((held.len(), refused), (32, 8));
    held.pop();
    assert!(door.lets_enroll(&[PROTOCOL]).await, "the next one, once one has ended");
}

#[tokio::test]
async fn every_connection_is_a_full_handshake() {
    let door = door().await;
    let good = issue(door.folder.path(), "ca", &client("alice"), Days::days(1), "alice");
    let config = door.config(Some(&good), TLS13);
    for _ in 0..3 {
        let tcp = TcpStream::connect(("127.0.0.1", door.port)).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::clone(&config)).connect(name, tcp).await.expect("TLS");
        // Tickets would come now.
        let _ = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn who_never_speaks_is_hung_up_on() {
    let door = door().await;
    let mut silent = TcpStream::connect(("127.0.0.1", door.port)).await.expect("a connection");
    let end = tokio::time::timeout(DEADLINE * 6, silent.read_u8()).await.expect("an end in time");
    assert!(end.is_err());
}
