//! A sync that applies a plan: whatever is not in it, or is not any more what it was when the plan
//! was made, is left out and listed.

use std::collections::HashMap;

use sqlx::FromRow;

use super::super::dialect::{Connection, IN_BLOBS_2, IN_INTS_2, IN_INTS_3};
use super::super::jobs::{counts, details};
use super::super::statement::sql;
use super::super::words::{CATEGORY_ADDED, CATEGORY_DISABLED, CATEGORY_UPDATED, USER_ENABLED};
use super::super::{dialect, locks, statement};
use crate::model::{
    Category, Counts, Detail, Fence, ImmutableId, KnownUser, NotSynchronizedReason, Record, Rejected,
    Timestamp, UserNo, UserValues,
};
use crate::reconcile::batch::View;
use crate::store::{Result, StoreError};

const ORIGIN: &str = "(SELECT origin FROM sync_jobs WHERE job_no = $1)";

#[derive(sqlx::FromRow)]
struct Entry {
    immutable_id: Vec<u8>,
    category: i64,
    digest: Option<Vec<u8>>,
    before_digest: Option<Vec<u8>>,
    before_status: Option<i64>,
    reason: Option<i64>,
}

impl Entry {
    /// Why the record is not applied, whole or but for the status.
    fn reason(&self) -> Option<NotSynchronizedReason> {
        self.reason.and_then(|reason| i16::try_from(reason).ok()).and_then(NotSynchronizedReason::from_number)
    }

    /// Whether the plan disables the user and gives it nothing else of its record.
    fn only_disables(&self) -> Option<NotSynchronizedReason> {
        self.reason().filter(|_| self.category == i64::from(Category::Updated.number()))
    }

    /// Whether the user is what it was.
    fn has_same_user(&self, user: Option<&KnownUser>) -> bool {
        match (user, &self.before_digest, self.before_status) {
            (None, None, None) => true,
            (Some(user), Some(digest), Some(status)) => {
                user.digest[..] == digest[..] && i64::from(user.status.number()) == status
            }
            _ => false,
        }
    }

    /// Whether record and user are what they were.
    fn holds(&self, record: &Record, user: Option<&KnownUser>) -> bool {
        self.has_same_user(user) && self.digest.as_deref() == Some(&record.digest[..])
    }
}

/// Notes that the job has dealt with entries of its plan: those of records, of leavers, or at
/// positions.
const TAKE: &str = sql!("UPDATE plan_entries SET taken_by = $1 WHERE job_no = {ORIGIN} AND");
const TAKE_RECORDS: &str = sql!("{TAKE} category <> {CATEGORY_DISABLED} AND immutable_id {IN_BLOBS_2}");
const TAKE_LEAVERS: &str = sql!("{TAKE} category = {CATEGORY_DISABLED} AND user_no {IN_INTS_2}");
const TAKE_POSITIONS: &str = sql!("{TAKE} position {IN_INTS_2}");

/// What a plan has of a batch of records.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    /// To be applied as in a sync.
    pub(crate) records: Vec<Record>,
    /// Of these only that the directory disables the user.
    pub(crate) disabled: Vec<(Record, NotSynchronizedReason)>,
    /// Not as the plan has them, or refused by it.
    pub(crate) left_out: Vec<Rejected>,
}

/// Sorts records by what the plan has of them.
pub(crate) async fn filter(
    connection: &mut Connection,
    fence: Fence,
    records: &[Record],
    view: &View,
) -> Result<Planned> {
    let ids = || records.iter().map(|record| &record.id.0[..]);
    let entries = entries(connection, fence, ids()).await?;
    let mut planned = Planned::default();
    for record in records {
        let user = view.known.get(&record.id);
        let entry = entries.get(&record.id.0[..]);
        // What an earlier read of this job has applied is no longer what it was, and right.
        let applied = user.is_some_and(|user| user.counted_by(fence.job));
        let holds = |entry: &&Entry| applied || entry.holds(record, user);
        if let Some(reason) = entry.filter(holds).and_then(Entry::only_disables) {
            planned.disabled.push((record.clone(), reason));
            continue;
        }
        // A plan has no entry for whoever only looks different.
        let right = applied || view.same.contains(&record.id);
        let reason = match entry.filter(|entry| entry.holds(record, user)) {
            Some(entry) => entry.reason(),
            None if right => None,
            None => Some(NotSynchronizedReason::PlanChanged),
        };
        match reason {
            None => planned.records.push(record.clone()),
            Some(reason) => planned.left_out.push(Rejected {
                user_name: record.values.user_name.clone(),
                mail: record.values.mail.clone(),
                digest: Some(record.digest),
                ..Rejected::of(Some(record.id.clone()), reason)
            }),
        }
    }
    let query = statement::query(TAKE_RECORDS).bind(fence.job.0);
    dialect::blobs(query, ids()).execute(connection).await?;
    Ok(planned)
}

/// What the plan has of these ids.
async fn entries<'a>(
    connection: &mut Connection,
    fence: Fence,
    ids: impl Iterator<Item = &'a [u8]>,
) -> Result<HashMap<Vec<u8>, Entry>> {
    let text = sql!(
        "SELECT immutable_id, category, digest, before_digest, before_status, reason FROM \
         plan_entries WHERE job_no = {ORIGIN} AND immutable_id {IN_BLOBS_2}"
    );
    let query = dialect::blobs(statement::query(text).bind(fence.job.0), ids);
    let rows = query.fetch_all(connection).await?;
    let entry = |row| -> Result<(Vec<u8>, Entry)> {
        let entry = Entry::from_row(row)?;
        Ok((entry.immutable_id.clone(), entry))
    };
    rows.iter().map(entry).collect()
}

/// Of users whose entries cannot become records and have the mark of a disabled account, those that
/// the plan disables and that are as they were.
pub(crate) async fn planned_marks<'a>(
    connection: &mut Connection,
    fence: Fence,
    mut users: Vec<(&'a KnownUser, NotSynchronizedReason)>,
) -> Result<Vec<(&'a KnownUser, NotSynchronizedReason)>> {
    if users.is_empty() {
        return Ok(users);
    }
    let planned = entries(connection, fence, users.iter().map(|(user, _)| &user.id.0[..])).await?;
    let is_planned = |user: &KnownUser| {
        let entry = planned.get(&user.id.0[..]);
        entry.is_some_and(|entry| entry.only_disables().is_some() && entry.has_same_user(Some(user)))
    };
    users.retain(|(user, _)| is_planned(user));
    let query = statement::query(TAKE_RECORDS).bind(fence.job.0);
    dialect::blobs(query, users.iter().map(|(user, _)| &user.id.0[..])).execute(connection).await?;
    Ok(users)
}

/// Those of these absent users whom the plan disables, and who are as they were.
pub(crate) async fn leavers(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
) -> Result<Vec<UserNo>> {
    locks::lock_job(connection, fence).await?;
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let text = sql!(
        "SELECT u.user_no FROM plan_entries e JOIN users u ON u.tenant_no = $2 AND u.user_no = \
         e.user_no WHERE e.job_no = {ORIGIN} AND e.category = {CATEGORY_DISABLED} AND u.digest = \
         e.before_digest AND u.status = e.before_status AND e.user_no {IN_INTS_3}"
    );
    let query = statement::query(text).bind(fence.job.0).bind(fence.tenant.0);
    let rows = dialect::ints(query, &numbers).fetch_all(&mut *connection).await?;
    let planned = rows
        .iter()
        .map(|row| <(i64,)>::from_row(row).map(|row| row.0))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let query = statement::query(TAKE_LEAVERS).bind(fence.job.0);
    dialect::ints(query, &numbers).execute(connection).await?;
    Ok(planned.into_iter().map(UserNo).collect())
}

pub(crate) async fn leave_out_absent(
    connection: &mut Connection,
    fence: Fence,
    users: &[UserNo],
    now: Timestamp,
) -> Result<()> {
    let numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    let text = sql!(
        "SELECT user_no, immutable_id, user_name, mail FROM users WHERE tenant_no = $1 AND status \
         = {USER_ENABLED} AND user_no {IN_INTS_2} ORDER BY user_no"
    );
    let query = statement::query(text).bind(fence.tenant.0);
    let rows = dialect::ints(query, &numbers).fetch_all(&mut *connection).await?;
    let message = "Left as it is: the user is gone from scope, and the plan does not have that. Synchronize, or make a new plan.";
    let line = |row| -> Result<Detail> {
        let (user, id, user_name, mail): (i64, Vec<u8>, String, String) = FromRow::from_row(row)?;
        Ok(left_out(Some(UserNo(user)), id, (user_name, mail), message))
    };
    let lines = rows.iter().map(line).collect::<Result<Vec<_>>>()?;
    list(connection, fence, lines, now).await
}

#[derive(sqlx::FromRow)]
struct RestRow {
    position: i64,
    category: i64,
    user_no: Option<i64>,
    immutable_id: Vec<u8>,
    shown: String,
}

/// Entries whose record did not come, or whose user is in scope again.
pub(crate) async fn leave_out_rest(
    connection: &mut Connection,
    fence: Fence,
    limit: i64,
    now: Timestamp,
) -> Result<bool> {
    let rows: Vec<RestRow> = statement::query_as(sql!(
        "SELECT position, category, user_no, immutable_id, COALESCE(after_values, before_values) \
         AS shown FROM plan_entries WHERE job_no = {ORIGIN} AND category IN ({CATEGORY_ADDED}, \
         {CATEGORY_UPDATED}, {CATEGORY_DISABLED}) AND taken_by <> $1 ORDER BY position LIMIT $2"
    ))
    .bind(fence.job.0)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let positions: Vec<i64> = rows.iter().map(|row| row.position).collect();
    let mut lines = Vec::new();
    for row in rows {
        let values: UserValues =
            serde_json::from_str(&row.shown).map_err(|error| StoreError::Broken(Box::new(error)))?;
        let message = match row.category {
            category if category == i64::from(CATEGORY_DISABLED) => {
                "Left as it is: the plan disables the user, who is no longer gone from scope, or has changed since."
            }
            _ => {
                "Left out: the directory is no longer as it was when the plan was made; the entry is as its user is, or gone."
            }
        };
        let names = (values.user_name, values.mail);
        lines.push(left_out(row.user_no.map(UserNo), row.immutable_id, names, message));
    }
    let query = statement::query(TAKE_POSITIONS).bind(fence.job.0);
    dialect::ints(query, &positions).execute(&mut *connection).await?;
    list(connection, fence, lines, now).await?;
    Ok(true)
}

fn left_out(user: Option<UserNo>, id: Vec<u8>, (user_name, mail): (String, String), message: &str) -> Detail {
    Detail {
        category: Category::NotSynchronized,
        user,
        user_name,
        mail,
        id: Some(ImmutableId(id.into())),
        reason: Some(NotSynchronizedReason::PlanChanged),
        message: message.to_owned(),
    }
}

async fn list(connection: &mut Connection, fence: Fence, lines: Vec<Detail>, now: Timestamp) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    let not_synchronized = i64::try_from(lines.len()).unwrap_or(i64::MAX);
    details::insert(connection, fence, lines).await?;
    counts::count(connection, fence, Counts { not_synchronized, ..Counts::default() }, None, now).await
}
