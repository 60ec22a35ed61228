//! Callers that go away, and callers that collide: neither leaves a transaction behind, and neither
//! notices.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use control_plane::model::UserFilter;
use control_plane::store;
use harness::Postgres;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::database::{Engine, NOW, admin, block_on};
use crate::trouble::{Dice, Site, people};

/// Calls that are dropped.
const CALLS: u64 = 1_000;

#[test]
fn a_dropped_call_leaves_no_transaction_behind_on_sqlite() {
    block_on(dropped_calls(Engine::sqlite()));
}

#[test]
fn a_dropped_call_leaves_no_transaction_behind_on_postgresql() {
    block_on(dropped_calls(Engine::postgres()));
}

async fn dropped_calls(engine: Engine) {
    let url = engine.url();
    let site = Site::set_up(store::open(&url).await.expect("a store")).await;
    let job = site.job("hq").await;
    let fence = site.begin(job).await.expect("a read").fence;
    let mut dice = Dice(0);
    for call in 0..CALLS {
        let (kind, delay, awaits) = (dice.below(5), dice.below(4_000), dice.below(8));
        let filter = UserFilter::default();
        let records = {
            let first = u32::try_from(call).expect("small") * 10;
            people(fence.tenant, first..first + 10)
        };
        let asked = async {
            match kind {
                0 => drop(site.apply(fence, records).await),
                1 => drop(site.renew(job).await),
                2 => drop(site.store.list_users(&site.tenant, &filter, None, 100).await),
                3 => {
                    drop(site.store.known_users(fence, records.into_iter().map(|one| one.id).collect()).await)
                }
                _ => drop(site.store.set_license_limit(&site.tenant, 1_000_000, false, &admin(), NOW).await),
            }
        };
        if call % 2 == 0 {
            // After any time.
            let _ = tokio::time::timeout(Duration::from_micros(delay), asked).await;
        } else {
            // At each place where it waits.
            let (mut asked, mut left) = (pin!(asked), awaits);
            poll_fn(|context| {
                let polled = asked.as_mut().poll(context);
                left = left.saturating_sub(1);
                if polled.is_ready() || left == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }
    // Whoever comes next, on whichever connection of the pool, writes what others see. Each of
    // these waits for all that are under way.
    for limit in 0..40_i64 {
        let limit = 1_000_000 + limit;
        site.store.set_license_limit(&site.tenant, limit, false, &admin(), NOW).await.expect("written");
        assert_eq!(committed_limit(&url).await, limit, "an answered write is there for everybody");
    }
    let counts = site.finish(fence).await.counts;
    let users = site.users().await;
    assert_eq!(users % 10, 0, "every batch is there as a whole or not at all");
    assert!(users > 0, "some were applied");
    assert_eq!(usize::try_from(counts.added).expect("small"), users);
    if let Engine::Postgres(server) = &engine {
        let inside = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rollcall' AND state LIKE 'idle in%'";
        assert_eq!(server.psql(&url, inside).expect("a count"), "0", "no session is inside a transaction");
    }
}

/// The license as a connection sees it that has nothing to do with the store.
async fn committed_limit(url: &str) -> i64 {
    const LIMIT: &str = "SELECT license_limit FROM tenants";
    match url.strip_prefix("sqlite://") {
        Some(path) => {
            let mut other =
                sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.expect("SQLite");
            sqlx::query_scalar(LIMIT).fetch_one(&mut other).await.expect("a limit")
        }
        None => {
            let mut other = sqlx::PgConnection::connect(url).await.expect("PostgreSQL");
            sqlx::query_scalar(LIMIT).fetch_one(&mut other).await.expect("a limit")
        }
    }
}

#[test]
fn a_write_that_loses_a_deadlock_is_repeated_and_its_caller_does_not_notice() {
    const LOST: u32 = 10;
    block_on(async {
        let server = Postgres::start().expect("a PostgreSQL server");
        let url = server.database().expect("a database");
        // A session looks for a deadlock once, so long after it began to wait. The store's do so
        // first, and so are the ones to lose.
        let name = url.rsplit('/').next().expect("a name");
        server.psql(&url, &format!("ALTER DATABASE {name} SET deadlock_timeout = '200ms'")).expect("set");
        let site = Site::set_up(store::open(&url).await.expect("a store")).await;
        let job = site.job("hq").await;
        let fence = site.begin(job).await.expect("a read").fence;
        let mut other = sqlx::PgConnection::connect(&url).await.expect("a connection");
        other.execute("SET deadlock_timeout = '5s'").await.expect("set");
        let mut watch = sqlx::PgConnection::connect(&url).await.expect("a connection");
        let (mut rounds, mut lost) = (0, 0);
        while lost < LOST {
            assert!(rounds < LOST * 4, "the store lost {lost} deadlocks only");
            other.execute("BEGIN; SELECT 1 FROM tenants FOR UPDATE").await.expect("the tenant");
            let write = site.apply(fence, people(fence.tenant, rounds * 10..rounds * 10 + 10));
            let against = async {
                let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rollcall' AND wait_event_type = 'Lock'";
                while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watch).await.expect("a count") == 0 {
                }
                // The store has the job and waits for the tenant. This gets the job only if the
                // store gives it up.
                let got = other.execute("SELECT 1 FROM sync_jobs FOR UPDATE").await;
                other.execute("ROLLBACK").await.expect("let go");
                u32::from(got.is_ok())
            };
            let (written, gave_up) = tokio::join!(write, against);
            written.expect("repeated");
            (rounds, lost) = (rounds + 1, lost + gave_up);
        }
        assert_eq!(site.finish(fence).await.counts.added, i64::from(rounds) * 10);
    });
}
