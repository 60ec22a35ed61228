//! Users who are gone from scope.

use std::collections::{BTreeMap, HashMap};

use super::super::dialect::{Connection, IN_INTS_2, IN_INTS_3, IN_INTS_4, IN_INTS_5, IN_INTS_6};
use super::super::jobs::{counts, details};
use super::super::license::seats;
use super::super::statement::sql;
use super::super::users::write;
use super::super::words::{Change, DECISION_APPROVED, KIND_SYNC, USER_OUT_OF_SCOPE};
use super::super::{codec, dialect, locks, statement};
use crate::model::{
    Absence, Absentee, Category, Counts, Detail, Fence, ImmutableId, JobNo, Status, Timestamp, UserNo,
};
use crate::store::{RecentDisables, Result};

pub(crate) async fn in_scope(
    connection: &mut Connection,
    fence: Fence,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<(UserNo, Status)>> {
    locks::check_job(connection, fence).await?;
    // In the order of the primary key. The sum keeps the planner from collecting and sorting the
    // whole source for each page.
    let rows: Vec<(i64, i64)> = statement::query_as(sql!(
        "SELECT user_no, status FROM users WHERE tenant_no = $1 AND source_no + 0 = $2 AND \
             status <> {USER_OUT_OF_SCOPE} AND user_no > $3 ORDER BY tenant_no, user_no LIMIT $4"
    ))
    .bind(fence.tenant.0)
    .bind(fence.source.0)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|(user, number)| Ok((UserNo(user), codec::user_status(number)?))).collect()
}

/// Statuses and distinguished names of users in scope, by number, after `after`.
pub(crate) async fn distinguished_names(
    connection: &mut Connection,
    fence: Fence,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<(UserNo, Status, String)>> {
    locks::check_job(connection, fence).await?;
    let rows: Vec<(i64, i64, String)> = statement::query_as(sql!(
        "SELECT user_no, status, distinguished_name FROM users WHERE tenant_no = $1 AND source_no + 0 \
             = $2 AND status <> {USER_OUT_OF_SCOPE} AND user_no > $3 ORDER BY tenant_no, user_no \
             LIMIT $4"
    ))
    .bind(fence.tenant.0)
    .bind(fence.source.0)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|(user, status, name)| Ok((UserNo(user), codec::user_status(status)?, name)))
        .collect()
}

/// Takes users out of scope. With `unchanged_since` only those whom nothing has changed since then.
/// Whoever was fetched alone since the job began to reconcile is left alone: that may have been
/// after the look-up.
pub(crate) async fn disable(
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
        (format!("Disabled: {}.", absence.text()), Some(absence))
    };
    let unchanged_since = unchanged_since.map_or(i64::MAX, |since| since.0);
    take_out(connection, fence, &numbers, (unchanged_since, &why), now).await
}

/// The same for whatever reason: `why` says it to people, and what became of the entry.
pub(crate) async fn take_out(
    connection: &mut Connection,
    fence: Fence,
    numbers: &[i64],
    (unchanged_since, why): (i64, &(dyn Fn(i64) -> (String, Option<Absence>) + Sync)),
    now: Timestamp,
) -> Result<Counts> {
    let job = locks::lock_job(connection, fence).await?;
    locks::lock_same_revision(connection, fence).await?;
    locks::lock_seats(connection, fence.tenant).await?;
    let text = sql!(
        "SELECT user_no, user_name, mail, immutable_id, status FROM users WHERE tenant_no = $1 AND \
         source_no = $2 AND status <> {USER_OUT_OF_SCOPE} AND updated_at <= $3 AND NOT \
         (fetched_job = $4 AND fetched_stage > $5) AND user_no {IN_INTS_6} ORDER BY user_no"
    );
    let query = statement::query(text)
        .bind(fence.tenant.0)
        .bind(fence.source.0)
        .bind(unchanged_since)
        .bind(fence.job.0)
        .bind(2 * job.reads);
    let rows = dialect::ints(query, numbers).fetch_all(&mut *connection).await?;
    let (mut lines, mut leaving, mut unexplained) = (Vec::new(), Vec::with_capacity(rows.len()), 0);
    let mut by_absence: BTreeMap<Option<Absence>, Vec<i64>> = BTreeMap::new();
    for row in &rows {
        let (user, user_name, mail, id, number): (i64, String, String, Vec<u8>, i64) =
            sqlx::FromRow::from_row(row)?;
        leaving.push(user);
        let (message, absence) = why(user);
        by_absence.entry(absence).or_default().push(user);
        if codec::user_status(number)? != Status::Enabled {
            continue;
        }
        unexplained += i64::from(absence.is_some_and(|absence| !absence.is_explained()));
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
    write::journal(connection, fence, &leaving, Change::Disabled).await?;
    for (absence, users) in by_absence {
        let text = sql!(
            "UPDATE users SET status = {USER_OUT_OF_SCOPE}, user_name_key = NULL, mail_key = NULL, \
             status_job = $2, updated_at = $3, disabled_at = COALESCE(disabled_at, $3), absence = $4, absent_since = NULL \
             WHERE tenant_no = $1 AND user_no {IN_INTS_5}"
        );
        let query = statement::query(text).bind(fence.tenant.0).bind(fence.job.0).bind(now.0);
        let query = query.bind(absence.map(|absence| i64::from(absence.number())));
        dialect::ints(query, &users).execute(&mut *connection).await?;
    }
    let taken = seats::take(connection, fence.tenant, Some(fence.source), -counts.disabled).await?;
    counts::count(connection, fence, counts, None, now).await?;
    statement::query("UPDATE sync_jobs SET unexplained = unexplained + $2 WHERE job_no = $1")
        .bind(fence.job.0)
        .bind(unexplained)
        .execute(&mut *connection)
        .await?;
    details::insert(connection, fence, lines).await?;
    taken.publish(connection, now).await?;
    Ok(counts)
}

/// Absent users by number.
pub(crate) async fn absentees(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
) -> Result<Vec<Absentee>> {
    locks::check_job(connection, fence).await?;
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let text = sql!(
        "SELECT user_no, immutable_id, distinguished_name, status, updated_at FROM users WHERE \
         tenant_no = $1 AND source_no = $2 AND status <> {USER_OUT_OF_SCOPE} AND user_no \
         {IN_INTS_3} ORDER BY user_no"
    );
    let query = statement::query(text).bind(fence.tenant.0).bind(fence.source.0);
    let rows = dialect::ints(query, &numbers).fetch_all(connection).await?;
    let absentee = |row| -> Result<Absentee> {
        let (user, id, distinguished_name, number, updated_at): (i64, Vec<u8>, String, i64, i64) =
            sqlx::FromRow::from_row(row)?;
        Ok(Absentee {
            user: UserNo(user),
            id: ImmutableId(id.into()),
            distinguished_name,
            status: codec::user_status(number)?,
            updated_at: Timestamp(updated_at),
        })
    };
    rows.iter().map(absentee).collect()
}

/// Notes users whom the job found absent. Whoever is noted already stays so.
pub(crate) async fn record_absent(
    connection: &mut Connection,
    fence: Fence,
    users: &[(UserNo, Absence)],
) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    for absence in Absence::ALL {
        let numbers: Vec<i64> =
            users.iter().filter(|(_, of)| of == absence).map(|(user, _)| user.0).collect();
        if numbers.is_empty() {
            continue;
        }
        let text = sql!(
            "INSERT INTO absent_users (job_no, user_no, absence) SELECT $1, user_no, $3 FROM users \
             WHERE tenant_no = $2 AND user_no {IN_INTS_4} ON CONFLICT (job_no, user_no) DO NOTHING"
        );
        let query = statement::query(text).bind(fence.job.0).bind(fence.tenant.0);
        dialect::ints(query.bind(i64::from(absence.number())), &numbers).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Deletes users from the list; returns how many were on it.
async fn delete_listed(connection: &mut Connection, fence: Fence, users: &[i64]) -> Result<u64> {
    let text = sql!("DELETE FROM absent_users WHERE job_no = $1 AND user_no {IN_INTS_2}");
    let query = dialect::ints(statement::query(text).bind(fence.job.0), users);
    Ok(query.execute(connection).await?.rows_affected())
}

/// Takes users off the list, and counts them as still in scope.
pub(crate) async fn remove_absent(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
    now: Timestamp,
) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let removed = delete_listed(connection, fence, &numbers).await?;
    let still_in_scope = i64::try_from(removed).unwrap_or(i64::MAX);
    counts::count(connection, fence, Counts { still_in_scope, ..Counts::default() }, None, now).await
}

/// Takes users off the list whom the directory does not show to be gone, counts them, and lists
/// them.
pub(crate) async fn leave_alone(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
    now: Timestamp,
) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    delete_listed(connection, fence, &numbers).await?;
    let text = sql!(
        "SELECT user_no, user_name, mail, immutable_id FROM users WHERE tenant_no = $1 AND user_no \
         {IN_INTS_2} ORDER BY user_no"
    );
    let query = dialect::ints(statement::query(text).bind(fence.tenant.0), &numbers);
    let rows = query.fetch_all(&mut *connection).await?;
    let line = |row| -> Result<Detail> {
        let (user, user_name, mail, id): (i64, String, String, Vec<u8>) = sqlx::FromRow::from_row(row)?;
        Ok(Detail {
            category: Category::NotVisible,
            user: Some(UserNo(user)),
            user_name,
            mail,
            id: Some(ImmutableId(id.into())),
            reason: None,
            message: NOT_VISIBLE.to_owned(),
        })
    };
    let lines: Vec<Detail> = rows.iter().map(line).collect::<Result<_>>()?;
    let not_visible = i64::try_from(lines.len()).unwrap_or(i64::MAX);
    details::insert(connection, fence, lines).await?;
    counts::count(connection, fence, Counts { not_visible, ..Counts::default() }, None, now).await
}

/// Of a user who was left alone.
const NOT_VISIBLE: &str = "Left as it is: the entry is not visible, and the directory does not show that it is gone. Check the rights of the bind account.";

/// Counts users that the read did not have and that are in scope all the same.
pub(crate) async fn count_still_in_scope(
    connection: &mut Connection,
    fence: Fence,
    users: i64,
    now: Timestamp,
) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    let counts = Counts { still_in_scope: users, ..Counts::default() };
    counts::count(connection, fence, counts, None, now).await
}

/// Users that a job of the source noted as absent, by number, after `after`.
pub(crate) async fn recorded_absent(
    connection: &mut Connection,
    fence: Fence,
    job: JobNo,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<(UserNo, Absence)>> {
    let rows: Vec<(i64, i64)> = statement::query_as(
        "SELECT a.user_no, a.absence FROM absent_users a JOIN sync_jobs j ON j.job_no = a.job_no \
         WHERE a.job_no = $1 AND j.source_no = $2 AND a.user_no > $3 ORDER BY a.user_no LIMIT $4",
    )
    .bind(job.0)
    .bind(fence.source.0)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|(user, number)| Ok((UserNo(user), codec::absence(number)?))).collect()
}

/// What syncs disabled for absence since then without having been approved, those of single users,
/// too, and this job whenever it did. What a plan disables was shown before, and what an undo
/// disables was let in by a sync.
pub(crate) async fn recent_disables(
    connection: &mut Connection,
    fence: Fence,
    since: Timestamp,
) -> Result<RecentDisables> {
    let (all, unexplained): (i64, i64) = statement::query_as(sql!(
        "SELECT CAST(COALESCE(SUM(disabled), 0) AS BIGINT), CAST(COALESCE(SUM(unexplained), 0) \
             AS BIGINT) FROM sync_jobs WHERE source_no = $1 AND (job_no = $2 OR (hold_decision <> \
             {DECISION_APPROVED} AND kind = {KIND_SYNC} AND COALESCE(ended_at, progress_at) > $3))"
    ))
    .bind(fence.source.0)
    .bind(fence.job.0)
    .bind(since.0)
    .fetch_one(&mut *connection)
    .await?;
    let single = statement::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(unexplained), 0) AS BIGINT) FROM single_disables WHERE \
         source_no = $1 AND disabled_at > $2",
    );
    let single: (i64, i64) = single.bind(fence.source.0).bind(since.0).fetch_one(connection).await?;
    Ok(RecentDisables { all: all + single.0, unexplained: unexplained + single.1 })
}
