//! Users as administrators see them.

use bytes::Bytes;
use sqlx::FromRow;

use super::super::dialect::{Connection, IN_INTS_2, LIKE};
use super::super::statement::sql;
use super::super::words::USER_ENABLED;
use super::super::{codec, dialect, locks, statement};
use super::logins::IS_TAKEN;
use super::rows::{self, ValuesRow};
use crate::model::{
    ImmutableId, Mark, SourceId, Status, TenantId, TenantNo, Timestamp, User, UserFilter, UserNo,
};
use crate::store::{Result, StoreError};

/// Columns of a [`UserRow`].
pub(crate) const COLUMNS: &str = "u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, \
     u.display_name, u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, \
     u.updated_at, u.disabled_at, u.absence, u.last_sign_in_at, u.marked_at, u.purge_at, u.marked_by, \
     u.mark_reason, u.absent_since, u.warnings";

/// Where they are.
pub(crate) const FROM: &str =
    "FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1";

#[derive(sqlx::FromRow)]
pub(crate) struct UserRow {
    user_no: i64,
    source: String,
    immutable_id: Vec<u8>,
    #[sqlx(flatten)]
    values: ValuesRow,
    status: i64,
    created_at: i64,
    updated_at: i64,
    disabled_at: Option<i64>,
    absence: Option<i64>,
    last_sign_in_at: Option<i64>,
    marked_at: Option<i64>,
    purge_at: Option<i64>,
    marked_by: Option<String>,
    mark_reason: Option<i64>,
    absent_since: Option<i64>,
    warnings: Option<String>,
    #[sqlx(default)]
    login_taken: i64,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self> {
        let mark = match (row.marked_at, row.purge_at, row.mark_reason) {
            (Some(at), Some(purge_at), Some(reason)) => Some(Mark {
                at: Timestamp(at),
                purge_at: Timestamp(purge_at),
                by: row.marked_by.unwrap_or_default(),
                reason: codec::mark_reason(reason)?,
            }),
            _ => None,
        };
        let status = codec::user_status(row.status)?;
        let absence = row.absence.filter(|_| status == Status::OutOfScope).map(codec::absence).transpose()?;
        Ok(Self {
            number: UserNo(row.user_no),
            source: SourceId(row.source),
            id: ImmutableId(Bytes::from(row.immutable_id)),
            values: row.values.into(),
            status,
            absence,
            disabled_at: row.disabled_at.map(Timestamp),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            last_sign_in_at: row.last_sign_in_at.map(Timestamp),
            mark,
            absent_since: row.absent_since.map(Timestamp),
            warnings: rows::warnings(row.warnings.as_deref())?,
            login_taken: row.login_taken != 0,
        })
    }
}

pub(crate) async fn user(connection: &mut Connection, tenant: &TenantId, user: UserNo) -> Result<User> {
    let tenant = locks::tenant_number(connection, tenant).await?;
    let text = sql!("SELECT {COLUMNS}, {IS_TAKEN} {FROM} AND u.user_no = $2");
    let query = statement::query_as(text).bind(tenant.0).bind(user.0);
    let row: Option<UserRow> = query.fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("user"))?.try_into()
}

/// These users of a tenant, by number.
pub(crate) async fn by_numbers(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[UserNo],
) -> Result<Vec<User>> {
    let text = sql!("SELECT {COLUMNS} {FROM} AND u.user_no {IN_INTS_2} ORDER BY u.user_no");
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let query = dialect::ints(statement::query(text).bind(tenant.0), &numbers);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| UserRow::from_row(row)?.try_into()).collect()
}

pub(crate) async fn list(
    connection: &mut Connection,
    tenant: &TenantId,
    filter: &UserFilter,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<User>> {
    let tenant = locks::tenant_number(connection, tenant).await?;
    // One statement for every filter: a condition that is not asked for is always true.
    let text = sql!(
        "SELECT {COLUMNS}, {IS_TAKEN} {FROM} AND u.user_no > $2 AND ($3 = '' OR s.id = $3) AND ($4 < 0 OR \
         (u.status = {USER_ENABLED}) = ($4 = 1)) AND ($5 = '' OR u.user_name {LIKE} $5 ESCAPE '!' \
         OR u.mail {LIKE} $5 ESCAPE '!' OR u.display_name {LIKE} $5 ESCAPE '!') AND ($7 = 0 OR \
         u.purge_at IS NOT NULL) AND ($8 = 0 OR u.absent_since IS NOT NULL) ORDER BY u.user_no \
         LIMIT $6"
    );
    let pattern = filter.text.as_deref().filter(|text| !text.is_empty()).map_or_else(String::new, pattern);
    let rows: Vec<UserRow> = statement::query_as(text)
        .bind(tenant.0)
        .bind(after.map_or(0, |after| after.0))
        .bind(filter.source.as_ref().map_or_else(String::new, |source| source.0.clone()))
        .bind(filter.enabled.map_or(-1, i64::from))
        .bind(pattern)
        .bind(limit)
        .bind(i64::from(filter.pending_deletion))
        .bind(i64::from(filter.absent))
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A LIKE pattern for a text anywhere in a value.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
