//! The SQL of SQLite where it differs from PostgreSQL's. `sql` is compiled over this file for SQLite.

use sqlx::Sqlite;
use sqlx::sqlite::{SqliteArguments, SqlitePool};

use crate::store::row::Row;

/// The engine's types.
pub(crate) type Connection = sqlx::SqliteConnection;
pub(crate) type Db = Sqlite;
pub(crate) type Pool = SqlitePool;
pub(crate) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// How a transaction begins: with the write lock. A later upgrade would fail at once if someone else writes.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
/// Locks the rows of a SELECT until the end of the transaction: there is one writer anyway.
pub(crate) const LOCK: &str = "";
/// Case-insensitive LIKE; SQLite's is, for ASCII.
pub(crate) const LIKE: &str = "LIKE";

/// A condition that holds for a column whose value is in a list of numbers, bound by [`ints`].
pub(crate) fn in_ints(parameter: u8) -> String {
    format!("IN (SELECT value FROM json_each(${parameter}))")
}

pub(crate) fn ints(query: Query, numbers: &[i64]) -> Query {
    query.bind(serde_json::to_string(numbers).unwrap_or_default())
}

/// The same for a list of byte strings, bound by [`blobs`].
pub(crate) fn in_blobs(parameter: u8) -> String {
    format!("IN (SELECT unhex(value) FROM json_each(${parameter}))")
}

/// The immutable id of a user who has none: see [`crate::model::ImmutableId`].
pub(crate) const GONE: &str = "unhex('fe' || printf('%016x', users.user_no))";

/// Looks users up by keys `k.key`, in the order of the keys: SQLite does not reorder a CROSS JOIN.
pub(crate) fn users_by_keys(condition: &str) -> String {
    format!("FROM (SELECT unhex(value) AS key FROM json_each($2)) AS k CROSS JOIN users ON {condition}")
}

pub(crate) fn blobs<'a>(query: Query, values: impl Iterator<Item = &'a [u8]>) -> Query {
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
pub(crate) const MOST_ROWS: usize = 1_000;

/// Whether a statement over so many rows has a text that comes again: that of a full one does.
pub(crate) fn same_text(rows: usize) -> bool {
    rows == MOST_ROWS
}

/// Columns of a row.
pub(crate) const COLUMNS: usize = 15;

/// Numbers of the four scalar parameters of a statement over rows: behind those of the rows, which have none. (SQLite looks
/// numbered parameters up one by one, which is slow for thousands of them.)
pub(crate) fn scalars(rows: usize) -> [usize; 4] {
    [1, 2, 3, 4].map(|at| rows * COLUMNS + at)
}

/// Rows as a part of a FROM clause. The same number of rows makes the same text, which is prepared once.
pub(crate) fn rows_table(rows: usize) -> String {
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

pub(crate) fn bind_rows(query: Query, scalars: [i64; 4], rows: &[Row<'_>]) -> Query {
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
