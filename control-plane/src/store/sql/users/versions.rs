//! Which versions of their entries users have, and which records are older.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;

use super::super::dialect::{Connection, IN_INTS_2};
use super::super::statement::sql;
use super::super::{dialect, statement};
use crate::model::{
    EntryVersion, Fence, ImmutableId, JobNo, KnownUser, Record, SourceNo, TenantNo, Timestamp,
};
use crate::reconcile::entry_version;
use crate::store::Result;

/// The records that are provably older than what their users have. Of a record that is part of a
/// `read`, nothing is proved where the directory was asked for its user alone since the read began:
/// the user may have changed between the two, on one server.
pub(crate) async fn older(
    connection: &mut Connection,
    tenant: TenantNo,
    records: &[Record],
    known: &HashMap<ImmutableId, KnownUser>,
    read: Option<(JobNo, i64)>,
) -> Result<HashSet<ImmutableId>> {
    // Of a user who is as the record says nothing would be written.
    let seen: HashMap<i64, &Record> = records
        .iter()
        .filter(|record| record.version.is_some())
        .filter_map(|record| {
            let user = known.get(&record.id)?;
            let differs = user.digest != record.digest || user.status != record.status();
            let fetched = read.is_some_and(|(job, read)| user.fetched_during(job, read));
            (differs && !fetched).then_some((user.number.0, record))
        })
        .collect();
    if seen.is_empty() {
        return Ok(HashSet::new());
    }
    let text = sql!(
        "SELECT user_no, entry_version FROM users WHERE tenant_no = $1 AND user_no {IN_INTS_2} AND \
         entry_version IS NOT NULL AND entry_version_at > (SELECT s.versions_forgotten_at FROM \
         identity_sources s WHERE s.source_no = users.source_no)"
    );
    let users: Vec<i64> = seen.keys().copied().collect();
    let query = dialect::ints(statement::query(text).bind(tenant.0), &users);
    let rows = query.fetch_all(connection).await?;
    let kept: Vec<(i64, String)> = rows.iter().map(FromRow::from_row).collect::<sqlx::Result<_>>()?;
    let older = kept.into_iter().filter_map(|(user, kept)| {
        let (record, kept) = (seen.get(&user)?, EntryVersion::from_text(&kept)?);
        let is_older = entry_version::is_older(&kept, record.version.as_ref()?);
        is_older.then(|| record.id.clone())
    });
    Ok(older.collect())
}

/// Lets the versions that were seen until now count no more. In the transaction that declares
/// another state of the directory the true one.
pub(crate) async fn forget(connection: &mut Connection, source: SourceNo, now: Timestamp) -> Result<()> {
    statement::query("UPDATE identity_sources SET versions_forgotten_at = $2 WHERE source_no = $1")
        .bind(source.0)
        .bind(now.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes how many entries of a read were older.
pub(crate) async fn record_older(connection: &mut Connection, fence: Fence, entries: usize) -> Result<()> {
    statement::query("UPDATE sync_jobs SET older_entries = older_entries + $2 WHERE job_no = $1")
        .bind(fence.job.0)
        .bind(i64::try_from(entries).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(())
}

/// How many entries of a job's reads were older.
pub(crate) async fn count_older(connection: &mut Connection, fence: Fence) -> Result<i64> {
    let count = statement::query_scalar("SELECT older_entries FROM sync_jobs WHERE job_no = $1");
    Ok(count.bind(fence.job.0).fetch_one(connection).await?)
}
