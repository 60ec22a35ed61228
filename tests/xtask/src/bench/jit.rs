//! `cargo xtask bench jit`: sign-ins of known users through the real programs, so many callers at a
//! time, beside the same searches by a plain LDAP client on connections that stand, in turns within
//! the same run. The client has as many connections as callers, at most as many as the router uses,
//! and asks for the same attributes by the same filter over the same LDAPS port. Every answer is
//! checked.

use std::sync::Arc;

use anyhow::{Result, ensure};
use comfy_table::{Table, presets};
use harness::load::{Calls, call_all};
use harness::programs::{self, Profile};
use harness::world::connect::channel;
use harness::world::{Admin, Builder, Database, TENANT, World};
use harness::{Dice, People, Slapd};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry};
use rollcall_proto::admin::v1::single_sync::Outcome;
use rollcall_proto::admin::v1::{JustInTimeSettings, SyncAtSignInRequest, UpdateJustInTimeSettingsRequest};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{measure, timed, tools};

/// How many callers at a time, and how many calls in a round.
const LOADS: [(usize, usize); 3] = [(1, 1_000), (16, 4_000), (128, 8_000)];
/// Each takes turns with the plain client so often.
const ROUNDS: usize = 3;
/// Callers on one HTTP/2 connection; the control plane takes 64 calls on one.
const CALLERS: usize = 32;
/// Connections that the router keeps to one directory.
const CONNECTIONS: usize = 4;
/// Targets: half of the calls within so many times the plain search, and so much of its throughput.
const MOST: f64 = 2.0;
const LEAST: f64 = 0.5;

/// Options of `cargo xtask bench jit`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// People in the directory.
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// Only this database: sqlite or postgres.
    #[arg(long)]
    only: Option<String>,
    /// Only so many callers at a time, for a profile.
    #[arg(long)]
    callers: Option<usize>,
    /// So many calls in a round, instead of as many as are usual for the number of callers.
    #[arg(long)]
    calls: Option<usize>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    measure::warn_if_busy();
    println!("building both programs as packages have them (minutes, the first time)");
    programs::build(Profile::Dist)?;
    tokio::runtime::Runtime::new()?.block_on(measure_all(options))
}

async fn measure_all(options: &Options) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "database, callers",
        "sign-in p50, p99 ms",
        "a second",
        "plain p50, p99 ms",
        "a second",
        "p50 ratio",
        "throughput",
        "connections: router, plain",
    ]);
    for (name, database) in [("sqlite", Database::Sqlite), ("postgres", Database::Postgres)] {
        if options.only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let bench = Box::pin(Bench::start(options.users, database)).await?;
        for (callers, calls) in LOADS {
            if options.callers.is_some_and(|only| only != callers) {
                continue;
            }
            let row = bench.measure(callers, options.calls.unwrap_or(calls)).await?;
            table.add_row(row.cells(name, callers));
        }
        println!("{name}: done");
    }
    println!("{table}");
    println!(
        "Targets: p50 at most {MOST} x the plain search, throughput at least {LEAST} of it. Callers, plain client, slapd, both programs and database share the cores."
    );
    Ok(())
}

/// A world with a source and people who may sign in.
pub(super) struct Bench {
    pub(super) world: World,
    people: People,
    service: harness::world::Identity,
}

struct Row {
    ours: Calls,
    plain: Calls,
    connections: (u64, usize),
}

impl Row {
    fn cells(&self, database: &str, callers: usize) -> [String; 8] {
        let Self { ours, plain, connections } = self;
        let (p50, rate) = (ours.at(0.5) / plain.at(0.5), ours.rate() / plain.rate());
        let met = |met| if met { "met" } else { "missed" };
        let both = |samples: &Calls| format!("{:.2}, {:.2}", samples.at(0.5), samples.at(0.99));
        [
            format!("{database}, {callers}"),
            both(ours),
            format!("{:.0}", ours.rate()),
            both(plain),
            format!("{:.0}", plain.rate()),
            format!("{p50:.2} x: {}", met(p50 <= MOST)),
            format!("{rate:.2}: {}", met(rate >= LEAST)),
            format!("{}, {}", connections.0, connections.1),
        ]
    }
}

impl Bench {
    async fn start(users: u64, database: Database) -> Result<Self> {
        let bench = Self::prepare(users, |world| world.database(database)).await?;
        let everyone = i32::try_from(users)?;
        timed(&bench.world, |counts| counts == [everyone, 0, 0]).await?;
        bench.allow_sign_ins().await?;
        Ok(bench)
    }

    /// Nobody is synchronized yet.
    pub(super) async fn prepare(users: u64, set: impl FnOnce(Builder) -> Builder) -> Result<Self> {
        let people = People {
            without_mail_permille: 0,
            shared_mail_permille: 0,
            disabled_permille: 0,
            ..People::new(users)
        };
        let world = set(World::builder().license(100_000_000).profile(Profile::Dist));
        let world = world.these_people(people.clone()).start().await?;
        world.create_and_publish_source(world.settings()).await?;
        let service = world.files.issue_authenticator("signin")?;
        Ok(Self { world, people, service })
    }

    pub(super) async fn allow_sign_ins(&self) -> Result<()> {
        let settings = JustInTimeSettings {
            name: format!("tenants/{TENANT}/justInTimeSettings"),
            enabled: true,
            ..Default::default()
        };
        let request = UpdateJustInTimeSettingsRequest { just_in_time_settings: Some(settings) };
        self.world.admin.just_in_time.clone().update_just_in_time_settings(request).await?;
        Ok(())
    }

    /// Connections for so many callers.
    pub(super) fn services(&self, callers: usize) -> Result<Vec<Admin>> {
        let (port, authority) = (self.world.address().port(), self.world.files.authority());
        let connect = |_| Ok(Admin::over(channel(port, Some(&self.service), &authority)?));
        (0..callers.div_ceil(CALLERS)).map(connect).collect()
    }

    async fn measure(&self, callers: usize, calls: usize) -> Result<Row> {
        let (mut ours, mut plain) = (Calls::default(), Calls::default());
        let directory = self.world.directory();
        let connections = callers.min(CONNECTIONS);
        let mut ldaps = Vec::new();
        for _ in 0..connections {
            ldaps.push(connect(directory).await?);
        }
        let services = self.services(callers)?;
        let before = directory.connections()?;
        for round in 0..=ROUNDS {
            let persons = self.persons(round, calls)?;
            let by_ldap = |caller: usize| {
                let (ldap, root) = (ldaps[caller % ldaps.len()].clone(), directory.people_dn());
                move |person: Person| search(ldap.clone(), root.clone(), person)
            };
            let by_call = |caller: usize| {
                let service = services[caller % services.len()].clone();
                move |person: Person| sign_in(service.clone(), person)
            };
            let (searched, signed_in) =
                (call_all(&persons, callers, by_ldap).await?, call_all(&persons, callers, by_call).await?);
            // The first one warms both up.
            if round > 0 {
                plain.add(searched);
                ours.add(signed_in);
            }
        }
        // This question's own is one of them.
        let made = directory.connections()?.saturating_sub(before + 1);
        Ok(Row { ours, plain, connections: (made, connections) })
    }

    pub(super) fn persons(&self, round: usize, calls: usize) -> Result<Arc<[Person]>> {
        let mut dice = Dice::new(7, round as u64);
        let person = |_| {
            let person = self.people.person(dice.below(self.people.count));
            Person { uid: person.uid, entry_uuid: person.entry_uuid.to_string() }
        };
        let persons: Arc<[Person]> = (0..calls).map(person).collect();
        ensure!(!persons.is_empty(), "nobody signs in");
        Ok(persons)
    }
}

#[derive(Clone)]
pub(super) struct Person {
    uid: String,
    entry_uuid: String,
}

pub(super) async fn sign_in(service: Admin, person: Person) -> Result<()> {
    let request = SyncAtSignInRequest { parent: format!("tenants/{TENANT}"), login: person.uid };
    let answer = service.just_in_time.clone().sync_at_sign_in(request).await?.into_inner();
    let sync = answer.sync.unwrap_or_default();
    ensure!(sync.outcome() == Outcome::Unchanged && sync.allowed, "{:?} {}", sync.outcome(), sync.message);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it panics on malformed entries, and this is what others do")]
async fn search(mut ldap: Ldap, root: String, person: Person) -> Result<()> {
    let filter = format!("(&(objectClass=inetOrgPerson)(entryUUID={}))", person.entry_uuid);
    let (entries, _) =
        ldap.search(&root, Scope::Subtree, &filter, tools::ATTRIBUTES.to_vec()).await?.success()?;
    ensure!(entries.len() == 1, "{} entries", entries.len());
    entries.into_iter().for_each(|entry| drop(SearchEntry::construct(entry)));
    Ok(())
}

async fn connect(directory: &Slapd) -> Result<Ldap> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(directory.ca_pem_path())? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let settings = LdapConnSettings::new().set_config(Arc::new(tls));
    let url = format!("ldaps://localhost:{}", directory.ldaps_port());
    let (driver, mut ldap) = LdapConnAsync::with_settings(settings, &url).await?;
    tokio::spawn(driver.drive());
    ldap.simple_bind(&directory.agent_dn(), directory.agent_password()).await?.success()?;
    Ok(ldap)
}
