//! Takes back what a job did to a user, where another one gets the names in the end.

use std::collections::HashMap;

use sqlx::FromRow;

use super::super::dialect::{Connection, IN_INTS_2};
use super::super::jobs::details;
use super::super::license::seats;
use super::super::statement::sql;
use super::super::{dialect, statement};
use super::name_claims;
use crate::model::{Counts, Fence, KnownUser, NameKey, Record, Status, UserNo, UserValues};
use crate::store::Result;

/// Takes back what this job did to a user: an add is deleted, a change undone from the journal.
/// With `stays_disabled` the status stays: the directory says so, and the seat may have been given
/// to another meanwhile.
pub(crate) async fn revert_user(
    connection: &mut Connection,
    fence: Fence,
    user: &KnownUser,
    stays_disabled: bool,
) -> Result<Counts> {
    let before = name_claims::journal(connection, fence, &[user.number.0]).await?.remove(&user.number.0);
    let mut counts = Counts::default();
    let enabled = |status: Status| i64::from(status == Status::Enabled);
    let seats = match before {
        None => {
            counts.added = -1;
            counts.disabled_in_directory = -i64::from(user.status == Status::DisabledInDirectory);
            statement::query("DELETE FROM users WHERE tenant_no = $1 AND user_no = $2")
                .bind(fence.tenant.0)
                .bind(user.number.0)
                .execute(&mut *connection)
                .await?;
            -enabled(user.status)
        }
        Some(_) if stays_disabled => {
            restore(connection, fence, user.number, RESTORE_VALUES).await?;
            details::remove(connection, fence, &[user.number.0]).await?;
            return Ok(counts);
        }
        Some(before) => {
            counts.updated = -1;
            counts.reenabled = -i64::from(before.status != Status::Enabled && user.status == Status::Enabled);
            restore(connection, fence, user.number, RESTORE_ALL).await?;
            statement::query("DELETE FROM user_changes WHERE job_no = $1 AND user_no = $2")
                .bind(fence.job.0)
                .bind(user.number.0)
                .execute(&mut *connection)
                .await?;
            enabled(before.status) - enabled(user.status)
        }
    };
    let _told_by_the_caller = seats::take(connection, fence.tenant, Some(fence.source), seats).await?;
    details::remove(connection, fence, &[user.number.0]).await?;
    Ok(counts)
}

const VALUES: &str = "digest = c.digest, user_name = c.user_name, user_name_key = c.user_name_key, mail = c.mail, \
     mail_key = c.mail_key, first_name = c.first_name, last_name = c.last_name, display_name = c.display_name, phone = c.phone, \
     distinguished_name = c.distinguished_name, policy_attributes = c.policy_attributes, warnings = c.warnings, \
     user_name_position = c.user_name_position, user_name_job = c.user_name_job, mail_position = c.mail_position, \
     mail_job = c.mail_job, login_key = c.login_key, released_mail_key = NULL";

const STATUS: &str = "status = c.status, changed_job = c.changed_job, status_job = c.status_job, updated_at = c.updated_at, \
     disabled_at = c.disabled_at";

const FROM_JOURNAL: &str = "FROM user_changes c WHERE users.tenant_no = $1 AND users.user_no = $2 AND c.job_no = $3 AND \
     c.user_no = $2";
const RESTORE_VALUES: &str = sql!("UPDATE users SET {VALUES} {FROM_JOURNAL}");
const RESTORE_ALL: &str = sql!("UPDATE users SET {VALUES}, {STATUS} {FROM_JOURNAL}");

/// Gives a user back what it had before the job: its values, or all.
async fn restore(connection: &mut Connection, fence: Fence, user: UserNo, text: &'static str) -> Result<()> {
    let query = statement::query(text).bind(fence.tenant.0).bind(user.0).bind(fence.job.0);
    query.execute(connection).await?;
    Ok(())
}

/// What is left to show of a user whose change is taken back.
pub(crate) fn displayed_record(user: &KnownUser, shown: &HashMap<i64, UserValues>) -> Record {
    Record {
        id: user.id.clone(),
        digest: user.digest,
        values: shown.get(&user.number.0).cloned().unwrap_or_default(),
        disabled: false,
        mark_proved: false,
        warnings: Vec::new(),
        version: None,
        user_name_key: user.user_name_key.unwrap_or(NameKey([0; 16])),
        mail_key: user.mail_key,
    }
}

/// By what an administrator recognizes these users: their names as this job wrote them.
pub(crate) async fn displayed_values(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
) -> Result<HashMap<i64, UserValues>> {
    let text = sql!(
        "SELECT user_no, user_name, mail FROM users WHERE tenant_no = $1 AND user_no \
             {IN_INTS_2}"
    );
    let query = statement::query(text).bind(fence.tenant.0);
    let rows = dialect::ints(query, users).fetch_all(connection).await?;
    let values = |row| -> Result<(i64, UserValues)> {
        let (user, user_name, mail) = FromRow::from_row(row)?;
        Ok((user, UserValues { user_name, mail, ..UserValues::default() }))
    };
    rows.iter().map(values).collect()
}
