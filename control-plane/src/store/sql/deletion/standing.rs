//! What decides whether a user is marked for deletion or deleted.

use sqlx::FromRow;

use super::super::codec::{STANDING, StandingRow};
use super::super::dialect::{Connection, IN_INTS_2};
use super::super::statement::sql;
use super::super::{dialect, statement};
use crate::model::{TenantNo, UserNo, UserStanding};
use crate::store::{Result, StoreError};

/// These users of a tenant, by number.
pub(crate) async fn standings(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[i64],
) -> Result<Vec<UserStanding>> {
    let text = sql!(
        "SELECT {STANDING} FROM users u JOIN identity_sources s ON s.source_no = u.source_no WHERE \
         u.tenant_no = $1 AND u.user_no {IN_INTS_2} ORDER BY u.user_no"
    );
    let query = dialect::ints(statement::query(text).bind(tenant.0), users);
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
