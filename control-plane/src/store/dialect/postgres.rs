//! The SQL of PostgreSQL where it differs from SQLite's. `sql` is compiled over this file for
//! PostgreSQL.

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgPool};

use crate::store::row::Row;

/// The engine, for people.
pub(crate) const ENGINE: &str = "postgres";

/// The engine's types.
pub(crate) type Connection = sqlx::PgConnection;
pub(crate) type Db = Postgres;
pub(crate) type Pool = PgPool;
pub(crate) type Arguments = PgArguments;
pub(crate) type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// How a transaction begins. READ COMMITTED: what a decision rests on is locked by [`LOCK`].
pub(crate) const BEGIN: &str = "BEGIN";
/// Locks the rows of a SELECT until the end of the transaction.
pub(crate) const LOCK: &str = " FOR UPDATE";
/// The same where only one of several joined tables is locked, named by its alias.
pub(crate) const LOCK_SOURCE: &str = " FOR UPDATE OF s";
pub(crate) const LOCK_CODE: &str = " FOR UPDATE OF c";
pub(crate) const LOCK_USERS: &str = " FOR UPDATE OF u";
/// Keeps others from changing the row, not from sharing it.
pub(crate) const SHARE: &str = " FOR SHARE";
/// Case-insensitive LIKE.
pub(crate) const LIKE: &str = "ILIKE";

/// A condition that holds for a column whose value is in a list of numbers, bound by [`ints`] as
/// the parameter that the name ends with.
pub(crate) const IN_INTS_2: &str = "= ANY($2::BIGINT[])";
pub(crate) const IN_INTS_3: &str = "= ANY($3::BIGINT[])";
pub(crate) const IN_INTS_4: &str = "= ANY($4::BIGINT[])";
pub(crate) const IN_INTS_5: &str = "= ANY($5::BIGINT[])";
pub(crate) const IN_INTS_6: &str = "= ANY($6::BIGINT[])";

pub(crate) fn ints(query: Query, numbers: &[i64]) -> Query {
    query.bind(numbers.to_vec())
}

/// The same for a list of byte strings, bound by [`blobs`].
pub(crate) const IN_BLOBS_2: &str = "= ANY($2::BYTEA[])";
pub(crate) const IN_BLOBS_3: &str = "= ANY($3::BYTEA[])";

/// The immutable id of a user who has none: see [`crate::model::ImmutableId`].
pub(crate) const GONE: &str = "decode('fe' || lpad(to_hex(users.user_no), 16, '0'), 'hex')";

/// Looks users up by keys `k.key`. The condition stands between the two. The LIMIT keeps the
/// subquery one, which has no other way than an index.
pub(crate) const USERS_BY_KEYS: &str =
    "FROM UNNEST($2::BYTEA[]) AS k(key) CROSS JOIN LATERAL (SELECT * FROM users WHERE ";
pub(crate) const USERS_BY_KEYS_END: &str = " LIMIT 1) AS users";

pub(crate) fn blobs<'a>(query: Query, values: impl Iterator<Item = &'a [u8]>) -> Query {
    query.bind(values.map(<[u8]>::to_vec).collect::<Vec<_>>())
}

/// Rows of one statement: as many as there are, each column is one parameter.
pub(crate) const MAX_ROWS: usize = usize::MAX;

/// Whether a statement over so many rows has a text that comes again: it always has the same.
pub(crate) fn same_text(_rows: usize) -> bool {
    true
}

/// The rows `r`, one array a column, and the scope `s` (tenant, source, job, now,
/// position), as a FROM clause.
pub(crate) fn rows_and_scope(_rows: usize) -> &'static str {
    "FROM UNNEST($6::BIGINT[], $7::BYTEA[], $8::BYTEA[], $9::TEXT[], $10::BYTEA[], $11::TEXT[], \
     $12::BYTEA[], $13::TEXT[], $14::TEXT[], $15::TEXT[], $16::TEXT[], $17::TEXT[], $18::TEXT[], \
     $19::BIGINT[], $20::BIGINT[], $21::BIGINT[], $22::TEXT[], $23::TEXT[], $24::BYTEA[]) AS r (user_no, \
     immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, \
     display_name, phone, distinguished_name, policy_attributes, status, queue, mark_proved, \
     warnings, entry_version, login_key) CROSS JOIN (SELECT $1::BIGINT AS tenant_no, $2::BIGINT AS \
     source_no, $3::BIGINT AS job_no, $4::BIGINT AS at, $5::BIGINT AS position) AS s"
}

pub(crate) fn bind_rows(query: Query, scope: [i64; 5], rows: &[Row<'_>]) -> Query {
    fn column<'r, T>(rows: &[Row<'r>], value: impl Fn(&Row<'r>) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    let query = scope.into_iter().fold(query, Query::bind);
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
        .bind(column(rows, |row| row.mark_proved))
        .bind(column(rows, |row| row.warnings.clone()))
        .bind(column(rows, |row| row.entry_version.clone()))
        .bind(column(rows, |row| row.login_key.map(|key| key.to_vec())))
}
