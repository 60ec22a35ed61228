//! Users who are gone from scope.

use sqlx::AssertSqlSafe;

use super::engine::{self, Connection};
use super::rows::status;
use super::{details, jobs, rows, seats};
use crate::model::{Category, Counts, Detail, Fence, Status, Timestamp, UserNo};
use crate::store::Result;

pub(super) async fn in_scope(
    connection: &mut Connection,
    fence: Fence,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<(UserNo, Status)>> {
    seats::check_job(connection, fence).await?;
    // In the order of the primary key. The sum keeps the planner from collecting and sorting the whole source for each page.
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT user_no, status FROM users WHERE tenant_no = $1 AND source_no + 0 = $2 AND status <> 3 AND user_no > $3 \
         ORDER BY tenant_no, user_no LIMIT $4",
    )
    .bind(fence.tenant.0)
    .bind(fence.source.0)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|(user, number)| Ok((UserNo(user), status(number)?))).collect()
}

pub(super) async fn disable(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
    now: Timestamp,
) -> Result<Counts> {
    seats::lock_job(connection, fence).await?;
    jobs::same_revision(connection, fence).await?;
    seats::lock(connection, fence.tenant).await?;
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let text = format!(
        "SELECT user_no, user_name, mail, immutable_id FROM users WHERE tenant_no = $1 AND source_no = $2 AND status = 1 \
         AND user_no {} ORDER BY user_no",
        engine::in_ints(3)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.tenant.0).bind(fence.source.0);
    let enabled = engine::ints(query, &numbers).fetch_all(&mut *connection).await?;
    let lines = enabled.iter().map(|row| {
        let (user, user_name, mail, id): (i64, String, String, Vec<u8>) = sqlx::FromRow::from_row(row)?;
        Ok(Detail {
            category: Category::Disabled,
            user: Some(UserNo(user)),
            user_name,
            mail,
            id: Some(crate::model::ImmutableId(id.into())),
            reason: None,
            message: "Disabled: a complete read of the source no longer had the user.".to_owned(),
        })
    });
    let lines = lines.collect::<Result<Vec<_>>>()?;
    let counts = Counts { disabled: i64::try_from(lines.len()).unwrap_or(i64::MAX), ..Counts::default() };
    rows::journal(connection, fence, &numbers).await?;
    let text = format!(
        "UPDATE users SET status = 3, user_name_key = NULL, mail_key = NULL, status_job = $3, updated_at = $4, \
         disabled_at = COALESCE(disabled_at, $4) WHERE tenant_no = $1 AND source_no = $2 AND status <> 3 AND user_no {}",
        engine::in_ints(5)
    );
    let query = sqlx::query(AssertSqlSafe(text))
        .bind(fence.tenant.0)
        .bind(fence.source.0)
        .bind(fence.job.0)
        .bind(now.0);
    engine::ints(query, &numbers).execute(&mut *connection).await?;
    seats::take(connection, fence.tenant, Some(fence.source), -counts.disabled).await?;
    seats::count(connection, fence, counts, None).await?;
    details::insert(connection, fence, lines).await?;
    Ok(counts)
}
