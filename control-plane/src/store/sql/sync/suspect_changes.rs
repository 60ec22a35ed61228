//! Changes that take something away wait for the end of the read: then they take their course, or
//! their users stay as they are.

use std::collections::HashSet;

use super::super::dialect::{Connection, IN_BLOBS_2};
use super::super::jobs::{counts, details};
use super::super::statement::sql;
use super::super::users::lookup;
use super::super::users::rows::RecordRow;
use super::super::words::{QUEUE_NAME, QUEUE_RETURNING, QUEUE_SUSPECT_CHANGE, QUEUE_SUSPECT_RENAME};
use super::super::{dialect, locks, statement};
use super::deferred::DEFERRED;
use super::{apply, deferred};
use crate::model::{Counts, Fence, ImmutableId, NotSynchronizedReason, Record, Timestamp};
use crate::reconcile::batch::Refusal;
use crate::store::Result;

/// How many changes wait since they take something away.
pub(crate) async fn count(connection: &mut Connection, fence: Fence) -> Result<i64> {
    locks::check_job(connection, fence).await?;
    let count = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM deferred_records WHERE job_no = $1 AND queue IN ({QUEUE_SUSPECT_CHANGE}, \
         {QUEUE_SUSPECT_RENAME})"
    ));
    Ok(count.bind(fence.job.0).fetch_one(connection).await?)
}

/// Lets the changes take their course that wait since they take something away.
pub(crate) async fn accept(connection: &mut Connection, fence: Fence) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    statement::query(sql!(
        "UPDATE deferred_records SET queue = CASE WHEN queue = {QUEUE_SUSPECT_CHANGE} THEN \
             {QUEUE_RETURNING} ELSE {QUEUE_NAME} END WHERE job_no = $1 AND queue IN \
             ({QUEUE_SUSPECT_CHANGE}, {QUEUE_SUSPECT_RENAME})"
    ))
    .bind(fence.job.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Leaves the next users as they are whose changes take something away, at most `limit`, and keeps
/// the records. False if there is none.
pub(crate) async fn refuse(
    connection: &mut Connection,
    fence: Fence,
    limit: i64,
    now: Timestamp,
) -> Result<bool> {
    locks::lock_job(connection, fence).await?;
    let text = sql!("{DEFERRED} AND queue IN ({QUEUE_SUSPECT_CHANGE}, {QUEUE_SUSPECT_RENAME}) LIMIT $2");
    let waiting: Vec<RecordRow> =
        statement::query_as(text).bind(fence.job.0).bind(limit).fetch_all(&mut *connection).await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let records = waiting.into_iter().map(Record::try_from).collect::<Result<Vec<_>>>()?;
    let known =
        lookup::known_by_id(connection, fence.source, records.iter().map(|record| &record.id)).await?;
    let uncounted: HashSet<ImmutableId> =
        known.into_iter().filter(|user| user.counted_by(fence.job)).map(|user| user.id).collect();
    let refusal =
        |(record, _)| Refusal { record, reason: NotSynchronizedReason::AttributeLoss, holder: None };
    let counted = records.iter().enumerate().filter(|(_, record)| !uncounted.contains(&record.id));
    let lines: Vec<Refusal> = counted.map(refusal).collect();
    let counts = Counts {
        not_synchronized: i64::try_from(lines.len()).unwrap_or_default(),
        waiting: -i64::try_from(records.len()).unwrap_or_default(),
        ..Counts::default()
    };
    let lines = apply::refusals(connection, fence, &records, &lines).await?;
    details::insert(connection, fence, lines).await?;
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
        "UPDATE deferred_records SET queue = CASE WHEN queue = {QUEUE_SUSPECT_CHANGE} THEN \
         {QUEUE_RETURNING} ELSE {QUEUE_NAME} END WHERE job_no = $1 AND immutable_id {IN_BLOBS_2}"
    );
    let query = statement::query(text).bind(fence.job.0);
    dialect::blobs(query, ids.map(|id| &id.0[..])).execute(connection).await?;
    Ok(())
}
