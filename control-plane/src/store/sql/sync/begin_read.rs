//! A read of the directory begins: the fence of the read before is void, and so is what it left
//! undecided. And what it reads is still what is published.

use super::super::dialect::Connection;
use super::super::jobs::leftovers;
use super::super::locks::OwnedJob;
use super::super::sources::rekey;
use super::super::statement::sql;
use super::super::words::{
    CATEGORY_NOT_SYNCHRONIZED, CATEGORY_NOT_VISIBLE, CHANGE_BOTH, CHANGE_UPDATED, KIND_PLAN, KIND_SYNC,
    PHASE_READING, PHASE_RECONCILING, USER_DISABLED_IN_DIRECTORY, USER_ENABLED, USER_OUT_OF_SCOPE,
};
use super::super::{codec, locks, statement};
use crate::model::{
    Fence, JobKind, JobNo, KnownBy, ReadFacts, ReadStart, RouterId, SourceNo, TenantNo, Timestamp, UserNo,
};
use crate::store::{Result, StoreError};

/// What a read needs to know of its source.
#[derive(sqlx::FromRow)]
struct SourceFacts {
    published: Option<String>,
    published_revision: i64,
    last_read: Option<String>,
    last_read_revision: i64,
    enabled_users: i64,
}

/// Begins a read: what it is compared with, how much of the sync limit is left, and its fence.
pub(crate) async fn begin_read(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    router: &RouterId,
    now: Timestamp,
) -> Result<ReadStart> {
    let held = locks::lock_owned_job(connection, job, owner).await?;
    let kind = JobKind::from_number(codec::to_i16(held.kind)).unwrap_or(JobKind::Sync);
    locks::share_router(connection, TenantNo(held.tenant_no), router).await?;
    let facts = source_facts(connection, held.source_no).await?;
    let sync_limit = sync_limit(&held, &facts)?;
    let users = count_users(connection, &held, job, sync_limit).await?;
    let former = former_id(&held, &facts, users.known)?;
    let before = last_read(&held, &facts)?;

    let start = Start { sync_limit, compares: before.is_some(), both_ids: former.is_some() };
    start_read(connection, job, router, &users, start, now).await?;
    if held.reads > 0 && kind != JobKind::DryRun {
        recount(connection, job).await?;
    }
    forget_former_read(connection, job, kind).await?;
    Ok(ReadStart {
        fence: Fence {
            job,
            epoch: held.epoch + 1,
            tenant: TenantNo(held.tenant_no),
            source: SourceNo(held.source_no),
        },
        known: users.known,
        enabled: facts.enabled_users,
        beyond_limit: users.beyond_limit.map(UserNo),
        kind,
        before,
        former,
    })
}

async fn source_facts(connection: &mut Connection, source: i64) -> Result<SourceFacts> {
    let facts = statement::query_as(
        "SELECT published, published_revision, last_read, last_read_revision, enabled_users FROM \
         identity_sources WHERE source_no = $1",
    );
    Ok(facts.bind(source).fetch_one(connection).await?)
}

/// The limit of the settings that the job reads by: those of its draft, or those that are
/// published.
fn sync_limit(held: &OwnedJob, facts: &SourceFacts) -> Result<i64> {
    let published = facts.published.as_deref().filter(|_| facts.published_revision == held.revision);
    let settings = held.settings.as_deref().or(published).ok_or(StoreError::ConfigChanged)?;
    Ok(i64::from(codec::source_settings(settings)?.sync_limit))
}

/// Users of a source when a read of it begins.
struct Users {
    known: i64,
    in_scope: i64,
    /// Those that earlier syncs disabled, which may return.
    reserve: i64,
    /// The first of those in scope that is beyond the sync limit.
    beyond_limit: Option<i64>,
}

async fn count_users(
    connection: &mut Connection,
    held: &OwnedJob,
    job: JobNo,
    sync_limit: i64,
) -> Result<Users> {
    let count = statement::query_as(sql!(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN status <> {USER_OUT_OF_SCOPE} THEN 1 ELSE 0 END), \
         0), COALESCE(SUM(CASE WHEN status <> {USER_ENABLED} AND status_job <> $3 THEN 1 ELSE 0 \
         END), 0) FROM users WHERE tenant_no = $1 AND source_no = $2"
    ));
    let count = count.bind(held.tenant_no).bind(held.source_no).bind(job.0);
    let (known, in_scope, reserve): (i64, i64, i64) = count.fetch_one(&mut *connection).await?;
    if held.reads > 0 {
        // As it was at first: who left the scope since gives no place to others of this job.
        let first = statement::query_scalar("SELECT beyond_limit FROM sync_jobs WHERE job_no = $1");
        let beyond_limit = first.bind(job.0).fetch_one(connection).await?;
        return Ok(Users { known, in_scope, reserve, beyond_limit });
    }
    let mut beyond_limit = None;
    if in_scope > sync_limit {
        let first = statement::query_scalar(sql!(
            "SELECT user_no FROM users WHERE tenant_no = $1 AND source_no = $2 AND status <> \
             {USER_OUT_OF_SCOPE} ORDER BY user_no LIMIT 1 OFFSET $3"
        ));
        let first = first.bind(held.tenant_no).bind(held.source_no).bind(sync_limit);
        beyond_limit = first.fetch_optional(connection).await?;
    }
    Ok(Users { known, in_scope, reserve, beyond_limit })
}

/// What users are known by so far, if the job reads a draft that has another immutable id.
fn former_id(held: &OwnedJob, facts: &SourceFacts, known: i64) -> Result<Option<KnownBy>> {
    let former = rekey::former(held.settings.as_deref(), facts.published.as_deref())?;
    let former = former.filter(|_| known > 0);
    if former.is_some() && facts.published_revision != held.revision {
        // Its users may be known by other ids than what was published when the dry run was ordered.
        return Err(StoreError::ConfigChanged);
    }
    Ok(former)
}

/// What the read is compared with. A draft is compared with nothing, as it will be once published.
fn last_read(held: &OwnedJob, facts: &SourceFacts) -> Result<Option<ReadFacts>> {
    let same = facts.last_read_revision == held.revision && held.settings.is_none();
    facts.last_read.as_deref().filter(|_| same).map(codec::read_facts).transpose()
}

/// What is kept of the beginning of a read.
struct Start {
    sync_limit: i64,
    compares: bool,
    both_ids: bool,
}

async fn start_read(
    connection: &mut Connection,
    job: JobNo,
    router: &RouterId,
    users: &Users,
    start: Start,
    now: Timestamp,
) -> Result<()> {
    let text = sql!(
        "UPDATE sync_jobs SET epoch = epoch + 1, reads = reads + 1, phase = {PHASE_READING}, \
         router = $2, started_at = COALESCE(started_at, $3), unchanged = 0, not_synchronized = 0, \
         waiting = 0, still_in_scope = 0, not_visible = 0, older_entries = 0, doubts = $9, \
         progress_at = $3, read_at = $3, expected = $4, reserve = $5, quota = $6, \
         sync_limit = $7, beyond_limit = $8, both_ids = $10 WHERE job_no = $1"
    );
    statement::query(text)
        .bind(job.0)
        .bind(router.0.clone())
        .bind(now.0)
        .bind(users.in_scope)
        .bind(users.reserve)
        // Negative if not even all known users have a place.
        .bind(start.sync_limit - users.known)
        .bind(start.sync_limit)
        .bind(users.beyond_limit)
        .bind(i64::from(start.compares))
        .bind(i64::from(start.both_ids))
        .execute(connection)
        .await?;
    Ok(())
}

/// Drops what the read before left undecided. Of a dry run all goes: nothing of it was applied.
async fn forget_former_read(connection: &mut Connection, job: JobNo, kind: JobKind) -> Result<()> {
    leftovers::forget_deferred(connection, job).await?;
    let mut forgotten = vec![
        sql!(
            "DELETE FROM job_details WHERE job_no = $1 AND category IN ({CATEGORY_NOT_SYNCHRONIZED}, \
             {CATEGORY_NOT_VISIBLE})"
        ),
        "DELETE FROM absent_users WHERE job_no = $1",
    ];
    if kind == JobKind::DryRun {
        forgotten.extend([
            "DELETE FROM job_details WHERE job_no = $1",
            "DELETE FROM plan_entries WHERE job_no = $1",
            "DELETE FROM id_pairs WHERE job_no = $1",
            "UPDATE sync_jobs SET added = 0, updated = 0, disabled = 0, reenabled = 0, \
             disabled_in_directory = 0 WHERE job_no = $1",
        ]);
    }
    for text in forgotten {
        statement::query(text).bind(job.0).execute(&mut *connection).await?;
    }
    Ok(())
}

/// What a former read of the job did to users who have been deleted since does not count any more:
/// their records come again, as those of new users.
async fn recount(connection: &mut Connection, job: JobNo) -> Result<()> {
    let of =
        statement::query_as("SELECT tenant_no, source_no, added, updated FROM sync_jobs WHERE job_no = $1");
    let (tenant, source, added, updated): (i64, i64, i64, i64) =
        of.bind(job.0).fetch_one(&mut *connection).await?;
    let (left_added, left_updated): (i64, i64) = statement::query_as(
        "SELECT COALESCE(SUM(CASE WHEN added_job = $3 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE \
         WHEN changed_job = $3 AND added_job <> $3 THEN 1 ELSE 0 END), 0) FROM users WHERE \
         tenant_no = $1 AND source_no = $2",
    )
    .bind(tenant)
    .bind(source)
    .bind(job.0)
    .fetch_one(&mut *connection)
    .await?;
    if (left_added, left_updated) == (added, updated) {
        return Ok(());
    }
    // Of those who are left, as the journal has them from before the job.
    statement::query(sql!(
        "UPDATE sync_jobs SET added = $2, updated = $3, reenabled = (SELECT COUNT(*) FROM \
             user_changes c JOIN users u ON u.tenant_no = c.tenant_no AND u.user_no = c.user_no \
             WHERE c.job_no = $1 AND c.what IN ({CHANGE_UPDATED}, {CHANGE_BOTH}) AND c.status <> \
             {USER_ENABLED} AND u.status = {USER_ENABLED}), disabled_in_directory = (SELECT \
             COUNT(*) FROM users u LEFT JOIN user_changes c ON c.job_no = $1 AND c.user_no = \
             u.user_no WHERE u.tenant_no = $4 AND u.source_no = $5 AND u.status = \
             {USER_DISABLED_IN_DIRECTORY} AND (u.added_job = $1 OR (u.changed_job = $1 AND \
             c.status = {USER_ENABLED}))) WHERE job_no = $1"
    ))
    .bind(job.0)
    .bind(left_added)
    .bind(left_updated)
    .bind(tenant)
    .bind(source)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn begin_reconciling(connection: &mut Connection, fence: Fence) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    locks::lock_same_revision(connection, fence).await?;
    for text in [
        sql!("UPDATE sync_jobs SET phase = {PHASE_RECONCILING} WHERE job_no = $1"),
        // Complete, whatever comes of it: whoever is in scope was seen.
        sql!(
            "UPDATE identity_sources SET synced_at = j.read_at FROM sync_jobs j WHERE j.job_no = \
             $1 AND j.read_at IS NOT NULL AND j.kind IN ({KIND_SYNC}, {KIND_PLAN}) AND \
             identity_sources.source_no = j.source_no"
        ),
    ] {
        statement::query(text).bind(fence.job.0).execute(&mut *connection).await?;
    }
    Ok(())
}
