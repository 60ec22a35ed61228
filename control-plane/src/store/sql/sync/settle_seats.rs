//! Settles the records that wait for a seat at the end of the read; those that wait for a name are
//! settled before, in `names`.

use std::collections::HashSet;

use super::super::dialect::Connection;
use super::super::jobs::counts;
use super::super::statement::sql;
use super::super::users::rows::RecordRow;
use super::super::words::QUEUE_SUSPECT_CHANGE;
use super::super::{locks, statement};
use super::deferred::DEFERRED;
use super::{apply, deferred};
use crate::model::{Counts, Fence, Record, Timestamp};
use crate::reconcile::batch;
use crate::reconcile::batch::{Mode, View};
use crate::store::Result;

/// Settles the next records that wait for a seat; false if there is none. With `held`, what is not
/// synchronized is kept for another try.
pub(crate) async fn assign_seats(
    connection: &mut Connection,
    fence: Fence,
    limit: i64,
    held: bool,
    now: Timestamp,
) -> Result<bool> {
    let job = locks::lock_job(connection, fence).await?;
    let text = sql!("{DEFERRED} AND queue < {QUEUE_SUSPECT_CHANGE} ORDER BY queue, immutable_id LIMIT $2");
    let waiting: Vec<RecordRow> =
        statement::query_as(text).bind(fence.job.0).bind(limit).fetch_all(&mut *connection).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let records = waiting.into_iter().map(Record::try_from).collect::<Result<Vec<_>>>()?;
    let before = job.counts();
    let mut quota = job.sync_limit - before.added - before.updated - before.unchanged;
    // Known users whose records are kept come before new ones. Counted only where the limit is so
    // near that it matters.
    if held && quota - before.not_synchronized < i64::try_from(records.len()).unwrap_or_default() {
        quota -= deferred::retained_users(connection, fence).await?;
    }
    let view = View {
        quota: quota.max(0),
        beyond_limit: job.beyond_limit(),
        read: Some(job.reads),
        ..apply::view(connection, fence, &records, &[]).await?
    };
    let plan = batch::plan(fence.job, Mode::Final, &records, &view);
    let done_with = apply::carry_out(connection, fence, &records, &plan, now).await?;
    let refused: HashSet<usize> = match held {
        true => plan.refusals.iter().map(|refusal| refusal.record).collect(),
        false => HashSet::new(),
    };
    deferred::retain(connection, fence, refused.iter().map(|position| &records[*position].id), true).await?;
    // Who is disabled only may get its names yet.
    let disabled: HashSet<usize> = match held {
        true => plan.updates.iter().filter(|update| update.status_only).map(|update| update.record).collect(),
        false => HashSet::new(),
    };
    deferred::retain(connection, fence, disabled.iter().map(|position| &records[*position].id), false)
        .await?;
    let done = records.iter().enumerate();
    let done = done.filter(|(position, _)| !refused.contains(position) && !disabled.contains(position));
    let ids: Vec<_> = done.map(|(_, record)| record.id.clone()).collect();
    deferred::forget(connection, fence, &ids).await?;
    let counts = Counts { waiting: -i64::try_from(records.len()).unwrap_or_default(), ..plan.counts };
    counts::count(connection, fence, counts, None, now).await?;
    done_with.taken.publish(connection, now).await?;
    Ok(true)
}
