//! Statements: texts put together at compile time, and the one way to the driver.
//!
//! `sql!("… {LOCK} … {JOB_RUNNING}")` names constants in scope: fragments of `dialect`, numbers of
//! `words`, and heads that several statements share.

use sqlx::AssertSqlSafe;
use sqlx::query::{QueryAs, QueryScalar};

use super::dialect;
use super::dialect::{Arguments, Db, Query};
use crate::store::statements;

/// A statement, or a part of one, as a constant text.
macro_rules! sql {
    ($($text:tt)+) => { const_format::formatcp!($($text)+) };
}

pub(crate) use sql;

/// A statement.
pub(crate) fn query(text: &'static str) -> Query {
    statements::observe(dialect::ENGINE, text);
    sqlx::query(text)
}

/// A statement with rows of this shape.
pub(crate) fn query_as<O>(text: &'static str) -> QueryAs<'static, Db, O, Arguments>
where
    O: for<'r> sqlx::FromRow<'r, <Db as sqlx::Database>::Row>,
{
    statements::observe(dialect::ENGINE, text);
    sqlx::query_as(text)
}

/// A statement with one value.
pub(crate) fn query_scalar<O>(text: &'static str) -> QueryScalar<'static, Db, O, Arguments>
where
    (O,): for<'r> sqlx::FromRow<'r, <Db as sqlx::Database>::Row>,
{
    statements::observe(dialect::ENGINE, text);
    sqlx::query_scalar(text)
}

/// A statement whose text grows with the number of its rows. Prepared once only if `comes_again`.
pub(crate) fn query_of_rows(text: String, comes_again: bool) -> Query {
    statements::observe(dialect::ENGINE, &text);
    sqlx::query(AssertSqlSafe(text)).persistent(comes_again)
}

/// An INSERT of so many rows: `into`, then for each row the parameters up to `shared`, which all
/// have, and `own` more of its own.
pub(crate) fn insert_many(into: &'static str, shared: usize, own: usize, rows: usize) -> String {
    let numbers = |from: usize, count: usize| (from..from + count).map(|number| format!("${number}"));
    let row = |row: usize| {
        let parameters: Vec<_> = numbers(1, shared).chain(numbers(1 + shared + row * own, own)).collect();
        format!("({})", parameters.join(", "))
    };
    format!("INSERT INTO {into} VALUES {}", (0..rows).map(row).collect::<Vec<_>>().join(", "))
}
