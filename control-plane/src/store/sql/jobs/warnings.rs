//! Users with warnings: optional values of their entries that cannot be used and were left out, and
//! names that are no logins.

use super::super::dialect::Connection;
use super::super::statement;
use super::super::statement::sql;
use super::super::users::logins::TAKEN;
use super::super::users::rows;
use super::super::words::{CATEGORY_WARNING, USER_OUT_OF_SCOPE};
use super::details;
use crate::model::{
    Category, DETAILS_PER_CATEGORY, Detail, Fence, ImmutableId, JobNo, NotSynchronizedReason, UserNo,
};
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
    let count = sql!(
        "WITH taken (user_no) AS ({TAKEN}) UPDATE sync_jobs SET warnings = (SELECT COUNT(*) FROM users \
         WHERE source_no = $2 AND warnings IS NOT NULL AND status <> {USER_OUT_OF_SCOPE} AND user_no NOT \
         IN (SELECT user_no FROM taken)) + (SELECT COUNT(*) FROM users WHERE tenant_no = $1 AND source_no \
         = $2 AND user_no IN (SELECT user_no FROM taken)) WHERE job_no = $3"
    );
    let query = statement::query(count).bind(fence.tenant.0).bind(fence.source.0).bind(fence.job.0);
    query.execute(connection).await?;
    Ok(())
}

/// Users with warnings of a job's source, by number, after `after`.
pub(crate) async fn list(
    connection: &mut Connection,
    job: JobNo,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let of = statement::query_as("SELECT tenant_no, source_no FROM sync_jobs WHERE job_no = $1");
    let (tenant, source): (i64, i64) = of.bind(job.0).fetch_one(&mut *connection).await?;
    let rows: Vec<WarningRow> = statement::query_as(sql!(
        "WITH taken (user_no) AS ({TAKEN}) SELECT user_no, user_name, mail, immutable_id, warnings, CAST(0 \
         AS BIGINT) AS is_taken FROM users WHERE source_no = $2 AND warnings IS NOT NULL AND status <> \
         {USER_OUT_OF_SCOPE} AND user_no > $3 AND user_no NOT IN (SELECT user_no FROM taken) UNION ALL \
         SELECT user_no, user_name, mail, immutable_id, warnings, CAST(1 AS BIGINT) FROM users WHERE \
         tenant_no = $1 AND source_no = $2 AND user_no > $3 AND user_no IN (SELECT user_no FROM taken) \
         ORDER BY user_no LIMIT $4"
    ))
    .bind(tenant)
    .bind(source)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(detail).collect()
}

/// Number, user name, mail address, immutable id, warnings, and whether a name is no login.
type WarningRow = (i64, String, String, Vec<u8>, Option<String>, i64);

fn detail((user, user_name, mail, id, warnings, taken): WarningRow) -> Result<(i64, Detail)> {
    let reason = (taken != 0).then_some(NotSynchronizedReason::LoginTaken);
    let mut sentences = rows::warnings(warnings.as_deref())?;
    sentences.extend(reason.map(|reason| reason.text().to_owned()));
    let detail = Detail {
        category: Category::Warning,
        user: Some(UserNo(user)),
        user_name,
        mail,
        id: Some(ImmutableId(id.into())),
        reason,
        message: sentences.join(" "),
    };
    Ok((user, detail))
}
