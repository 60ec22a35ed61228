//! A hand in the database, past the store: for what nobody should do, and somebody may.

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, SqliteConnection,
};

/// A connection of either engine.
pub(crate) enum Tool {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Tool {
    /// Opens the database that a store has.
    pub(crate) async fn open(url: &str) -> Self {
        match url.strip_prefix("sqlite://") {
            Some(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let options = options.busy_timeout(std::time::Duration::from_secs(30));
                // What a test does by hand need not survive a power cut.
                let options = options.synchronous(sqlx::sqlite::SqliteSynchronous::Off);
                Self::Sqlite(options.connect().await.expect("a connection"))
            }
            None => Self::Postgres(PgConnection::connect(url).await.expect("a connection")),
        }
    }

    /// Runs statements. How many rows the last one changed.
    pub(crate) async fn run(&mut self, sql: &str) -> u64 {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(connection) => connection.execute(statement).await.expect(sql).rows_affected(),
            Self::Postgres(connection) => connection.execute(statement).await.expect(sql).rows_affected(),
        }
    }

    /// From here on no event can be written.
    pub(crate) async fn close_the_trail(&mut self) {
        let sql = match self {
            Self::Sqlite(_) => {
                "CREATE TRIGGER closed BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'closed'); END"
            }
            Self::Postgres(_) => {
                "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'closed'; END $$; \
                 CREATE TRIGGER closed BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION closed()"
            }
        };
        self.run(sql).await;
    }

    /// Events can be written again.
    pub(crate) async fn open_the_trail(&mut self) {
        let sql = match self {
            Self::Sqlite(_) => "DROP TRIGGER closed",
            Self::Postgres(_) => "DROP TRIGGER closed ON audit_events; DROP FUNCTION closed",
        };
        self.run(sql).await;
    }
}
