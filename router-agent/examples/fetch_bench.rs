//! Measures how long it takes to fetch one person, at 1, 16 and 128 at a time, beside the same
//! search by plain ldap3 on one connection that stands, in the same run against the same OpenLDAP.
//! Prints ratios: absolute times are those of this machine and this moment.
//!
//! `cargo run --release -p router-agent --example fetch_bench [-- PEOPLE FETCHES]`
#![expect(clippy::print_stdout, reason = "a measurement talks to a person")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::load::{Calls, call_all};
use harness::{Dice, People, Slapd};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry};
use rollcall_proto::admin::v1::{
    AttributeMapping, DirectoryServer, IdentitySourceSettings, directory_server::Security,
};
use router_agent::directory::{
    self, Credential, FetchSource, Fetched, Pool, PoolLimits, ReadRequest, UserSelector,
};
use router_agent::record::{Mapped, Mapping, Name, NameQuery, map_entry};

const ROUNDS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    ensure!(provider.install_default().is_ok(), "a crypto provider is installed already");
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let people = arguments.next().transpose()?.unwrap_or(100_000);
    let fetches = usize::try_from(arguments.next().transpose()?.unwrap_or(20_000))?;
    println!("loading {people} people");
    let slapd = Slapd::builder().people(people).start()?;
    let names = names(people, fetches)?;
    let router = Arc::new(Router::connect(&slapd)?);
    println!(
        "{:>9} {:>22} {:>22} {:>15} {:>12}",
        "in flight", "fetch p50, p99 ms", "ldap3 p50, p99 ms", "p50, p99 ratio", "fetches/s"
    );
    for at_once in [1, 16, 128] {
        let (mut ours, mut plain) = (Calls::default(), Calls::default());
        // Turn by turn: what else the machine does meets both.
        for _ in 0..ROUNDS {
            let ldap = connect(&slapd, &router).await?;
            let with = Arc::clone(&router);
            let by_ldap3 = move |name| by_ldap3(ldap.clone(), Arc::clone(&with), name);
            plain.add(call_all(&names, at_once, |_| by_ldap3.clone()).await?);
            let with = Arc::clone(&router);
            let by_fetch = move |name| by_fetch(Arc::clone(&with), name);
            ours.add(call_all(&names, at_once, |_| by_fetch.clone()).await?);
        }
        let (a, b, c, d) = (ours.at(0.5), ours.at(0.99), plain.at(0.5), plain.at(0.99));
        println!(
            "{at_once:>9} {:>22} {:>22} {:>15} {:>12}",
            format!("{a:.3}, {b:.3}"),
            format!("{c:.3}, {d:.3}"),
            format!("{:.2}, {:.2}", a / c, b / d),
            format!("{:.0}, {:.0}", ours.rate(), plain.rate()),
        );
    }
    println!("connections of the router: {}", router.pool.connections());
    Ok(())
}

struct Router {
    pool: Pool,
    read_request: ReadRequest,
    mapping: Mapping,
    credential: Credential,
    ca_file: std::path::PathBuf,
}

impl Router {
    fn connect(slapd: &Slapd) -> Result<Self> {
        let mapping = AttributeMapping {
            immutable_id: "entryUUID".to_owned(),
            user_name: "uid".to_owned(),
            mail: "mail".to_owned(),
            first_name: "givenName".to_owned(),
            last_name: "sn".to_owned(),
            display_name: "displayName".to_owned(),
            phone: "telephoneNumber".to_owned(),
            mail_optional: true,
            ..AttributeMapping::default()
        };
        let settings = IdentitySourceSettings {
            directory_servers: vec![DirectoryServer {
                host: slapd.host().to_owned(),
                port: i32::from(slapd.ldaps_port()),
                security: Security::Ldaps.into(),
            }],
            roots: vec![slapd.people_dn()],
            object_class: "inetOrgPerson".to_owned(),
            mapping: Some(mapping.clone()),
            ..IdentitySourceSettings::default()
        };
        let mapping = Mapping::new(&mapping, 1, 0)?;
        Ok(Self {
            pool: Pool::new(PoolLimits::default()),
            read_request: ReadRequest::new(&settings, &mapping)?,
            mapping,
            credential: Credential { bind_dn: slapd.agent_dn(), password: slapd.agent_password().into() },
            ca_file: slapd.ca_pem_path(),
        })
    }
}

fn names(people: u64, count: usize) -> Result<Arc<[String]>> {
    let generated = People::new(people);
    let mut dice = Dice::new(3, 0);
    let names: Arc<[String]> = (0..count).map(|_| generated.person(dice.below(people)).uid).collect();
    ensure!(!names.is_empty(), "nobody to fetch");
    Ok(names)
}

async fn connect(slapd: &Slapd, router: &Router) -> Result<Ldap> {
    let tls = directory::tls_config(Some(&router.ca_file))?;
    let settings = LdapConnSettings::new().set_config(tls);
    let url = format!("ldaps://localhost:{}", slapd.ldaps_port());
    let (driver, mut ldap) = LdapConnAsync::with_settings(settings, &url).await?;
    tokio::spawn(driver.drive());
    ldap.simple_bind(&slapd.agent_dn(), slapd.agent_password()).await?.success()?;
    Ok(ldap)
}

#[expect(clippy::disallowed_methods, reason = "it panics on malformed entries, and this is what others do")]
async fn by_ldap3(mut ldap: Ldap, router: Arc<Router>, name: String) -> Result<()> {
    let filter = format!("(&{}(uid={}))", router.read_request.filter, ldap3::ldap_escape(name));
    let root = &router.read_request.roots[0];
    let (entries, _) =
        ldap.search(root, Scope::Subtree, &filter, &router.read_request.attributes).await?.success()?;
    ensure!(entries.len() == 1, "{} entries", entries.len());
    entries.into_iter().for_each(|entry| drop(SearchEntry::construct(entry)));
    Ok(())
}

async fn by_fetch(router: Arc<Router>, name: String) -> Result<()> {
    let Router { pool, read_request, mapping, credential, ca_file } = &*router;
    let asked = NameQuery::new(mapping, Name::User(&name))?.context("a name that can be")?;
    let source = FetchSource {
        request: read_request,
        mapping,
        credential,
        ca_file: Some(ca_file),
        look_up_moved: true,
        prove_mark: false,
    };
    let fetched =
        directory::fetch(pool, source, UserSelector::ByName(&asked), Duration::from_secs(30)).await?.1;
    let Fetched::Entry(entry) = fetched else { anyhow::bail!("{fetched:?}") };
    ensure!(matches!(map_entry(mapping, &entry), Mapped::Record(_)), "no record");
    Ok(())
}
