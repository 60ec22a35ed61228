//! What decides whether a user is marked for deletion or deleted.

use sqlx::{AssertSqlSafe, FromRow};

use super::super::dialect::Connection;
use super::super::{codec, dialect};
use crate::model::{TenantNo, Timestamp, UserNo, UserStanding};
use crate::store::{Result, StoreError};

/// Columns of a [`StandingRow`].
pub(crate) const COLUMNS: &str = "u.user_no, u.status, u.disabled_at, u.created_at, u.updated_at, u.observed_at, s.synced_at, \
     u.last_sign_in_at, u.undeleted_at, u.mark_reason, u.marked_at";

#[derive(sqlx::FromRow)]
pub(crate) struct StandingRow {
    user_no: i64,
    status: i64,
    disabled_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
    observed_at: i64,
    synced_at: Option<i64>,
    last_sign_in_at: Option<i64>,
    undeleted_at: Option<i64>,
    mark_reason: Option<i64>,
    marked_at: Option<i64>,
}

impl TryFrom<StandingRow> for UserStanding {
    type Error = StoreError;

    fn try_from(row: StandingRow) -> Result<Self> {
        let reason = row.mark_reason.map(codec::mark_reason).transpose()?;
        Ok(Self {
            user: UserNo(row.user_no),
            status: codec::user_status(row.status)?,
            disabled_at: row.disabled_at.map(Timestamp),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
            observed_at: Timestamp(row.observed_at),
            source_synced_at: row.synced_at.map(Timestamp),
            last_sign_in_at: row.last_sign_in_at.map(Timestamp),
            undeleted_at: row.undeleted_at.map(Timestamp),
            mark: reason.zip(row.marked_at.map(Timestamp)),
        })
    }
}

/// These users of a tenant, by number.
pub(crate) async fn standings(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[i64],
) -> Result<Vec<UserStanding>> {
    let text = format!(
        "SELECT {COLUMNS} FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 \
         AND u.user_no {} ORDER BY u.user_no",
        dialect::in_ints(2)
    );
    let query = dialect::ints(sqlx::query(AssertSqlSafe(text)).bind(tenant.0), users);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| StandingRow::from_row(row)?.try_into()).collect()
}

/// The same, if there are all of them.
pub(crate) async fn all_of(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[UserNo],
) -> Result<Vec<UserStanding>> {
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let found = standings(connection, tenant, &numbers).await?;
    let missing = users.iter().filter(|user| found.iter().all(|one| one.user != **user));
    let missing: Vec<UserNo> = missing.copied().collect();
    if missing.is_empty() { Ok(found) } else { Err(StoreError::NoSuchUsers(missing)) }
}
