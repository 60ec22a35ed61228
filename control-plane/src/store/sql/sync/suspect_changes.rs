//! Changes that take something away, users that would be enabled again and users who return wait
//! for the end of the read: then they take their course, or their users stay as they are.

use std::collections::HashSet;

use super::super::dialect::{Connection, IN_BLOBS_2};
use super::super::jobs::{counts, details};
use super::super::statement::sql;
use super::super::users::lookup;
use super::super::users::rows::RecordRow;
use super::super::words::{
    QUEUE_NAME, QUEUE_REENABLE, QUEUE_REENABLE_RENAME, QUEUE_RETURN, QUEUE_RETURNING, QUEUE_SUSPECT_CHANGE,
    USER_DISABLED_IN_DIRECTORY, USER_ENABLED,
};
use super::super::{dialect, locks, statement};
use super::deferred::{DEFERRED, RETAINED};
use super::{apply, deferred};
use crate::model::{Counts, Detail, Fence, ImmutableId, NotSynchronizedReason, Record, Timestamp};
use crate::reconcile::batch::{Queue, Refusal};
use crate::store::{Reenables, Result};

/// The queue of a record that takes its course.
const ACCEPTED: &str = sql!(
    "CASE WHEN queue IN ({QUEUE_SUSPECT_CHANGE}, {QUEUE_REENABLE}) THEN {QUEUE_RETURNING} ELSE \
     {QUEUE_NAME} END"
);
/// Records that wait for the end of the read, of the queues from one on, but those of users who
/// return to the scope.
const WAITING: &str = sql!("queue >= $2 AND queue <= {QUEUE_REENABLE_RENAME}");

/// How many changes wait since they take something away or enable a user again.
pub(crate) async fn count(connection: &mut Connection, fence: Fence) -> Result<i64> {
    locks::check_job(connection, fence).await?;
    let text = sql!("SELECT COUNT(*) FROM deferred_records WHERE job_no = $1 AND {WAITING}");
    let count = statement::query_scalar(text).bind(fence.job.0).bind(Queue::SuspectChange as i64);
    Ok(count.fetch_one(connection).await?)
}

/// How many users would be enabled again at the end of the read, and how many the directory had
/// disabled before the job.
pub(crate) async fn count_reenables(connection: &mut Connection, fence: Fence) -> Result<Reenables> {
    locks::check_job(connection, fence).await?;
    let all = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM deferred_records d JOIN users u ON u.source_no = $2 AND \
         u.immutable_id = d.immutable_id WHERE d.job_no = $1 AND d.queue < {RETAINED} AND d.status \
         = {USER_ENABLED} AND u.status <> {USER_ENABLED}"
    ));
    let all: i64 = all.bind(fence.job.0).bind(fence.source.0).fetch_one(&mut *connection).await?;
    let text = sql!("SELECT COUNT(*) FROM deferred_records WHERE job_no = $1 AND {WAITING}");
    let count = statement::query_scalar(text).bind(fence.job.0).bind(Queue::Reenable as i64);
    let waiting: i64 = count.fetch_one(&mut *connection).await?;
    if waiting == 0 {
        return Ok(Reenables { waiting, disabled: 0, all });
    }
    let disabled = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM users WHERE tenant_no = $1 AND source_no = $2 AND status = \
         {USER_DISABLED_IN_DIRECTORY} AND status_job <> $3"
    ));
    let disabled = disabled.bind(fence.tenant.0).bind(fence.source.0).bind(fence.job.0);
    Ok(Reenables { waiting, disabled: disabled.fetch_one(connection).await?, all })
}

/// Lets everything take its course that waits for the end of the read.
pub(crate) async fn accept(connection: &mut Connection, fence: Fence) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    let text = sql!(
        "UPDATE deferred_records SET queue = {ACCEPTED} WHERE job_no = $1 AND queue BETWEEN \
         {QUEUE_SUSPECT_CHANGE} AND {QUEUE_RETURN}"
    );
    statement::query(text).bind(fence.job.0).execute(connection).await?;
    Ok(())
}

/// Lets only the records of users who return take their course.
pub(crate) async fn accept_returns(connection: &mut Connection, fence: Fence) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    statement::query(sql!(
        "UPDATE deferred_records SET queue = {QUEUE_NAME} WHERE job_no = $1 AND queue = \
         {QUEUE_RETURN}"
    ))
    .bind(fence.job.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Leaves the next users as they are whose changes wait for the end of the read, at most `limit`,
/// and keeps the records. Where the server is behind, users who return are among them. False if
/// there is none.
pub(crate) async fn refuse(
    connection: &mut Connection,
    fence: Fence,
    reason: NotSynchronizedReason,
    limit: i64,
    now: Timestamp,
) -> Result<bool> {
    let last = match reason {
        NotSynchronizedReason::OlderServer => Queue::Return,
        _ => Queue::ReenableRename,
    };
    refuse_queues(connection, fence, (Queue::SuspectChange, last), reason, limit, now).await
}

/// The same for users only that the directory had disabled and that would be enabled again.
pub(crate) async fn refuse_reenables(
    connection: &mut Connection,
    fence: Fence,
    limit: i64,
    now: Timestamp,
) -> Result<bool> {
    let queues = (Queue::Reenable, Queue::ReenableRename);
    refuse_queues(connection, fence, queues, NotSynchronizedReason::AttributeLoss, limit, now).await
}

/// Of a user that would be enabled again while its job is held.
const STAYS_DISABLED: &str = "The user would be enabled again, and the job is held. The user stays disabled; look at the list and approve the hold if it is right.";

async fn refuse_queues(
    connection: &mut Connection,
    fence: Fence,
    (first, last): (Queue, Queue),
    reason: NotSynchronizedReason,
    limit: i64,
    now: Timestamp,
) -> Result<bool> {
    locks::lock_job(connection, fence).await?;
    let text = sql!("{DEFERRED} AND queue BETWEEN $2 AND $3 LIMIT $4");
    let waiting = statement::query_as(text).bind(fence.job.0).bind(first as i64).bind(last as i64);
    let waiting: Vec<RecordRow> = waiting.bind(limit).fetch_all(&mut *connection).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let records = waiting.into_iter().map(Record::try_from).collect::<Result<Vec<_>>>()?;
    let known =
        lookup::known_by_id(connection, fence.source, records.iter().map(|record| &record.id)).await?;
    let uncounted: HashSet<ImmutableId> =
        known.into_iter().filter(|user| user.counted_by(fence.job)).map(|user| user.id).collect();
    let refusal = |(record, _)| Refusal { record, reason, holder: None };
    let counted = records.iter().enumerate().filter(|(_, record)| !uncounted.contains(&record.id));
    let lines: Vec<Refusal> = counted.map(refusal).collect();
    let counts = Counts {
        not_synchronized: i64::try_from(lines.len()).unwrap_or_default(),
        waiting: -i64::try_from(records.len()).unwrap_or_default(),
        ..Counts::default()
    };
    let lines = apply::refusals(connection, fence, &records, &lines).await?;
    let explained = |line: Detail| match first {
        Queue::Reenable => Detail { message: STAYS_DISABLED.to_owned(), ..line },
        _ => line,
    };
    details::insert(connection, fence, lines.into_iter().map(explained).collect()).await?;
    // Where they wait from here on, until the hold is decided: as those whom nothing stands in the
    // way of.
    let ids = || records.iter().map(|record| &record.id);
    settle_doubt(connection, fence, ids()).await?;
    deferred::retain(connection, fence, ids().filter(|id| !uncounted.contains(*id)), true).await?;
    deferred::retain(connection, fence, ids().filter(|id| uncounted.contains(*id)), false).await?;
    counts::count(connection, fence, counts, None, now).await?;
    Ok(true)
}

async fn settle_doubt<'a>(
    connection: &mut Connection,
    fence: Fence,
    ids: impl Iterator<Item = &'a ImmutableId>,
) -> Result<()> {
    let text = sql!(
        "UPDATE deferred_records SET queue = {ACCEPTED} WHERE job_no = $1 AND immutable_id \
         {IN_BLOBS_2}"
    );
    let query = statement::query(text).bind(fence.job.0);
    dialect::blobs(query, ids.map(|id| &id.0[..])).execute(connection).await?;
    Ok(())
}
