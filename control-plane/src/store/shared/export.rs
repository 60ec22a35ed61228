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
        "SELECT COUNT(*) FROM sync_jobs n JOIN sync_jobs j ON j.source_no = n.source_no WHERE j.job_no = $1 AND n.job_no > $1 AND n.kind <> 2",
    );
    let newer: i64 = newer.bind(job.0).fetch_one(&mut *connection).await?;
    if newer >= kept {
        return Err(StoreError::DetailsReplaced);
    }
    let (rows, condition) = match category {
        Category::WouldBeDisabled => return holds::list(connection, job, after, limit).await,
        Category::Added => ("users u", "u.added_job = $1 AND u.user_no > $6 ORDER BY u.tenant_no, u.user_no"),
        Category::Updated => {
            (CHANGES, "c.job_no = $1 AND c.what % 2 = 1 AND c.user_no > $6 ORDER BY c.job_no, c.user_no")
        }
        Category::Disabled => {
            (CHANGES, "c.job_no = $1 AND c.what >= 2 AND c.user_no > $6 ORDER BY c.job_no, c.user_no")
        }
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
    let of = sqlx::query_as("SELECT tenant_no, source_no FROM sync_jobs WHERE job_no = $1").bind(job.0);
    let (tenant, source): (i64, i64) = of.fetch_one(&mut *connection).await?;
    // In the order of a primary key, from where the page before ended: no page sorts what is behind it. The sums keep planners from other
    // indexes.
    let text = format!(
        "SELECT CAST($2 AS BIGINT), u.user_no, u.user_no, u.user_name, u.mail, u.immutable_id, CAST(NULL AS BIGINT), CAST($3 AS TEXT) \
         FROM {rows} WHERE u.tenant_no = $4 AND u.source_no + 0 = $5 AND {condition} LIMIT $7"
    );
    let rows: Vec<DetailRow> = sqlx::query_as(AssertSqlSafe(text))
        .bind(job.0)
        .bind(i64::from(category.number()))
        .bind(message)
        .bind(tenant)
        .bind(source)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(detail).collect()
}

const CHANGES: &str = "user_changes c JOIN users u ON u.tenant_no = c.tenant_no AND u.user_no = c.user_no";
