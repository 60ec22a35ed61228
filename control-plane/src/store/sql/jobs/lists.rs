//! Whole lists of a job: users from the row and the journal, records that were not synchronized
//! from their details. Page by page, by key.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::dialect::{Connection, IN_INTS_3};
use super::super::statement::sql;
use super::super::words::{
    CHANGE_BOTH, CHANGE_DISABLED, CHANGE_UPDATED, JOB_HELD, KIND_DRY_RUN, USER_ENABLED, USER_OUT_OF_SCOPE,
};
use super::super::{codec, dialect, statement};
use super::warnings;
use crate::model::{
    Category, DETAILS_PER_CATEGORY, Detail, ImmutableId, JobNo, NotSynchronizedReason, TenantNo, UserNo,
};
use crate::store::{Result, StoreError};

/// The next page of a list, behind a key. The keys are user numbers, or positions of records.
pub(crate) async fn page(
    connection: &mut Connection,
    job: JobNo,
    category: Category,
    kept: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let newer = statement::query_scalar(sql!(
        "SELECT COUNT(*) FROM sync_jobs n JOIN sync_jobs j ON j.source_no = n.source_no WHERE \
         j.job_no = $1 AND n.job_no > $1 AND n.kind <> {KIND_DRY_RUN}"
    ));
    let newer: i64 = newer.bind(job.0).fetch_one(&mut *connection).await?;
    if newer >= kept {
        return Err(StoreError::DetailsReplaced);
    }
    let text = match category {
        Category::WouldBeDisabled => return list_held(connection, job, after, limit).await,
        Category::WouldBeEnabled => return list_reenables(connection, job, after, limit).await,
        Category::Warning => return warnings::list(connection, job, after, limit).await,
        Category::NotSynchronized | Category::NotVisible => {
            return list_records(connection, job, category, after, limit).await;
        }
        Category::Added => ADDED,
        Category::Updated => UPDATED,
        Category::Disabled => DISABLED,
    };
    let message = match category {
        Category::Added => "Added.",
        Category::Updated => "Updated.",
        _ => "Disabled: a complete read of the source no longer had the user.",
    };
    let of = statement::query_as("SELECT tenant_no, source_no FROM sync_jobs WHERE job_no = $1").bind(job.0);
    let (tenant, source): (i64, i64) = of.fetch_one(&mut *connection).await?;
    let rows: Vec<DetailRow> = statement::query_as(text)
        .bind(job.0)
        .bind(i64::from(category.number()))
        .bind(message)
        .bind(tenant)
        .bind(source)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    let mut lines = rows.into_iter().map(detail).collect::<Result<Vec<_>>>()?;
    if category == Category::Disabled {
        tell_absences(connection, TenantNo(tenant), job, &mut lines).await?;
    }
    Ok(lines)
}

/// Says of disabled users what became of their entries, where it is known.
async fn tell_absences(
    connection: &mut Connection,
    tenant: TenantNo,
    job: JobNo,
    lines: &mut [(i64, Detail)],
) -> Result<()> {
    let users: Vec<i64> = lines.iter().map(|(user, _)| *user).collect();
    if users.is_empty() {
        return Ok(());
    }
    let text = sql!(
        "SELECT user_no, absence FROM users WHERE tenant_no = $1 AND status = {USER_OUT_OF_SCOPE} \
         AND status_job = $2 AND absence IS NOT NULL AND user_no {IN_INTS_3}"
    );
    let query = statement::query(text).bind(tenant.0).bind(job.0);
    let rows = dialect::ints(query, &users).fetch_all(connection).await?;
    let mut absences = HashMap::new();
    for row in &rows {
        let (user, absence): (i64, i64) = sqlx::FromRow::from_row(row)?;
        absences.insert(user, codec::absence(absence)?);
    }
    for (user, line) in lines {
        if let Some(absence) = absences.get(user) {
            line.message = format!("Disabled: {}.", absence.text());
        }
    }
    Ok(())
}

// In the order of a primary key, from where the page before ended: no page sorts what is behind it.
// The sums keep planners from other indexes.
const LINE: &str = "SELECT CAST($2 AS BIGINT), u.user_no, u.user_no, u.user_name, u.mail, u.immutable_id, \
     CAST(NULL AS BIGINT), CAST($3 AS TEXT) FROM";
const OF_SOURCE: &str = "WHERE u.tenant_no = $4 AND u.source_no + 0 = $5 AND";
const CHANGES: &str = "user_changes c JOIN users u ON u.tenant_no = c.tenant_no AND u.user_no = c.user_no";
const ADDED: &str = sql!(
    "{LINE} users u {OF_SOURCE} u.added_job = $1 AND u.user_no > $6 ORDER BY u.tenant_no, \
     u.user_no LIMIT $7"
);
const UPDATED: &str = sql!(
    "{LINE} {CHANGES} {OF_SOURCE} c.job_no = $1 AND c.what IN ({CHANGE_UPDATED}, {CHANGE_BOTH}) \
     AND c.user_no > $6 ORDER BY c.job_no, c.user_no LIMIT $7"
);
const DISABLED: &str = sql!(
    "{LINE} {CHANGES} {OF_SOURCE} c.job_no = $1 AND c.what IN ({CHANGE_DISABLED}, {CHANGE_BOTH}) \
     AND c.user_no > $6 ORDER BY c.job_no, c.user_no LIMIT $7"
);

/// Records that were not synchronized, or users that are not visible, by position.
async fn list_records(
    connection: &mut Connection,
    job: JobNo,
    category: Category,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let text = sql!(
        "SELECT category, position, user_no, user_name, mail, immutable_id, reason, message FROM \
         job_details WHERE job_no = $1 AND category = $2 AND position > $3 ORDER BY position LIMIT \
         $4"
    );
    let query = statement::query_as(text).bind(job.0).bind(i64::from(category.number()));
    let rows: Vec<DetailRow> = query.bind(after).bind(limit).fetch_all(connection).await?;
    rows.into_iter().map(detail).collect()
}

pub(crate) type DetailRow = (i64, i64, Option<i64>, String, String, Option<Vec<u8>>, Option<i64>, String);

pub(crate) async fn list(
    connection: &mut Connection,
    job: JobNo,
    category: Option<Category>,
    after: Option<(Category, i64)>,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let position = after.map_or(0, |(_, position)| position);
    match category {
        Some(Category::WouldBeDisabled) => return list_held(connection, job, position, limit).await,
        Some(Category::WouldBeEnabled) => return list_reenables(connection, job, position, limit).await,
        _ => {}
    }
    let newest = statement::query_scalar(sql!(
        "SELECT MAX(n.job_no) FROM sync_jobs n JOIN sync_jobs j ON j.source_no = n.source_no WHERE \
         j.job_no = $1 AND (n.kind <> {KIND_DRY_RUN} AND j.kind <> {KIND_DRY_RUN} OR n.job_no = \
         j.job_no)"
    ));
    let newest: Option<i64> = newest.bind(job.0).fetch_one(&mut *connection).await?;
    match newest {
        None => return Err(StoreError::NotFound("sync job")),
        Some(newest) if newest != job.0 => return Err(StoreError::DetailsReplaced),
        Some(_) => {}
    }
    let (after, position) =
        after.map_or((0, 0), |(category, position)| (i64::from(category.number()), position));
    let rows: Vec<DetailRow> = statement::query_as(
        "SELECT category, position, user_no, user_name, mail, immutable_id, reason, message FROM \
         job_details WHERE job_no = $1 AND ($2 = 0 OR category = $2) AND (category > $3 OR \
         (category = $3 AND position > $4)) AND position <= $6 ORDER BY category, position LIMIT \
         $5",
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

pub(crate) fn detail(
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

/// The list of a held job, by user number, after `after`. One that was decided has none any more.
pub(crate) async fn list_held(
    connection: &mut Connection,
    job: JobNo,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let rows: Vec<(i64, i64, String, String, Vec<u8>)> = statement::query_as(sql!(
        "SELECT a.user_no, a.absence, u.user_name, u.mail, u.immutable_id FROM absent_users a \
             JOIN sync_jobs j ON j.job_no = a.job_no JOIN users u ON u.tenant_no = j.tenant_no AND \
             u.user_no = a.user_no WHERE a.job_no = $1 AND j.state = {JOB_HELD} AND u.status = \
             {USER_ENABLED} AND a.user_no > $2 ORDER BY a.user_no LIMIT $3"
    ))
    .bind(job.0)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let detail = |(user, number, user_name, mail, id): (i64, i64, String, String, Vec<u8>)| {
        let detail = Detail {
            category: Category::WouldBeDisabled,
            user: Some(UserNo(user)),
            user_name,
            mail,
            id: Some(ImmutableId(id.into())),
            reason: None,
            message: format!("Would be disabled: {}.", codec::absence(number)?.text()),
        };
        Ok((user, detail))
    };
    rows.into_iter().map(detail).collect()
}

/// Users that a held job would enable again, by number, after `after`: their records wait for the
/// decision.
pub(crate) async fn list_reenables(
    connection: &mut Connection,
    job: JobNo,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Detail)>> {
    let rows: Vec<(i64, String, String, Vec<u8>)> = statement::query_as(sql!(
        "SELECT u.user_no, u.user_name, u.mail, u.immutable_id FROM deferred_records d JOIN \
             sync_jobs j ON j.job_no = d.job_no JOIN users u ON u.source_no = j.source_no AND \
             u.immutable_id = d.immutable_id WHERE d.job_no = $1 AND d.mark_proved = 1 AND j.state \
             = {JOB_HELD} AND d.status = {USER_ENABLED} AND u.status <> {USER_ENABLED} AND u.user_no > $2 ORDER BY \
             u.user_no LIMIT $3"
    ))
    .bind(job.0)
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let detail = |(user, user_name, mail, id): (i64, String, String, Vec<u8>)| {
        let detail = Detail {
            category: Category::WouldBeEnabled,
            user: Some(UserNo(user)),
            user_name,
            mail,
            id: Some(ImmutableId(id.into())),
            reason: None,
            message: "Would be enabled again: the directory has the user in scope and not disabled."
                .to_owned(),
        };
        (user, detail)
    };
    Ok(rows.into_iter().map(detail).collect())
}
