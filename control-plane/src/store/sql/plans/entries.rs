//! The plans of dry runs: what decides them, and what is kept of them until they expire.

use std::collections::HashMap;

use sqlx::FromRow;

use super::super::dialect::{Connection, IN_BLOBS_2};
use super::super::jobs::{counts, details, leftovers, new_job};
use super::super::statement::sql;
use super::super::sync::deferred::DEFERRED;
use super::super::transaction::Engine;
use super::super::users::lookup;
use super::super::users::rows::RecordRow;
use super::super::words::{JOB_QUEUED, JOB_RUNNING};
use super::super::{codec, dialect, locks, statement};
use super::situation;
use super::situation::Before;
use crate::model::{
    Absence, Category, Counts, Detail, Fence, ImmutableId, JobNo, NotSynchronizedReason, PlanEntry, PlanLine,
    PlannedChange, Record, SourceSettings, Status, Timestamp, UserNo, UserValues,
};
use crate::store::{Result, StoreError};

/// Entries of one statement.
const ENTRIES_PER_STATEMENT: usize = 64;

pub(crate) async fn draft(connection: &mut Connection, job: JobNo) -> Result<Option<SourceSettings>> {
    let query = statement::query_scalar("SELECT settings FROM sync_jobs WHERE job_no = $1").bind(job.0);
    let text: Option<Option<String>> = query.fetch_optional(connection).await?;
    text.flatten().as_deref().map(codec::source_settings).transpose()
}

/// A line with everything that is written of it.
struct Line {
    category: Category,
    before: Option<Before>,
    after: Option<(Record, Status)>,
    reason: Option<NotSynchronizedReason>,
    message: String,
}

pub(crate) async fn write(
    connection: &mut Connection,
    fence: Fence,
    lines: &[PlanLine],
    now: Timestamp,
) -> Result<()> {
    locks::lock_job(connection, fence).await?;
    let ids = lines.iter().filter_map(|line| match line {
        PlanLine::Record(id, _) => Some(&id.0[..]),
        PlanLine::Absent(..) => None,
    });
    let text = sql!("{DEFERRED} AND immutable_id {IN_BLOBS_2}");
    let query = dialect::blobs(statement::query(text).bind(fence.job.0), ids);
    let mut records = HashMap::new();
    for row in query.fetch_all(&mut *connection).await? {
        let record = Record::try_from(RecordRow::from_row(&row)?)?;
        records.insert(record.id.clone(), record);
    }
    let known = lookup::known_by_id(connection, fence.source, records.keys()).await?;
    let absent = lines.iter().filter_map(|line| match line {
        PlanLine::Absent(user, _) => Some(user.0),
        PlanLine::Record(..) => None,
    });
    let numbers: Vec<i64> = known.iter().map(|user| user.number.0).chain(absent).collect();
    let users = situation::before(connection, fence, &numbers).await?;
    let by_id: HashMap<Vec<u8>, i64> =
        users.iter().map(|row| (row.immutable_id.clone(), row.user_no)).collect();
    let mut users: HashMap<i64, Before> = users.into_iter().map(|row| (row.user_no, row)).collect();

    let (mut entries, mut counts) = (Vec::new(), Counts::default());
    for line in lines {
        // Whoever was deleted meanwhile is no line of it any more.
        let entry = match line {
            PlanLine::Absent(user, absence) => users.remove(&user.0).map(|user| leaving(user, *absence)),
            PlanLine::Record(id, forecast) => {
                let user = by_id.get(&id.0[..]).and_then(|user| users.remove(user));
                records.remove(id).map(|record| changing(record, user, *forecast))
            }
        };
        let Some(entry) = entry else { continue };
        counts.waiting -= i64::from(entry.after.is_some());
        tally(&mut counts, &entry)?;
        entries.push(entry);
    }
    insert(connection, fence, &entries).await?;
    details::insert(connection, fence, entries.iter().filter_map(detail).collect()).await?;
    counts::count(connection, fence, counts, None, now).await
}

fn leaving(user: Before, absence: Absence) -> Line {
    Line {
        category: Category::Disabled,
        before: Some(user),
        after: None,
        reason: None,
        message: format!("Would be disabled: {}.", absence.text()),
    }
}

fn changing(record: Record, user: Option<Before>, forecast: PlannedChange) -> Line {
    let directory = record.status();
    let (category, status, reason, message) = match forecast {
        PlannedChange::Add(Status::Enabled) => (Category::Added, directory, None, "Would be added."),
        PlannedChange::Add(_) => {
            (Category::Added, directory, None, "Would be added as disabled: the directory says so.")
        }
        PlannedChange::Update(_)
            if user.as_ref().is_some_and(|user| user.status != 1) && !record.disabled =>
        {
            (Category::Updated, directory, None, "Would be enabled again.")
        }
        PlannedChange::Update(Status::Enabled) => (Category::Updated, directory, None, "Would be updated."),
        PlannedChange::Update(_) => {
            (Category::Updated, directory, None, "Would be updated; is disabled in the directory.")
        }
        // The reason is why the rest of the record is not applied.
        PlannedChange::DisableOnly(reason) => (Category::Updated, directory, Some(reason), ""),
        PlannedChange::Refuse(reason) => (Category::NotSynchronized, directory, Some(reason), reason.text()),
    };
    let message = match forecast {
        PlannedChange::DisableOnly(reason) => only_disabled(reason),
        _ => message.to_owned(),
    };
    Line { category, before: user, after: Some((record, status)), reason, message }
}

/// Of a user that would be disabled and get nothing else of its entry.
fn only_disabled(reason: NotSynchronizedReason) -> String {
    let why = match reason {
        NotSynchronizedReason::DuplicateEmail | NotSynchronizedReason::DuplicateUserName => {
            "another user has the same user name or mail address."
        }
        reason => reason.text(),
    };
    format!("Would be disabled, and nothing else: {why}")
}

/// Counts an entry as the sync would count what it does.
fn tally(counts: &mut Counts, entry: &Line) -> Result<()> {
    let was = entry.before.as_ref().map(|user| codec::user_status(user.status)).transpose()?;
    let disabled = entry.after.as_ref().is_some_and(|(_, status)| *status != Status::Enabled);
    match entry.category {
        Category::Added => {
            counts.added += 1;
            counts.disabled_in_directory += i64::from(disabled);
        }
        Category::Updated => {
            counts.updated += 1;
            counts.reenabled += i64::from(was != Some(Status::Enabled) && !disabled);
            counts.disabled_in_directory += i64::from(was == Some(Status::Enabled) && disabled);
        }
        Category::Disabled => counts.disabled += i64::from(was == Some(Status::Enabled)),
        _ => counts.not_synchronized += 1,
    }
    Ok(())
}

/// As Show Details has it; of who is disabled already and only leaves the scope it says nothing.
fn detail(entry: &Line) -> Option<Detail> {
    if entry.category == Category::Disabled && entry.before.as_ref().is_some_and(|user| user.status != 1) {
        return None;
    }
    let values = entry.after.as_ref().map(|(record, _)| record.values.clone());
    let values = values.or_else(|| entry.before.as_ref().map(|user| user.values.clone())).unwrap_or_default();
    Some(Detail {
        category: entry.category,
        user: entry.before.as_ref().map(|user| UserNo(user.user_no)),
        user_name: values.user_name,
        mail: values.mail,
        id: id(entry),
        reason: entry.reason,
        message: entry.message.clone(),
    })
}

fn id(entry: &Line) -> Option<ImmutableId> {
    let record = entry.after.as_ref().map(|(record, _)| record.id.clone());
    record.or_else(|| entry.before.as_ref().map(|user| ImmutableId(user.immutable_id.clone().into())))
}

async fn insert(connection: &mut Connection, fence: Fence, entries: &[Line]) -> Result<()> {
    let last =
        statement::query_scalar("SELECT COALESCE(MAX(position), 0) FROM plan_entries WHERE job_no = $1");
    let mut position: i64 = last.bind(fence.job.0).fetch_one(&mut *connection).await?;
    for chunk in entries.chunks(ENTRIES_PER_STATEMENT) {
        let mut query =
            statement::query_of_rows(insert_statement(chunk.len()), chunk.len() == ENTRIES_PER_STATEMENT)
                .bind(fence.job.0);
        for entry in chunk {
            position += 1;
            let before = entry.before.as_ref();
            query = query
                .bind(position)
                .bind(i64::from(entry.category.number()))
                .bind(before.map(|user| user.user_no))
                .bind(id(entry).map(|id| id.0.to_vec()).unwrap_or_default())
                .bind(entry.after.as_ref().map(|(record, _)| record.digest.to_vec()))
                .bind(before.map(|user| user.digest.clone()))
                .bind(before.map(|user| user.status))
                .bind(before.map(|user| codec::to_json(&user.values)).transpose()?)
                .bind(entry.after.as_ref().map(|(record, _)| codec::to_json(&record.values)).transpose()?)
                .bind(entry.after.as_ref().map(|(_, status)| i64::from(status.number())))
                .bind(entry.reason.map(|reason| i64::from(reason.number())))
                .bind(entry.message.clone());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn insert_statement(entries: usize) -> String {
    let into = "plan_entries (job_no, position, category, user_no, immutable_id, digest, before_digest, before_status, before_values, \
                after_values, after_status, reason, message)";
    statement::insert_many(into, 1, 12, entries)
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    position: i64,
    category: i64,
    user_no: Option<i64>,
    immutable_id: Vec<u8>,
    before_status: Option<i64>,
    before_values: Option<String>,
    after_values: Option<String>,
    after_status: Option<i64>,
    reason: Option<i64>,
    message: String,
}

impl TryFrom<EntryRow> for PlanEntry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self> {
        let small = |number: i64| i16::try_from(number).unwrap_or_default();
        let state = |values: Option<String>, number: Option<i64>| -> Result<Option<(UserValues, Status)>> {
            let Some((values, number)) = values.zip(number) else { return Ok(None) };
            let values =
                serde_json::from_str(&values).map_err(|error| StoreError::Broken(Box::new(error)))?;
            Ok(Some((values, codec::user_status(number)?)))
        };
        let category = Category::from_number(small(row.category));
        Ok(Self {
            category: category.ok_or_else(|| StoreError::Broken("an entry of an unknown category".into()))?,
            user: row.user_no.map(UserNo),
            id: ImmutableId(row.immutable_id.into()),
            before: state(row.before_values, row.before_status)?,
            after: state(row.after_values, row.after_status)?,
            reason: row.reason.and_then(|reason| NotSynchronizedReason::from_number(small(reason))),
            message: row.message,
        })
    }
}

pub(crate) async fn entries(
    connection: &mut Connection,
    job: JobNo,
    category: Option<Category>,
    after: i64,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<(i64, PlanEntry)>> {
    new_job::usable(connection, job, now).await?;
    let rows: Vec<EntryRow> = statement::query_as(
        "SELECT position, category, user_no, immutable_id, before_status, before_values, \
         after_values, after_status, reason, message FROM plan_entries WHERE job_no = $1 AND \
         position > $2 AND ($3 = 0 OR category = $3) ORDER BY position LIMIT $4",
    )
    .bind(job.0)
    .bind(after)
    .bind(category.map_or(0, |category| i64::from(category.number())))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok((row.position, row.try_into()?))).collect()
}

/// Throws away the entries of the next plan that has expired. How many plans.
pub(crate) async fn expire_due(engine: &Engine, now: Timestamp) -> Result<usize> {
    // Asked every second, and there is hardly ever one: reading keeps nobody from writing.
    if expired(&mut *engine.reader().await?, now).await?.is_none() {
        return Ok(0);
    }
    engine.write(now, |connection, now| Box::pin(expire(connection, *now))).await
}

/// A plan that has expired and still has entries, unless it is just being applied: what was
/// accepted in time is applied whole.
pub(crate) async fn expired(connection: &mut Connection, now: Timestamp) -> Result<Option<i64>> {
    let due = statement::query_scalar(sql!(
        "SELECT job_no FROM sync_jobs j WHERE plan_expires_at IS NOT NULL AND plan_expires_at <= \
         $1 AND (EXISTS (SELECT 1 FROM plan_entries e WHERE e.job_no = j.job_no) OR EXISTS (SELECT \
         1 FROM id_pairs p WHERE p.job_no = j.job_no)) AND NOT EXISTS (SELECT 1 FROM sync_jobs a \
         WHERE a.source_no = j.source_no AND a.origin = j.job_no AND a.state IN ({JOB_QUEUED}, \
         {JOB_RUNNING})) LIMIT 1"
    ));
    Ok(due.bind(now.0).fetch_optional(connection).await?)
}

/// What has expired stays away for good: what is left of the plan says so.
pub(crate) async fn expire(connection: &mut Connection, now: Timestamp) -> Result<usize> {
    let Some(job) = expired(connection, now).await? else { return Ok(0) };
    statement::query("DELETE FROM plan_entries WHERE job_no = $1")
        .bind(job)
        .execute(&mut *connection)
        .await?;
    leftovers::forget_id_pairs(connection, JobNo(job)).await?;
    Ok(1)
}
