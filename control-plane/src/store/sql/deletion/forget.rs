//! Removes users with everything that is kept of them.

use std::collections::HashSet;

use bytes::Bytes;
use sqlx::{AssertSqlSafe, FromRow};

use super::super::dialect;
use super::super::dialect::{Connection, LOCK};
use super::super::jobs::{counts, details};
use super::super::license::seats;
use super::super::locks::OpenJob;
use super::super::plans::id_pairs;
use super::super::sync::deferred;
use super::standing;
use super::standing::StandingRow;
use crate::model::{
    Category, Counts, Detail, Fence, ImmutableId, JobNo, NameKey, NameKind, NotSynchronizedReason, SourceNo,
    Status, TenantNo, Timestamp, UserStanding,
};
use crate::reconcile::names as keys;
use crate::store::{Result, StoreError};

/// Details without a user that are looked at in one go.
const PAGE: i64 = 2_000;

/// A user that is about to be deleted.
#[derive(sqlx::FromRow)]
pub(crate) struct DoomedRow {
    #[sqlx(flatten)]
    standing: StandingRow,
    immutable_id: Vec<u8>,
    user_name: String,
    mail: String,
    added_job: i64,
    changed_job: i64,
}

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

/// Users by a condition and in an order, locked: a sign-in that comes now finds nobody afterwards.
pub(crate) fn doomed(condition: &str) -> String {
    let lock = if LOCK.is_empty() { "" } else { " FOR UPDATE OF u" };
    format!(
        "SELECT {}, u.immutable_id, u.user_name, u.mail, u.added_job, u.changed_job FROM users u \
         JOIN identity_sources s ON s.source_no = u.source_no WHERE u.tenant_no = $1 AND {condition}{lock}",
        standing::COLUMNS
    )
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
        // Counted by a former read, perhaps, and not met again in this one: then its record would count twice. So the directory is read
        // once more, and what is counted begins with who is left.
        if *reads_again && users.iter().any(|user| user.jobs.contains(job)) {
            let void = sqlx::query("UPDATE sync_jobs SET epoch = epoch + 1 WHERE job_no = $1");
            void.bind(job.0).execute(&mut *connection).await?;
        }
    }
    let numbers: Vec<i64> = users.iter().map(|user| user.standing.user.0).collect();
    for table in ["absent_users", "user_changes"] {
        let text = format!(
            "DELETE FROM {table} WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND user_no {}",
            dialect::in_ints(2)
        );
        let query = sqlx::query(AssertSqlSafe(text)).bind(source.0);
        dialect::ints(query, &numbers).execute(&mut *connection).await?;
    }
    forget_plans(connection, source, users, &numbers).await?;
    forget_details(connection, source, users, &numbers).await?;
    forget_nameless_details(connection, (tenant, source), users).await?;
    forget_disables(connection, source, &numbers).await?;
    let text = format!("DELETE FROM users WHERE tenant_no = $1 AND user_no {}", dialect::in_ints(2));
    let query = sqlx::query(AssertSqlSafe(text)).bind(tenant.0);
    dialect::ints(query, &numbers).execute(&mut *connection).await?;
    let enabled = users.iter().filter(|user| user.standing.status == Status::Enabled).count();
    let seats = -i64::try_from(enabled).unwrap_or_default();
    seats::take(connection, tenant, Some(source), seats).await?.tell(connection, now).await
}

/// Gives up the records of these users that wait in a job, or are kept while it is held. One that waited has no outcome yet, unless the
/// job has counted its user before; one that is kept has one.
async fn give_up_records(
    connection: &mut Connection,
    fence: Fence,
    users: &[Doomed],
    now: Timestamp,
) -> Result<()> {
    let ids = || users.iter().map(|user| &user.id.0[..]);
    let text = format!(
        "SELECT immutable_id, queue FROM deferred_records WHERE job_no = $1 AND immutable_id {}",
        dialect::in_blobs(2)
    );
    let query = dialect::blobs(sqlx::query(AssertSqlSafe(text)).bind(fence.job.0), ids());
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
    let text =
        format!("DELETE FROM deferred_records WHERE job_no = $1 AND immutable_id {}", dialect::in_blobs(2));
    let query = dialect::blobs(sqlx::query(AssertSqlSafe(text)).bind(fence.job.0), ids());
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
    let text = format!(
        "DELETE FROM plan_entries WHERE job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND (user_no {} OR immutable_id {})",
        dialect::in_ints(2),
        dialect::in_blobs(3)
    );
    let query = dialect::ints(sqlx::query(AssertSqlSafe(text)).bind(source.0), numbers);
    dialect::blobs(query, users.iter().map(|user| &user.id.0[..])).execute(&mut *connection).await?;
    id_pairs::forget_users(connection, source, users.iter().map(|user| &user.id)).await
}

/// What makes a line one about nobody. The list stays as long as the job's count says.
const NOBODY: &str = "UPDATE job_details SET user_no = NULL, user_name = '', mail = '', immutable_id = NULL, reason = 16, message = ''";

async fn forget_details(
    connection: &mut Connection,
    source: SourceNo,
    users: &[Doomed],
    numbers: &[i64],
) -> Result<()> {
    for change in ["DELETE FROM job_details WHERE category <> 4", &format!("{NOBODY} WHERE category = 4")] {
        let text = format!(
            "{change} AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) AND (user_no {} OR immutable_id {})",
            dialect::in_ints(2),
            dialect::in_blobs(3)
        );
        let query = dialect::ints(sqlx::query(AssertSqlSafe(text)).bind(source.0), numbers);
        let query = dialect::blobs(query, users.iter().map(|user| &user.id.0[..]));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Lines of entries without an id of their own that have a name of these users, or tell of their id: they are of the same persons.
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
        let lines: Vec<(i64, i64, String, String, String)> = sqlx::query_as(
            "SELECT job_no, position, user_name, mail, message FROM job_details WHERE category = 4 AND immutable_id IS NULL \
             AND user_no IS NULL AND reason <> 16 AND (job_no > $2 OR (job_no = $2 AND position > $3)) \
             AND job_no IN (SELECT job_no FROM sync_jobs WHERE source_no = $1) ORDER BY job_no, position LIMIT $4",
        )
        .bind(source.0)
        .bind(after.0)
        .bind(after.1)
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        let Some((job, position, ..)) = lines.last() else { return Ok(()) };
        after = (*job, *position);
        for (job, position, user_name, mail, message) in lines {
            if of(&user_name, &mail).any(|name| names.contains(&name))
                || ids.iter().any(|id| message.contains(id))
            {
                let text = format!("{NOBODY} WHERE job_no = $1 AND category = 4 AND position = $2");
                let query = sqlx::query(AssertSqlSafe(text)).bind(job).bind(position);
                query.execute(&mut *connection).await?;
            }
        }
    }
}

/// Disables for absence stay in what the guard adds up, without the users: negative numbers, which nobody has.
async fn forget_disables(connection: &mut Connection, source: SourceNo, numbers: &[i64]) -> Result<()> {
    let text = format!(
        "SELECT disabled_at, user_no FROM single_disables WHERE source_no = $1 AND user_no {}",
        dialect::in_ints(2)
    );
    let query = dialect::ints(sqlx::query(AssertSqlSafe(text)).bind(source.0), numbers);
    let rows = query.fetch_all(&mut *connection).await?;
    for row in &rows {
        let (disabled_at, user): (i64, i64) = FromRow::from_row(row)?;
        sqlx::query(
            "UPDATE single_disables SET user_no = (SELECT COALESCE(MIN(o.user_no), 0) - 1 FROM single_disables o \
             WHERE o.source_no = $1 AND o.disabled_at = $2 AND o.user_no < 0) WHERE source_no = $1 AND disabled_at = $2 AND user_no = $3",
        )
        .bind(source.0)
        .bind(disabled_at)
        .bind(user)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
