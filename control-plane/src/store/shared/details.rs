//! Show Details: at most 400 lines of each category of a source's newest job.

use std::collections::HashMap;

use bytes::Bytes;
use sqlx::AssertSqlSafe;

use super::engine::{self, Connection};
use crate::model::{
    Category, DETAILS_PER_CATEGORY, Detail, Fence, ImmutableId, JobNo, NotSynchronizedReason, UserNo,
};
use crate::store::{Result, StoreError};

/// Writes as many details as there is room for.
pub(super) async fn insert(connection: &mut Connection, fence: Fence, details: Vec<Detail>) -> Result<()> {
    let mut positions: HashMap<Category, i64> = HashMap::new();
    for detail in details {
        let category = i64::from(detail.category.number());
        let last = match positions.get(&detail.category) {
            Some(last) => *last,
            None => {
                let last = sqlx::query_scalar(
                    "SELECT COALESCE(MAX(position), 0) FROM job_details WHERE job_no = $1 AND category = $2",
                );
                last.bind(fence.job.0).bind(category).fetch_one(&mut *connection).await?
            }
        };
        positions.insert(detail.category, last + 1);
        if last >= DETAILS_PER_CATEGORY {
            continue;
        }
        sqlx::query(
            "INSERT INTO job_details (job_no, category, position, user_no, user_name, mail, immutable_id, reason, message) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(fence.job.0)
        .bind(category)
        .bind(last + 1)
        .bind(detail.user.map(|user| user.0))
        .bind(detail.user_name)
        .bind(detail.mail)
        .bind(detail.id.map(|id| id.0.to_vec()))
        .bind(detail.reason.map(|reason| i64::from(reason.number())))
        .bind(detail.message)
        .execute(&mut *connection)
        .await?;
    }
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

type DetailRow = (i64, i64, Option<i64>, String, String, Option<Vec<u8>>, Option<i64>, String);

pub(super) async fn list(
    connection: &mut Connection,
    job: JobNo,
    category: Option<Category>,
    after: Option<(Category, i64)>,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let newest = sqlx::query_scalar(
        "SELECT MAX(n.job_no) FROM sync_jobs n JOIN sync_jobs j ON j.source_no = n.source_no WHERE j.job_no = $1",
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
         AND ($2 = 0 OR category = $2) AND (category > $3 OR (category = $3 AND position > $4)) ORDER BY category, position LIMIT $5",
    )
    .bind(job.0)
    .bind(category.map_or(0, |category| i64::from(category.number())))
    .bind(after)
    .bind(position)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(detail).collect()
}

fn detail(
    (category, position, user, user_name, mail, id, reason, message): DetailRow,
) -> Result<(i64, Detail)> {
    let category = i16::try_from(category).ok().and_then(Category::from_number);
    let detail = Detail {
        category: category.ok_or_else(|| StoreError::Broken("a detail of an unknown category".into()))?,
        user: user.map(UserNo),
        user_name,
        mail,
        id: id.map(|id| ImmutableId(Bytes::from(id))),
        reason: reason
            .and_then(|reason| i16::try_from(reason).ok())
            .and_then(NotSynchronizedReason::from_number),
        message,
    };
    Ok((position, detail))
}
