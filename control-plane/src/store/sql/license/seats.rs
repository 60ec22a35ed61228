//! The two locks that every write of a job takes: its own row, which is the fence, and the
//! tenant's, which is the license.

use super::super::dialect::Connection;
use super::super::statement;
use super::alarms::Taken;
use crate::model::{SourceNo, TenantNo};
use crate::store::Result;

/// Takes seats, or with a negative number gives them back. What it returns is told at the end of
/// the transaction.
pub(crate) async fn take(
    connection: &mut Connection,
    tenant: TenantNo,
    source: Option<SourceNo>,
    seats: i64,
) -> Result<Taken> {
    let taken = Taken::of(tenant);
    if seats == 0 {
        return Ok(taken);
    }
    statement::query("UPDATE tenants SET enabled_users = enabled_users + $2 WHERE tenant_no = $1")
        .bind(tenant.0)
        .bind(seats)
        .execute(&mut *connection)
        .await?;
    if let Some(source) = source {
        statement::query(
            "UPDATE identity_sources SET enabled_users = enabled_users + $2 WHERE source_no = $1",
        )
        .bind(source.0)
        .bind(seats)
        .execute(connection)
        .await?;
    }
    Ok(taken)
}

/// Takes so many numbers for new users, perhaps none, and the position of the names that users get
/// in this transaction: names that are written later have a greater one. Returns the first number.
pub(crate) async fn take_numbers(
    connection: &mut Connection,
    tenant: TenantNo,
    count: usize,
) -> Result<(i64, i64)> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let query = statement::query_as(
        "UPDATE tenants SET next_user_no = next_user_no + $2, name_position = name_position + 1 WHERE \
         tenant_no = $1 RETURNING next_user_no - $2, name_position",
    );
    Ok(query.bind(tenant.0).bind(count).fetch_one(connection).await?)
}
