//! Which versions of their entries users have, and which records are older.

use std::collections::{HashMap, HashSet};

use sqlx::FromRow;

use super::super::dialect::{Connection, IN_INTS_2};
use super::super::statement::sql;
use super::super::{dialect, statement};
use crate::model::{
    EntryVersion, Fence, ImmutableId, JobNo, KnownUser, Record, Rejected, SourceNo, Status, TenantNo,
    Timestamp, UserNo,
};
use crate::reconcile::entry_version;
use crate::store::Result;

/// What was seen of a user that would be changed by it.
pub(crate) struct Seen<'a> {
    user: UserNo,
    id: &'a ImmutableId,
    version: Option<&'a EntryVersion>,
}

impl<'a> Seen<'a> {
    /// Of a record that is part of a `read`, nothing is proved where the directory was asked for
    /// its user alone since the read began: the user may have changed between the two, on one
    /// server. Of a user who is as the record says nothing would be written.
    pub(crate) fn of_record(
        record: &'a Record,
        known: &HashMap<ImmutableId, KnownUser>,
        read: Option<(JobNo, i64)>,
    ) -> Option<Self> {
        let user = known.get(&record.id)?;
        let differs = user.digest != record.digest || user.status != record.status();
        let fetched = read.is_some_and(|(job, read)| user.fetched_during(job, read));
        (differs && !fetched).then_some(Self {
            user: user.number,
            id: &record.id,
            version: record.version.as_ref(),
        })
    }

    /// The same of an entry that cannot be used, and whose mark disables its user.
    pub(crate) fn of_rejected(
        entry: &'a Rejected,
        known: &HashMap<ImmutableId, KnownUser>,
        read: Option<(JobNo, i64)>,
    ) -> Option<Self> {
        let (id, version) = (entry.id.as_ref()?, entry.version.as_ref());
        let user = known.get(id).filter(|user| entry.disabled && user.status == Status::Enabled)?;
        let fetched = read.is_some_and(|(job, read)| user.fetched_during(job, read));
        (!fetched).then_some(Self { user: user.number, id, version })
    }
}

/// How what was seen compares with what users have.
#[derive(Default)]
pub(crate) struct Compared {
    /// Provably older.
    pub(crate) older: HashSet<ImmutableId>,
    /// Neither older, nor newer, nor the same: it may be of a server that is behind.
    pub(crate) incomparable: HashSet<ImmutableId>,
}

/// Compares versions of entries with those that their users have.
pub(crate) async fn compare(
    connection: &mut Connection,
    tenant: TenantNo,
    seen: Vec<Seen<'_>>,
) -> Result<Compared> {
    let mut compared = Compared::default();
    let seen: HashMap<i64, Seen<'_>> = seen.into_iter().map(|one| (one.user.0, one)).collect();
    if seen.is_empty() {
        return Ok(compared);
    }
    let text = sql!(
        "SELECT user_no, entry_version FROM users WHERE tenant_no = $1 AND user_no {IN_INTS_2} AND \
         entry_version IS NOT NULL AND entry_version_at > (SELECT s.versions_forgotten_at FROM \
         identity_sources s WHERE s.source_no = users.source_no)"
    );
    let users: Vec<i64> = seen.keys().copied().collect();
    let query = dialect::ints(statement::query(text).bind(tenant.0), &users);
    for row in query.fetch_all(connection).await? {
        let (user, kept): (i64, String) = FromRow::from_row(&row)?;
        let (Some(one), Some(kept)) = (seen.get(&user), EntryVersion::from_text(&kept)) else { continue };
        match one.version {
            Some(version) if entry_version::is_older(&kept, version) => {
                compared.older.insert(one.id.clone());
            }
            Some(version) if entry_version::is_comparable(&kept, version) => {}
            _ => {
                compared.incomparable.insert(one.id.clone());
            }
        }
    }
    Ok(compared)
}

/// Keeps the version of an entry that only disabled its user, where one was seen that may be kept.
pub(crate) async fn keep(
    connection: &mut Connection,
    tenant: TenantNo,
    user: UserNo,
    version: Option<&EntryVersion>,
    now: Timestamp,
) -> Result<()> {
    let Some(version) = version.filter(|version| entry_version::may_be_kept(version, now)) else {
        return Ok(());
    };
    let text =
        "UPDATE users SET entry_version = $3, entry_version_at = $4 WHERE tenant_no = $1 AND user_no = $2";
    let query = statement::query(text).bind(tenant.0).bind(user.0);
    query.bind(version.to_text()).bind(now.0).execute(connection).await?;
    Ok(())
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
