//! The control plane's real port under attack, by strangers and by a client that has a certificate,
//! while an honest administrator and an honest router go on. How long the honest ones wait is
//! printed; that they are served is what must hold.

mod certificates;
mod floods;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::world::{Admin, Identity, Role, TENANT, World};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::expect::{flawless, succeeded};
use crate::frames::{self, client_tls};
use floods::Attack;

const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
/// How long an attack goes on.
const ATTACK: Duration = Duration::from_secs(2);
/// How long an honest call may take before it counts as not served, on a machine that is busy with
/// the attack.
const PATIENCE: Duration = Duration::from_secs(60);
/// Attackers at a time.
const ATTACKERS: usize = 4;
/// Where they come from, as far as that matters: honest ones come from 127.0.0.1.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const MEMORY_KIB: u64 = 128 << 10;

/// A world that is attacked.
struct Besieged {
    world: World,
    tls: Arc<ClientConfig>,
    mallory: Identity,
    connected: usize,
    memory: u64,
    attacks: usize,
}

impl Besieged {
    async fn start() -> Result<Self> {
        let mut world = World::builder().these_people(flawless(500)).usual_limits().start().await?;
        world.create_and_publish_source(world.settings()).await?;
        succeeded(&world.sync_now().await?);
        let mallory = world.files.issue_admin("mallory", Role::HelpDesk)?;
        let tls = client_tls(&world.files.authority(), Some(&mallory), TLS13, &[b"h2"])?;
        let memory = world.control_plane()?.peak_memory_kib()?;
        let mut besieged = Self { world, tls, mallory, connected: 0, memory, attacks: 0 };
        besieged.connected = besieged.sessions()?;
        besieged.under("nothing", async { tokio::time::sleep(ATTACK).await }).await?;
        Ok(besieged)
    }

    /// How often the router has connected.
    fn sessions(&mut self) -> Result<usize> {
        Ok(self.world.router()?.logs().matches("connected to the control plane").count())
    }

    /// Makes honest calls for as long as the attack takes, each of which must be answered.
    async fn under<T>(&mut self, what: &str, attack: impl Future<Output = T>) -> Result<T> {
        let (over, admin) = (Arc::new(AtomicBool::new(false)), self.world.admin.clone());
        let seen = Arc::clone(&over);
        let honest = tokio::spawn(async move {
            let mut times = Vec::new();
            while !seen.load(Ordering::Relaxed) || times.len() < 10 {
                let began = Instant::now();
                tokio::time::timeout(PATIENCE, admin.license(TENANT)).await.context("not served")??;
                times.push(began.elapsed());
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            times.sort();
            anyhow::Ok(times)
        });
        let done = attack.await;
        over.store(true, Ordering::Relaxed);
        let times = honest.await?.with_context(|| format!("under {what}"))?;
        let of = |permille: usize| times[(times.len() - 1) * permille / 1_000];
        say(&format!("{what}: {} honest calls, median {:?}, p99 {:?}", times.len(), of(500), of(990)));
        ensure!(self.world.control_plane()?.is_running(), "{what} ended the control plane");
        Ok(done)
    }

    /// The router never lost its session, can still be used, and the memory was not filled.
    async fn stands(mut self) -> Result<()> {
        let peak = self.world.control_plane()?.peak_memory_kib()?;
        say(&format!("{} attacks; memory {} KiB before, at most {peak} KiB", self.attacks, self.memory));
        assert!(peak < self.memory + MEMORY_KIB, "{peak} KiB");
        assert_eq!(self.sessions()?, self.connected, "the router had to connect again");
        succeeded(&self.world.sync_now().await?);
        let logs = self.world.logs();
        assert!(!logs.contains("panicked"), "{logs}");
        Ok(())
    }
}

#[expect(clippy::print_stderr, reason = "figures for whoever runs it")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// A connection from an address of this machine.
async fn tcp(to: SocketAddr, from: Ipv4Addr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    socket.connect(to).await
}

async fn tls(to: SocketAddr, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let tcp = tcp(to, ELSEWHERE).await?;
    Ok(TlsConnector::from(Arc::clone(tls)).connect(ServerName::try_from("localhost")?, tcp).await?)
}

/// Carries out an attack on one connection; whether the server ended it, after how many pieces.
async fn one(to: SocketAddr, config: Arc<ClientConfig>, attack: Arc<Attack>) -> Result<(bool, u32)> {
    let (mut reading, mut writing) = tokio::io::split(tls(to, &config).await?);
    let end = tokio::time::Instant::now() + ATTACK;
    let mut sent = 0;
    let write = async {
        if writing.write_all(&attack.first).await.is_err() {
            return;
        }
        loop {
            let piece = (attack.next)(sent);
            if piece.is_empty() {
                break;
            }
            if writing.write_all(&piece).await.is_err() || writing.flush().await.is_err() {
                return;
            }
            sent += 1;
            match attack.pause {
                0 => tokio::task::yield_now().await,
                pause => tokio::time::sleep(Duration::from_millis(pause)).await,
            }
        }
        // All said; what is open stays open.
        std::future::pending::<()>().await;
    };
    let read = async {
        if !attack.reads {
            std::future::pending::<()>().await;
        }
        let mut buffer = vec![0; 64 << 10];
        while reading.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    let ended = tokio::select! {
        () = write => true,
        () = read => true,
        () = tokio::time::sleep_until(end) => false,
    };
    Ok((ended, sent))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_misuses_http_2_keeps_nobody_else_from_being_served() -> Result<()> {
    let mut besieged = Besieged::start().await?;
    let to = besieged.world.address();
    for attack in floods::all() {
        let (name, ends, attack) = (attack.name, attack.ends, Arc::new(attack));
        let config = Arc::clone(&besieged.tls);
        let attackers = async {
            let (mut ended, mut pieces, mut connections) = (0_usize, 0_u64, 0_usize);
            let end = Instant::now() + ATTACK;
            // Whoever is thrown out comes back.
            while connections == 0 || Instant::now() < end {
                let mut all = JoinSet::new();
                for _ in 0..ATTACKERS {
                    all.spawn(one(to, Arc::clone(&config), Arc::clone(&attack)));
                }
                while let Some(done) = all.join_next().await {
                    let (over, sent) = done??;
                    (ended, pieces) = (ended + usize::from(over), pieces + u64::from(sent));
                    connections += 1;
                }
            }
            anyhow::Ok((ended, pieces, connections))
        };
        let (ended, pieces, connections) = besieged.under(name, attackers).await??;
        say(&format!("    {connections} connections, {ended} of them ended by the server, {pieces} pieces"));
        assert!(!ends || ended == connections, "{name}: {ended} of {connections} connections were ended");
        besieged.attacks += connections;
    }
    besieged.stands().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_slow_at_any_step_keeps_nobody_else_out() -> Result<()> {
    let mut besieged = Besieged::start().await?;
    let (to, config) = (besieged.world.address(), Arc::clone(&besieged.tls));

    // Silent from the start, and more of them all the time.
    let silent = async {
        let mut open = Vec::new();
        let end = Instant::now() + 2 * ATTACK;
        while Instant::now() < end {
            for _ in 0..20 {
                open.push(tcp(to, ELSEWHERE).await?);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(open)
    };
    let open = besieged.under("connections that say nothing", silent).await??;
    // A new router and a new administrator get in while all of them are there.
    let late = besieged.world.files.issue_admin("late", Role::Auditor)?;
    let late = besieged.world.admin_as(&late)?;
    besieged.under("the same, for who comes now", async { late.license(TENANT).await }).await??;
    besieged.attacks += open.len();
    drop(open);

    // A ClientHello byte by byte.
    let dripping = async {
        let mut all = JoinSet::new();
        for _ in 0..300 {
            all.spawn(async move {
                let mut tcp = tcp(to, ELSEWHERE).await?;
                for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3].into_iter().chain([7; 400]) {
                    if tcp.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                anyhow::Ok(())
            });
        }
        tokio::time::sleep(2 * ATTACK).await;
        all
    };
    drop(besieged.under("handshakes in drops", dripping).await?);
    besieged.attacks += 300;

    // A handshake, and then nothing, or a part of what HTTP/2 begins with: hung up on.
    let beginnings = [&[][..], b"PRI * HTTP/2.0\r\n", frames::PREFACE, &[frames::PREFACE, &[0; 5]].concat()];
    let mut begun = Vec::new();
    for beginning in beginnings {
        let mut stream = tls(to, &config).await?;
        stream.write_all(beginning).await?;
        begun.push(stream);
    }
    let ended = besieged.under("connections that do not begin", async {
        for stream in &mut begun {
            let mut rest = Vec::new();
            // An end, with or without a farewell.
            let _ =
                tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.context("never ended")?;
        }
        anyhow::Ok(())
    });
    ended.await??;
    besieged.attacks += beginnings.len();

    // A call without its request, and one with half of it, are answered that they took too long.
    let halves = async {
        let mut stream = tls(to, &config).await?;
        let call = frames::request("/rollcall.admin.v1.LicenseService/GetLicense");
        let headers = |id| frames::frame(frames::HEADERS, frames::END_HEADERS, id, &call);
        let half = frames::frame(frames::DATA, 0, 3, &[0, 0, 0, 0, 100, 10]);
        let settings = frames::frame(frames::SETTINGS, 0, 0, &[]);
        stream.write_all(&[frames::PREFACE, &settings, &headers(1), &headers(3), &half].concat()).await?;
        let mut answers = 0;
        while answers < 2 {
            let frame = frames::next(&mut stream).await?.context("the connection ended")?;
            answers += usize::from(frame.kind == frames::HEADERS);
            if frame.kind == frames::PING {
                stream.write_all(&frames::frame(frames::PING, frames::ACK, 0, &frame.payload)).await?;
            }
        }
        anyhow::Ok(())
    };
    let halves = besieged.under("half a call", tokio::time::timeout(PATIENCE, halves)).await?;
    halves.context("never answered")??;
    besieged.attacks += 2;
    besieged.stands().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_too_much_is_told_to_wait_and_nobody_else_notices() -> Result<()> {
    let mut besieged = Besieged::start().await?;
    let (port, authority) = (besieged.world.address().port(), besieged.world.files.authority());
    let admins = (0..4).map(|_| Admin::connect(port, &besieged.mallory, &authority));
    let admins = admins.collect::<Result<Vec<_>>>()?;
    let (served, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let calls = async {
        let mut all = JoinSet::new();
        for admin in admins {
            let (served, refused) = (Arc::clone(&served), Arc::clone(&refused));
            all.spawn(async move {
                for _ in 0..1_000 {
                    let Err(error) = admin.license(TENANT).await else {
                        served.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    let status = error.downcast_ref::<tonic::Status>().context("a status")?;
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                    let details = status.get_error_details();
                    assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("RATE_LIMITED"));
                    assert!(details.retry_info().is_some_and(|info| info.retry_delay.is_some()));
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = all.join_next().await {
            done??;
        }
        anyhow::Ok(())
    };
    besieged.under("4,000 calls of one caller", calls).await??;
    let (served, refused) = (served.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    say(&format!("    {served} served, {refused} told to wait"));
    assert!(served >= 200 && refused > 0, "{served} served, {refused} refused");
    besieged.attacks += served + refused;

    // More connections than one caller may have: those beyond are closed, and one that ends makes
    // place.
    let (to, config) = (besieged.world.address(), Arc::clone(&besieged.tls));
    let settings = [frames::PREFACE, &frames::frame(frames::SETTINGS, 0, 0, &[])].concat();
    let connections = async {
        let mut open = Vec::new();
        for _ in 0..60 {
            let mut stream = tls(to, &config).await?;
            // The server's settings are the sign that it took the connection.
            let begun = stream.write_all(&settings).await.is_ok();
            match tokio::time::timeout(PATIENCE, frames::next(&mut stream)).await? {
                Ok(Some(_)) if begun => open.push(stream),
                _ => {}
            }
        }
        anyhow::Ok(open)
    };
    let open = besieged.under("60 connections of one caller", connections).await??;
    say(&format!("    {} of them taken", open.len()));
    assert!((1..=32).contains(&open.len()), "{}", open.len());
    besieged.attacks += 60;
    besieged.stands().await
}
