//! A control plane that was taken over against the real router: whatever it orders, it gets what
//! the router's policy names and nothing else, and the router does an honest sync once the honest
//! control plane is back.

mod beyond;
mod bytes;
mod impostor;
mod passwords;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::Dice;
use harness::world::{Policy, World};
use rollcall_proto::admin::v1::{
    FailureReason, IdentitySourceSettings, attribute_mapping::ImmutableIdFormat,
};
use rollcall_proto::prost::Message;
use rollcall_proto::router::v1::{
    Drain, LookupOrder, SessionResponse, SyncOrder, TestOrder, Welcome, session_request, session_response,
};
use tokio_rustls::TlsAcceptor;

use crate::expect::{flawless, numbers, succeeded};
use crate::frames::{self, frame, grpc};
use beyond::beyond;
use bytes::raw_attacks;
use impostor::{Impostor, Link, Uploaded};

/// In everything that must not leave the house, and in nothing else.
const PLANTED: &str = "planted-secret";
/// In what the policy lets out: shows that the rig sees what is sent.
const ALLOWED: &str = "allowed-title";
const PATIENCE: Duration = Duration::from_secs(120);
/// A debug build with a directory of fifty people has some 30 MiB.
const MEMORY_KIB: u64 = 200 << 10;

/// Secrets in a directory whose bind account may read all of them, beside fifty people without any.
fn secrets() -> String {
    let person = |name: &str, parent: &str, more: &str| {
        format!(
            "dn: uid={name},{parent}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\nmail: {name}@lab.test\n\
             {more}\n\n"
        )
    };
    let people = "ou=people,dc=example,dc=com";
    let vault = "ou=vault,dc=example,dc=com";
    [
        person(
            "victim",
            people,
            &format!(
                "title: {ALLOWED}\nemployeeType: active\nuserPassword: {PLANTED}-1\nuserPassword;x-spare: {PLANTED}-2\ndescription: {PLANTED}-3\n\
                 homePhone: {PLANTED}-4"
            )
            .replace("userPassword;x-spare", "userPassword"),
        ),
        format!("dn: {vault}\nobjectClass: organizationalUnit\nou: vault\n\n"),
        person("hidden", vault, &format!("title: {PLANTED}-5\nemployeeType: {PLANTED}-6")),
    ]
    .concat()
}

/// Somewhere that is not in the policy, and that counts who comes.
struct Trap {
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Trap {
    fn set() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let (port, came) = (listener.local_addr()?.port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&came);
        // Ends with the process.
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self { port, came })
    }
}

/// The house: a world whose control plane is gone, what is secret there, and what must be the same
/// at the end.
struct House {
    world: World,
    trap: Trap,
    files: BTreeMap<PathBuf, (u32, blake3::Hash)>,
    router: u32,
    tried: usize,
}

impl House {
    async fn open() -> Result<Self> {
        Self::with(|policy| policy).await
    }

    /// One whose policy says something else, too.
    async fn with(policy: impl FnOnce(Policy) -> Policy + 'static) -> Result<Self> {
        let builder = World::builder()
            .directory(|directory| directory.these_people(flawless(50)).ldif(&secrets()))
            .policy(policy);
        let mut world = builder.without_router().start().await?;
        world.directory().allow_everything()?;
        // A second credential, which the policy allows for another host only.
        let spare = world.dir().join("payroll.password");
        std::fs::write(&spare, format!("{PLANTED}-7"))?;
        std::fs::set_permissions(&spare, std::fs::Permissions::from_mode(0o600))?;
        append(
            &world.files.router_config(),
            "[credentials.payroll]\nbind_dn = \"cn=payroll\"\npassword_file = \"payroll.password\"\n",
        )?;
        append(
            &world.files.policy(),
            "[[directory]]\nhost = \"payroll.invalid\"\ncredentials = [\"payroll\"]\nroots = [\"dc=payroll\"]\n\
             attributes = [\"uid\"]\n",
        )?;
        world.start_router()?;
        world.router_connected().await?;
        world.create_and_publish_source(world.settings()).await?;
        assert_eq!(succeeded(&world.sync_now().await?)[0], 51, "all but who is outside of the policy");
        world.stop_control_plane()?;
        let (files, router) = (files(world.dir())?, world.router()?.pid());
        Ok(Self { world, trap: Trap::set()?, files, router, tried: 0 })
    }

    fn impostor(&self) -> Result<Impostor> {
        Impostor::start(self.world.address(), self.world.dir())
    }

    /// Nothing got out, nothing was touched, and the honest control plane is served again.
    #[expect(clippy::print_stderr, reason = "figures for whoever runs it")]
    async fn stands(mut self, sent: &[u8]) -> Result<()> {
        eprintln!("{} tries, {} bytes sent by the router", self.tried, sent.len());
        let has = |text: &str| sent.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(!has(PLANTED), "a secret was sent");
        assert!(!has("agent-secret"), "the password of the bind account was sent");
        assert_eq!(
            self.trap.came.load(Ordering::Relaxed),
            0,
            "a host outside of the policy was connected to"
        );
        assert_eq!(files(self.world.dir())?, self.files, "a file was changed");
        let peak = self.world.router()?.peak_memory_kib()?;
        eprintln!("at most {peak} KiB");
        assert!(peak < MEMORY_KIB, "{peak} KiB");

        self.world.start_control_plane()?;
        let end = Instant::now() + PATIENCE;
        while self.world.router_connected().await.is_err() && Instant::now() < end {}
        assert_eq!(self.world.router()?.pid(), self.router);
        let honest = self.world.sync_now().await?;
        succeeded(&honest);
        assert_eq!(numbers(&honest)[2], 51, "nothing has changed");
        let log = self.world.router()?.logs();
        for secret in [PLANTED, ALLOWED, "agent-secret", "ou=vault", "uid="] {
            assert!(!log.contains(secret), "{secret} in the log");
        }
        assert!(!log.contains("panicked"), "{log}");
        Ok(())
    }
}

fn append(path: &Path, text: &str) -> Result<()> {
    let before = std::fs::read_to_string(path)?;
    Ok(std::fs::write(path, before + text)?)
}

/// Every file of the installation but logs and the database, with its rights and its content.
fn files(dir: &Path) -> Result<BTreeMap<PathBuf, (u32, blake3::Hash)>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !name.ends_with(".log") && !name.starts_with("rollcall.db") {
                let mode = std::fs::metadata(&path)?.permissions().mode();
                files.insert(path.clone(), (mode, blake3::hash(&std::fs::read(&path)?)));
            }
        }
    }
    Ok(files)
}

/// Orders a read, a test and a look-up with these settings; says what was carried out.
async fn try_all(
    impostor: &Impostor,
    link: &mut Link,
    number: usize,
    settings: &IdentitySourceSettings,
) -> Result<Vec<String>> {
    let mut carried_out = Vec::new();
    let id = format!("try-{number}");
    let order = SyncOrder {
        sync_job: id.clone(),
        epoch: 1,
        settings: Some(settings.clone()),
        records_only: number.is_multiple_of(2),
        batch_records: 100,
        window: 4,
        ..SyncOrder::default()
    };
    match link.sync(impostor, order).await? {
        Ok(Uploaded::Complete(records)) => carried_out.push(format!("{records} records read")),
        Ok(Uploaded::Failed) | Err(_) => {}
    }
    let (request_id, wanted) = (id.clone(), Some(settings.clone()));
    link.say(session_response::Message::TestOrder(TestOrder { request_id, settings: wanted })).await?;
    if let session_request::Message::TestResult(result) = link.answer(&id).await? {
        for test in result.servers.iter().filter(|test| test.bound) {
            carried_out.push(format!("bound to {}", test.server));
        }
    }
    let text = settings.mapping.as_ref().is_some_and(|m| m.immutable_id_format() == ImmutableIdFormat::Text);
    let order = LookupOrder {
        request_id: id.clone(),
        settings: Some(settings.clone()),
        immutable_ids: vec![match text {
            true => [b"\xff".as_slice(), PLANTED.as_bytes(), b"-1"].concat().into(),
            false => vec![7; 16].into(),
        }],
        ..LookupOrder::default()
    };
    link.say(session_response::Message::LookupOrder(order)).await?;
    if let session_request::Message::LookupResult(result) = link.answer(&id).await?
        && result.failure.is_none()
    {
        carried_out.push(format!("looked up {:?}", result.presences));
    }
    Ok(carried_out)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_was_taken_over_gets_what_the_policy_names_and_nothing_else() -> Result<()> {
    let mut house = House::open().await?;
    let mut impostor = house.impostor()?;
    let mut link = impostor.link().await?;
    let honest = house.world.settings();
    let carried_out = try_all(&impostor, &mut link, 0, &honest).await?;
    assert_eq!(carried_out.len(), 3, "the rig works: {carried_out:?}");
    let sent = impostor.sent.lock().expect("no panic").clone();
    assert!(
        sent.windows(ALLOWED.len()).any(|bytes| bytes == ALLOWED.as_bytes()),
        "the rig sees what is sent"
    );

    let plain = house.world.directory().ldap_port();
    let beyond = beyond(&honest, house.trap.port, plain);
    // What is refused says which key of the policy would have to be changed, and leaves a trail.
    let order = SyncOrder {
        sync_job: "why".to_owned(),
        epoch: 1,
        settings: Some(beyond.iter().find(|(what, _)| what.contains("vault")).context("one")?.1.clone()),
        ..SyncOrder::default()
    };
    link.say(session_response::Message::SyncOrder(order)).await?;
    let session_request::Message::SyncRefused(refused) = link.answer("why").await? else {
        panic!("not refused")
    };
    let failure = refused.failure.unwrap_or_default();
    assert_eq!(failure.reason(), FailureReason::RouterPolicy);
    assert!(failure.message.contains("add it to roots"), "{}", failure.message);
    house.tried += 1;
    let line = "audit=true event=\"order_refused\" order=\"SyncOrder\" keys=\"roots\"";
    house.world.router()?.wait_for_log(line, PATIENCE)?;

    for (number, (what, settings)) in beyond.iter().enumerate() {
        let carried_out = try_all(&impostor, &mut link, number + 1, settings).await?;
        // A test looks at each server alone, so an honest one beside another is tested; nothing of
        // anyone leaves by that.
        let honest_one = settings.directory_servers.len() > 1 && settings.directory_servers.len() < 10;
        let fine = |done: &String| honest_one && done.starts_with("bound to localhost");
        assert!(carried_out.iter().all(fine), "{what}: {carried_out:?}");
        house.tried += 3;
    }
    let sent = impostor.sent.lock().expect("no panic").clone();
    drop((link, impostor));
    // So many that they are counted.
    house.world.router()?.wait_for_log("audit=true event=\"orders_refused\" count=", PATIENCE)?;
    house.stands(&sent).await
}

/// What orders are made of when nobody thinks about them.
fn at_random(
    dice: &mut Dice,
    honest: &IdentitySourceSettings,
    beyond: &[(String, IdentitySourceSettings)],
) -> IdentitySourceSettings {
    let mut settings = honest.clone();
    for _ in 0..=dice.below(3) {
        let other = &beyond[dice.index(beyond.len())].1;
        match dice.below(6) {
            0 => settings.directory_servers.clone_from(&other.directory_servers),
            1 => settings.credential.clone_from(&other.credential),
            2 => settings.roots.clone_from(&other.roots),
            3 => settings.extra_filter.clone_from(&other.extra_filter),
            4 => settings.mapping.clone_from(&other.mapping),
            _ => {
                settings.page_size =
                    i32::from_ne_bytes(dice.next().to_ne_bytes()[..4].try_into().unwrap_or_default());
                settings.scope = i32::from(dice.next().to_ne_bytes()[0]);
            }
        }
    }
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_made_by_dice_and_orders_with_broken_bytes_get_nothing_either() -> Result<()> {
    let mut house = House::open().await?;
    let mut impostor = house.impostor()?;
    let mut link = impostor.link().await?;
    let honest = house.world.settings();
    let beyond = beyond(&honest, house.trap.port, house.world.directory().ldap_port());
    let mut dice = Dice::new(20_261_125, 1);
    for number in 0..150 {
        let settings = at_random(&mut dice, &honest, &beyond);
        try_all(&impostor, &mut link, number, &settings).await?;
        house.tried += 3;
    }
    // Orders of which some bytes are others: as many as can still be read are sent, and an honest
    // test between them shows that the router listens.
    for round in 0..40 {
        for number in 0..200 {
            let settings = Some(at_random(&mut dice, &honest, &beyond));
            let (request_id, immutable_ids) = (format!("broken-{number}"), vec![vec![7; 16].into()]);
            let message = match number % 3 {
                0 => session_response::Message::TestOrder(TestOrder { request_id, settings }),
                1 => session_response::Message::LookupOrder(LookupOrder {
                    request_id,
                    settings,
                    immutable_ids,
                    ..LookupOrder::default()
                }),
                _ => session_response::Message::SyncOrder(SyncOrder {
                    sync_job: request_id,
                    epoch: round,
                    settings,
                    ..SyncOrder::default()
                }),
            };
            let mut bytes = SessionResponse { message: Some(message) }.encode_to_vec();
            if bytes.len() > 16 << 10 {
                continue;
            }
            for _ in 0..=dice.below(3) {
                let at = dice.index(bytes.len());
                bytes[at] = dice.next().to_ne_bytes()[0];
            }
            let Ok(SessionResponse { message: Some(message) }) = SessionResponse::decode(&bytes[..]) else {
                continue;
            };
            if !matches!(message, session_response::Message::Drain(_)) {
                link.say(message).await?;
                house.tried += 1;
            }
        }
        let id = format!("between-{round}");
        let (request_id, settings) = (id.clone(), Some(honest.clone()));
        link.say(session_response::Message::TestOrder(TestOrder { request_id, settings })).await?;
        link.answer(&id).await?;
    }
    let sent = impostor.sent.lock().expect("no panic").clone();
    drop((link, impostor));
    house.stands(&sent).await
}

/// Sends the router away and takes its next session.
async fn again(impostor: &mut Impostor, link: Link, after: i64) -> Result<Link> {
    let reconnect_after = Some(prost_types::Duration { seconds: after, nanos: 0 });
    link.say(session_response::Message::Drain(Drain { reconnect_after })).await?;
    impostor.link().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_and_no_flood_of_orders_stops_a_router_or_fills_its_memory() -> Result<()> {
    let mut house = House::open().await?;
    let mut impostor = house.impostor()?;
    let mut link = impostor.link().await?;
    let honest = house.world.settings();
    let year = 365 * 86_400;
    for seconds in [0, -1, 1, 1_000 * year, i64::MAX, i64::MIN] {
        for nanos in [0, -1, i32::MAX] {
            impostor.welcome(prost_types::Duration { seconds, nanos });
            link = again(&mut impostor, link, if nanos == 0 { 0 } else { -1 }).await?;
            let carried_out = try_all(&impostor, &mut link, house.tried + 10_000, &honest).await;
            let carried_out = carried_out.with_context(|| house.world.logs())?;
            assert_eq!(carried_out.len(), 3, "heartbeats each {seconds} s: {carried_out:?}");
            house.tried += 2;
        }
    }
    impostor.welcome(prost_types::Duration { seconds: 15, nanos: 0 });
    link = again(&mut impostor, link, 0).await?;
    for (number, extreme) in [i32::MIN, -1, 0, 1, i32::MAX].into_iter().enumerate() {
        let mut settings = honest.clone();
        settings.page_size = extreme;
        let order = SyncOrder {
            sync_job: format!("extreme-{number}"),
            epoch: i64::from(extreme) * i64::from(i32::MAX),
            settings: Some(settings),
            revision: extreme,
            records_only: true,
            batch_records: extreme,
            window: extreme,
            former: None,
        };
        let ended = link.sync(&impostor, order.clone()).await?;
        assert!(matches!(ended, Ok(Uploaded::Complete(51))), "{extreme}: {ended:?}");
        // An epoch that goes backwards is an order from the past.
        let past = SyncOrder { epoch: order.epoch.saturating_sub(1), ..order };
        link.say(session_response::Message::SyncOrder(past)).await?;
        house.tried += 2;
    }
    // Thousands at once, most of them honest by their looks, some for one job again and again.
    let flood = 3_000;
    for number in 0..flood {
        let settings = Some(honest.clone());
        let id = format!("flood-{number}");
        let message = match number % 4 {
            0 => session_response::Message::TestOrder(TestOrder { request_id: id, settings }),
            1 => session_response::Message::LookupOrder(LookupOrder {
                request_id: id,
                settings,
                immutable_ids: vec![vec![7; 16].into(); 1_000],
                ..LookupOrder::default()
            }),
            2 => session_response::Message::SyncOrder(SyncOrder {
                sync_job: id,
                epoch: 1,
                settings,
                ..SyncOrder::default()
            }),
            _ => session_response::Message::SyncOrder(SyncOrder {
                sync_job: "again".to_owned(),
                epoch: number,
                settings,
                ..SyncOrder::default()
            }),
        };
        link.say(message).await?;
        house.tried += 1;
    }
    // And four of almost 4 MiB.
    for number in 0..4 {
        let settings = IdentitySourceSettings { roots: vec![String::new(); 2_000_000], ..honest.clone() };
        let (request_id, settings) = (format!("large-{number}"), Some(settings));
        link.say(session_response::Message::TestOrder(TestOrder { request_id, settings })).await?;
        house.tried += 1;
    }
    let end = Instant::now() + PATIENCE;
    loop {
        ensure!(Instant::now() < end, "the router does not come to itself");
        let id = format!("after-{}", house.tried);
        link.say(session_response::Message::TestOrder(TestOrder {
            request_id: id.clone(),
            settings: Some(honest.clone()),
        }))
        .await?;
        house.tried += 1;
        let answered = tokio::time::timeout(Duration::from_secs(5), link.answer(&id)).await;
        if let Ok(Ok(session_request::Message::TestResult(result))) = answered
            && result.servers.iter().all(|test| test.roots_found)
        {
            break;
        }
    }
    let sent = impostor.sent.lock().expect("no panic").clone();
    // For a thousand years, it says.
    let reconnect_after = Some(prost_types::Duration { seconds: 1_000 * year, nanos: 0 });
    link.say(session_response::Message::Drain(Drain { reconnect_after })).await?;
    house.tried += 1;
    house.world.router()?.wait_for_log("the control plane is about to go", PATIENCE)?;
    drop((link, impostor));
    house.stands(&sent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_of_a_control_plane_stop_a_router() -> Result<()> {
    let mut house = House::open().await?;
    let acceptor = TlsAcceptor::from(frames::server_tls(house.world.dir())?);
    let listener = tokio::net::TcpListener::bind(house.world.address()).await?;
    let message = |message| SessionResponse { message: Some(message) }.encode_to_vec();
    let welcome = message(session_response::Message::Welcome(Welcome::default()));
    let drain = message(session_response::Message::Drain(Drain { reconnect_after: None }));
    // Sent away after each attack, the router comes back at once instead of later each time.
    let honest = [
        frame(frames::HEADERS, frames::END_HEADERS, 1, &frames::response()),
        frame(frames::DATA, 0, 1, &[grpc(&welcome), grpc(&drain)].concat()),
    ]
    .concat();
    let mut sent = Vec::new();
    for (what, attack) in raw_attacks() {
        for bytes in [&attack, &honest] {
            let served = async {
                let (tcp, _) = listener.accept().await?;
                let mut stream = acceptor.accept(tcp).await?;
                frames::preface(&mut stream).await?;
                let settings =
                    [frame(frames::SETTINGS, 0, 0, &[]), frame(frames::SETTINGS, frames::ACK, 0, &[])];
                tokio::io::AsyncWriteExt::write_all(&mut stream, &settings.concat()).await?;
                // The request, and what it says first.
                while let Some(frame) = frames::next(&mut stream).await? {
                    sent.extend_from_slice(&frame.payload);
                    if frame.kind == frames::DATA {
                        break;
                    }
                }
                let (mut reading, mut writing) = tokio::io::split(stream);
                // Whether the router takes all of it or hangs up in the middle is its own affair.
                let write = async {
                    let _ = tokio::io::AsyncWriteExt::write_all(&mut writing, bytes).await;
                };
                let read = async {
                    while let Ok(Some(frame)) = frames::next(&mut reading).await {
                        sent.extend_from_slice(&frame.payload);
                    }
                };
                let _ =
                    tokio::time::timeout(Duration::from_secs(2), async { tokio::join!(write, read) }).await;
                anyhow::Ok(())
            };
            tokio::time::timeout(PATIENCE, served).await.with_context(|| what.to_owned())?.context(what)?;
        }
        ensure!(house.world.router()?.is_running(), "{what} ended the router");
        house.tried += 1;
    }
    drop(listener);
    house.stands(&sent).await
}
