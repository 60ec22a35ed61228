//! Users who are gone from scope.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;

use super::engine::{self, Connection};
use super::rows::status;
use super::{details, reads, rows, seats};
use crate::model::{Absence, Category, Counts, Detail, Fence, ImmutableId, Status, Timestamp, UserNo};
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

/// Distinguished names of users in scope, by number, after `after`.
pub(super) async fn distinguished_names(
    connection: &mut Connection,
    fence: Fence,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<(UserNo, String)>> {
    seats::check_job(connection, fence).await?;
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT user_no, distinguished_name FROM users WHERE tenant_no = $1 AND source_no + 0 = $2 AND status <> 3 AND user_no > $3 \
         ORDER BY tenant_no, user_no LIMIT $4",
    )
    .bind(fence.tenant.0)
    .bind(fence.source.0)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(user, name)| (UserNo(user), name)).collect())
}

/// Takes users out of scope. With `unchanged_since` only those whom nothing has changed since then. Whoever was fetched alone since the
/// job began to reconcile is left alone: that may have been after the look-up.
pub(super) async fn disable(
    connection: &mut Connection,
    fence: Fence,
    users: &[(UserNo, Absence)],
    unchanged_since: Option<Timestamp>,
    now: Timestamp,
) -> Result<Counts> {
    let absences: HashMap<i64, Absence> = users.iter().map(|(user, absence)| (user.0, *absence)).collect();
    let numbers: Vec<i64> = users.iter().map(|(user, _)| user.0).collect();
    let why = |user: i64| {
        let absence = absences.get(&user).copied().unwrap_or(Absence::Unexplained);
        (format!("Disabled: {}.", absence.text()), absence == Absence::Unexplained)
    };
    let unchanged_since = unchanged_since.map_or(i64::MAX, |since| since.0);
    take_out(connection, fence, &numbers, (unchanged_since, &why), now).await
}

/// The same for whatever reason: `why` says it to people, and whether nothing explains it.
pub(super) async fn take_out(
    connection: &mut Connection,
    fence: Fence,
    numbers: &[i64],
    (unchanged_since, why): (i64, &(dyn Fn(i64) -> (String, bool) + Sync)),
    now: Timestamp,
) -> Result<Counts> {
    let job = seats::lock_job(connection, fence).await?;
    reads::same_revision(connection, fence).await?;
    seats::lock(connection, fence.tenant).await?;
    let text = format!(
        "SELECT user_no, user_name, mail, immutable_id, status FROM users WHERE tenant_no = $1 AND source_no = $2 AND status <> 3 \
         AND updated_at <= $3 AND NOT (fetched_job = $4 AND fetched_stage > $5) AND user_no {} ORDER BY user_no",
        engine::in_ints(6)
    );
    let query = sqlx::query(AssertSqlSafe(text))
        .bind(fence.tenant.0)
        .bind(fence.source.0)
        .bind(unchanged_since)
        .bind(fence.job.0)
        .bind(2 * job.reads);
    let rows = engine::ints(query, numbers).fetch_all(&mut *connection).await?;
    let (mut lines, mut leaving, mut unexplained) = (Vec::new(), Vec::with_capacity(rows.len()), 0);
    for row in &rows {
        let (user, user_name, mail, id, number): (i64, String, String, Vec<u8>, i64) =
            sqlx::FromRow::from_row(row)?;
        leaving.push(user);
        if status(number)? != Status::Enabled {
            continue;
        }
        let (message, nothing_explains_it) = why(user);
        unexplained += i64::from(nothing_explains_it);
        lines.push(Detail {
            category: Category::Disabled,
            user: Some(UserNo(user)),
            user_name,
            mail,
            id: Some(ImmutableId(id.into())),
            reason: None,
            message,
        });
    }
    let counts = Counts { disabled: i64::try_from(lines.len()).unwrap_or(i64::MAX), ..Counts::default() };
    rows::journal(connection, fence, &leaving, rows::Change::Disabled).await?;
    let text = format!(
        "UPDATE users SET status = 3, user_name_key = NULL, mail_key = NULL, status_job = $2, updated_at = $3, \
         disabled_at = COALESCE(disabled_at, $3) WHERE tenant_no = $1 AND user_no {}",
        engine::in_ints(4)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.tenant.0).bind(fence.job.0).bind(now.0);
    engine::ints(query, &leaving).execute(&mut *connection).await?;
    let taken = seats::take(connection, fence.tenant, Some(fence.source), -counts.disabled).await?;
    seats::count(connection, fence, counts, None, now).await?;
    sqlx::query("UPDATE sync_jobs SET unexplained = unexplained + $2 WHERE job_no = $1")
        .bind(fence.job.0)
        .bind(unexplained)
        .execute(&mut *connection)
        .await?;
    details::insert(connection, fence, lines).await?;
    taken.tell(connection, now).await?;
    Ok(counts)
}
