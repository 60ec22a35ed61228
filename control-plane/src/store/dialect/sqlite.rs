//! The SQL of SQLite where it differs from PostgreSQL's. `sql` is compiled over this file for
//! SQLite.

use sqlx::Sqlite;
use sqlx::sqlite::{SqliteArguments, SqlitePool};

use crate::store::row::Row;

/// The engine, for people.
pub(crate) const ENGINE: &str = "sqlite";

/// The engine's types.
pub(crate) type Connection = sqlx::SqliteConnection;
pub(crate) type Db = Sqlite;
pub(crate) type Pool = SqlitePool;
pub(crate) type Arguments = SqliteArguments;
pub(crate) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// How a transaction begins: with the write lock. A later upgrade would fail at once if someone
/// else writes.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
/// Locks the rows of a SELECT until the end of the transaction: there is one writer anyway.
pub(crate) const LOCK: &str = "";
/// The same where only one of several joined tables is locked, named by its alias.
pub(crate) const LOCK_SOURCE: &str = LOCK;
pub(crate) const LOCK_CODE: &str = LOCK;
pub(crate) const LOCK_USERS: &str = LOCK;
/// Keeps others from changing the row, not from sharing it.
pub(crate) const SHARE: &str = LOCK;
/// Case-insensitive LIKE; SQLite's is, for ASCII.
pub(crate) const LIKE: &str = "LIKE";

/// A condition that holds for a column whose value is in a list of numbers, bound by [`ints`] as
/// the parameter that the name ends with.
pub(crate) const IN_INTS_2: &str = "IN (SELECT value FROM json_each($2))";
pub(crate) const IN_INTS_3: &str = "IN (SELECT value FROM json_each($3))";
pub(crate) const IN_INTS_4: &str = "IN (SELECT value FROM json_each($4))";
pub(crate) const IN_INTS_5: &str = "IN (SELECT value FROM json_each($5))";
pub(crate) const IN_INTS_6: &str = "IN (SELECT value FROM json_each($6))";

pub(crate) fn ints(query: Query, numbers: &[i64]) -> Query {
    query.bind(serde_json::to_string(numbers).unwrap_or_default())
}

/// The same for a list of byte strings, bound by [`blobs`].
pub(crate) const IN_BLOBS_2: &str = "IN (SELECT unhex(value) FROM json_each($2))";
pub(crate) const IN_BLOBS_3: &str = "IN (SELECT unhex(value) FROM json_each($3))";

/// The immutable id of a user who has none: see [`crate::model::ImmutableId`].
pub(crate) const GONE: &str = "unhex('fe' || printf('%016x', users.user_no))";

/// Looks users up by keys `k.key`, in the order of the keys: SQLite does not reorder a CROSS JOIN.
/// The condition stands between the two.
pub(crate) const USERS_BY_KEYS: &str =
    "FROM (SELECT unhex(value) AS key FROM json_each($2)) AS k CROSS JOIN users ON ";
pub(crate) const USERS_BY_KEYS_END: &str = "";

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
pub(crate) const MAX_ROWS: usize = 1_000;

/// Whether a statement over so many rows has a text that comes again: that of a full one does.
pub(crate) fn same_text(rows: usize) -> bool {
    rows == MAX_ROWS
}

/// The rows `r` and the scope `s` (tenant, source, job, now, position), as a FROM clause. The same
/// number of rows makes the same text, which is prepared once. No parameter has a number: SQLite
/// looks numbered ones up one by one, which is slow for thousands of them.
pub(crate) fn rows_and_scope(rows: usize) -> String {
    let mut text = String::with_capacity(rows * 32 + 500);
    text.push_str(
        "FROM (SELECT column1 AS user_no, column2 AS immutable_id, column3 AS digest, column4 AS \
         user_name, column5 AS user_name_key, column6 AS mail, column7 AS mail_key, column8 AS \
         first_name, column9 AS last_name, column10 AS display_name, column11 AS phone, column12 \
         AS distinguished_name, column13 AS policy_attributes, column14 AS status, column15 AS \
         queue, column16 AS mark_proved, column17 AS warnings, column18 AS entry_version, \
         column19 AS login_key FROM (VALUES ",
    );
    for row in 0..rows {
        text.push_str(if row == 0 { "" } else { ", " });
        text.push_str("(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
    }
    text.push_str(
        ")) AS r CROSS JOIN (SELECT ? AS tenant_no, ? AS source_no, ? AS job_no, ? AS at, ? AS \
         position) AS s",
    );
    text
}

pub(crate) fn bind_rows(query: Query, scope: [i64; 5], rows: &[Row<'_>]) -> Query {
    let query = rows.iter().fold(query, |query, row| {
        let Row {
            user_no,
            id,
            digest,
            user_name_key,
            mail_key,
            login_key,
            values,
            status,
            queue,
            mark_proved,
            warnings,
            entry_version,
        } = row;
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
            .bind(*mark_proved)
            .bind(warnings.clone())
            .bind(entry_version.clone())
            .bind(login_key.map(|key| key.to_vec()))
    });
    scope.into_iter().fold(query, Query::bind)
}
