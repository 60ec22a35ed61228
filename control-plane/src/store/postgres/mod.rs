//! PostgreSQL: several replicas share it. What differs from SQLite is in `dialect`; all other SQL
//! is in `sql`, compiled for both.
//!
//! sqlx 0.9.0 can leave a session inside a transaction when a `begin` is canceled: no future that
//! owns a transaction is ever dropped half-way (see `sql::transaction`), and a connection that is
//! inside one all the same is thrown away before it is used to write. Connections that only read
//! are never inside one.

#[path = "../dialect/postgres.rs"]
mod dialect;
#[path = "../sql/mod.rs"]
pub(super) mod sql;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor, Row as _};

use super::OpenError;

pub(super) use sql::Engine;

/// Connections for writing, and for reading.
const WRITERS: u32 = 6;
const READERS: u32 = 6;
/// A connection for reading that was in use so recently is not tested before it is used again: it
/// takes as long as a read.
const RECENT: Duration = Duration::from_secs(1);
/// How long a server may take to let us in.
const CONNECT: Duration = Duration::from_secs(5);

/// The steps that make the tables.
static STEPS: Migrator = sqlx::migrate!("migrations/postgres");

/// Opens the database and brings its tables up to date.
pub(super) async fn open(url: &str) -> Result<Engine, OpenError> {
    let options = PgConnectOptions::from_str(url)?.application_name("rollcall");
    migrate(&options).await?;
    // A forgotten transaction must not hold its locks for ever; a statement of ours takes seconds
    // at most.
    let options = options.options([
        ("statement_timeout", "60s"),
        ("lock_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "30s"),
        // Statistics come a minute after a first sync. Without them the planner collects and sorts
        // a whole tenant for a page of it rather than to follow the primary key.
        ("enable_bitmapscan", "off"),
    ]);
    let pool =
        |most| PgPoolOptions::new().max_connections(most).acquire_timeout(CONNECT).test_before_acquire(false);
    let writer = pool(WRITERS)
        .before_acquire(|connection, _| {
            Box::pin(async move {
                // Outside of a transaction both are the same instant. Doubles as the test whether
                // the connection still works.
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

/// On a connection of its own, which waits as long as another replica takes for the same, and takes
/// as long as a large table needs. A pool would answer after its patience, and not with the reason.
async fn migrate(options: &PgConnectOptions) -> Result<(), OpenError> {
    let connect = tokio::time::timeout(CONNECT, options.connect());
    let mut connection = connect.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    STEPS.run(&mut connection).await.map_err(|error| OpenError::of_migration(error, &STEPS))?;
    // The tables are there; that the connection did not end well is no reason not to start.
    let _ = connection.close().await;
    Ok(())
}
