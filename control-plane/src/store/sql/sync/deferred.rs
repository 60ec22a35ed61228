//! Records that wait: for a name, for a seat, or for the decision on a held job.

use super::super::dialect::{Connection, IN_BLOBS_2, IN_BLOBS_3, IN_INTS_4};
use super::super::jobs::counts;
use super::super::statement::sql;
use super::super::users::write;
use super::super::words::{
    CATEGORY_NOT_SYNCHRONIZED, QUEUE_NAME, USER_DISABLED_IN_DIRECTORY, USER_ENABLED, USER_OUT_OF_SCOPE,
};
use super::super::{dialect, locks, statement};
use crate::model::{Counts, Fence, ImmutableId, NotSynchronizedReason, Timestamp};
use crate::store::Result;
use crate::store::row::Row;

pub(crate) const DEFERRED: &str = "SELECT immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, \
     display_name, phone, distinguished_name, policy_attributes, status, mark_proved, \
     warnings, entry_version FROM deferred_records WHERE job_no = $1";

/// Forgets records that are settled.
pub(crate) async fn forget(connection: &mut Connection, fence: Fence, ids: &[ImmutableId]) -> Result<()> {
    let text = sql!("DELETE FROM deferred_records WHERE job_no = $1 AND immutable_id {IN_BLOBS_2}");
    let query = statement::query(text).bind(fence.job.0);
    dialect::blobs(query, ids.iter().map(|id| &id.0[..])).execute(connection).await?;
    Ok(())
}

/// Takes back the details of records that are kept for another try and were counted as not
/// synchronized.
pub(crate) async fn forget_retained_details(connection: &mut Connection, fence: Fence) -> Result<()> {
    statement::query(sql!(
        "DELETE FROM job_details WHERE job_no = $1 AND category = {CATEGORY_NOT_SYNCHRONIZED} \
             AND immutable_id IN (SELECT immutable_id FROM deferred_records WHERE job_no = $1 AND \
             queue > $2 AND queue < $3)"
    ))
    .bind(fence.job.0)
    .bind(RETAINED)
    .bind(RETAINED_UNCOUNTED)
    .execute(connection)
    .await?;
    Ok(())
}

/// Added to the queue of a record that is kept while its job is held.
pub(crate) const RETAINED: i64 = 10;

/// The same where the job has counted the record's user before.
pub(crate) const RETAINED_UNCOUNTED: i64 = 20;

/// Lets the records wait again that were not synchronized for want of what the list frees.
pub(crate) async fn requeue_retained(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    let kept = statement::query_as(
        "SELECT CAST(COALESCE(SUM(CASE WHEN queue < $3 THEN 1 ELSE 0 END), 0) AS BIGINT), COUNT(*) \
         FROM deferred_records WHERE job_no = $1 AND queue > $2",
    );
    let (counted, all): (i64, i64) =
        kept.bind(fence.job.0).bind(RETAINED).bind(RETAINED_UNCOUNTED).fetch_one(&mut *connection).await?;
    forget_retained_details(connection, fence).await?;
    let text = sql!(
        "UPDATE deferred_records SET queue = queue - CASE WHEN queue > {RETAINED_UNCOUNTED} THEN \
         {RETAINED_UNCOUNTED} ELSE {RETAINED} END WHERE job_no = $1 AND queue > {RETAINED}"
    );
    statement::query(text).bind(fence.job.0).execute(&mut *connection).await?;
    let counts = Counts { not_synchronized: -counted, waiting: all, ..Counts::default() };
    counts::count(connection, fence, counts, None, now).await
}

/// Keeps what users have of this job whose change is about to be taken back, as records for another
/// try. What this job enabled was proved; of users that were enabled before, nothing is known.
pub(crate) async fn retain_applied(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
    counted: bool,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = sql!(
        "INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, \
         user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
         distinguished_name, policy_attributes, status, mark_proved, warnings, entry_version) \
         SELECT $1, $3 + \
         {QUEUE_NAME}, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, \
         last_name, display_name, phone, distinguished_name, policy_attributes, status, CASE WHEN \
         EXISTS (SELECT 1 FROM user_changes c WHERE c.job_no = $1 AND c.user_no = users.user_no AND \
         c.status = {USER_ENABLED}) THEN 0 ELSE 1 END, warnings, entry_version FROM users WHERE tenant_no = $2 AND \
         user_no {IN_INTS_4} ON CONFLICT (job_no, immutable_id) DO NOTHING"
    );
    let query = statement::query(text).bind(fence.job.0).bind(fence.tenant.0);
    let query = query.bind(if counted { RETAINED } else { RETAINED_UNCOUNTED });
    dialect::ints(query, users).execute(connection).await?;
    Ok(())
}

/// Keeps records that are not synchronized for another try: counted as such, or not where the job
/// has counted their users before.
pub(crate) async fn retain<'a>(
    connection: &mut Connection,
    fence: Fence,
    records: impl Iterator<Item = &'a ImmutableId>,
    counted: bool,
) -> Result<()> {
    let ids: Vec<_> = records.map(|id| &id.0[..]).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let text = sql!(
        "UPDATE deferred_records SET queue = queue + $2 WHERE job_no = $1 AND immutable_id \
         {IN_BLOBS_3}"
    );
    let query = statement::query(text).bind(fence.job.0);
    let query = query.bind(if counted { RETAINED } else { RETAINED_UNCOUNTED });
    dialect::blobs(query, ids.into_iter()).execute(connection).await?;
    Ok(())
}

/// How many users out of scope have a record that is kept for another try, and are not counted yet.
/// They come before new users under the sync limit.
pub(crate) async fn retained_users(connection: &mut Connection, fence: Fence) -> Result<i64> {
    let count = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM deferred_records d JOIN users u ON u.source_no = $2 AND \
         u.immutable_id = d.immutable_id WHERE d.job_no = $1 AND d.queue > $3 AND d.queue < $4 AND \
         u.status = {USER_OUT_OF_SCOPE}"
    ));
    let count = count.bind(fence.job.0).bind(fence.source.0).bind(RETAINED).bind(RETAINED_UNCOUNTED);
    Ok(count.fetch_one(connection).await?)
}

/// In a dry run: lets users wait that the directory disables, and whose entries give them nothing
/// else for this reason. No record has the digest that stands for such an entry.
pub(crate) async fn insert_marks(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
    reason: NotSynchronizedReason,
) -> Result<i64> {
    let text = sql!(
        "INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, \
         user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
         distinguished_name, policy_attributes, status, warnings, reason) SELECT $1, {QUEUE_NAME}, \
         immutable_id, $5, user_name, user_name_key, mail, mail_key, first_name, last_name, \
         display_name, phone, distinguished_name, policy_attributes, {USER_DISABLED_IN_DIRECTORY}, \
         warnings, $3 FROM users WHERE tenant_no = $2 AND user_no {IN_INTS_4} ON CONFLICT (job_no, \
         immutable_id) DO NOTHING"
    );
    let query = statement::query(text).bind(fence.job.0).bind(fence.tenant.0);
    let query = dialect::ints(query.bind(i64::from(reason.number())), users).bind(vec![0_u8; 16]);
    let inserted = query.execute(connection).await?.rows_affected();
    Ok(i64::try_from(inserted).unwrap_or(i64::MAX))
}

/// Lets records wait; one that waits already is not taken twice. Returns how many are new.
pub(crate) async fn insert_deferred(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<i64> {
    let text = (
        "INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, \
         user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
         distinguished_name, policy_attributes, status, mark_proved, warnings, \
         entry_version) SELECT s.job_no, r.queue, r.immutable_id, r.digest, r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, \
         r.display_name, r.phone, r.distinguished_name, r.policy_attributes, r.status, \
         r.mark_proved, r.warnings, r.entry_version",
        "WHERE true ON CONFLICT (job_no, immutable_id) DO NOTHING",
    );
    let inserted = write::execute_rows(connection, text, fence, (now, 0), rows).await?;
    Ok(i64::try_from(inserted).unwrap_or(i64::MAX))
}
