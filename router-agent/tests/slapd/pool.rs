//! Connections that are kept: how many, how long, and what becomes of one that is of no use any
//! more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::ldap::Slapd;
use harness::{Cable, Certificate};
use router_agent::directory::{DirectoryError, Fetched, Pool, PoolLimits, Security, Server};
use router_agent::record::Name;

use super::{Source, fetch_named, person, source};

const PEOPLE: &str = "ou=people,dc=example,dc=com";
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

fn directory() -> Slapd {
    Slapd::builder().ldif(&people(200)).start().expect("a directory")
}

fn people(count: u128) -> String {
    (1..=count).map(|number| person(&format!("u{number}"), PEOPLE, number)).collect()
}

/// The source as it is read through these cables.
fn through(slapd: &Slapd, cables: &[&Cable]) -> Source {
    let mut source = source(slapd, &[PEOPLE]);
    let server = |cable: &&Cable| Server {
        host: "localhost".to_owned(),
        port: cable.port(),
        security: Security::Ldaps,
    };
    source.read_request.servers = cables.iter().map(server).collect();
    source
}

async fn is_found(pool: &Pool, source: &Source, name: &str) {
    let fetched = fetch_named(pool, source, Name::User(name), TEST_TIMEOUT).await.expect("an answer").1;
    let Fetched::Entry(entry) = fetched else { panic!("{name}: {fetched:?}") };
    assert_eq!(entry.values("uid").next(), Some(name.as_bytes()));
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < TEST_TIMEOUT, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_and_many_after_each_other_need_four_connections() {
    let slapd = directory();
    let cable = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let source = Arc::new(through(&slapd, &[&cable]));
    let pool = Arc::new(Pool::new(PoolLimits::default()));
    let fetches: Vec<_> = (1..=200)
        .map(|number| {
            let (pool, source) = (Arc::clone(&pool), Arc::clone(&source));
            tokio::spawn(async move { is_found(&pool, &source, &format!("u{number}")).await })
        })
        .collect();
    for fetch in fetches {
        fetch.await.expect("found");
    }
    for number in 1..=100 {
        is_found(&pool, &source, &format!("u{number}")).await;
    }
    assert!((1..=4).contains(&cable.connections()), "{}", cable.connections());
    assert!((1..=4).contains(&pool.connections()), "{}", pool.connections());
}

#[tokio::test]
async fn one_after_the_other_need_one_connection_and_it_is_closed_when_nobody_asks() {
    let slapd = directory();
    let cable = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let source = through(&slapd, &[&cable]);
    let pool = Pool::new(PoolLimits { max_idle: Duration::from_secs(1), ..PoolLimits::default() });
    for number in 1..=20 {
        is_found(&pool, &source, &format!("u{number}")).await;
    }
    let used = cable.connections();
    until("closing it", || pool.connections() == 0).await;
    is_found(&pool, &source, "u1").await;
    assert_eq!(cable.connections(), used + 1, "the one that was closed was used");
}

#[tokio::test]
async fn a_connection_is_not_used_for_ever() {
    let slapd = directory();
    let cable = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let source = through(&slapd, &[&cable]);
    let pool = Pool::new(PoolLimits { max_age: Duration::from_millis(300), ..PoolLimits::default() });
    let began = Instant::now();
    while cable.connections() < 4 {
        assert!(began.elapsed() < TEST_TIMEOUT, "the same connections for ever");
        is_found(&pool, &source, "u1").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(pool.connections(), 1);
}

#[tokio::test]
async fn there_are_no_more_connections_in_all_than_are_allowed_whatever_the_sources() {
    let slapd = directory();
    let cable = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let other = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let (one, two, both) =
        (through(&slapd, &[&cable]), through(&slapd, &[&other]), through(&slapd, &[&other, &cable]));
    let pool = Pool::new(PoolLimits { max_connections: 2, ..PoolLimits::default() });
    for number in 1..=5 {
        for source in [&one, &two, &both] {
            is_found(&pool, source, &format!("u{number}")).await;
            assert!(pool.connections() <= 2);
        }
    }
    let at_once = (1..=30).map(|number| {
        let source = [&one, &two, &both][number % 3];
        let pool = &pool;
        async move { is_found(pool, source, &format!("u{number}")).await }
    });
    futures(at_once).await;
    assert!(pool.connections() <= 2);
}

/// Runs these together.
async fn futures(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_frozen_ends_a_fetch_in_time_and_the_next_one_asks_the_other() {
    let mut frozen = directory();
    let other = directory();
    let mut source = source(&frozen, &[PEOPLE]);
    // One authority for both, which the files have behind each other.
    let authorities =
        [frozen.ca_pem_path(), other.ca_pem_path()].map(|path| std::fs::read(path).expect("a file"));
    let both = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(both.path(), authorities.concat()).expect("written");
    source.ca_file = both.path().to_owned();
    let second = super::source(&other, &[PEOPLE]).read_request.servers[0].clone();
    source.read_request.servers.push(second.clone());
    let pool = Pool::new(PoolLimits { avoid_server: Duration::from_secs(600), ..PoolLimits::default() });
    is_found(&pool, &source, "u1").await;
    frozen.freeze().expect("frozen");
    // On the connection that stands: half of the time for the frozen one, the rest for the other.
    let within = Duration::from_secs(8);
    let (server, _) =
        fetch_named(&pool, &source, Name::User("u2"), within).await.expect("the other server's answer");
    assert_eq!(server, second.to_string());
    // Now it is known to be frozen, and no time is lost on it.
    for number in 3..=30 {
        let began = Instant::now();
        let fetched = fetch_named(&pool, &source, Name::User(&format!("u{number}")), within).await;
        assert_eq!(fetched.expect("an answer").0, second.to_string());
        assert!(began.elapsed() < within / 2, "the frozen server was waited for");
    }
    // Where there is no other, the fetch ends all the same.
    source.read_request.servers.truncate(1);
    let outcome = tokio::time::timeout(
        TEST_TIMEOUT,
        fetch_named(&pool, &source, Name::User("u2"), Duration::from_secs(1)),
    );
    let outcome = outcome.await.expect("an end in time");
    assert!(matches!(outcome, Err(DirectoryError::Unreachable(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_connection_that_stalls_in_a_search_holds_up_no_other_fetch_for_long() {
    let slapd = directory();
    let cable = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let source = through(&slapd, &[&cable]);
    let pool = Pool::new(PoolLimits::default());
    is_found(&pool, &source, "u1").await;
    cable.stall();
    let outcome = fetch_named(&pool, &source, Name::User("u2"), Duration::from_secs(1)).await;
    assert!(
        matches!(&outcome, Err(DirectoryError::FetchFailed { why, .. }) if why.contains("in time")),
        "{outcome:?}"
    );
    assert_eq!(pool.connections(), 0, "the connection was kept");
    cable.resume();
    is_found(&pool, &source, "u3").await;
    assert_eq!(cable.connections(), 2);
}

#[tokio::test]
async fn a_server_that_closes_connections_which_are_not_used_is_not_noticed() {
    let slapd = directory();
    slapd
        .configure("dn: cn=config\nchangetype: modify\nreplace: olcIdleTimeout\nolcIdleTimeout: 1\n")
        .expect("configured");
    let source = source(&slapd, &[PEOPLE]);
    let pool = Pool::new(PoolLimits::default());
    for number in 1..=3 {
        is_found(&pool, &source, &format!("u{number}")).await;
        // The server looks every second or so whom to close; whether it has or not, the next fetch
        // succeeds.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }
}

#[tokio::test]
async fn a_server_that_starts_anew_and_a_cable_that_is_cut_between_two_fetches_are_not_noticed() {
    let mut slapd = directory();
    let cable = Cable::to(slapd.ldaps_address()).await.expect("a cable");
    let source = through(&slapd, &[&cable]);
    let pool = Pool::new(PoolLimits::default());
    for number in 1..=3 {
        is_found(&pool, &source, &format!("u{number}")).await;
        slapd.stop().expect("stopped");
        slapd.start_again().expect("started");
        is_found(&pool, &source, &format!("u{}", number + 10)).await;
        cable.cut().expect("cut");
        cable.mend().expect("mended");
    }
    // Where nobody answers at all, that is said.
    let source = self::source(&slapd, &[PEOPLE]);
    is_found(&pool, &source, "u1").await;
    slapd.stop().expect("stopped");
    let outcome = fetch_named(&pool, &source, Name::User("u1"), TEST_TIMEOUT).await;
    assert!(matches!(outcome, Err(DirectoryError::Unreachable(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_new_password_is_used_at_once_and_connections_with_the_old_one_are_closed() {
    let slapd = directory();
    let mut source = source(&slapd, &[PEOPLE]);
    let pool = Pool::new(PoolLimits::default());
    is_found(&pool, &source, "u1").await;
    slapd.replace(&slapd.agent_dn(), "userPassword", &["another-secret"]).expect("changed");
    // As long as the router is not told, the connections that stand are good.
    is_found(&pool, &source, "u2").await;
    source.credential.password = "another-secret".into();
    is_found(&pool, &source, "u3").await;
    assert_eq!(pool.connections(), 1, "the old one is still there");
    source.credential.password = "agent-secret".into();
    let outcome = fetch_named(&pool, &source, Name::User("u4"), TEST_TIMEOUT).await;
    assert!(matches!(outcome, Err(DirectoryError::BindRejected { code: 49, .. })), "{outcome:?}");
    assert_eq!(pool.connections(), 0, "a wrong password is served by another's connection");
}

#[tokio::test]
async fn a_certificate_that_expired_meanwhile_is_not_accepted() {
    let mut slapd = directory();
    let source = source(&slapd, &[PEOPLE]);
    let pool = Pool::new(PoolLimits::default());
    is_found(&pool, &source, "u1").await;
    slapd.change_certificate(&Certificate::Expired).expect("a certificate");
    let outcome = fetch_named(&pool, &source, Name::User("u2"), TEST_TIMEOUT).await;
    assert!(matches!(outcome, Err(DirectoryError::Tls { .. })), "{outcome:?}");
    // The authority's file is another by now, and is read anew.
    slapd.change_certificate(&Certificate::Valid).expect("a certificate");
    is_found(&pool, &source, "u3").await;
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_that_it_began_with() {
    let mut slapd = directory();
    slapd.change_certificate(&Certificate::Ending).expect("a certificate");
    let source = source(&slapd, &[PEOPLE]);
    let pool = Pool::new(PoolLimits::default());
    is_found(&pool, &source, "u1").await;
    let began = Instant::now();
    loop {
        match fetch_named(&pool, &source, Name::User("u2"), TEST_TIMEOUT).await {
            Ok(_) => assert!(began.elapsed() < TEST_TIMEOUT, "a connection goes on without a certificate"),
            Err(DirectoryError::Tls { .. }) => break,
            Err(error) => panic!("{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(pool.connections(), 0);
}
