//! Settles the records that wait for a seat at the end of the read; those that wait for a name are settled before, in `names`.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;

use super::apply::{carry_out, view};
use super::engine::{self, Connection};
use super::rows::RecordRow;
use super::{holds, seats};
use crate::model::{Counts, Fence, ImmutableId, Record, Timestamp};
use crate::reconcile::batch::{self, Mode, View};
use crate::store::Result;

pub(super) const DEFERRED: &str = "SELECT immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
     distinguished_name, policy_attributes, status FROM deferred_records WHERE job_no = $1";

/// Settles the next records that wait for a seat; false if there is none. With `held`, what is not synchronized is kept for another try.
pub(super) async fn seats(
    connection: &mut Connection,
    fence: Fence,
    limit: i64,
    held: bool,
    now: Timestamp,
) -> Result<bool> {
    let job = seats::lock_job(connection, fence).await?;
    let text = format!("{DEFERRED} AND queue < 4 ORDER BY queue, immutable_id LIMIT $2");
    let waiting: Vec<RecordRow> =
        sqlx::query_as(AssertSqlSafe(text)).bind(fence.job.0).bind(limit).fetch_all(&mut *connection).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let records = waiting.into_iter().map(Record::try_from).collect::<Result<Vec<_>>>()?;
    let before = job.counts();
    let mut quota = job.sync_limit - before.added - before.updated - before.unchanged;
    // Known users whose records are kept come before new ones. Counted only where the limit is so near that it matters.
    if held && quota - before.not_synchronized < i64::try_from(records.len()).unwrap_or_default() {
        quota -= holds::kept_users(connection, fence).await?;
    }
    let view = View {
        quota: quota.max(0),
        beyond_limit: job.beyond_limit(),
        read: Some(job.reads),
        ..view(connection, fence, &records, &[]).await?
    };
    let plan = batch::plan(fence.job, Mode::Final, &records, &view);
    let done_with = carry_out(connection, fence, &records, &plan, now).await?;
    let refused: HashSet<usize> = match held {
        true => plan.refusals.iter().map(|refusal| refusal.record).collect(),
        false => HashSet::new(),
    };
    holds::keep(connection, fence, refused.iter().map(|position| &records[*position].id), true).await?;
    // Who is disabled only may get its names yet.
    let disabled: HashSet<usize> = match held {
        true => plan.updates.iter().filter(|update| update.status_only).map(|update| update.record).collect(),
        false => HashSet::new(),
    };
    holds::keep(connection, fence, disabled.iter().map(|position| &records[*position].id), false).await?;
    let done = records.iter().enumerate();
    let done = done.filter(|(position, _)| !refused.contains(position) && !disabled.contains(position));
    let ids: Vec<_> = done.map(|(_, record)| record.id.clone()).collect();
    forget(connection, fence, &ids).await?;
    let counts = Counts { waiting: -i64::try_from(records.len()).unwrap_or_default(), ..plan.counts };
    seats::count(connection, fence, counts, None, now).await?;
    done_with.taken.tell(connection, now).await?;
    Ok(true)
}

/// Forgets records that are settled.
pub(super) async fn forget(connection: &mut Connection, fence: Fence, ids: &[ImmutableId]) -> Result<()> {
    let text =
        format!("DELETE FROM deferred_records WHERE job_no = $1 AND immutable_id {}", engine::in_blobs(2));
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0);
    engine::blobs(query, ids.iter().map(|id| &id.0[..])).execute(connection).await?;
    Ok(())
}
