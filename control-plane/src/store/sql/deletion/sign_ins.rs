//! When users signed in last, which an automatic mark for deletion looks at.

use super::super::dialect::{Connection, IN_INTS_4};
use super::super::statement::sql;
use super::super::{dialect, statement};
use crate::model::{TenantNo, Timestamp, UserNo};
use crate::reconcile::deletion::SIGN_IN_PRECISION;
use crate::store::Result;

pub(crate) async fn note_sign_ins(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[UserNo],
    now: Timestamp,
) -> Result<()> {
    let text = sql!(
        "UPDATE users SET last_sign_in_at = $2 WHERE tenant_no = $1 AND (last_sign_in_at IS NULL \
         OR last_sign_in_at <= $3) AND user_no {IN_INTS_4}"
    );
    let query = statement::query(text).bind(tenant.0).bind(now.0);
    // In one order, so that two replicas do not wait for each other.
    let mut numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    numbers.sort_unstable();
    let query = query.bind(now.minus(SIGN_IN_PRECISION).0);
    dialect::ints(query, &numbers).execute(connection).await?;
    Ok(())
}
