//! Users with warnings: optional values of their entries that cannot be used and were left out.

use super::super::dialect::Connection;
use super::super::statement;
use super::super::statement::sql;
use super::super::users::rows;
use super::super::words::{CATEGORY_WARNING, USER_OUT_OF_SCOPE};
use super::details;
use crate::model::{Category, DETAILS_PER_CATEGORY, Detail, Fence, ImmutableId, JobNo, UserNo};
use crate::store::Result;

/// Lists the users of the source that have warnings now as details of the job, and counts them.
pub(crate) async fn record(connection: &mut Connection, fence: Fence) -> Result<()> {
    statement::query(sql!("DELETE FROM job_details WHERE job_no = $1 AND category = {CATEGORY_WARNING}"))
        .bind(fence.job.0)
        .execute(&mut *connection)
        .await?;
    let users = list(connection, fence.job, 0, DETAILS_PER_CATEGORY).await?;
    let lines: Vec<Detail> = users.into_iter().map(|(_, line)| line).collect();
    details::insert(connection, fence, lines).await?;
    statement::query(sql!(
        "UPDATE sync_jobs SET warnings = (SELECT COUNT(*) FROM users WHERE source_no = $2 AND warnings \
         IS NOT NULL AND status <> {USER_OUT_OF_SCOPE}) WHERE job_no = $1"
    ))
    .bind(fence.job.0)
    .bind(fence.source.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Users with warnings of a job's source, by number, after `after`.
pub(crate) async fn list(
    connection: &mut Connection,
    job: JobNo,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let rows: Vec<(i64, String, String, Vec<u8>, String)> = statement::query_as(sql!(
        "SELECT user_no, user_name, mail, immutable_id, warnings FROM users WHERE source_no = (SELECT \
         source_no FROM sync_jobs WHERE job_no = $1) AND warnings IS NOT NULL AND status <> \
         {USER_OUT_OF_SCOPE} AND user_no > $2 ORDER BY user_no LIMIT $3"
    ))
    .bind(job.0)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let detail = |(user, user_name, mail, id, warnings): (i64, String, String, Vec<u8>, String)| {
        let detail = Detail {
            category: Category::Warning,
            user: Some(UserNo(user)),
            user_name,
            mail,
            id: Some(ImmutableId(id.into())),
            reason: None,
            message: rows::warnings(Some(&warnings))?.join(" "),
        };
        Ok((user, detail))
    };
    rows.into_iter().map(detail).collect()
}
