//! Writes users, many in one statement, and their journal.

use super::super::dialect::{Connection, IN_INTS_2, IN_INTS_4};
use super::super::statement::sql;
use super::super::words::{Change, USER_DISABLED_IN_DIRECTORY, USER_ENABLED, USER_OUT_OF_SCOPE};
use super::super::{dialect, statement};
use crate::model::{Fence, KnownUser, NameKind, Record, TenantNo, Timestamp, UserNo};
use crate::store::Result;
use crate::store::row::Row;

/// Runs a statement over rows: `before FROM rows AS r, scope AS s after`. The scope is the tenant,
/// the source, the job, now, and the position of new names, as columns `tenant_no`, `source_no`,
/// `job_no`, `at` and `position`.
pub(crate) async fn execute_rows(
    connection: &mut Connection,
    (before, after): (&'static str, &'static str),
    fence: Fence,
    (now, position): (Timestamp, i64),
    rows: &[Row<'_>],
) -> Result<u64> {
    let mut affected = 0;
    for rows in rows.chunks(dialect::MAX_ROWS) {
        let text = format!("{before} {} {after}", dialect::rows_and_scope(rows.len()));
        let query = statement::query_of_rows(text, dialect::same_text(rows.len()));
        let scope = [fence.tenant.0, fence.source.0, fence.job.0, now.0, position];
        let query = dialect::bind_rows(query, scope, rows);
        affected += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(affected)
}

pub(crate) async fn insert_users(
    connection: &mut Connection,
    fence: Fence,
    (now, position): (Timestamp, i64),
    rows: &[Row<'_>],
) -> Result<()> {
    let text = (
        sql!(
            "INSERT INTO users (tenant_no, user_no, source_no, immutable_id, digest, user_name, \
             user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
             distinguished_name, policy_attributes, status, added_job, status_job, created_at, \
             updated_at, disabled_at, warnings, entry_version, entry_version_at, \
             user_name_position, user_name_job, mail_position, mail_job, login_key) SELECT s.tenant_no, r.user_no, s.source_no, r.immutable_id, \
             r.digest, r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, \
             r.last_name, r.display_name, r.phone, r.distinguished_name, r.policy_attributes, \
             r.status, s.job_no, s.job_no, s.at, s.at, CASE WHEN r.status = {USER_ENABLED} THEN \
             NULL ELSE s.at END, r.warnings, r.entry_version, s.at, s.position, s.job_no, s.position, s.job_no, \
             r.login_key"
        ),
        "",
    );
    execute_rows(connection, text, fence, (now, position), rows).await.map(drop)
}

/// The begin of a change of users that are there. Written as an upsert, which both engines drive
/// from the rows: an UPDATE … FROM may read the whole table instead.
const UPSERT: &str = "INSERT INTO users (tenant_no, user_no, source_no, immutable_id, digest, user_name, \
     user_name_key, mail, mail_key, first_name, last_name, display_name, phone, \
     distinguished_name, policy_attributes, status, added_job, changed_job, created_at, \
     updated_at, warnings, entry_version, entry_version_at, user_name_position, user_name_job, \
     mail_position, mail_job, login_key) SELECT s.tenant_no, r.user_no, s.source_no, r.immutable_id, r.digest, \
     r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, \
     r.phone, r.distinguished_name, r.policy_attributes, r.status, s.job_no, s.job_no, s.at, s.at, \
     r.warnings, r.entry_version, s.at, s.position, s.job_no, s.position, s.job_no, r.login_key";

/// Which version of its entry was seen: as before, where the server shows none.
const VERSION: &str = "entry_version = COALESCE(excluded.entry_version, users.entry_version), \
     entry_version_at = CASE WHEN excluded.entry_version IS NULL THEN users.entry_version_at ELSE \
     excluded.entry_version_at END";

/// Since when a user holds its names: as before, where a name stays the same one, or was its other
/// name.
const NAMES_SINCE: &str = sql!(
    "user_name_position = CASE WHEN {SAME_USER_NAME} THEN users.user_name_position WHEN {WAS_MAIL} THEN \
     users.mail_position ELSE excluded.user_name_position END, user_name_job = CASE WHEN \
     {SAME_USER_NAME} THEN users.user_name_job WHEN {WAS_MAIL} THEN users.mail_job ELSE \
     excluded.user_name_job END, mail_position = CASE WHEN {SAME_MAIL} THEN users.mail_position WHEN \
     {WAS_USER_NAME} THEN users.user_name_position ELSE excluded.mail_position END, mail_job = CASE \
     WHEN {SAME_MAIL} THEN users.mail_job WHEN {WAS_USER_NAME} THEN users.user_name_job ELSE \
     excluded.mail_job END, login_key = excluded.login_key, released_mail_key = NULL"
);
const SAME_USER_NAME: &str = "users.user_name_key = excluded.user_name_key";
const SAME_MAIL: &str = "users.mail_key = excluded.mail_key";
/// Who was out of scope held no name.
const WAS_MAIL: &str = "users.released_mail_key = excluded.login_key";
const WAS_USER_NAME: &str =
    sql!("users.login_key = excluded.mail_key AND users.status <> {USER_OUT_OF_SCOPE}");

/// Changes users that are there. The position is that of the names that they get.
pub(crate) async fn update_users(
    connection: &mut Connection,
    fence: Fence,
    (now, position): (Timestamp, i64),
    rows: &[Row<'_>],
) -> Result<()> {
    let text = (
        UPSERT,
        sql!(
            "WHERE true ON CONFLICT (tenant_no, user_no) DO UPDATE SET digest = excluded.digest, \
             user_name = excluded.user_name, user_name_key = excluded.user_name_key, mail = \
             excluded.mail, mail_key = excluded.mail_key, first_name = excluded.first_name, \
             last_name = excluded.last_name, display_name = excluded.display_name, phone = \
             excluded.phone, distinguished_name = excluded.distinguished_name, policy_attributes = \
             excluded.policy_attributes, status = excluded.status, changed_job = \
             excluded.changed_job, updated_at = excluded.updated_at, status_job = CASE WHEN \
             users.status = excluded.status THEN users.status_job ELSE excluded.changed_job END, \
             disabled_at = CASE WHEN excluded.status = {USER_ENABLED} THEN NULL WHEN users.status \
             = {USER_ENABLED} THEN excluded.updated_at ELSE users.disabled_at END, absent_since = \
             CASE WHEN excluded.status = {USER_ENABLED} THEN users.absent_since END, warnings = \
             excluded.warnings, {VERSION}, {NAMES_SINCE}"
        ),
    );
    execute_rows(connection, text, fence, (now, position), rows).await.map(drop)
}

/// Disables enabled users as their directory has them, and leaves everything else as it was.
pub(crate) async fn disable_in_directory(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
    now: Timestamp,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = sql!(
        "UPDATE users SET status = {USER_DISABLED_IN_DIRECTORY}, status_job = $2, changed_job = \
         $2, updated_at = $3, disabled_at = $3, absent_since = NULL WHERE tenant_no = \
         $1 AND user_no {IN_INTS_4}"
    );
    let query = statement::query(text).bind(fence.tenant.0).bind(fence.job.0).bind(now.0);
    dialect::ints(query, users).execute(connection).await?;
    Ok(())
}

/// Notes the digests of records that are as their users are, and the warnings, which are no value.
pub(crate) async fn refresh_digests(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<()> {
    let text = (
        UPSERT,
        sql!(
            "WHERE true ON CONFLICT (tenant_no, user_no) DO UPDATE SET digest = excluded.digest, \
             warnings = excluded.warnings, login_key = excluded.login_key, {VERSION}"
        ),
    );
    execute_rows(connection, text, fence, (now, 0), rows).await.map(drop)
}

/// Frees names of users, so that they can be given out again within the transaction. Those that a
/// user keeps are not named: it is known by them since it first had them.
pub(crate) async fn release_names(
    connection: &mut Connection,
    tenant: TenantNo,
    names: &[(UserNo, NameKind)],
) -> Result<()> {
    let of = |kind| names.iter().filter(move |(_, of)| *of == kind).map(|(user, _)| user.0);
    let user_name =
        sql!("UPDATE users SET user_name_key = NULL WHERE tenant_no = $1 AND user_no {IN_INTS_2}");
    let mail = sql!(
        "UPDATE users SET released_mail_key = mail_key, mail_key = NULL WHERE tenant_no = $1 AND user_no \
         {IN_INTS_2}"
    );
    for (kind, text) in [(NameKind::UserName, user_name), (NameKind::Mail, mail)] {
        let users: Vec<i64> = of(kind).collect();
        if !users.is_empty() {
            let query = statement::query(text).bind(tenant.0);
            dialect::ints(query, &users).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Whether a user gets a name by a record that it does not hold.
pub(crate) fn gets_a_name(user: &KnownUser, record: &Record) -> bool {
    let held: Vec<_> = user.names().collect();
    record.names().any(|name| !held.contains(&name))
}

/// The names that a user gives up for those of a record.
pub(crate) fn names_given_up(user: &KnownUser, record: &Record) -> Vec<(UserNo, NameKind)> {
    let wanted: Vec<_> = record.names().collect();
    user.names().filter(|name| !wanted.contains(name)).map(|(kind, _)| (user.number, kind)).collect()
}

/// Writes users into the job's journal as they are now; whoever is in it already stays as first
/// written.
pub(crate) async fn journal(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
    change: Change,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = sql!(
        "INSERT INTO user_changes (job_no, tenant_no, user_no, digest, user_name, user_name_key, \
         mail, mail_key, first_name, last_name, display_name, phone, distinguished_name, \
         policy_attributes, status, changed_job, status_job, updated_at, disabled_at, warnings, \
         user_name_position, user_name_job, mail_position, mail_job, login_key, what) SELECT \
         $1, tenant_no, user_no, digest, user_name, user_name_key, mail, mail_key, first_name, \
         last_name, display_name, phone, distinguished_name, policy_attributes, status, \
         changed_job, status_job, updated_at, disabled_at, warnings, user_name_position, user_name_job, \
         mail_position, mail_job, login_key, $3 FROM users WHERE tenant_no = $2 AND \
         user_no {IN_INTS_4} ON CONFLICT (job_no, user_no) DO UPDATE SET what = user_changes.what \
         | excluded.what"
    );
    let query = statement::query(text).bind(fence.job.0).bind(fence.tenant.0).bind(change as i64);
    dialect::ints(query, users).execute(connection).await?;
    Ok(())
}
