//! Show Details: at most 400 lines of each category of a source's newest job; and the records that were not synchronized, whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use sqlx::AssertSqlSafe;

use super::engine::{self, Connection};
use super::{holds, rows};
use crate::model::{
    Category, DETAILS_PER_CATEGORY, Detail, Fence, ImmutableId, JobNo, NotSynchronizedReason, UserNo,
};
use crate::store::{Result, StoreError};

/// Lines of one statement.
const LINES: usize = 64;

/// Writes details: of users as many as Show Details has room for, since the journal has them all; of records that are not synchronized
/// every one, since nothing else has them.
pub(super) async fn insert(connection: &mut Connection, fence: Fence, details: Vec<Detail>) -> Result<()> {
    let mut lists: BTreeMap<i16, Vec<Detail>> = BTreeMap::new();
    for detail in details {
        lists.entry(detail.category.number()).or_default().push(detail);
    }
    for (category, mut list) in lists {
        let last = sqlx::query_scalar(
            "SELECT COALESCE(MAX(position), 0) FROM job_details WHERE job_no = $1 AND category = $2",
        );
        let last = last.bind(fence.job.0).bind(i64::from(category));
        let last: i64 = last.fetch_one(&mut *connection).await?;
        if category != Category::NotSynchronized.number() {
            list.truncate(usize::try_from(DETAILS_PER_CATEGORY - last).unwrap_or_default());
        }
        let mut position = last;
        for lines in list.chunks(LINES) {
            let mut query = sqlx::query(AssertSqlSafe(statement(lines.len())))
                .persistent(lines.len() == LINES)
                .bind(fence.job.0)
                .bind(i64::from(category));
            for line in lines {
                position += 1;
                let usual = line.reason.is_some_and(|reason| reason.text() == line.message);
                query = query
                    .bind(position)
                    .bind(line.user.map(|user| user.0))
                    .bind(line.user_name.clone())
                    .bind(line.mail.clone())
                    .bind(line.id.as_ref().map(|id| id.0.to_vec()))
                    .bind(line.reason.map(|reason| i64::from(reason.number())))
                    .bind(if usual { String::new() } else { line.message.clone() });
            }
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

fn statement(lines: usize) -> String {
    let into =
        "job_details (job_no, category, position, user_no, user_name, mail, immutable_id, reason, message)";
    rows::insert_many(into, 2, 7, lines)
}

/// Takes back the details of records that are kept for another try and were counted as not synchronized.
pub(super) async fn forget_kept(connection: &mut Connection, fence: Fence) -> Result<()> {
    sqlx::query(
        "DELETE FROM job_details WHERE job_no = $1 AND category = 4 AND immutable_id IN \
         (SELECT immutable_id FROM deferred_records WHERE job_no = $1 AND queue > $2 AND queue < $3)",
    )
    .bind(fence.job.0)
    .bind(holds::KEPT)
    .bind(holds::KEPT_UNCOUNTED)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes back the details of users whose change is taken back.
pub(super) async fn remove(connection: &mut Connection, fence: Fence, users: &[i64]) -> Result<()> {
    let text = format!(
        "DELETE FROM job_details WHERE job_no = $1 AND category IN (1, 2) AND user_no {}",
        engine::in_ints(2)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0);
    engine::ints(query, users).execute(connection).await?;
    Ok(())
}

pub(super) type DetailRow = (i64, i64, Option<i64>, String, String, Option<Vec<u8>>, Option<i64>, String);

pub(super) async fn list(
    connection: &mut Connection,
    job: JobNo,
    category: Option<Category>,
    after: Option<(Category, i64)>,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    if category == Some(Category::WouldBeDisabled) {
        return holds::list(connection, job, after.map_or(0, |(_, position)| position), limit).await;
    }
    let newest = sqlx::query_scalar(
        "SELECT MAX(n.job_no) FROM sync_jobs n JOIN sync_jobs j ON j.source_no = n.source_no WHERE j.job_no = $1 \
         AND (n.kind <> 2 AND j.kind <> 2 OR n.job_no = j.job_no)",
    );
    let newest: Option<i64> = newest.bind(job.0).fetch_one(&mut *connection).await?;
    match newest {
        None => return Err(StoreError::NotFound("sync job")),
        Some(newest) if newest != job.0 => return Err(StoreError::DetailsReplaced),
        Some(_) => {}
    }
    let (after, position) =
        after.map_or((0, 0), |(category, position)| (i64::from(category.number()), position));
    let rows: Vec<DetailRow> = sqlx::query_as(
        "SELECT category, position, user_no, user_name, mail, immutable_id, reason, message FROM job_details WHERE job_no = $1 \
         AND ($2 = 0 OR category = $2) AND (category > $3 OR (category = $3 AND position > $4)) AND position <= $6 \
         ORDER BY category, position LIMIT $5",
    )
    .bind(job.0)
    .bind(category.map_or(0, |category| i64::from(category.number())))
    .bind(after)
    .bind(position)
    .bind(limit)
    .bind(DETAILS_PER_CATEGORY)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(detail).collect()
}

pub(super) fn detail(
    (category, position, user, user_name, mail, id, reason, message): DetailRow,
) -> Result<(i64, Detail)> {
    let category = i16::try_from(category).ok().and_then(Category::from_number);
    let reason =
        reason.and_then(|reason| i16::try_from(reason).ok()).and_then(NotSynchronizedReason::from_number);
    let detail = Detail {
        category: category.ok_or_else(|| StoreError::Broken("a detail of an unknown category".into()))?,
        user: user.map(UserNo),
        user_name,
        mail,
        id: id.map(|id| ImmutableId(Bytes::from(id))),
        reason,
        message: match (message.is_empty(), reason) {
            (true, Some(reason)) => reason.text().to_owned(),
            _ => message,
        },
    };
    Ok((position, detail))
}
