//! SQLite: embedded, one writer. What differs from PostgreSQL is in this file; everything else is in `shared`, compiled for both.
//!
//! WAL with synchronous=FULL: what was answered survives a power cut. One connection writes, in transactions that take the lock at
//! their beginning; the others only read.

mod backup;
mod file;
#[path = "../shared/mod.rs"]
mod shared;

use std::str::FromStr;
use std::time::Duration;

use sqlx::Sqlite;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use self::shared::rows::Row;
use super::OpenError;

pub(super) use backup::backup;
pub(super) use shared::Engine;

/// The engine's types.
type Connection = sqlx::SqliteConnection;
type Pool = SqlitePool;
type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// How a transaction begins: with the write lock. A later upgrade would fail at once if someone else writes.
const BEGIN: &str = "BEGIN IMMEDIATE";
/// Locks the rows of a SELECT until the end of the transaction: there is one writer anyway.
const LOCK: &str = "";
/// Case-insensitive LIKE; SQLite's is, for ASCII.
const LIKE: &str = "LIKE";

/// Connections for reading.
const READERS: u32 = 4;

/// Page caches, in KiB: the writer's holds what one transaction changes, so that it need not be written twice.
const WRITER_CACHE: &str = "-32768";
const READER_CACHE: &str = "-4096";
/// Pages of 4 KiB in the log before they are moved to the database. Until then a page that changes often is moved once.
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
    // A connection to a file does not break between two reads, and looking whether it did takes as long as a read.
    let readers = SqlitePoolOptions::new().max_connections(READERS).test_before_acquire(false);
    let readers = readers.connect_with(options.read_only(true)).await?;
    Ok(Engine::new(writer, readers, Some(claim)))
}

/// Opens a database that is there, for reading only: whose file it is does not matter, and nothing is brought up to date.
pub(super) async fn open_to_read(url: &str) -> Result<Engine, OpenError> {
    let options = SqliteConnectOptions::from_str(url)?
        .read_only(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", READER_CACHE);
    let readers = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    Ok(Engine::new(readers.clone(), readers, None))
}

/// A condition that holds for a column whose value is in a list of numbers, bound by [`ints`].
fn in_ints(parameter: u8) -> String {
    format!("IN (SELECT value FROM json_each(${parameter}))")
}

fn ints(query: Query, numbers: &[i64]) -> Query {
    query.bind(serde_json::to_string(numbers).unwrap_or_default())
}

/// The same for a list of byte strings, bound by [`blobs`].
fn in_blobs(parameter: u8) -> String {
    format!("IN (SELECT unhex(value) FROM json_each(${parameter}))")
}

/// The immutable id of a user who has none: see [`crate::model::ImmutableId`].
const GONE: &str = "unhex('fe' || printf('%016x', users.user_no))";

/// Looks users up by keys `k.key`, in the order of the keys: SQLite does not reorder a CROSS JOIN.
fn users_by_keys(condition: &str) -> String {
    format!("FROM (SELECT unhex(value) AS key FROM json_each($2)) AS k CROSS JOIN users ON {condition}")
}

fn blobs<'a>(query: Query, values: impl Iterator<Item = &'a [u8]>) -> Query {
    let mut json = String::from("[");
    for value in values {
        if json.len() > 1 {
            json.push(',');
        }
        json.push('"');
        hex(&mut json, value);
        json.push('"');
    }
    json.push(']');
    query.bind(json)
}

fn hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Rows of one statement: SQLite takes 32,766 parameters.
const MOST_ROWS: usize = 1_000;

/// Whether a statement over so many rows has a text that comes again: that of a full one does.
fn same_text(rows: usize) -> bool {
    rows == MOST_ROWS
}

/// Columns of a row.
const COLUMNS: usize = 15;

/// Numbers of the four scalar parameters of a statement over rows: behind those of the rows, which have none. (SQLite looks
/// numbered parameters up one by one, which is slow for thousands of them.)
fn scalars(rows: usize) -> [usize; 4] {
    [1, 2, 3, 4].map(|at| rows * COLUMNS + at)
}

/// Rows as a part of a FROM clause. The same number of rows makes the same text, which is prepared once.
fn rows_table(rows: usize) -> String {
    let mut text = String::with_capacity(rows * 32 + 400);
    text.push_str(
        "(SELECT column1 AS user_no, column2 AS immutable_id, column3 AS digest, column4 AS user_name, column5 AS user_name_key, \
         column6 AS mail, column7 AS mail_key, column8 AS first_name, column9 AS last_name, column10 AS display_name, \
         column11 AS phone, column12 AS distinguished_name, column13 AS policy_attributes, column14 AS status, column15 AS queue \
         FROM (VALUES ",
    );
    for row in 0..rows {
        text.push_str(if row == 0 { "" } else { "," });
        text.push_str("(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
    }
    text.push_str(")) AS r");
    text
}

fn bind_rows(query: Query, scalars: [i64; 4], rows: &[Row<'_>]) -> Query {
    let query = rows.iter().fold(query, |query, row| {
        let Row { user_no, id, digest, user_name_key, mail_key, values, status, queue } = row;
        query
            .bind(*user_no)
            .bind(id.to_vec())
            .bind(digest.to_vec())
            .bind(values.user_name.clone())
            .bind(user_name_key.map(|key| key.to_vec()))
            .bind(values.mail.clone())
            .bind(mail_key.map(|key| key.to_vec()))
            .bind(values.first_name.clone())
            .bind(values.last_name.clone())
            .bind(values.display_name.clone())
            .bind(values.phone.clone())
            .bind(values.distinguished_name.clone())
            .bind(values.policy_attributes.clone())
            .bind(*status)
            .bind(*queue)
    });
    scalars.into_iter().fold(query, Query::bind)
}

#[cfg(test)]
mod tests {
    /// 3.51.3 fixed a race that could corrupt a database in WAL mode (sqlite.org/wal.html, "the WAL-reset bug").
    #[tokio::test]
    async fn the_embedded_sqlite_is_new_enough_for_its_log() {
        let pool = super::SqlitePool::connect("sqlite::memory:").await.expect("a database");
        let version: String =
            sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&pool).await.expect("a version");
        let numbers: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
        assert!(numbers >= vec![3, 51, 3], "{version}");
    }
}
