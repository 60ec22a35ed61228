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

    /// Every row of every table, as text in lower case, with the table in front; bytes are in
    /// hexadecimal.
    pub(crate) async fn dump(&mut self) -> Vec<String> {
        let tables = match self {
            Self::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table'",
            Self::Postgres(_) => "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
        };
        let mut rows = Vec::new();
        for table in self.texts(tables).await {
            let row = match self {
                Self::Sqlite(_) => {
                    let columns = format!("SELECT name FROM pragma_table_info('{table}')");
                    let columns = self.texts(&columns).await.into_iter().map(|name| format!("quote({name})"));
                    columns.collect::<Vec<_>>().join(" || ' ' || ")
                }
                Self::Postgres(_) => "row_to_json(t)::text".to_owned(),
            };
            let all = self.texts(&format!("SELECT {row} FROM {table} AS t")).await;
            rows.extend(all.into_iter().map(|row| format!("{table}: {row}").to_lowercase()));
        }
        rows
    }

    async fn texts(&mut self, sql: &str) -> Vec<String> {
        let query = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(query).fetch_all(connection).await.expect(sql),
            Self::Postgres(connection) => sqlx::query_scalar(query).fetch_all(connection).await.expect(sql),
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
