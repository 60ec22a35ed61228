//! Gives the users of a source the ids of a draft that has another immutable id, by the pairs that
//! its dry run has read, in the transaction that publishes it. Nobody gets another number, and
//! nobody an id that the dry run does not have without doubt.
//!
//! Whoever has no such pair keeps no id that an entry could have: the next sync takes the user for
//! gone, and nothing else.

use super::super::codec::SourceRow;
use super::super::dialect::{Connection, GONE};
use super::super::statement::sql;
use super::super::words::{CATEGORY_DISABLED, JOB_QUEUED, JOB_RUNNING, USER_OUT_OF_SCOPE};
use super::super::{codec, statement};
use crate::model::{JobKind, JobState, KnownBy, Timestamp};
use crate::store::{Result, StoreError};

/// A pair that gives its user a new id.
const SOUND: &str = "p.clashes = 0 AND length(p.former_id) > 0 AND length(p.new_id) > 0";

/// What users are known by so far, if a draft has another immutable id.
pub(crate) fn former(draft: Option<&str>, published: Option<&str>) -> Result<Option<KnownBy>> {
    let (Some(draft), Some(published)) = (draft, published) else { return Ok(None) };
    let known_by = codec::source_settings(published)?.mapping.known_by();
    Ok((codec::source_settings(draft)?.mapping.known_by() != known_by).then_some(known_by))
}

/// Whether publishing the draft takes new ids for users who are there.
pub(crate) async fn is_due(connection: &mut Connection, row: &SourceRow) -> Result<bool> {
    if former(Some(&row.draft), row.published.as_deref())?.is_none() {
        return Ok(false);
    }
    let users =
        statement::query_scalar("SELECT COUNT(*) FROM users WHERE source_no = $1").bind(row.source_no);
    let users: i64 = users.fetch_one(connection).await?;
    Ok(users > 0)
}

/// The dry run whose pairs are used.
#[derive(sqlx::FromRow)]
struct DryRun {
    job_no: i64,
    tenant_no: i64,
    read_at: i64,
    synced_at: i64,
}

/// Returns how many users have new ids.
pub(crate) async fn rekey(connection: &mut Connection, row: &SourceRow, now: Timestamp) -> Result<i64> {
    let run = dry_run(connection, row, now).await?.ok_or(StoreError::ImmutableIdInUse)?;
    match not_in(connection, row, &run).await? {
        0 => {}
        users => return Err(StoreError::NotInDryRun(users)),
    }
    // Whatever a job has read by the former ids is void: its next write finds its fence so, and
    // then another revision.
    let void = statement::query(sql!(
        "UPDATE sync_jobs SET epoch = epoch + 1 WHERE source_no = $1 AND state IN ({JOB_QUEUED}, \
         {JOB_RUNNING})"
    ));
    void.bind(row.source_no).execute(&mut *connection).await?;
    // Whose id is in the way of a new one is noted by number: it is found by that one no more once
    // it has given way.
    let whose = sql!(
        "UPDATE id_pairs AS p SET user_no = (SELECT u.user_no FROM users u WHERE u.source_no = $2 \
         AND u.immutable_id = p.former_id) WHERE p.job_no = $1 AND {SOUND} AND EXISTS (SELECT 1 \
         FROM id_pairs o WHERE o.job_no = $1 AND o.new_id = p.former_id)"
    );
    statement::query(whose).bind(run.job_no).bind(row.source_no).execute(&mut *connection).await?;
    // First whatever is in the way: a former id may be somebody else's new one.
    let free = sql!(
        "UPDATE users SET immutable_id = {GONE} WHERE tenant_no = $3 AND source_no = $2 AND (NOT \
         EXISTS (SELECT 1 FROM id_pairs p WHERE p.job_no = $1 AND p.former_id = users.immutable_id \
         AND {SOUND}) OR EXISTS (SELECT 1 FROM id_pairs p WHERE p.job_no = $1 AND p.new_id = \
         users.immutable_id AND {SOUND}))"
    );
    let free = statement::query(free).bind(run.job_no).bind(row.source_no).bind(run.tenant_no);
    free.execute(&mut *connection).await?;
    let mut given = 0;
    let give = sql!(
        "UPDATE users SET immutable_id = p.new_id FROM id_pairs p WHERE p.job_no = $1 AND {SOUND} \
         AND users.tenant_no = $2 AND users.source_no = $3 AND p.user_no IS NULL AND \
         users.immutable_id = p.former_id"
    );
    let give_by_number = sql!(
        "UPDATE users SET immutable_id = p.new_id FROM id_pairs p WHERE p.job_no = $1 AND {SOUND} \
         AND users.tenant_no = $2 AND users.source_no = $3 AND users.user_no = p.user_no"
    );
    for give in [give, give_by_number] {
        let give = statement::query(give).bind(run.job_no).bind(run.tenant_no).bind(row.source_no);
        given += give.execute(&mut *connection).await?.rows_affected();
    }
    let forget = "DELETE FROM id_pairs WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1)";
    statement::query(forget).bind(row.source_no).execute(connection).await?;
    Ok(i64::try_from(given).unwrap_or(i64::MAX))
}

/// The newest dry run of this very draft whose plan has not expired, and that has read both ids.
async fn dry_run(connection: &mut Connection, row: &SourceRow, now: Timestamp) -> Result<Option<DryRun>> {
    let query = statement::query_as(
        "SELECT j.job_no, j.tenant_no, COALESCE(j.read_at, 0) AS read_at, COALESCE(s.synced_at, 0) \
         AS synced_at FROM sync_jobs j JOIN identity_sources s ON s.source_no = j.source_no WHERE \
         j.source_no = $1 AND j.revision = $2 AND j.settings = $3 AND j.plan_expires_at > $4 AND \
         j.kind = $5 AND j.state = $6 AND j.both_ids = 1 ORDER BY j.job_no DESC LIMIT 1",
    );
    let query = query.bind(row.source_no).bind(row.published_revision).bind(row.draft.clone()).bind(now.0);
    let query = query.bind(i64::from(JobKind::DryRun.number())).bind(i64::from(JobState::Succeeded.number()));
    Ok(query.fetch_optional(connection).await?)
}

/// Users in scope of whom the dry run says nothing. That it would disable them counts only as long
/// as nothing has seen them since: they may be back, and their entries would be those of strangers.
async fn not_in(connection: &mut Connection, row: &SourceRow, run: &DryRun) -> Result<i64> {
    let query = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM users u WHERE u.tenant_no = $3 AND u.source_no = $2 AND u.status <> \
         {USER_OUT_OF_SCOPE} AND NOT EXISTS (SELECT 1 FROM id_pairs p WHERE p.job_no = $1 AND \
         p.former_id = u.immutable_id) AND NOT EXISTS (SELECT 1 FROM plan_entries e WHERE e.job_no \
         = $1 AND e.user_no = u.user_no AND e.category = {CATEGORY_DISABLED} AND u.observed_at <= \
         $4 AND $5 <= $4)"
    ));
    let query = query.bind(run.job_no).bind(row.source_no).bind(run.tenant_no);
    Ok(query.bind(run.read_at).bind(run.synced_at).fetch_one(connection).await?)
}
