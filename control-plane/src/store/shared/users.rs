//! Users as administrators see them.

use bytes::Bytes;
use sqlx::AssertSqlSafe;

use super::engine::{Connection, LIKE};
use super::rows::status;
use super::tenants;
use crate::model::{ImmutableId, SourceId, TenantId, Timestamp, User, UserFilter, UserNo, UserValues};
use crate::store::{Result, StoreError};

/// Columns of a [`UserRow`].
pub(super) const COLUMNS: &str = "u.user_no, s.id AS source, u.immutable_id, u.user_name, u.mail, u.first_name, u.last_name, u.display_name, \
     u.phone, u.distinguished_name, u.policy_attributes, u.status, u.created_at, u.updated_at, u.disabled_at";
/// Where they are.
pub(super) const FROM: &str =
    "FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1";

#[derive(sqlx::FromRow)]
pub(super) struct UserRow {
    user_no: i64,
    source: String,
    immutable_id: Vec<u8>,
    user_name: String,
    mail: String,
    first_name: String,
    last_name: String,
    display_name: String,
    phone: String,
    distinguished_name: String,
    policy_attributes: String,
    status: i64,
    created_at: i64,
    updated_at: i64,
    disabled_at: Option<i64>,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self> {
        Ok(Self {
            number: UserNo(row.user_no),
            source: SourceId(row.source),
            id: ImmutableId(Bytes::from(row.immutable_id)),
            values: UserValues {
                user_name: row.user_name,
                mail: row.mail,
                first_name: row.first_name,
                last_name: row.last_name,
                display_name: row.display_name,
                phone: row.phone,
                distinguished_name: row.distinguished_name,
                policy_attributes: row.policy_attributes,
            },
            status: status(row.status)?,
            disabled_at: row.disabled_at.map(Timestamp),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}

pub(super) async fn user(connection: &mut Connection, tenant: &TenantId, user: UserNo) -> Result<User> {
    let tenant = tenants::number(connection, tenant).await?;
    let query = sqlx::query_as(AssertSqlSafe(format!("SELECT {COLUMNS} {FROM} AND u.user_no = $2")))
        .bind(tenant.0)
        .bind(user.0);
    let row: Option<UserRow> = query.fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("user"))?.try_into()
}

pub(super) async fn list(
    connection: &mut Connection,
    tenant: &TenantId,
    filter: &UserFilter,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<User>> {
    let tenant = tenants::number(connection, tenant).await?;
    // One statement for every filter: a condition that is not asked for is always true.
    let text = format!(
        "SELECT {COLUMNS} {FROM} AND u.user_no > $2 AND ($3 = '' OR s.id = $3) AND ($4 < 0 OR (u.status = 1) = ($4 = 1)) AND ($5 = '' OR \
         u.user_name {LIKE} $5 ESCAPE '!' OR u.mail {LIKE} $5 ESCAPE '!' OR u.display_name {LIKE} $5 ESCAPE '!') \
         ORDER BY u.user_no LIMIT $6"
    );
    let pattern = filter.text.as_deref().filter(|text| !text.is_empty()).map_or_else(String::new, pattern);
    let rows: Vec<UserRow> = sqlx::query_as(AssertSqlSafe(text))
        .bind(tenant.0)
        .bind(after.map_or(0, |after| after.0))
        .bind(filter.source.as_ref().map_or_else(String::new, |source| source.0.clone()))
        .bind(filter.enabled.map_or(-1, i64::from))
        .bind(pattern)
        .bind(limit)
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
