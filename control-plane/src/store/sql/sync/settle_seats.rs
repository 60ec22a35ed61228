//! Settles the records that wait for a seat at the end of the read; those that wait for a name are
//! settled before, in `names`.

use std::collections::HashSet;

use super::super::dialect::Connection;
use super::super::jobs::counts;
use super::super::locks::LockedJob;
use super::super::statement::sql;
use super::super::users::rows::RecordRow;
use super::super::words::{QUEUE_SUSPECT_CHANGE, USER_OUT_OF_SCOPE};
use super::super::{locks, statement};
use super::deferred::DEFERRED;
use super::{apply, deferred};
use crate::model::{Counts, Fence, JobKind, Record, Timestamp};
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
    let quota = quota(connection, fence, &job, held, records.len()).await?;
    let view = View {
        quota,
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
        true => {
            let only = plan.updates.iter().filter(|update| update.status_only.is_some());
            only.map(|update| update.record).collect()
        }
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

/// Places that the sync limit leaves for new and returning users: of the users in scope each has
/// one, synchronized or not. Users in scope are counted only where the limit is so near that it
/// matters.
async fn quota(
    connection: &mut Connection,
    fence: Fence,
    job: &LockedJob,
    held: bool,
    records: usize,
) -> Result<i64> {
    // An undo gives back what it is ordered to.
    if job.kind() == JobKind::Undo {
        return Ok(i64::MAX);
    }
    let records = i64::try_from(records).unwrap_or_default();
    let done = job.counts();
    if job.expected + done.added + done.updated + records <= job.sync_limit {
        return Ok(records);
    }
    let in_scope = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM users WHERE tenant_no = $1 AND source_no = $2 AND status <> \
         {USER_OUT_OF_SCOPE}"
    ));
    let in_scope: i64 =
        in_scope.bind(fence.tenant.0).bind(fence.source.0).fetch_one(&mut *connection).await?;
    // Users that return come before new ones, those whose records are kept for another try, too.
    let kept = if held { deferred::retained_users(connection, fence).await? } else { 0 };
    Ok((job.sync_limit - in_scope - kept).max(0))
}
