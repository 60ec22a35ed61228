//! PostgreSQL: several replicas share it. What differs from SQLite is in this file; everything else is in `shared`, compiled for both.
//!
//! sqlx 0.9.0 can leave a session inside a transaction when a `begin` is canceled: no future that owns a transaction is ever dropped
//! half-way (see `shared`), and a connection that is inside one all the same is thrown away before it is used to write. Connections that
//! only read are never inside one.

#[path = "../shared/mod.rs"]
mod shared;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor, Postgres, Row as _};

use self::shared::rows::Row;
use super::OpenError;

pub(super) use shared::Engine;

/// The engine's types.
type Connection = sqlx::PgConnection;
type Pool = PgPool;
type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// How a transaction begins. READ COMMITTED: what a decision rests on is locked by [`LOCK`].
const BEGIN: &str = "BEGIN";
/// Locks the rows of a SELECT until the end of the transaction.
const LOCK: &str = " FOR UPDATE";
/// Case-insensitive LIKE.
const LIKE: &str = "ILIKE";

/// Connections for writing, and for reading.
const WRITERS: u32 = 6;
const READERS: u32 = 6;
/// A connection for reading that was in use so recently is not tested before it is used again: it takes as long as a read.
const RECENT: Duration = Duration::from_secs(1);
/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(5);

/// The steps that make the tables.
static STEPS: Migrator = sqlx::migrate!("migrations/postgres");

/// Opens the database and brings its tables up to date.
pub(super) async fn open(url: &str) -> Result<Engine, OpenError> {
    let options = PgConnectOptions::from_str(url)?.application_name("rollcall");
    migrate(&options).await?;
    // A forgotten transaction must not hold its locks for ever; a statement of ours takes seconds at most.
    let options = options.options([
        ("statement_timeout", "60s"),
        ("lock_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "30s"),
        // Statistics come a minute after a first sync. Without them the planner collects and sorts a whole tenant for a page of it
        // rather than to follow the primary key.
        ("enable_bitmapscan", "off"),
    ]);
    let pool =
        |most| PgPoolOptions::new().max_connections(most).acquire_timeout(CONNECT).test_before_acquire(false);
    let writer = pool(WRITERS)
        .before_acquire(|connection, _| {
            Box::pin(async move {
                // Outside of a transaction both are the same instant. Doubles as the test whether the connection still works.
                let row = connection.fetch_one("SELECT now() = statement_timestamp()").await?;
                row.try_get(0)
            })
        })
        .connect_with(options.clone())
        .await?;
    let reader = pool(READERS)
        .before_acquire(|connection, of| {
            Box::pin(async move {
                if of.idle_for >= RECENT {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options.options([("default_transaction_read_only", "on")]))
        .await?;
    Ok(Engine::new(writer, reader, None))
}

/// Opens a database that is there, for reading only: nothing is brought up to date.
pub(super) async fn open_to_read(url: &str) -> Result<Engine, OpenError> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("rollcall audit")
        .options([("default_transaction_read_only", "on"), ("enable_bitmapscan", "off")]);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT).connect_with(options).await?;
    Ok(Engine::new(pool.clone(), pool, None))
}

/// On a connection of its own, which waits as long as another replica takes for the same, and takes as long as a large table needs.
/// A pool would answer after its patience, and not with the reason.
async fn migrate(options: &PgConnectOptions) -> Result<(), OpenError> {
    let connect = tokio::time::timeout(CONNECT, options.connect());
    let mut connection = connect.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    STEPS.run(&mut connection).await.map_err(|error| OpenError::of_migration(error, &STEPS))?;
    // The tables are there; that the connection did not end well is no reason not to start.
    let _ = connection.close().await;
    Ok(())
}

/// A condition that holds for a column whose value is in a list of numbers, bound by [`ints`].
fn in_ints(parameter: u8) -> String {
    format!("= ANY(${parameter}::BIGINT[])")
}

fn ints(query: Query, numbers: &[i64]) -> Query {
    query.bind(numbers.to_vec())
}

/// The same for a list of byte strings, bound by [`blobs`].
fn in_blobs(parameter: u8) -> String {
    format!("= ANY(${parameter}::BYTEA[])")
}

/// The immutable id of a user who has none: see [`crate::model::ImmutableId`].
const GONE: &str = "decode('fe' || lpad(to_hex(users.user_no), 16, '0'), 'hex')";

/// Looks users up by keys `k.key`. The LIMIT keeps the subquery one, which has no other way than an index.
fn users_by_keys(condition: &str) -> String {
    format!(
        "FROM UNNEST($2::BYTEA[]) AS k(key) CROSS JOIN LATERAL (SELECT * FROM users WHERE {condition} LIMIT 1) AS users"
    )
}

fn blobs<'a>(query: Query, values: impl Iterator<Item = &'a [u8]>) -> Query {
    query.bind(values.map(<[u8]>::to_vec).collect::<Vec<_>>())
}

/// Rows of one statement: as many as there are, each column is one parameter.
const MOST_ROWS: usize = usize::MAX;

/// Whether a statement over so many rows has a text that comes again: it always has the same.
fn same_text(_rows: usize) -> bool {
    true
}

/// Numbers of the four scalar parameters of a statement over rows.
fn scalars(_rows: usize) -> [usize; 4] {
    [1, 2, 3, 4]
}

/// Rows as a part of a FROM clause: one array a column.
fn rows_table(_rows: usize) -> &'static str {
    "UNNEST($5::BIGINT[], $6::BYTEA[], $7::BYTEA[], $8::TEXT[], $9::BYTEA[], $10::TEXT[], $11::BYTEA[], $12::TEXT[], \
     $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::BIGINT[], $19::BIGINT[]) \
     AS r (user_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
     distinguished_name, policy_attributes, status, queue)"
}

fn bind_rows(query: Query, scalars: [i64; 4], rows: &[Row<'_>]) -> Query {
    fn column<'r, T>(rows: &[Row<'r>], value: impl Fn(&Row<'r>) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    let query = scalars.into_iter().fold(query, Query::bind);
    query
        .bind(column(rows, |row| row.user_no))
        .bind(column(rows, |row| row.id.to_vec()))
        .bind(column(rows, |row| row.digest.to_vec()))
        .bind(column(rows, |row| row.values.user_name.clone()))
        .bind(column(rows, |row| row.user_name_key.map(|key| key.to_vec())))
        .bind(column(rows, |row| row.values.mail.clone()))
        .bind(column(rows, |row| row.mail_key.map(|key| key.to_vec())))
        .bind(column(rows, |row| row.values.first_name.clone()))
        .bind(column(rows, |row| row.values.last_name.clone()))
        .bind(column(rows, |row| row.values.display_name.clone()))
        .bind(column(rows, |row| row.values.phone.clone()))
        .bind(column(rows, |row| row.values.distinguished_name.clone()))
        .bind(column(rows, |row| row.values.policy_attributes.clone()))
        .bind(column(rows, |row| row.status))
        .bind(column(rows, |row| row.queue))
}
