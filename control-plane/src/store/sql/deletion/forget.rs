//! Removes users with everything that is kept of them.

use std::collections::HashSet;

use bytes::Bytes;
use sqlx::FromRow;

use super::super::dialect::{Connection, IN_BLOBS_2, IN_BLOBS_3, IN_INTS_2};
use super::super::jobs::{counts, details};
use super::super::license::seats;
use super::super::locks::{DoomedRow, OpenJob};
use super::super::plans::id_pairs;
use super::super::statement::sql;
use super::super::sync::deferred;
use super::super::words::{CATEGORY_NOT_SYNCHRONIZED, REASON_USER_DELETED};
use super::super::{dialect, statement};
use crate::model::{
    Category, Counts, Detail, Fence, ImmutableId, JobNo, NameKey, NameKind, NotSynchronizedReason, SourceNo,
    Status, TenantNo, Timestamp, UserStanding,
};
use crate::reconcile::names as keys;
use crate::store::{Result, StoreError};

/// Details without a user that are looked at in one go.
const LINES_PER_PAGE: i64 = 2_000;

/// Rows of jobs of a source.
const OF_SOURCE: &str = "job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1)";
/// Rows of users, by number or by immutable id.
const OF_USERS: &str = sql!("(user_no {IN_INTS_2} OR immutable_id {IN_BLOBS_3})");

pub(crate) struct Doomed {
    pub(crate) standing: UserStanding,
    pub(crate) id: ImmutableId,
    pub(crate) user_name: String,
    pub(crate) mail: String,
    pub(crate) jobs: [JobNo; 2],
}

impl TryFrom<DoomedRow> for Doomed {
    type Error = StoreError;

    fn try_from(row: DoomedRow) -> Result<Self> {
        Ok(Self {
            standing: row.standing.try_into()?,
            id: ImmutableId(Bytes::from(row.immutable_id)),
            user_name: row.user_name,
            mail: row.mail,
            jobs: [JobNo(row.added_job), JobNo(row.changed_job)],
        })
    }
}

/// Deletes users of one source with all that is kept of them.
pub(crate) async fn remove(
    connection: &mut Connection,
    (tenant, source): (TenantNo, SourceNo),
    jobs: &[OpenJob],
    users: &[Doomed],
    now: Timestamp,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    for OpenJob { job, reads_again } in jobs {
        let fence = Fence { job: *job, epoch: 0, tenant, source };
        give_up_records(connection, fence, users, now).await?;
        // Counted by a former read, perhaps, and not met again in this one: then its record would
        // count twice. So the directory is read once more, and what is counted begins with who is
        // left.
        if *reads_again && users.iter().any(|user| user.jobs.contains(job)) {
            let void = statement::query("UPDATE sync_jobs SET epoch = epoch + 1 WHERE job_no = $1");
            void.bind(job.0).execute(&mut *connection).await?;
        }
    }
    let numbers: Vec<i64> = users.iter().map(|user| user.standing.user.0).collect();
    for text in [
        sql!("DELETE FROM absent_users WHERE {OF_SOURCE} AND user_no {IN_INTS_2}"),
        sql!("DELETE FROM user_changes WHERE {OF_SOURCE} AND user_no {IN_INTS_2}"),
    ] {
        let query = statement::query(text).bind(source.0);
        dialect::ints(query, &numbers).execute(&mut *connection).await?;
    }
    forget_plans(connection, source, users, &numbers).await?;
    forget_details(connection, source, users, &numbers).await?;
    forget_nameless_details(connection, (tenant, source), users).await?;
    forget_disables(connection, source, &numbers).await?;
    let text = sql!("DELETE FROM users WHERE tenant_no = $1 AND user_no {IN_INTS_2}");
    let query = statement::query(text).bind(tenant.0);
    dialect::ints(query, &numbers).execute(&mut *connection).await?;
    let enabled = users.iter().filter(|user| user.standing.status == Status::Enabled).count();
    let seats = -i64::try_from(enabled).unwrap_or_default();
    seats::take(connection, tenant, Some(source), seats).await?.publish(connection, now).await
}

/// Gives up the records of these users that wait in a job, or are kept while it is held. One that
/// waited has no outcome yet, unless the job has counted its user before; one that is kept has one.
async fn give_up_records(
    connection: &mut Connection,
    fence: Fence,
    users: &[Doomed],
    now: Timestamp,
) -> Result<()> {
    let ids = || users.iter().map(|user| &user.id.0[..]);
    let text = sql!(
        "SELECT immutable_id, queue FROM deferred_records WHERE job_no = $1 AND immutable_id \
         {IN_BLOBS_2}"
    );
    let query = dialect::blobs(statement::query(text).bind(fence.job.0), ids());
    let found = query.fetch_all(&mut *connection).await?;
    if found.is_empty() {
        return Ok(());
    }
    let counted: HashSet<&[u8]> =
        users.iter().filter(|user| user.jobs.contains(&fence.job)).map(|user| &user.id.0[..]).collect();
    let (mut waiting, mut lines) = (0, Vec::new());
    for row in &found {
        let (id, queue): (Vec<u8>, i64) = FromRow::from_row(row)?;
        if queue < deferred::RETAINED {
            waiting += 1;
            if !counted.contains(&id[..]) {
                lines.push(anonymous());
            }
        }
    }
    let text = sql!("DELETE FROM deferred_records WHERE job_no = $1 AND immutable_id {IN_BLOBS_2}");
    let query = dialect::blobs(statement::query(text).bind(fence.job.0), ids());
    query.execute(&mut *connection).await?;
    let not_synchronized = i64::try_from(lines.len()).unwrap_or_default();
    details::insert(connection, fence, lines).await?;
    let counts = Counts { waiting: -waiting, not_synchronized, ..Counts::default() };
    counts::count(connection, fence, counts, None, now).await
}

fn anonymous() -> Detail {
    let reason = NotSynchronizedReason::UserDeleted;
    Detail {
        category: Category::NotSynchronized,
        user: None,
        user_name: String::new(),
        mail: String::new(),
        id: None,
        reason: Some(reason),
        message: reason.text().to_owned(),
    }
}

/// A plan without its entry leaves the record out, when it is applied.
async fn forget_plans(
    connection: &mut Connection,
    source: SourceNo,
    users: &[Doomed],
    numbers: &[i64],
) -> Result<()> {
    let text = sql!("DELETE FROM plan_entries WHERE {OF_SOURCE} AND {OF_USERS}");
    let query = dialect::ints(statement::query(text).bind(source.0), numbers);
    dialect::blobs(query, users.iter().map(|user| &user.id.0[..])).execute(&mut *connection).await?;
    id_pairs::forget_users(connection, source, users.iter().map(|user| &user.id)).await
}

/// What makes a line one about nobody. The list stays as long as the job's count says.
const ANONYMIZE: &str = sql!(
    "UPDATE job_details SET user_no = NULL, user_name = '', mail = '', immutable_id = NULL, entry_key = NULL, reason \
     = {REASON_USER_DELETED}, message = ''"
);

async fn forget_details(
    connection: &mut Connection,
    source: SourceNo,
    users: &[Doomed],
    numbers: &[i64],
) -> Result<()> {
    for text in [
        sql!(
            "DELETE FROM job_details WHERE category <> {CATEGORY_NOT_SYNCHRONIZED} AND {OF_SOURCE} \
             AND {OF_USERS}"
        ),
        sql!("{ANONYMIZE} WHERE category = {CATEGORY_NOT_SYNCHRONIZED} AND {OF_SOURCE} AND {OF_USERS}"),
    ] {
        let query = dialect::ints(statement::query(text).bind(source.0), numbers);
        let query = dialect::blobs(query, users.iter().map(|user| &user.id.0[..]));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Lines of entries without an id of their own that have a name of these users, or tell of their
/// id: they are of the same persons.
async fn forget_nameless_details(
    connection: &mut Connection,
    (tenant, source): (TenantNo, SourceNo),
    users: &[Doomed],
) -> Result<()> {
    let key = |kind, name: &str| (!name.is_empty()).then(|| (kind, keys::key(tenant, kind, name)));
    let of = |user_name: &str, mail: &str| {
        [key(NameKind::UserName, user_name), key(NameKind::Mail, mail)].into_iter().flatten()
    };
    let names: HashSet<(NameKind, NameKey)> =
        users.iter().flat_map(|user| of(&user.user_name, &user.mail)).collect();
    let ids: Vec<String> = users.iter().map(|user| user.id.text()).collect();
    let mut after = (0, 0);
    loop {
        let lines: Vec<(i64, i64, String, String, String)> = statement::query_as(sql!(
            "SELECT job_no, position, user_name, mail, message FROM job_details WHERE category \
                 = {CATEGORY_NOT_SYNCHRONIZED} AND immutable_id IS NULL AND user_no IS NULL AND \
                 reason <> {REASON_USER_DELETED} AND (job_no > $2 OR (job_no = $2 AND position > \
                 $3)) AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) ORDER BY \
                 job_no, position LIMIT $4"
        ))
        .bind(source.0)
        .bind(after.0)
        .bind(after.1)
        .bind(LINES_PER_PAGE)
        .fetch_all(&mut *connection)
        .await?;
        let Some((job, position, ..)) = lines.last() else { return Ok(()) };
        after = (*job, *position);
        for (job, position, user_name, mail, message) in lines {
            if of(&user_name, &mail).any(|name| names.contains(&name))
                || ids.iter().any(|id| message.contains(id))
            {
                let text = sql!(
                    "{ANONYMIZE} WHERE job_no = $1 AND category = {CATEGORY_NOT_SYNCHRONIZED} AND \
                     position = $2"
                );
                let query = statement::query(text).bind(job).bind(position);
                query.execute(&mut *connection).await?;
            }
        }
    }
}

/// Disables for absence stay in what the guard adds up, without the users: negative numbers, which
/// nobody has.
async fn forget_disables(connection: &mut Connection, source: SourceNo, numbers: &[i64]) -> Result<()> {
    let text = sql!(
        "SELECT disabled_at, user_no FROM single_disables WHERE source_no = $1 AND user_no \
             {IN_INTS_2}"
    );
    let query = dialect::ints(statement::query(text).bind(source.0), numbers);
    let rows = query.fetch_all(&mut *connection).await?;
    for row in &rows {
        let (disabled_at, user): (i64, i64) = FromRow::from_row(row)?;
        statement::query(
            "UPDATE single_disables SET user_no = (SELECT COALESCE(MIN(o.user_no), 0) - 1 FROM \
             single_disables o WHERE o.source_no = $1 AND o.disabled_at = $2 AND o.user_no < 0) \
             WHERE source_no = $1 AND disabled_at = $2 AND user_no = $3",
        )
        .bind(source.0)
        .bind(disabled_at)
        .bind(user)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
