//! The SQL of PostgreSQL where it differs from SQLite's. `sql` is compiled over this file for PostgreSQL.

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgPool};

use crate::store::row::Row;

/// The engine's types.
pub(crate) type Connection = sqlx::PgConnection;
pub(crate) type Db = Postgres;
pub(crate) type Pool = PgPool;
pub(crate) type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// How a transaction begins. READ COMMITTED: what a decision rests on is locked by [`LOCK`].
pub(crate) const BEGIN: &str = "BEGIN";
/// Locks the rows of a SELECT until the end of the transaction.
pub(crate) const LOCK: &str = " FOR UPDATE";
/// Case-insensitive LIKE.
pub(crate) const LIKE: &str = "ILIKE";

/// A condition that holds for a column whose value is in a list of numbers, bound by [`ints`].
pub(crate) fn in_ints(parameter: u8) -> String {
    format!("= ANY(${parameter}::BIGINT[])")
}

pub(crate) fn ints(query: Query, numbers: &[i64]) -> Query {
    query.bind(numbers.to_vec())
}

/// The same for a list of byte strings, bound by [`blobs`].
pub(crate) fn in_blobs(parameter: u8) -> String {
    format!("= ANY(${parameter}::BYTEA[])")
}

/// The immutable id of a user who has none: see [`crate::model::ImmutableId`].
pub(crate) const GONE: &str = "decode('fe' || lpad(to_hex(users.user_no), 16, '0'), 'hex')";

/// Looks users up by keys `k.key`. The LIMIT keeps the subquery one, which has no other way than an index.
pub(crate) fn users_by_keys(condition: &str) -> String {
    format!(
        "FROM UNNEST($2::BYTEA[]) AS k(key) CROSS JOIN LATERAL (SELECT * FROM users WHERE {condition} LIMIT 1) AS users"
    )
}

pub(crate) fn blobs<'a>(query: Query, values: impl Iterator<Item = &'a [u8]>) -> Query {
    query.bind(values.map(<[u8]>::to_vec).collect::<Vec<_>>())
}

/// Rows of one statement: as many as there are, each column is one parameter.
pub(crate) const MOST_ROWS: usize = usize::MAX;

/// Whether a statement over so many rows has a text that comes again: it always has the same.
pub(crate) fn same_text(_rows: usize) -> bool {
    true
}

/// Numbers of the four scalar parameters of a statement over rows.
pub(crate) fn scalars(_rows: usize) -> [usize; 4] {
    [1, 2, 3, 4]
}

/// Rows as a part of a FROM clause: one array a column.
pub(crate) fn rows_table(_rows: usize) -> &'static str {
    "UNNEST($5::BIGINT[], $6::BYTEA[], $7::BYTEA[], $8::TEXT[], $9::BYTEA[], $10::TEXT[], $11::BYTEA[], $12::TEXT[], \
     $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::BIGINT[], $19::BIGINT[]) \
     AS r (user_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
     distinguished_name, policy_attributes, status, queue)"
}

pub(crate) fn bind_rows(query: Query, scalars: [i64; 4], rows: &[Row<'_>]) -> Query {
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
