//! A read of the directory begins: the fence of the read before is void, and so is what it left undecided. And what it reads is still what
//! is published.

use super::super::dialect::Connection;
use super::super::jobs::leftovers;
use super::super::sources::rekey;
use super::super::statement::sql;
use super::super::words::{
    CATEGORY_NOT_SYNCHRONIZED, CHANGE_BOTH, CHANGE_UPDATED, KIND_PLAN, KIND_SYNC, PHASE_READING,
    PHASE_RECONCILING, USER_DISABLED_IN_DIRECTORY, USER_ENABLED, USER_OUT_OF_SCOPE,
};
use super::super::{codec, locks, statement};
use crate::model::{Fence, JobKind, JobNo, ReadStart, RouterId, SourceNo, TenantNo, Timestamp, UserNo};
use crate::store::{Result, StoreError};

#[derive(sqlx::FromRow)]
struct SourceFacts {
    published: Option<String>,
    published_revision: i64,
    last_read: Option<String>,
    last_read_revision: i64,
    enabled_users: i64,
}

pub(crate) async fn begin_read(
    connection: &mut Connection,
    job: JobNo,
    owner: &str,
    router: &RouterId,
    now: Timestamp,
) -> Result<ReadStart> {
    let held = locks::lock_owned_job(connection, job, owner).await?;
    let (tenant, source, revision, draft) = (held.tenant_no, held.source_no, held.revision, held.settings);
    let kind = JobKind::from_number(codec::to_i16(held.kind)).unwrap_or(JobKind::Sync);
    locks::share_router(connection, TenantNo(tenant), router).await?;
    let facts: SourceFacts = statement::query_as(
        "SELECT published, published_revision, last_read, last_read_revision, enabled_users FROM identity_sources \
         WHERE source_no = $1",
    )
    .bind(source)
    .fetch_one(&mut *connection)
    .await?;
    let published = facts.published.as_deref().filter(|_| facts.published_revision == revision);
    let settings = draft.as_deref().or(published).ok_or(StoreError::ConfigChanged)?;
    let sync_limit = i64::from(codec::source_settings(settings)?.sync_limit);
    let (known, in_scope, reserve): (i64, i64, i64) = statement::query_as(
        sql!("SELECT COUNT(*), COALESCE(SUM(CASE WHEN status <> {USER_OUT_OF_SCOPE} THEN 1 ELSE 0 END), 0), \
         COALESCE(SUM(CASE WHEN status <> {USER_ENABLED} AND status_job <> $3 THEN 1 ELSE 0 END), 0) FROM users \
         WHERE tenant_no = $1 AND source_no = $2"),
    )
    .bind(tenant)
    .bind(source)
    .bind(job.0)
    .fetch_one(&mut *connection)
    .await?;
    let beyond: Option<i64> = if known > sync_limit {
        let query = statement::query_scalar(
            "SELECT user_no FROM users WHERE tenant_no = $1 AND source_no = $2 ORDER BY user_no LIMIT 1 OFFSET $3",
        );
        query.bind(tenant).bind(source).bind(sync_limit).fetch_optional(&mut *connection).await?
    } else {
        None
    };
    let former = rekey::former(draft.as_deref(), facts.published.as_deref())?.filter(|_| known > 0);
    if former.is_some() && facts.published_revision != revision {
        // Its users may be known by other ids than what was published when the dry run was ordered.
        return Err(StoreError::ConfigChanged);
    }
    // A draft is compared with nothing, as it will be once it is published.
    let before = facts.last_read.filter(|_| facts.last_read_revision == revision && draft.is_none());
    let before = before.as_deref().map(codec::read_facts).transpose()?;
    statement::query(
        sql!("UPDATE sync_jobs SET epoch = epoch + 1, reads = reads + 1, phase = {PHASE_READING}, router = $2, started_at = COALESCE(started_at, $3), unchanged = 0, \
         not_synchronized = 0, waiting = 0, still_in_scope = 0, doubts = $9, progress_at = $3, read_at = $3, expected = $4, reserve = $5, quota = $6, sync_limit = $7, beyond_limit = $8, \
         both_ids = $10 WHERE job_no = $1"),
    )
    .bind(job.0)
    .bind(router.0.clone())
    .bind(now.0)
    .bind(in_scope)
    .bind(reserve)
    .bind((sync_limit - known).max(0))
    .bind(sync_limit)
    .bind(beyond)
    .bind(i64::from(before.is_some()))
    .bind(i64::from(former.is_some()))
    .execute(&mut *connection)
    .await?;
    if held.reads > 0 && kind != JobKind::DryRun {
        recount(connection, job).await?;
    }
    leftovers::forget_deferred(connection, job).await?;
    let mut forgotten = vec![
        sql!("DELETE FROM job_details WHERE job_no = $1 AND category = {CATEGORY_NOT_SYNCHRONIZED}"),
        "DELETE FROM absent_users WHERE job_no = $1",
    ];
    if kind == JobKind::DryRun {
        // Nothing of the read before was applied.
        forgotten.extend([
            "DELETE FROM job_details WHERE job_no = $1",
            "DELETE FROM plan_entries WHERE job_no = $1",
            "DELETE FROM id_pairs WHERE job_no = $1",
            "UPDATE sync_jobs SET added = 0, updated = 0, disabled = 0, reenabled = 0, disabled_in_directory = 0 WHERE job_no = $1",
        ]);
    }
    for text in forgotten {
        statement::query(text).bind(job.0).execute(&mut *connection).await?;
    }
    Ok(ReadStart {
        fence: Fence { job, epoch: held.epoch + 1, tenant: TenantNo(tenant), source: SourceNo(source) },
        known,
        enabled: facts.enabled_users,
        beyond_limit: beyond.map(UserNo),
        kind,
        before,
        former,
    })
}

/// What a former read of the job did to users who have been deleted since does not count any more: their records come again, as those
/// of new users.
async fn recount(connection: &mut Connection, job: JobNo) -> Result<()> {
    let of =
        statement::query_as("SELECT tenant_no, source_no, added, updated FROM sync_jobs WHERE job_no = $1");
    let (tenant, source, added, updated): (i64, i64, i64, i64) =
        of.bind(job.0).fetch_one(&mut *connection).await?;
    let (left_added, left_updated): (i64, i64) = statement::query_as(
        "SELECT COALESCE(SUM(CASE WHEN added_job = $3 THEN 1 ELSE 0 END), 0), \
         COALESCE(SUM(CASE WHEN changed_job = $3 AND added_job <> $3 THEN 1 ELSE 0 END), 0) FROM users \
         WHERE tenant_no = $1 AND source_no = $2",
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
    statement::query(
        sql!("UPDATE sync_jobs SET added = $2, updated = $3, \
         reenabled = (SELECT COUNT(*) FROM user_changes c JOIN users u ON u.tenant_no = c.tenant_no AND u.user_no = c.user_no \
         WHERE c.job_no = $1 AND c.what IN ({CHANGE_UPDATED}, {CHANGE_BOTH}) AND c.status <> {USER_ENABLED} AND u.status = {USER_ENABLED}), \
         disabled_in_directory = (SELECT COUNT(*) FROM users u LEFT JOIN user_changes c ON c.job_no = $1 AND c.user_no = u.user_no \
         WHERE u.tenant_no = $4 AND u.source_no = $5 AND u.status = {USER_DISABLED_IN_DIRECTORY} AND (u.added_job = $1 OR (u.changed_job = $1 AND c.status = {USER_ENABLED}))) \
         WHERE job_no = $1"),
    )
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
            "UPDATE identity_sources SET synced_at = j.read_at FROM sync_jobs j WHERE j.job_no = $1 AND j.read_at IS NOT NULL \
         AND j.kind IN ({KIND_SYNC}, {KIND_PLAN}) AND identity_sources.source_no = j.source_no"
        ),
    ] {
        statement::query(text).bind(fence.job.0).execute(&mut *connection).await?;
    }
    Ok(())
}
