//! A control plane in this process, its administrator, and routers as small as they can be.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use control_plane::api::middleware::limits::Limits;
use control_plane::ca::{Authority, Subject};
use control_plane::config::{self, Config, Log, Tls};
use control_plane::jobs::JobSettings;
use control_plane::model::{Actor, TenantId};
use control_plane::webhooks::WebhookSettings;
use control_plane::{server, store};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rollcall_proto::admin::v1::identity_router_service_client::IdentityRouterServiceClient;
use rollcall_proto::admin::v1::{CreateRegistrationCodeRequest, RegistrationCode};
use rollcall_proto::code::{Code, EXPORTED, EXPORTER, PROTOCOL};
use rollcall_proto::router::v1::enrollment_service_client::EnrollmentServiceClient;
use rollcall_proto::router::v1::router_service_client::RouterServiceClient;
use rollcall_proto::router::v1::{
    EnrollRequest, Hello, IssuedCertificate, RecoverRequest, RenewCertificateRequest, SessionRequest,
    SessionResponse, session_request, session_response,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

/// A control plane.
pub(crate) struct World {
    folder: TempDir,
    port: u16,
}

/// A router: its key, and the certificates that it was given.
#[derive(Clone)]
pub(crate) struct Router {
    pub(crate) key: Arc<KeyPair>,
    pub(crate) issued: IssuedCertificate,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_life(Duration::from_secs(3_600)).await
    }

    /// With certificates of routers that live so long.
    pub(crate) async fn with_life(life: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (ca, now) = (folder.path().join("ca"), OffsetDateTime::now_utc());
        Authority::init(&ca, "rollcall", now).expect("an authority");
        let authority = Authority::open(&ca).expect("an authority");
        let issue = |subject: Subject, name: &str| {
            let end = now + time::Duration::days(1);
            authority.issue(&subject, now, end, &folder.path().join(name)).expect("a certificate");
        };
        issue(Subject::Server(vec!["localhost".to_owned()]), "server");
        for (name, path) in [
            ("admin", &["tenant", "acme", "admin", "alice", "super-admin"][..]),
            ("foreign", &["tenant", "globex", "admin", "bob", "super-admin"]),
            ("console", &["console", "web"]),
        ] {
            issue(Subject::Client(path.iter().map(|part| (*part).to_owned()).collect()), name);
        }
        let world = Self { port: harness::ports::free_port().expect("a port"), folder };
        let database = world.database();
        let store = store::open(&database).await.expect("a store");
        for tenant in ["acme", "globex"] {
            let made = store
                .set_license_limit(&TenantId::from(tenant), 100, true, &Actor::system(), clock().now())
                .await;
            made.expect("a tenant");
        }
        drop(store);
        let config = world.config(database, life);
        // In a thread of its own, as in the program.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(server::run(config)).expect("a control plane that serves");
        });
        while TcpStream::connect(("127.0.0.1", world.port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world
    }

    pub(crate) fn config(&self, database: String, life: Duration) -> Config {
        let at = |name: &str| self.folder.path().join(name);
        Config {
            listen: ([127, 0, 0, 1], self.port).into(),
            database,
            limits: Limits::default(),
            tokens: Vec::new(),
            webhooks: WebhookSettings::default(),
            replicas: None,
            tls: Tls {
                certificate: at("server.pem"),
                key: at("server.key"),
                client_ca: at("ca/ca.pem"),
                refused: None,
            },
            authority: Some(config::Authority {
                dir: at("ca/routers"),
                router_certificate_life: life,
                recovery: Duration::from_secs(30 * 86_400),
                server_ca: at("ca/ca.pem"),
            }),
            sync: JobSettings::default(),
            log: Log::default(),
        }
    }

    /// A copy of its database, as a backup has it.
    pub(crate) async fn backup(&self) -> String {
        let copy = self.folder.path().join("copy.db");
        store::backup(&self.database(), &copy).await.expect("a backup");
        format!("sqlite://{}", copy.display())
    }

    fn database(&self) -> String {
        format!("sqlite://{}/rollcall.db", self.folder.path().display())
    }

    /// Whoever holds the certificate of this file.
    pub(crate) async fn channel_as(&self, name: &str) -> Channel {
        let at = self.folder.path().join(name);
        let certificate = CertificateDer::from_pem_file(at.with_extension("pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(at.with_extension("key")).expect("a key");
        channel(self.tls(Some((vec![certificate], key)), b"h2").await.expect("a handshake")).await
    }

    pub(crate) async fn admin_as(&self, name: &str) -> IdentityRouterServiceClient<Channel> {
        IdentityRouterServiceClient::new(self.channel_as(name).await)
    }

    pub(crate) async fn admin(&self) -> IdentityRouterServiceClient<Channel> {
        self.admin_as("admin").await
    }

    /// A code for a router of acme.
    pub(crate) async fn code_for(&self, router: &str) -> (RegistrationCode, Code) {
        let request = CreateRegistrationCodeRequest {
            parent: "tenants/acme".to_owned(),
            identity_router_id: router.to_owned(),
            ..CreateRegistrationCodeRequest::default()
        };
        let made = self.admin().await.create_registration_code(request).await.expect("a code").into_inner();
        let code = made.code.parse().expect("a code that can be read");
        (made, code)
    }

    /// A router that has enrolled.
    pub(crate) async fn enrolled(&self, router: &str) -> Router {
        let (_, code) = self.code_for(router).await;
        let key = key();
        let issued = self.enroll(&code.secret, &key).await.expect("a certificate");
        Router { key, issued }
    }

    /// Enrolls on a connection of its own.
    pub(crate) async fn enroll(&self, secret: &[u8], key: &KeyPair) -> Result<IssuedCertificate, Status> {
        let mut newcomer = self.newcomer().await;
        let request = newcomer.request(secret, key);
        Ok(newcomer.client.enroll(request).await?.into_inner().certificate.expect("a certificate"))
    }

    /// Asks for another certificate with one that has expired.
    pub(crate) async fn recover(&self, router: &Router, key: &KeyPair) -> Result<IssuedCertificate, Status> {
        let mut newcomer = self.newcomer().await;
        let certificate_request = request_of(key);
        let request = RecoverRequest {
            expired_certificate: router.issued.chain[0].clone(),
            proof: newcomer.proof(&certificate_request, &router.key).into(),
            certificate_request: certificate_request.into(),
        };
        Ok(newcomer.client.recover(request).await?.into_inner().certificate.expect("a certificate"))
    }

    /// A connection without a certificate, with the protocol of enrollment.
    pub(crate) async fn newcomer(&self) -> UnverifiedServer {
        let tls = self.tls(None, PROTOCOL).await.expect("a handshake");
        let exported = tls.get_ref().1.export_keying_material([0; EXPORTED], EXPORTER, None);
        let chain = tls.get_ref().1.peer_certificates().expect("a chain").to_vec();
        let chain = chain.into_iter().map(CertificateDer::into_owned).collect();
        UnverifiedServer {
            exported: exported.expect("what TLS exports"),
            chain,
            client: EnrollmentServiceClient::new(channel(tls).await),
        }
    }

    /// A connection of a router.
    pub(crate) async fn link(&self, router: &Router) -> std::io::Result<RouterServiceClient<Channel>> {
        let chain = router.issued.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = PrivateKeyDer::try_from(router.key.serialize_der()).expect("a key");
        Ok(RouterServiceClient::new(channel(self.tls(Some((chain, key)), b"h2").await?).await))
    }

    pub(crate) async fn tls(
        &self,
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
        protocol: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.folder.path().join("ca/ca.pem")).expect("a CA");
        roots.add(ca).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_root_certificates(roots);
        let mut config = match identity {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("an identity"),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }
}

/// A router's session.
pub(crate) struct Session {
    /// Ends when it is dropped.
    _requests: tokio::sync::mpsc::Sender<SessionRequest>,
    answers: Streaming<SessionResponse>,
}

impl Session {
    /// Begins a session and waits for Welcome; with `check` only asks whether it would be let in.
    pub(crate) async fn begin(link: &mut RouterServiceClient<Channel>, check: bool) -> Result<Self, Status> {
        let (requests, receiver) = tokio::sync::mpsc::channel(1);
        let hello = Hello { version: "1".to_owned(), check, ..Hello::default() };
        let hello = SessionRequest { message: Some(session_request::Message::Hello(hello)) };
        requests.send(hello).await.expect("room");
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut answers = link.session(stream).await?.into_inner();
        match answers.message().await?.and_then(|answer| answer.message) {
            Some(session_response::Message::Welcome(_)) => Ok(Self { _requests: requests, answers }),
            other => panic!("{other:?}"),
        }
    }

    /// Why it ended; waits until it does.
    pub(crate) async fn end(mut self) -> Status {
        let end = async {
            loop {
                match self.answers.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Status::ok("it ended"),
                    Err(status) => return status,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), end).await.expect("an end")
    }

    /// Whether it goes on, as far as one can see.
    pub(crate) async fn goes_on(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(100), self.answers.message()).await.is_err()
    }
}

impl Router {
    /// Asks for the next certificate on this connection.
    pub(crate) async fn renew(
        &self,
        link: &mut RouterServiceClient<Channel>,
        key: &Arc<KeyPair>,
    ) -> Result<Self, Status> {
        let certificate_request = request_of(key).into();
        let request = RenewCertificateRequest { certificate_request, generation: self.issued.generation };
        let issued = link.renew_certificate(request).await?.into_inner().certificate;
        Ok(Self { key: Arc::clone(key), issued: issued.expect("a certificate") })
    }
}

/// A key.
pub(crate) fn key() -> Arc<KeyPair> {
    Arc::new(KeyPair::generate().expect("a key"))
}

/// A connection on which a router enrolls.
pub(crate) struct UnverifiedServer {
    pub(crate) exported: [u8; EXPORTED],
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) client: EnrollmentServiceClient<Channel>,
}

impl UnverifiedServer {
    pub(crate) fn request(&self, secret: &[u8], key: &KeyPair) -> EnrollRequest {
        let certificate_request = request_of(key);
        EnrollRequest {
            secret: secret.to_vec().into(),
            proof: self.proof(&certificate_request, key).into(),
            certificate_request: certificate_request.into(),
        }
    }

    pub(crate) fn proof(&self, request: &[u8], key: &KeyPair) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der());
        let signed = [&self.exported, request].concat();
        pair.expect("a key").sign(&SystemRandom::new(), &signed).expect("a signature").as_ref().to_vec()
    }
}

/// A certificate request in DER.
pub(crate) fn request_of(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).expect("a request").der().to_vec()
}

/// The reason of an error, for programs.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn clock() -> control_plane::clock::Clock {
    control_plane::clock::Clock::system()
}

/// Talks HTTP/2 over one connection, and never connects again.
pub(crate) async fn channel(tls: TlsStream<TcpStream>) -> Channel {
    let mut tls = Some(tls);
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls.take().ok_or_else(|| std::io::Error::other("the connection is gone"));
        async move { tls.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.expect("a channel")
}
