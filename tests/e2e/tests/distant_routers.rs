//! Sign-ins at a replica that no identity router is connected to: the router of another replica is
//! asked, through real processes on one PostgreSQL, and whoever is no replica reaches nothing at
//! the listener of replicas.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::world::{Admin, Database, Identity, Policy, SOURCE, TENANT, World};
use harness::{Cable, Dice, Direction};
use rollcall_proto::admin::v1::audit_event::Type;
use rollcall_proto::admin::v1::single_sync::Outcome as Synced;
use rollcall_proto::admin::v1::sync_user_request::Whom;
use rollcall_proto::admin::v1::verify_password_response::Outcome;
use rollcall_proto::admin::v1::{
    IdentitySourceSettings, JustInTimeSettings, SyncUserRequest, TestConnectionRequest, VerifyPasswordRequest,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::expect::entry;
use crate::just_in_time::{SignIn, on, seconds};

const PATIENCE: Duration = Duration::from_secs(30);

/// Replicas that may ask one another, and routers at some of them. Sign-ins come in at the replica
/// `at`.
async fn start(replicas: usize, routers: &[usize], at: usize) -> Result<SignIn> {
    let world = World::builder().database(Database::Postgres).replicas(replicas).routers_at(routers).linked();
    let world = world.policy(|policy| Policy { verify_passwords: true, ..policy }).start().await?;
    let settings = IdentitySourceSettings { verify_passwords: true, ..world.settings() };
    world.create_and_publish_source(settings).await?;
    for name in ["anna", "ben"] {
        let entry = entry(&world, name, &format!("{name}@lab.test"));
        world.directory().add(&format!("{entry}userPassword: canary-{name}\n"))?;
    }
    let mut sign_in = SignIn::over(world).await?;
    sign_in.service = service_at(&mut sign_in.world, at)?;
    Ok(sign_in)
}

/// The authentication service, at a replica.
fn service_at(world: &mut World, replica: usize) -> Result<Admin> {
    let identity = Identity::at(&world.dir().join("authenticator-signin").to_string_lossy());
    let authority = world.files.authority();
    let address = world.replica(replica)?.address().context("a replica listens")?;
    Admin::connect(address.port(), &identity, &authority)
}

async fn verified(sign_in: &SignIn, login: &str, password: &str) -> Result<(Outcome, bool)> {
    let request = VerifyPasswordRequest {
        parent: format!("tenants/{TENANT}"),
        login: login.to_owned(),
        password: password.to_owned(),
    };
    let answer = sign_in.service.just_in_time.clone().verify_password(request).await?.into_inner();
    Ok((answer.outcome(), answer.allowed))
}

/// Signs in until it comes to this: who has which router is known a moment after it is connected.
async fn until(sign_in: &SignIn, login: &str, what: (Synced, bool)) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = sign_in.came_to(login).await?;
        if now == what {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{now:?} and not {what:?}:\n{}", sign_in.world.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn chatty(world: &mut World, replica: usize) -> Result<()> {
    let replica = world.replica(replica)?;
    let text = std::fs::read_to_string(replica.config())?;
    std::fs::write(replica.config(), text + "\n[log]\nlevel = \"trace\"\n")?;
    replica.stop()?;
    replica.start()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_at_a_replica_without_a_router_is_answered_as_at_the_one_that_has_it() -> Result<()> {
    let mut sign_in = start(2, &[0], 1).await?;
    chatty(&mut sign_in.world, 0)?;
    chatty(&mut sign_in.world, 1)?;
    sign_in.world.router_connected().await?;
    until(&sign_in, "anna", (Synced::Added, true)).await?;
    assert_eq!(sign_in.came_to("anna").await?, (Synced::Unchanged, true));
    let dn = format!("uid=anna,{}", sign_in.world.directory().people_dn());
    sign_in.world.directory().replace(&dn, "displayName", &["Anna Ärmel"])?;
    assert_eq!(sign_in.came_to("anna").await?, (Synced::Updated, true));
    assert_eq!(sign_in.came_to("nobody").await?, (Synced::NotFound, false));

    // On demand, and the connection test of the source.
    let admin = sign_in.world.admins[1].clone();
    let whom = Some(Whom::UserName("ben".to_owned()));
    let request = SyncUserRequest { parent: format!("tenants/{TENANT}"), whom };
    let synced = admin.just_in_time.clone().sync_user(request).await?.into_inner().sync.context("a sync")?;
    assert_eq!(synced.outcome(), Synced::Added);
    let request = TestConnectionRequest { name: SOURCE.to_owned(), ..TestConnectionRequest::default() };
    let tested = admin.sources.clone().test_connection(request).await?.into_inner();
    assert!(tested.identity_router.ends_with("hq-1"), "{tested:?}");

    assert_eq!(verified(&sign_in, "anna", "canary-anna").await?, (Outcome::Verified, true));
    assert_eq!(verified(&sign_in, "anna", "canary-wrong").await?, (Outcome::WrongPasswordOrUnknown, false));
    assert_eq!(verified(&sign_in, "ben", "canary-ben").await?, (Outcome::Verified, true));

    // Whoever left is looked up once more on the same way.
    let ben = format!("uid=ben,{}", sign_in.world.directory().people_dn());
    sign_in.world.directory().delete(&ben)?;
    assert_eq!(sign_in.came_to("ben").await?, (Synced::Absent, false));

    let logs = sign_in.world.logs();
    assert_eq!(logs.matches("connected to another replica").count(), 1, "one connection for all of it");
    assert!(logs.contains("TRACE"), "the finest level");
    let world = &sign_in.world;
    let postgres = world.postgres.as_ref().context("a PostgreSQL")?;
    let tables = postgres.psql(world.database_url(), "SELECT query_to_xml(format('TABLE %I', tablename), true, true, '') FROM pg_tables WHERE schemaname = 'public'")?;
    assert!(tables.contains("anna@lab.test"), "the tables were looked into");
    let bytes = format!("{:?}", b"canary-");
    for secret in ["canary-", "Y2FuYXJ5L", "63616e6172792d", bytes.trim_end_matches(']')] {
        assert!(!logs.contains(secret), "{secret} is in a log");
        assert!(!tables.contains(secret), "{secret} is in a table");
    }

    // The router moves to the replica that is called, and the other one is gone.
    let to = sign_in.world.replica(1)?.address().context("a replica listens")?.port();
    let from = sign_in.world.replica(0)?.address().context("a replica listens")?.port();
    sign_in.world.replica(0)?.kill()?;
    let router = sign_in.world.nth_router(0)?;
    router.stop()?;
    let config = std::fs::read_to_string(router.config())?;
    std::fs::write(router.config(), config.replace(&from.to_string(), &to.to_string()))?;
    router.start()?;
    until(&sign_in, "anna", (Synced::Unchanged, true)).await?;
    assert_eq!(verified(&sign_in, "anna", "canary-anna").await?, (Outcome::Verified, true));
    // The first one comes back, without a router, and asks the other way round.
    sign_in.world.replica(0)?.start()?;
    sign_in.service = service_at(&mut sign_in.world, 0)?;
    until(&sign_in, "anna", (Synced::Unchanged, true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_routers_policy_forbids_is_in_the_trail_also_where_another_replica_asks() -> Result<()> {
    let mut sign_in = start(2, &[0], 1).await?;
    until(&sign_in, "anna", (Synced::Added, true)).await?;
    let world = &mut sign_in.world;
    world.stop_router()?;
    let policy = std::fs::read_to_string(world.files.policy())?;
    std::fs::write(
        world.files.policy(),
        policy.replace("verify_passwords = true", "verify_passwords = false"),
    )?;
    world.start_router()?;
    world.router_connected().await?;
    until(&sign_in, "anna", (Synced::Unchanged, true)).await?;
    assert_eq!(verified(&sign_in, "anna", "canary-anna").await?, (Outcome::NotAllowed, false));
    let noted = sign_in.noted(Type::RouterRefusedOrder, "ROUTER_POLICY").await?;
    assert_eq!(noted.first().context("an event")?.actor, "identityRouters/hq-1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_replicas_router_is_asked_when_one_is_frozen_or_killed() -> Result<()> {
    let mut sign_in = start(3, &[1, 2], 0).await?;
    sign_in.set(JustInTimeSettings { deadline: seconds(10), ..on() }).await?;
    until(&sign_in, "anna", (Synced::Added, true)).await?;
    for lost in [1, 2] {
        sign_in.world.replica(lost)?.freeze()?;
        let begun = Instant::now();
        assert_eq!(sign_in.came_to("anna").await?, (Synced::Unchanged, true), "{}", sign_in.world.logs());
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        sign_in.world.replica(lost)?.thaw()?;
        // Until it has said that it is there again.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    sign_in.world.replica(1)?.kill()?;
    assert_eq!(sign_in.came_to("anna").await?, (Synced::Unchanged, true), "{}", sign_in.world.logs());
    // Killed between two passwords: the one that finds out may be refused, none is let in wrongly,
    // and then it goes on.
    let end = Instant::now() + PATIENCE;
    while verified(&sign_in, "anna", "canary-anna").await? != (Outcome::Verified, true) {
        ensure!(Instant::now() < end, "{}", sign_in.world.logs());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_replica_costs_a_sign_in_no_more_than_its_deadline_and_lets_nobody_in() -> Result<()> {
    let mut sign_in = start(2, &[0], 1).await?;
    until(&sign_in, "anna", (Synced::Added, true)).await?;
    sign_in.set(JustInTimeSettings { deadline: seconds(4), ..on() }).await?;
    sign_in.world.replica(0)?.freeze()?;
    for _ in 0..3 {
        lost(&sign_in).await?;
    }
    sign_in.world.replica(0)?.thaw()?;
    until(&sign_in, "anna", (Synced::Unchanged, true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_cable_between_replicas_is_cut_nobody_is_let_in_wrongly_and_it_goes_on_once_mended()
-> Result<()> {
    let mut sign_in = start(2, &[0], 1).await?;
    let listens = sign_in.world.replica_link(0)?;
    let cable = Cable::to(listens).await?;
    let replica = sign_in.world.replica(0)?;
    let advertised = |at: SocketAddr| format!("advertise = \"{at}\"");
    let config = std::fs::read_to_string(replica.config())?;
    std::fs::write(replica.config(), config.replace(&advertised(listens), &advertised(cable.address())))?;
    replica.stop()?;
    replica.start()?;
    until(&sign_in, "anna", (Synced::Added, true)).await?;
    ensure!(cable.connections() > 0, "it does not go through the cable");
    sign_in.set(JustInTimeSettings { deadline: seconds(3), ..on() }).await?;

    cable.cut()?;
    let begun = Instant::now();
    lost(&sign_in).await?;
    cable.mend()?;
    until(&sign_in, "anna", (Synced::Unchanged, true)).await?;
    // Nothing passes, and nobody says so.
    cable.stall();
    lost(&sign_in).await?;
    cable.resume();
    until(&sign_in, "anna", (Synced::Unchanged, true)).await?;
    assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());

    // In the middle of questions and answers.
    let mut dice = Dice::new(11, 0);
    let (mut cut_off, mut answered) = (0, 0);
    for round in 0..40 {
        let direction = if round % 2 == 0 { Direction::Up } else { Direction::Down };
        cable.cut_after(direction, dice.below(1_500));
        let (outcome, allowed) = sign_in.came_to("anna").await?;
        match outcome {
            Synced::Unchanged if allowed => answered += 1,
            Synced::NoRouter | Synced::DirectoryUnreachable if !allowed => cut_off += 1,
            _ => bail!("{outcome:?}, {allowed}:\n{}", sign_in.world.logs()),
        }
        let (outcome, allowed) = verified(&sign_in, "anna", "canary-anna").await?;
        ensure!(allowed == (outcome == Outcome::Verified), "{outcome:?}, {allowed}");
        cable.mend()?;
    }
    ensure!(cut_off > 0 && answered > 0, "{cut_off} cut off, {answered} answered");
    until(&sign_in, "anna", (Synced::Unchanged, true)).await
}

/// A sign-in and a right password, of which none gets through.
async fn lost(sign_in: &SignIn) -> Result<()> {
    let begun = Instant::now();
    let (outcome, allowed) = sign_in.came_to("anna").await?;
    ensure!(
        matches!(outcome, Synced::NoRouter | Synced::DirectoryUnreachable) && !allowed,
        "{outcome:?}, {allowed}"
    );
    let (outcome, allowed) = verified(sign_in, "anna", "canary-anna").await?;
    ensure!(
        matches!(outcome, Outcome::NoRouter | Outcome::DirectoryUnreachable) && !allowed,
        "{outcome:?}, {allowed}"
    );
    ensure!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    Ok(())
}

/// A certificate of nobody's but its own, and its hash.
fn self_signed(world: &World, name: &str) -> Result<(Identity, String)> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["replica".to_owned()])?.self_signed(&key)?;
    let identity = Identity {
        certificate: world.dir().join(format!("{name}.pem")),
        key: world.dir().join(format!("{name}.key")),
    };
    std::fs::write(&identity.certificate, certificate.pem())?;
    std::fs::write(&identity.key, key.serialize_pem())?;
    let postgres = world.postgres.as_ref().context("a PostgreSQL")?;
    let hex: String = certificate.der().iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = format!("SELECT encode(sha256(decode('{hex}', 'hex')), 'hex')");
    Ok((identity, postgres.psql(world.database_url(), &hash)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_no_live_replica_reaches_nothing_at_the_listener_of_replicas() -> Result<()> {
    let world = World::builder().database(Database::Postgres).replicas(2).linked().start().await?;
    let at = world.replica_link(0)?;
    let admin = Identity::at(&world.dir().join("admin-acme-alice").to_string_lossy());
    ensure!(!answered(at, None).await?, "whoever shows no certificate was answered");
    ensure!(!answered(at, Some(&admin)).await?, "an administrator was answered");
    ensure!(!answered(at, Some(&world.files.state(0).identity())).await?, "a router was answered");
    let (stranger, hash) = self_signed(&world, "stranger")?;
    ensure!(!answered(at, Some(&stranger)).await?, "a stranger was answered");

    let postgres = world.postgres.as_ref().context("a PostgreSQL")?;
    let heard = |ago: u32| {
        postgres.psql(
            world.database_url(),
            &format!(
                "INSERT INTO replicas (certificate, address, heard_at) VALUES (decode('{hash}', 'hex'), '192.0.2.1:1', \
                 (extract(epoch FROM now()) * 1000000)::bigint - {ago} * 1000000::bigint) \
                 ON CONFLICT (certificate) DO UPDATE SET heard_at = excluded.heard_at"
            ),
        )
    };
    heard(10)?;
    ensure!(!answered(at, Some(&stranger)).await?, "a replica that has long been silent was answered");
    // What the test sends is what a replica would send: with a live row it is answered.
    heard(0)?;
    ensure!(answered(at, Some(&stranger)).await?, "a certificate of a live row was not answered");
    // Another key behind a certificate of a live row.
    let (other, _) = self_signed(&world, "other")?;
    let forged = Identity { certificate: stranger.certificate.clone(), key: other.key };
    ensure!(
        !answered(at, Some(&forged)).await.unwrap_or(false),
        "a certificate without its key was answered"
    );
    Ok(())
}

/// Whether anything comes back over HTTP/2.
async fn answered(at: SocketAddr, identity: Option<&Identity>) -> Result<bool> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let certificate = CertificateDer::from_pem_file(&identity.certificate)?;
            let key = PrivateKeyDer::from_pem_file(&identity.key)?;
            let key = provider.key_provider.load_private_key(key)?;
            // Whether the two fit is for the other side to find out.
            let shown = rustls::sign::CertifiedKey::new(vec![certificate], key);
            config.with_client_cert_resolver(Arc::new(Shown(Arc::new(shown))))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(at).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let Ok(mut stream) = connector.connect(ServerName::try_from("replica")?, tcp).await else {
        return Ok(false);
    };
    // The preface, and empty settings.
    if stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.is_err() {
        return Ok(false);
    }
    let mut buffer = [0; 64];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer)).await?;
    Ok(read.is_ok_and(|bytes| bytes > 0))
}

/// Shows one certificate.
#[derive(Debug)]
struct Shown(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes whatever the other side shows: the test is about what that side takes.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
