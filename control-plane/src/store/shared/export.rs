//! Whole lists of a job: users from the row and the journal, records that were not synchronized from their details. Page by page, by key.

use sqlx::AssertSqlSafe;

use super::details::{DetailRow, detail};
use super::engine::Connection;
use super::holds;
use crate::model::{Category, Detail, JobNo};
use crate::store::{Result, StoreError};

/// The next page of a list, behind a key. The keys are user numbers, or positions of records.
pub(super) async fn page(
    connection: &mut Connection,
    job: JobNo,
    category: Category,
    kept: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let newer = sqlx::query_scalar(
        "SELECT COUNT(*) FROM sync_jobs n JOIN sync_jobs j ON j.source_no = n.source_no WHERE j.job_no = $1 AND n.job_no > $1",
    );
    let newer: i64 = newer.bind(job.0).fetch_one(&mut *connection).await?;
    if newer >= kept {
        return Err(StoreError::DetailsReplaced);
    }
    let (rows, condition) = match category {
        Category::WouldBeDisabled => return holds::list(connection, job, after, limit).await,
        Category::Added => {
            ("users u ON u.tenant_no = j.tenant_no", "u.source_no = j.source_no AND u.added_job = j.job_no")
        }
        Category::Updated => (CHANGES, "c.what % 2 = 1"),
        Category::Disabled => (CHANGES, "c.what >= 2"),
        Category::NotSynchronized => {
            let rows: Vec<DetailRow> = sqlx::query_as(
                "SELECT category, position, user_no, user_name, mail, immutable_id, reason, message FROM job_details \
                 WHERE job_no = $1 AND category = 4 AND position > $2 ORDER BY position LIMIT $3",
            )
            .bind(job.0)
            .bind(after)
            .bind(limit)
            .fetch_all(connection)
            .await?;
            return rows.into_iter().map(detail).collect();
        }
    };
    let message = match category {
        Category::Added => "Added.",
        Category::Updated => "Updated.",
        _ => "Disabled: a complete read of the source no longer had the user.",
    };
    let text = format!(
        "SELECT CAST($2 AS BIGINT), u.user_no, u.user_no, u.user_name, u.mail, u.immutable_id, CAST(NULL AS BIGINT), CAST($3 AS TEXT) \
         FROM sync_jobs j JOIN {rows} WHERE j.job_no = $1 AND {condition} AND u.user_no > $4 \
         ORDER BY u.tenant_no, u.user_no LIMIT $5"
    );
    let rows: Vec<DetailRow> = sqlx::query_as(AssertSqlSafe(text))
        .bind(job.0)
        .bind(i64::from(category.number()))
        .bind(message)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(detail).collect()
}

const CHANGES: &str = "user_changes c ON c.job_no = j.job_no JOIN users u ON u.tenant_no = j.tenant_no AND u.user_no = c.user_no";
