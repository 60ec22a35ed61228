//! One user by number or by name, with the version that a later write compares.

use super::super::dialect::Connection;
use super::super::statement::sql;
use super::super::users::logins::HOLDER;
use super::super::users::user::{COLUMNS, FROM, UserRow};
use super::super::words::{
    CATEGORY_NOT_SYNCHRONIZED, CATEGORY_NOT_VISIBLE, JOB_SUCCEEDED, KIND_PLAN, KIND_SYNC,
};
use super::super::{codec, statement};
use crate::model::{
    JobNo, NameKind, SourceNo, TenantNo, Timestamp, User, UserNo, UserSelector, UserSnapshot, UserVersion,
};
use crate::reconcile::single_user;
use crate::store::{Result, StoreError};

/// Columns that make a version of a user, besides those of the user, and of its source.
pub(crate) const VERSION: &str = "u.digest, u.observed_at, u.fetched_job, u.fetched_stage, u.absent_job, u.absent_stage, s.source_no, \
     s.published_revision";

#[derive(sqlx::FromRow)]
pub(crate) struct SnapshotRow {
    #[sqlx(flatten)]
    user: UserRow,
    digest: Vec<u8>,
    observed_at: i64,
    fetched_job: i64,
    fetched_stage: i64,
    absent_job: i64,
    absent_stage: i64,
    source_no: i64,
    published_revision: i64,
}

impl TryFrom<SnapshotRow> for UserSnapshot {
    type Error = StoreError;

    fn try_from(row: SnapshotRow) -> Result<Self> {
        let user = User::try_from(row.user)?;
        let version = UserVersion {
            user: user.number,
            digest: codec::digest_bytes(row.digest)?,
            status: user.status,
            updated_at: user.updated_at,
            observed_at: Timestamp(row.observed_at),
            fetched: (JobNo(row.fetched_job), row.fetched_stage),
            absent_since: user.absent_since,
            absent_during: (JobNo(row.absent_job), row.absent_stage),
        };
        let revision = i32::try_from(row.published_revision).unwrap_or_default();
        Ok(Self { user, source: (SourceNo(row.source_no), revision), version })
    }
}

pub(crate) async fn by_number(
    connection: &mut Connection,
    tenant: TenantNo,
    user: UserNo,
) -> Result<Option<UserSnapshot>> {
    let text = sql!("SELECT {COLUMNS}, {VERSION} {FROM} AND u.user_no = $2");
    let query = statement::query_as(text).bind(tenant.0).bind(user.0);
    let row: Option<SnapshotRow> = query.fetch_optional(connection).await?;
    row.map(TryInto::try_into).transpose()
}

/// The user of this number, or the one that holds the name.
pub(crate) async fn look_up(
    connection: &mut Connection,
    tenant: TenantNo,
    whom: &UserSelector,
) -> Result<Option<UserSnapshot>> {
    if let UserSelector::User(user) = whom {
        return by_number(connection, tenant, *user).await;
    }
    let text = sql!("SELECT {COLUMNS}, {VERSION} {FROM} AND u.user_no = {HOLDER}");
    let (user_name, mail) = keys(tenant, whom);
    let query = statement::query_as(text).bind(tenant.0).bind(user_name).bind(mail);
    let row: Option<SnapshotRow> = query.fetch_optional(connection).await?;
    row.map(TryInto::try_into).transpose()
}

/// The keys for [`HOLDER`].
pub(crate) fn keys(tenant: TenantNo, whom: &UserSelector) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut user_name, mut mail) = (None, None);
    for (kind, key) in single_user::keys(tenant, whom) {
        match kind {
            NameKind::UserName => user_name = Some(key.0.to_vec()),
            NameKind::Mail => mail = Some(key.0.to_vec()),
        }
    }
    (user_name, mail)
}

/// The user, and when the directory was last seen to have it as it is: when it was asked for it
/// alone, or when the newest complete sync of its source began to read, which found it so or made
/// it so.
pub(crate) async fn last_observed(
    connection: &mut Connection,
    tenant: TenantNo,
    whom: &UserSelector,
) -> Result<Option<(User, Timestamp)>> {
    let Some(UserSnapshot { user, version, .. }) = look_up(connection, tenant, whom).await? else {
        return Ok(None);
    };
    // A sync that left leavers alone did not see everyone whom it left; a record that it did not
    // apply shows nothing, and where its list of those is thrown away nobody knows.
    let synced = statement::query_scalar(sql!(
        "SELECT j.read_at FROM sync_jobs j JOIN users u ON u.source_no = j.source_no WHERE \
         u.tenant_no = $1 AND u.user_no = $2 AND j.state = {JOB_SUCCEEDED} AND j.kind IN \
         ({KIND_SYNC}, {KIND_PLAN}) AND j.withheld_users IS NULL AND j.read_at IS NOT NULL AND \
         j.lists_gone = 0 AND u.added_job <= j.job_no AND NOT EXISTS (SELECT 1 FROM job_details d \
         WHERE d.job_no = j.job_no AND (d.category = {CATEGORY_NOT_SYNCHRONIZED} AND d.immutable_id = \
         u.immutable_id OR d.category = {CATEGORY_NOT_VISIBLE} AND d.user_no = u.user_no)) ORDER BY j.job_no DESC LIMIT 1"
    ));
    let synced: Option<i64> = synced.bind(tenant.0).bind(user.number.0).fetch_optional(connection).await?;
    let observed_at = version.observed_at.max(Timestamp(synced.unwrap_or_default()));
    Ok(Some((user, observed_at)))
}
