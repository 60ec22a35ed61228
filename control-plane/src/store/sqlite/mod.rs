//! SQLite: embedded, one writer. What differs from PostgreSQL is in this file; everything else is in `shared`, compiled for both.
//!
//! WAL with synchronous=FULL: what was answered survives a power cut. One connection writes, in transactions that take the lock at
//! their beginning; the others only read.

#[path = "../shared/mod.rs"]
mod shared;

use std::str::FromStr;
use std::time::Duration;

use serde::ser::{Serialize, SerializeTuple, Serializer};
use sqlx::Sqlite;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use self::shared::rows::Row;
use super::{Result, StoreError};

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

/// Opens the database and brings its tables up to date.
pub(super) async fn open(url: &str) -> Result<Engine> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", "-16384");
    // One connection, kept for ever: it is the lock.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options.clone())
        .await?;
    sqlx::migrate!("migrations/sqlite")
        .run(&writer)
        .await
        .map_err(|error| StoreError::Broken(Box::new(error)))?;
    let readers =
        SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
    Ok(Engine::new(writer, readers))
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

/// A table of user rows as a part of a FROM clause, from parameter 5 on, bound by [`rows`].
const ROWS: &str = "(SELECT value ->> 0 AS user_no, unhex(value ->> 1) AS immutable_id, unhex(value ->> 2) AS digest, \
     value ->> 3 AS user_name, unhex(value ->> 4) AS user_name_key, value ->> 5 AS mail, unhex(value ->> 6) AS mail_key, \
     value ->> 7 AS first_name, value ->> 8 AS last_name, value ->> 9 AS display_name, value ->> 10 AS phone, \
     value ->> 11 AS distinguished_name, value ->> 12 AS policy_attributes, value ->> 13 AS status, value ->> 14 AS queue \
     FROM json_each($5)) AS r";

fn rows(query: Query, rows: &[Row<'_>]) -> Query {
    query.bind(serde_json::to_string(&rows.iter().map(Flat).collect::<Vec<_>>()).unwrap_or_default())
}

/// A row as a JSON array, in the order of [`ROWS`]; bytes as hexadecimal digits.
struct Flat<'a>(&'a Row<'a>);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Row { user_no, id, digest, user_name_key, mail_key, values, status, queue } = self.0;
        let digits = |bytes: &[u8]| {
            let mut text = String::with_capacity(bytes.len() * 2);
            hex(&mut text, bytes);
            text
        };
        let mut row = serializer.serialize_tuple(15)?;
        row.serialize_element(user_no)?;
        row.serialize_element(&digits(id))?;
        row.serialize_element(&digits(digest))?;
        row.serialize_element(&values.user_name)?;
        row.serialize_element(&user_name_key.map(|key| digits(&key)))?;
        row.serialize_element(&values.mail)?;
        row.serialize_element(&mail_key.map(|key| digits(&key)))?;
        row.serialize_element(&values.first_name)?;
        row.serialize_element(&values.last_name)?;
        row.serialize_element(&values.display_name)?;
        row.serialize_element(&values.phone)?;
        row.serialize_element(&values.distinguished_name)?;
        row.serialize_element(&values.policy_attributes)?;
        row.serialize_element(status)?;
        row.serialize_element(queue)?;
        row.end()
    }
}
