//! Disables that wait for an administrator: noted user by user, held, and then approved, rejected or left until they expire.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::engine::{self, Connection, LOCK};
use super::rows::status;
use super::{audit, catalog, details, jobs, outcomes, reads, seats};
use crate::model::{
    Absence, Absentee, Actor, Category, Counts, Decision, Detail, EventType, Fence, Hold, HoldReason,
    ImmutableId, JobNo, ReadFacts, SourceId, SourceNo, SyncJob, TenantId, TenantNo, Timestamp, UserNo,
    Withheld,
};
use crate::store::{ApprovedStart, RecentDisables, Result, StoreError};

/// Added to the queue of a record that is kept while its job is held.
pub(super) const KEPT: i64 = 10;
/// The same where the job has counted the record's user before.
pub(super) const KEPT_UNCOUNTED: i64 = 20;

/// Absent users by number.
pub(super) async fn absentees(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
) -> Result<Vec<Absentee>> {
    seats::check_job(connection, fence).await?;
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let text = format!(
        "SELECT user_no, immutable_id, status, updated_at FROM users WHERE tenant_no = $1 AND source_no = $2 \
         AND status <> 3 AND user_no {} ORDER BY user_no",
        engine::in_ints(3)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.tenant.0).bind(fence.source.0);
    let rows = engine::ints(query, &numbers).fetch_all(connection).await?;
    let absentee = |row| -> Result<Absentee> {
        let (user, id, number, updated_at): (i64, Vec<u8>, i64, i64) = sqlx::FromRow::from_row(row)?;
        Ok(Absentee {
            user: UserNo(user),
            id: ImmutableId(id.into()),
            status: status(number)?,
            updated_at: Timestamp(updated_at),
        })
    };
    rows.iter().map(absentee).collect()
}

/// Notes users whom the job found absent. Whoever is noted already stays so.
pub(super) async fn note(
    connection: &mut Connection,
    fence: Fence,
    users: &[(UserNo, Absence)],
) -> Result<()> {
    seats::lock_job(connection, fence).await?;
    for absence in [Absence::Moved, Absence::Deleted, Absence::Unexplained] {
        let numbers: Vec<i64> =
            users.iter().filter(|(_, of)| *of == absence).map(|(user, _)| user.0).collect();
        if numbers.is_empty() {
            continue;
        }
        let text = format!(
            "INSERT INTO absent_users (job_no, user_no, absence) SELECT $1, user_no, $3 FROM users WHERE tenant_no = $2 AND user_no {} \
             ON CONFLICT (job_no, user_no) DO NOTHING",
            engine::in_ints(4)
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0).bind(fence.tenant.0);
        engine::ints(query.bind(i64::from(absence.number())), &numbers).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Takes users off the list, and counts them as still in scope.
pub(super) async fn strike(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
    now: Timestamp,
) -> Result<()> {
    seats::lock_job(connection, fence).await?;
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let text = format!("DELETE FROM absent_users WHERE job_no = $1 AND user_no {}", engine::in_ints(2));
    let query = engine::ints(sqlx::query(AssertSqlSafe(text)).bind(fence.job.0), &numbers);
    let struck = query.execute(&mut *connection).await?.rows_affected();
    let still_in_scope = i64::try_from(struck).unwrap_or(i64::MAX);
    seats::count(connection, fence, Counts { still_in_scope, ..Counts::default() }, None, now).await
}

/// Users that a job of the source noted as absent, by number, after `after`.
pub(super) async fn noted(
    connection: &mut Connection,
    source: SourceNo,
    job: JobNo,
    after: Option<UserNo>,
    limit: i64,
) -> Result<Vec<(UserNo, Absence)>> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT a.user_no, a.absence FROM absent_users a JOIN sync_jobs j ON j.job_no = a.job_no \
         WHERE a.job_no = $1 AND j.source_no = $2 AND a.user_no > $3 ORDER BY a.user_no LIMIT $4",
    )
    .bind(job.0)
    .bind(source.0)
    .bind(after.map_or(0, |after| after.0))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|(user, number)| Ok((UserNo(user), absence(number)?))).collect()
}

fn absence(number: i64) -> Result<Absence> {
    let absence = i16::try_from(number).ok().and_then(Absence::from_number);
    absence.ok_or_else(|| StoreError::Broken("an absence of an unknown kind".into()))
}

/// The list of a held job, by user number, after `after`. One that was decided has none any more.
pub(super) async fn list(
    connection: &mut Connection,
    job: JobNo,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let rows: Vec<(i64, i64, String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT a.user_no, a.absence, u.user_name, u.mail, u.immutable_id FROM absent_users a JOIN sync_jobs j ON j.job_no = a.job_no \
         JOIN users u ON u.tenant_no = j.tenant_no AND u.user_no = a.user_no \
         WHERE a.job_no = $1 AND j.state = 6 AND u.status = 1 AND a.user_no > $2 ORDER BY a.user_no LIMIT $3",
    )
    .bind(job.0)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let detail = |(user, number, user_name, mail, id): (i64, i64, String, String, Vec<u8>)| {
        let detail = Detail {
            category: Category::WouldBeDisabled,
            user: Some(UserNo(user)),
            user_name,
            mail,
            id: Some(ImmutableId(id.into())),
            reason: None,
            message: format!("Would be disabled: {}.", absence(number)?.text()),
        };
        Ok((user, detail))
    };
    rows.into_iter().map(detail).collect()
}

/// What syncs disabled for absence since then without having been approved, those of single users, too, and this job whenever it did. What
/// a plan disables was shown before, and what an undo disables was let in by a sync.
pub(super) async fn recent(
    connection: &mut Connection,
    source: SourceNo,
    job: JobNo,
    since: Timestamp,
) -> Result<RecentDisables> {
    let (all, unexplained): (i64, i64) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(disabled), 0) AS BIGINT), CAST(COALESCE(SUM(unexplained), 0) AS BIGINT) FROM sync_jobs \
         WHERE source_no = $1 AND (job_no = $2 OR (hold_decision <> 1 AND kind = 1 AND COALESCE(ended_at, progress_at) > $3))",
    )
    .bind(source.0)
    .bind(job.0)
    .bind(since.0)
    .fetch_one(&mut *connection)
    .await?;
    let single = sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(unexplained), 0) AS BIGINT) FROM single_disables WHERE source_no = $1 AND disabled_at > $2",
    );
    let single: (i64, i64) = single.bind(source.0).bind(since.0).fetch_one(connection).await?;
    Ok(RecentDisables { all: all + single.0, unexplained: unexplained + single.1 })
}

/// Holds a job: what it has applied stays, nobody owns it any more, and its list waits.
pub(super) async fn hold(
    connection: &mut Connection,
    fence: Fence,
    hold: &Hold,
    facts: &ReadFacts,
) -> Result<SyncJob> {
    seats::lock_job(connection, fence).await?;
    reads::same_revision(connection, fence).await?;
    sqlx::query(
        "UPDATE sync_jobs SET state = 6, phase = NULL, owner = '', lease_expires_at = 0, hold_reason = $2, hold_message = $3, \
         hold_users = $4, hold_etag = $5, held_at = $6, hold_expires_at = $7, read_facts = $8, progress_at = $6 WHERE job_no = $1",
    )
    .bind(fence.job.0)
    .bind(i64::from(hold.reason.number()))
    .bind(hold.message.clone())
    .bind(hold.users)
    .bind(hold.etag.clone())
    .bind(hold.since.0)
    .bind(hold.expires_at.0)
    .bind(catalog::json(facts)?)
    .execute(&mut *connection)
    .await?;
    if matches!(hold.reason, HoldReason::DisableGuard | HoldReason::UnexplainedAbsences) {
        // The read itself is beyond doubt. If it is the first of its revision, the next one is compared with it whatever is decided.
        sqlx::query(
            "UPDATE identity_sources SET last_read = $2, last_read_revision = published_revision \
             WHERE source_no = $1 AND last_read_revision <> published_revision",
        )
        .bind(fence.source.0)
        .bind(catalog::json(facts)?)
        .execute(&mut *connection)
        .await?;
    }
    let job = jobs::by_number(connection, fence.job).await?;
    outcomes::of_hold(connection, EventType::SyncHeld, &job, &Actor::system(), hold.since).await?;
    Ok(job)
}

/// A job's row, locked, if the job is held.
async fn locked(connection: &mut Connection, job: &SyncJob) -> Result<Hold> {
    let text = format!("SELECT state FROM sync_jobs WHERE job_no = $1{LOCK}");
    let query = sqlx::query_scalar(AssertSqlSafe(text)).bind(job.number.0);
    let state: i64 = query.fetch_one(&mut *connection).await?;
    match &job.hold {
        Some(hold) if state == 6 => Ok(hold.clone()),
        _ => Err(StoreError::NotHeld),
    }
}

/// The same where it is no error that somebody was quicker. Any other error is one: a lost race must undo the whole transaction.
async fn still_held(connection: &mut Connection, job: &SyncJob) -> Result<Option<Hold>> {
    match locked(connection, job).await {
        Err(StoreError::NotHeld) => Ok(None),
        other => other.map(Some),
    }
}

/// Lets a held job go on, exactly with the list that `etag` names.
pub(super) async fn approve(
    connection: &mut Connection,
    (tenant, source, id): (&TenantId, &SourceId, Option<Uuid>),
    etag: &str,
    by: &Actor,
    now: Timestamp,
) -> Result<SyncJob> {
    let job = jobs::job(connection, tenant, source, id).await?;
    let hold = locked(connection, &job).await?;
    if hold.etag != etag {
        return Err(StoreError::HoldChanged);
    }
    if hold.expires_at <= now {
        return Err(StoreError::HoldExpired);
    }
    if catalog::locked_revision(connection, job.source_no).await? != i64::from(job.revision) {
        return Err(StoreError::ConfigChanged);
    }
    sqlx::query(
        "UPDATE sync_jobs SET state = 2, phase = 2, hold_decision = 1, hold_decided_by = $2, epoch = epoch + 1, progress_at = $3 \
         WHERE job_no = $1",
    )
    .bind(job.number.0)
    .bind(by.name.clone())
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    let event = audit::of_job(EventType::SyncApproved, &job).with("users", hold.users).with("etag", etag);
    let job = jobs::by_number(connection, job.number).await?;
    audit::record_of_job(connection, &job, by, event, now).await?;
    Ok(job)
}

/// Ends a held job without its disables.
pub(super) async fn reject(
    connection: &mut Connection,
    (tenant, source, id): (&TenantId, &SourceId, Option<Uuid>),
    by: &Actor,
    now: Timestamp,
) -> Result<SyncJob> {
    let job = jobs::job(connection, tenant, source, id).await?;
    let hold = locked(connection, &job).await?;
    release(connection, job.number, &hold, Decision::Rejected, &by.name, now).await?;
    let job = jobs::by_number(connection, job.number).await?;
    outcomes::of_hold(connection, EventType::SyncRejected, &job, by, now).await?;
    Ok(job)
}

/// A held job that nobody decided on in time.
pub(super) async fn expired(connection: &mut Connection, now: Timestamp) -> Result<Option<i64>> {
    let due =
        sqlx::query_scalar("SELECT job_no FROM sync_jobs WHERE state = 6 AND hold_expires_at <= $1 LIMIT 1");
    Ok(due.bind(now.0).fetch_optional(connection).await?)
}

/// Ends the next such job. How many.
pub(super) async fn expire(connection: &mut Connection, now: Timestamp) -> Result<usize> {
    let Some(job) = expired(connection, now).await? else { return Ok(0) };
    let job = jobs::by_number(connection, JobNo(job)).await?;
    let Some(hold) = still_held(connection, &job).await? else { return Ok(0) };
    release(connection, job.number, &hold, Decision::Expired, "", now).await?;
    let job = jobs::by_number(connection, job.number).await?;
    outcomes::of_hold(connection, EventType::SyncHoldExpired, &job, &Actor::system(), now).await?;
    Ok(1)
}

/// Ends the held job of a source, if there is one, since a later one begins. Returns it: that it ended is to be told.
pub(super) async fn supersede(
    connection: &mut Connection,
    source: i64,
    now: Timestamp,
) -> Result<Option<SyncJob>> {
    let held =
        sqlx::query_scalar("SELECT job_no FROM sync_jobs WHERE source_no = $1 AND state = 6").bind(source);
    let held: Option<i64> = held.fetch_optional(&mut *connection).await?;
    if let Some(job) = held {
        let job = jobs::by_number(connection, JobNo(job)).await?;
        if let Some(hold) = still_held(connection, &job).await? {
            release(connection, job.number, &hold, Decision::Superseded, "", now).await?;
            return jobs::by_number(connection, job.number).await.map(Some);
        }
    }
    Ok(None)
}

async fn release(
    connection: &mut Connection,
    job: JobNo,
    hold: &Hold,
    decision: Decision,
    by: &str,
    now: Timestamp,
) -> Result<()> {
    let message = match decision {
        Decision::Rejected => "An administrator rejected the disables.",
        Decision::Expired => {
            "Nobody decided on the disables in time. Synchronize again to see what is to be disabled now."
        }
        _ => "A later sync of the source took over.",
    };
    let withheld = Withheld { users: hold.users, message: message.to_owned() };
    sqlx::query(
        "UPDATE sync_jobs SET state = 3, phase = NULL, hold_decision = $2, hold_decided_by = $3, withheld_users = $4, \
         withheld_message = $5, ended_at = $6, waiting = 0 WHERE job_no = $1 AND state = 6",
    )
    .bind(job.0)
    .bind(i64::from(decision.number()))
    .bind(by.to_owned())
    .bind(withheld.users)
    .bind(withheld.message)
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    forget(connection, job).await?;
    jobs::forget_deferred(connection, job).await
}

/// Forgets the list of a job that is decided.
pub(super) async fn forget(connection: &mut Connection, job: JobNo) -> Result<()> {
    sqlx::query("DELETE FROM absent_users WHERE job_no = $1").bind(job.0).execute(connection).await?;
    Ok(())
}

type HeldRow = (i64, i64, i64, Option<i64>, Option<String>);

/// Takes up an approved job: whoever had it before can write nothing any more.
pub(super) async fn begin_approved(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    now: Timestamp,
) -> Result<ApprovedStart> {
    let text = format!(
        "SELECT tenant_no, source_no, epoch, held_at, read_facts FROM sync_jobs WHERE job_no = $1 AND owner = $2 AND state = 2 \
         AND hold_decision = 1{LOCK}"
    );
    let held: Option<HeldRow> = sqlx::query_as(AssertSqlSafe(text))
        .bind(job.0)
        .bind(owner.to_owned())
        .fetch_optional(&mut *connection)
        .await?;
    let (tenant, source, epoch, held_at, facts) = held.ok_or(StoreError::Fenced)?;
    sqlx::query("UPDATE sync_jobs SET epoch = epoch + 1, phase = 2, progress_at = $2 WHERE job_no = $1")
        .bind(job.0)
        .bind(now.0)
        .execute(connection)
        .await?;
    Ok(ApprovedStart {
        fence: Fence { job, epoch: epoch + 1, tenant: TenantNo(tenant), source: SourceNo(source) },
        held_at: Timestamp(held_at.unwrap_or_default()),
        facts: facts.as_deref().map(catalog::facts).transpose()?.unwrap_or_default(),
    })
}

/// Lets the records wait again that were not synchronized for want of what the list frees.
pub(super) async fn recall(connection: &mut Connection, fence: Fence, now: Timestamp) -> Result<()> {
    seats::lock_job(connection, fence).await?;
    let kept = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(CASE WHEN queue < $3 THEN 1 ELSE 0 END), 0) AS BIGINT), COUNT(*) FROM deferred_records \
         WHERE job_no = $1 AND queue > $2",
    );
    let (counted, all): (i64, i64) =
        kept.bind(fence.job.0).bind(KEPT).bind(KEPT_UNCOUNTED).fetch_one(&mut *connection).await?;
    details::forget_kept(connection, fence).await?;
    sqlx::query("UPDATE deferred_records SET queue = queue % $2 WHERE job_no = $1 AND queue > $2")
        .bind(fence.job.0)
        .bind(KEPT)
        .execute(&mut *connection)
        .await?;
    let counts = Counts { not_synchronized: -counted, waiting: all, ..Counts::default() };
    seats::count(connection, fence, counts, None, now).await
}

/// Keeps what users have of this job whose change is about to be taken back, as records for another try.
pub(super) async fn keep_applied(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
    counted: bool,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = format!(
        "INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, \
         display_name, phone, distinguished_name, policy_attributes, status) SELECT $1, $3 + 1, immutable_id, digest, user_name, \
         user_name_key, mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status \
         FROM users WHERE tenant_no = $2 AND user_no {} ON CONFLICT (job_no, immutable_id) DO NOTHING",
        engine::in_ints(4)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0).bind(fence.tenant.0);
    let query = query.bind(if counted { KEPT } else { KEPT_UNCOUNTED });
    engine::ints(query, users).execute(connection).await?;
    Ok(())
}

/// Keeps records that are not synchronized for another try: counted as such, or not where the job has counted their users before.
pub(super) async fn keep<'a>(
    connection: &mut Connection,
    fence: Fence,
    records: impl Iterator<Item = &'a ImmutableId>,
    counted: bool,
) -> Result<()> {
    let ids: Vec<_> = records.map(|id| &id.0[..]).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let text = format!(
        "UPDATE deferred_records SET queue = queue + $2 WHERE job_no = $1 AND immutable_id {}",
        engine::in_blobs(3)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0);
    let query = query.bind(if counted { KEPT } else { KEPT_UNCOUNTED });
    engine::blobs(query, ids.into_iter()).execute(connection).await?;
    Ok(())
}

/// How many known users have a record that is kept for another try, and are not counted yet. They come before new users under the
/// sync limit.
pub(super) async fn kept_users(connection: &mut Connection, fence: Fence) -> Result<i64> {
    let count = sqlx::query_scalar(
        "SELECT COUNT(*) FROM deferred_records d JOIN users u ON u.source_no = $2 AND u.immutable_id = d.immutable_id \
         WHERE d.job_no = $1 AND d.queue > $3 AND d.queue < $4",
    );
    let count = count.bind(fence.job.0).bind(fence.source.0).bind(KEPT).bind(KEPT_UNCOUNTED);
    Ok(count.fetch_one(connection).await?)
}
