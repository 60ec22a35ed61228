//! A database that cannot be opened is refused with what to do about it; one that only is not there
//! yet is waited for.

use std::fs;
use std::path::PathBuf;

use control_plane::store::{self, OpenError};
use harness::{Postgres, SmallDisk};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::database::{Engine, block_on};
use crate::trouble::{Site, people};

fn path(url: &str) -> PathBuf {
    PathBuf::from(url.strip_prefix("sqlite://").expect("a SQLite database"))
}

async fn refused(url: &str) -> OpenError {
    let error = store::open(url).await.err().expect("refused");
    assert!(!error.passes(), "waiting does not help: {error}");
    error
}

#[test]
fn a_sqlite_file_belongs_to_one_control_plane() {
    block_on(async {
        let engine = Engine::sqlite();
        let url = engine.url();
        let first = store::open(&url).await.expect("a store");
        let error = refused(&url).await;
        assert!(matches!(error, OpenError::InUse(_)), "{error:?}");
        assert!(error.to_string().contains("another control plane uses"), "{error}");
        let other_way = path(&url).with_file_name("link.db");
        std::os::unix::fs::symlink(path(&url), &other_way).expect("a link");
        let error = refused(&format!("sqlite://{}", other_way.display())).await;
        assert!(matches!(error, OpenError::InUse(_)), "the same file by another name: {error:?}");
        drop(first);
        store::open(&url).await.expect("given back with the store");
    });
}

#[test]
fn a_sqlite_file_that_cannot_be_written_is_named() {
    let Some(disk) = SmallDisk::mount(4_096).expect("a disk") else { return };
    let url = format!("sqlite://{}/rollcall.db", disk.path().display());
    disk.read_only().expect("read-only");
    let error = block_on(refused(&url));
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("rollcall.db"), "{error}");
}

#[test]
fn a_damaged_sqlite_file_is_refused_whichever_page_is_broken() {
    block_on(async {
        let engine = Engine::sqlite();
        let url = engine.url();
        let site = Site::set_up(store::open(&url).await.expect("a store")).await;
        let job = site.job("hq").await;
        let fence = site.begin(job).await.expect("a read").fence;
        site.apply(fence, people(fence.tenant, 0..500)).await.expect("applied");
        // A copy, so that no log can mend what is broken here.
        let copy = copy(&url).await;
        let whole = fs::read(&copy).expect("a file");
        let copied = format!("sqlite://{}", copy.display());
        drop(store::open(&copied).await.expect("the copy itself is whole"));

        let broken = path(&url).with_file_name("broken.db");
        for page in 3..whole.len() / 4_096 {
            let mut bytes = whole.clone();
            bytes[page * 4_096..page * 4_096 + 64].fill(0xa5);
            fs::write(&broken, &bytes).expect("written");
            let error = refused(&format!("sqlite://{}", broken.display())).await;
            assert!(matches!(error, OpenError::Damaged(_)), "page {page}: {error:?}");
            assert!(error.to_string().contains("restore the last backup"), "{error}");
        }
        fs::write(&broken, b"this was never a database, and is longer than a header ".repeat(50))
            .expect("written");
        let error = refused(&format!("sqlite://{}", broken.display())).await;
        assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
    });
}

#[test]
fn a_database_of_a_newer_version_is_refused_with_both_numbers() {
    const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time) \
                         VALUES (9001, 'later', CURRENT_TIMESTAMP, TRUE, '', 0)";
    block_on(async {
        let engine = Engine::sqlite();
        let url = engine.url();
        drop(store::open(&url).await.expect("a store"));
        let newer = copy(&url).await; // which nobody holds
        connect_sqlite(&newer).await.execute(NEWER).await.expect("a step of a later version");
        let sqlite = refused(&format!("sqlite://{}", newer.display())).await;

        let server = Postgres::start().expect("a PostgreSQL server");
        let url = server.database().expect("a database");
        drop(store::open(&url).await.expect("a store"));
        server.psql(&url, NEWER).expect("a step of a later version");
        for error in [sqlite, refused(&url).await] {
            assert!(matches!(error, OpenError::Newer { found: 9001, known: 1.. }), "{error:?}");
            assert!(error.to_string().contains("Start the newer version"), "{error}");
        }
    });
}

#[test]
fn replicas_that_start_at_once_on_a_fresh_database_all_start_and_make_the_tables_once() {
    block_on(async {
        let server = Postgres::start().expect("a PostgreSQL server");
        for _ in 0..5 {
            let url = server.database().expect("a database");
            for start in futures_util::future::join_all((0..4).map(|_| store::open(&url))).await {
                start.expect("a store");
            }
            let steps =
                server.psql(&url, "SELECT count(*) = max(version) FROM _sqlx_migrations").expect("steps");
            assert_eq!(steps, "t");
        }
    });
}

#[test]
fn a_postgresql_that_is_down_is_worth_waiting_for_and_a_database_that_does_not_exist_is_not() {
    block_on(async {
        let mut server = Postgres::start().expect("a PostgreSQL server");
        let url = server.database().expect("a database");
        let missing = refused(&server.url("nowhere")).await;
        let cause = std::error::Error::source(&missing).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("nowhere"), "says which: {missing:?}");
        server.stop().expect("stopped");
        let down = store::open(&url).await.err().expect("down");
        assert!(down.passes(), "{down:?}");
        server.start_again().expect("started");
        store::open(&url).await.expect("a store");
        assert!(matches!(refused("mysql://localhost/rollcall").await, OpenError::Url));
    });
}

/// A whole copy of a SQLite database, without a log that could mend what a test breaks in it.
async fn copy(url: &str) -> PathBuf {
    let copy = path(url).with_extension("copy");
    let into = format!("VACUUM INTO '{}'", copy.display());
    connect_sqlite(&path(url)).await.execute(sqlx::AssertSqlSafe(into)).await.expect("a copy");
    copy
}

async fn connect_sqlite(path: &std::path::Path) -> sqlx::SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.expect("a connection")
}

#[test]
fn tools_may_look_into_a_sqlite_file_while_it_is_served() {
    block_on(async {
        let engine = Engine::sqlite();
        let url = engine.url();
        let _site = Site::set_up(store::open(&url).await.expect("a store")).await;
        let mut tool = connect_sqlite(&path(&url)).await;
        let tenants: i64 =
            sqlx::query_scalar("SELECT count(*) FROM tenants").fetch_one(&mut tool).await.expect("a count");
        assert_eq!(tenants, 1);
        tool.close().await.expect("closed");
    });
}
