//! Undoing a job: its journal is read as if it were a directory, and goes through the same batches,
//! leavers and contests. Users whom something has changed since are left as they are and listed. A
//! sync of a single user changes it in the name of the job that changed it last, so that it is told
//! by `alone_at`: the time of the last change, if that was one.
//!
//! No entry is read, so no entry can show whether its account is disabled. An undo enables all the
//! same, and is the only way to: an administrator orders it for a job whose list was there to be
//! seen, and only users whose last observation is that very job's get their status back. The next
//! sync and each sign-in read the entry, and disable the user whose entry has the mark.

use super::super::dialect::{Connection, IN_INTS_4};
use super::super::jobs::leftovers;
use super::super::locks::OwnedJob;
use super::super::statement::sql;
use super::super::users::rows::RecordRow;
use super::super::words::{CATEGORY_NOT_SYNCHRONIZED, CHANGE_DISABLED, CHANGE_UPDATED, PHASE_READING};
use super::super::{dialect, locks, statement};
use super::{absent_users, receive};
use crate::model::{
    Fence, ImmutableId, JobNo, NotSynchronizedReason, Rejected, SourceNo, TenantNo, Timestamp, UserNo,
};
use crate::store::{Result, StoreError};

/// A user as the journal has it from before the job, and what became of it since.
#[derive(sqlx::FromRow)]
struct ChangeRow {
    user_no: i64,
    #[sqlx(flatten)]
    before: RecordRow,
    /// What this job has done to it already: a try before has been cut off.
    done: i64,
    /// Whether it is not what the job that is undone made of it.
    changed_since: i64,
}

/// Why a user is left as it is.
fn changed_since(id: ImmutableId, user_name: String, mail: String) -> Rejected {
    Rejected { user_name, mail, ..Rejected::of(Some(id), NotSynchronizedReason::ChangedSince) }
}

pub(crate) async fn begin(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    now: Timestamp,
) -> Result<Fence> {
    let OwnedJob { tenant_no: tenant, source_no: source, epoch, origin, .. } =
        locks::lock_owned_job(connection, job, owner).await?;
    let expected = statement::query_scalar(
        "SELECT (SELECT COUNT(*) FROM user_changes WHERE job_no = $1) + (SELECT COUNT(*) FROM \
         users WHERE tenant_no = $2 AND source_no = $3 AND added_job = $1)",
    );
    let expected: i64 = expected.bind(origin).bind(tenant).bind(source).fetch_one(&mut *connection).await?;
    statement::query(sql!(
        "UPDATE sync_jobs SET epoch = epoch + 1, reads = reads + 1, phase = {PHASE_READING}, \
             started_at = COALESCE(started_at, $2), unchanged = 0, not_synchronized = 0, waiting = \
             0, progress_at = $2, read_at = $2, expected = $3, reserve = 0 WHERE job_no = $1"
    ))
    .bind(job.0)
    .bind(now.0)
    .bind(expected)
    .execute(&mut *connection)
    .await?;
    leftovers::forget_deferred(connection, job).await?;
    statement::query(sql!(
        "DELETE FROM job_details WHERE job_no = $1 AND category = {CATEGORY_NOT_SYNCHRONIZED}"
    ))
    .bind(job.0)
    .execute(connection)
    .await?;
    Ok(Fence { job, epoch: epoch + 1, tenant: TenantNo(tenant), source: SourceNo(source) })
}

/// The job that is undone, and when it ended.
async fn origin(connection: &mut Connection, fence: Fence) -> Result<(i64, i64)> {
    let query = statement::query_as(
        "SELECT o.job_no, COALESCE(o.ended_at, 0) FROM sync_jobs j JOIN sync_jobs o ON o.job_no = \
         j.origin WHERE j.job_no = $1",
    );
    query.bind(fence.job.0).fetch_optional(connection).await?.ok_or(StoreError::NotFound("sync job"))
}

pub(crate) async fn changes(
    connection: &mut Connection,
    fence: Fence,
    after: Option<UserNo>,
    limit: i64,
    now: Timestamp,
) -> Result<Option<UserNo>> {
    locks::lock_job(connection, fence).await?;
    let (origin, ended_at) = origin(connection, fence).await?;
    let mut rows: Vec<ChangeRow> = statement::query_as(sql!(
        "SELECT u.user_no, u.immutable_id, c.digest, c.user_name, c.user_name_key, c.mail, \
             c.mail_key, c.first_name, c.last_name, c.display_name, c.phone, c.distinguished_name, \
             c.policy_attributes, c.status, CAST(1 AS BIGINT) AS mark_proved, c.warnings, \
             CAST(NULL AS TEXT) AS entry_version, CAST(CASE WHEN u.changed_job = $1 OR u.status_job = $1 \
             THEN 1 ELSE 0 END AS BIGINT) AS done, CAST(CASE WHEN u.updated_at > $2 OR (c.what <> \
             {CHANGE_DISABLED} AND u.changed_job <> $3) OR (c.what <> {CHANGE_UPDATED} AND \
             u.status_job <> $3) OR u.alone_at = u.updated_at THEN 1 ELSE 0 END AS BIGINT) AS \
             changed_since FROM user_changes c JOIN users u ON u.tenant_no = c.tenant_no AND \
             u.user_no = c.user_no WHERE c.job_no = $3 AND u.added_job <> $3 AND c.user_no > $4 \
             ORDER BY c.job_no, c.user_no LIMIT $5"
    ))
    .bind(fence.job.0)
    .bind(ended_at)
    .bind(origin)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let Some(last) = rows.last().map(|row| UserNo(row.user_no)) else { return Ok(None) };
    rows.retain(|row| row.done == 0);
    let (mut records, mut rejected, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let user = row.user_no;
        let in_scope = row.before.in_scope()?;
        // Who has no immutable id since the source has another one would be taken for gone by the
        // next sync.
        let without = row.before.has_no_id() && in_scope;
        if row.changed_since != 0 || without {
            let (id, values) = row.before.whose();
            rejected.push(changed_since(id, values.user_name, values.mail));
        } else if in_scope {
            records.push(row.before.try_into()?);
        } else {
            leaving.push(user);
        }
    }
    receive::receive(connection, fence, &records, &rejected, 0, now).await?;
    take_out(connection, fence, &leaving, now).await?;
    Ok(Some(last))
}

pub(crate) async fn adds(
    connection: &mut Connection,
    fence: Fence,
    after: Option<UserNo>,
    limit: i64,
    now: Timestamp,
) -> Result<Option<UserNo>> {
    locks::lock_job(connection, fence).await?;
    let (origin, ended_at) = origin(connection, fence).await?;
    // In the order of the primary key. The sum keeps the planner from collecting and sorting the
    // whole source for each page.
    let rows: Vec<(i64, Vec<u8>, String, String, i64, i64)> = statement::query_as(
        "SELECT user_no, immutable_id, user_name, mail, CAST(CASE WHEN updated_at > $6 OR alone_at \
         = updated_at THEN 1 ELSE 0 END AS BIGINT), status_job FROM users WHERE tenant_no = $1 AND \
         source_no + 0 = $2 AND added_job = $3 AND user_no > $4 ORDER BY tenant_no, user_no LIMIT \
         $5",
    )
    .bind(fence.tenant.0)
    .bind(fence.source.0)
    .bind(origin)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .bind(ended_at)
    .fetch_all(&mut *connection)
    .await?;
    let Some(last) = rows.last().map(|row| UserNo(row.0)) else { return Ok(None) };
    let (mut rejected, mut leaving) = (Vec::new(), Vec::new());
    for (user, id, user_name, mail, changed, status_job) in rows {
        if status_job == fence.job.0 {
            continue;
        }
        if changed != 0 {
            rejected.push(changed_since(ImmutableId(id.into()), user_name, mail));
        } else {
            leaving.push(user);
        }
    }
    receive::receive(connection, fence, &[], &rejected, 0, now).await?;
    take_out(connection, fence, &leaving, now).await?;
    Ok(Some(last))
}

async fn take_out(connection: &mut Connection, fence: Fence, users: &[i64], now: Timestamp) -> Result<()> {
    let undone = |_| ("Disabled: the sync that let the user in was undone.".to_owned(), None);
    absent_users::take_out(connection, fence, users, (i64::MAX, &undone), now).await.map(drop)
}

/// Gives the names that this undo gave back the age that they had before the job that is undone:
/// of the next users of that job's journal, at most `limit`. None once there are no more.
pub(crate) async fn restore_logins(
    connection: &mut Connection,
    fence: Fence,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Option<UserNo>> {
    locks::lock_job(connection, fence).await?;
    let (origin, _) = origin(connection, fence).await?;
    let users: Vec<(i64,)> = statement::query_as(
        "SELECT user_no FROM user_changes WHERE job_no = $1 AND user_no > $2 ORDER BY user_no LIMIT $3",
    )
    .bind(origin)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let Some((last,)) = users.last().copied() else { return Ok(None) };
    let users: Vec<i64> = users.into_iter().map(|(user,)| user).collect();
    for text in [
        sql!(
            "UPDATE users SET user_name_position = c.user_name_position, user_name_job = \
             c.user_name_job FROM user_changes c WHERE users.tenant_no = $1 AND users.user_name_job = $2 \
             AND c.job_no = $3 AND c.user_no = users.user_no AND users.user_name_key = c.user_name_key \
             AND users.user_no {IN_INTS_4}"
        ),
        sql!(
            "UPDATE users SET mail_position = c.mail_position, mail_job = c.mail_job FROM user_changes c \
             WHERE users.tenant_no = $1 AND users.mail_job = $2 AND c.job_no = $3 AND c.user_no = \
             users.user_no AND users.mail_key = c.mail_key AND users.user_no {IN_INTS_4}"
        ),
    ] {
        let query = statement::query(text).bind(fence.tenant.0).bind(fence.job.0).bind(origin);
        dialect::ints(query, &users).execute(&mut *connection).await?;
    }
    Ok(Some(UserNo(last)))
}
