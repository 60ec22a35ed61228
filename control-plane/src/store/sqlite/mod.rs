//! SQLite: embedded, one writer. What differs from PostgreSQL is in `dialect`; all other SQL is in
//! `sql`, compiled for both.
//!
//! WAL with synchronous=FULL: what was answered survives a power cut. One connection writes, in
//! transactions that take the lock at their beginning; the others only read.

mod backup;
#[path = "../dialect/sqlite.rs"]
mod dialect;
mod file;
#[path = "../sql/mod.rs"]
pub(super) mod sql;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::OpenError;

pub(super) use backup::backup;
pub(super) use sql::Engine;

/// Connections for reading.
const READERS: u32 = 4;

/// Page caches, in KiB: the writer's holds what one transaction changes, so that it need not be
/// written twice.
const WRITER_CACHE: &str = "-32768";
const READER_CACHE: &str = "-4096";
/// Pages of 4 KiB in the log before they are moved to the database. Until then a page that changes
/// often is moved once.
const CHECKPOINT: &str = "16384";

/// The steps that make the tables.
static STEPS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Opens the database and brings its tables up to date.
pub(super) async fn open(url: &str) -> Result<Engine, OpenError> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", READER_CACHE);
    let claim = file::claim(options.get_filename())?;
    // One connection, kept for ever: it is the lock.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(
            options.clone().pragma("cache_size", WRITER_CACHE).pragma("wal_autocheckpoint", CHECKPOINT),
        )
        .await?;
    file::check(&mut *writer.acquire().await?).await?;
    STEPS.run(&writer).await.map_err(|error| OpenError::of_migration(error, &STEPS))?;
    // A connection to a file does not break between two reads, and looking whether it did takes as
    // long as a read.
    let readers = SqlitePoolOptions::new().max_connections(READERS).test_before_acquire(false);
    let readers = readers.connect_with(options.read_only(true)).await?;
    Ok(Engine::new(writer, readers, Some(claim)))
}

/// Opens a database that is there, for reading only: whose file it is does not matter, and nothing
/// is brought up to date.
pub(super) async fn open_to_read(url: &str) -> Result<Engine, OpenError> {
    let options = SqliteConnectOptions::from_str(url)?
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", READER_CACHE);
    let readers = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    Ok(Engine::new(readers.clone(), readers, None))
}

#[cfg(test)]
mod tests {
    /// 3.51.3 fixed a race that could corrupt a database in WAL mode (sqlite.org/wal.html, "the
    /// WAL-reset bug").
    #[tokio::test]
    async fn the_embedded_sqlite_is_new_enough_for_its_log() {
        let pool = sqlx::SqlitePool::connect("sqlite::memory:").await.expect("a database");
        let version: String =
            sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&pool).await.expect("a version");
        let numbers: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
        assert!(numbers >= vec![3, 51, 3], "{version}");
    }
}
