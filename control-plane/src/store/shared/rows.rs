//! Users as rows: what statements over many users are given and what comes back.

use bytes::Bytes;
use sqlx::AssertSqlSafe;

use super::engine::{self, Connection, Query, ROWS};
use crate::model::{
    Fence, ImmutableId, JobNo, KnownUser, NameKey, NameKind, Record, SourceNo, Status, TenantNo, Timestamp,
    UserNo, UserValues,
};
use crate::store::{Result, StoreError};

/// One row of a statement over many users.
pub(in crate::store) struct Row<'a> {
    pub(in crate::store) user_no: i64,
    pub(in crate::store) id: &'a [u8],
    pub(in crate::store) digest: &'a [u8],
    pub(in crate::store) user_name_key: Option<[u8; 16]>,
    pub(in crate::store) mail_key: Option<[u8; 16]>,
    pub(in crate::store) values: &'a UserValues,
    pub(in crate::store) status: i64,
    pub(in crate::store) queue: i64,
}

impl<'a> Row<'a> {
    pub(super) fn of(record: &'a Record, user: i64, status: Status, queue: i64) -> Self {
        Self {
            user_no: user,
            id: &record.id.0,
            digest: &record.digest,
            user_name_key: Some(record.user_name_key.0),
            mail_key: record.mail_key.map(|key| key.0),
            values: &record.values,
            status: i64::from(status.number()),
            queue,
        }
    }
}

/// Text of a statement over [`ROWS`]: only constants are put together.
fn over_rows(before: &str, after: &str) -> Query {
    sqlx::query(AssertSqlSafe(format!("{before} FROM {ROWS} {after}")))
}

/// Binds the four parameters that every statement over rows has, then the rows.
async fn execute(
    connection: &mut Connection,
    query: Query,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<u64> {
    let query = query.bind(fence.tenant.0).bind(fence.source.0).bind(fence.job.0).bind(now.0);
    Ok(engine::rows(query, rows).execute(connection).await?.rows_affected())
}

pub(super) async fn insert_users(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<()> {
    let query = over_rows(
        "INSERT INTO users (tenant_no, user_no, source_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, \
         first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, added_job, status_job, \
         created_at, updated_at, disabled_at) SELECT $1, r.user_no, $2, r.immutable_id, r.digest, r.user_name, \
         r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, r.distinguished_name, \
         r.policy_attributes, r.status, $3, $3, $4, $4, CASE WHEN r.status = 1 THEN NULL ELSE $4 END",
        "",
    );
    execute(connection, query, fence, now, rows).await.map(drop)
}

pub(super) async fn update_users(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<()> {
    let query = over_rows(
        "UPDATE users SET digest = r.digest, user_name = r.user_name, user_name_key = r.user_name_key, mail = r.mail, \
         mail_key = r.mail_key, first_name = r.first_name, last_name = r.last_name, display_name = r.display_name, \
         phone = r.phone, distinguished_name = r.distinguished_name, policy_attributes = r.policy_attributes, \
         status = r.status, changed_job = $3, updated_at = $4, \
         status_job = CASE WHEN users.status = r.status THEN users.status_job ELSE $3 END, \
         disabled_at = CASE WHEN r.status = 1 THEN NULL WHEN users.status = 1 THEN $4 ELSE users.disabled_at END",
        "WHERE users.tenant_no = $1 AND users.source_no = $2 AND users.user_no = r.user_no",
    );
    execute(connection, query, fence, now, rows).await.map(drop)
}

/// Lets records wait; one that waits already is not taken twice. Returns how many are new.
pub(super) async fn insert_deferred(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<i64> {
    // The conditions on the other parameters are always true; they only give the engine their types.
    let query = over_rows(
        "INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, \
         last_name, display_name, phone, distinguished_name, policy_attributes, status) SELECT $3, r.queue, r.immutable_id, \
         r.digest, r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, \
         r.distinguished_name, r.policy_attributes, r.status",
        "WHERE $1 >= 0 AND $2 >= 0 AND $4 >= 0 ON CONFLICT (job_no, immutable_id) DO NOTHING",
    );
    let inserted = execute(connection, query, fence, now, rows).await?;
    Ok(i64::try_from(inserted).unwrap_or(i64::MAX))
}

#[derive(sqlx::FromRow)]
pub(super) struct KnownRow {
    user_no: i64,
    immutable_id: Vec<u8>,
    digest: Vec<u8>,
    status: i64,
    user_name_key: Option<Vec<u8>>,
    mail_key: Option<Vec<u8>>,
    added_job: i64,
    changed_job: i64,
}

pub(super) const KNOWN: &str = "SELECT user_no, immutable_id, digest, status, user_name_key, mail_key, added_job, changed_job FROM users";

impl TryFrom<KnownRow> for KnownUser {
    type Error = StoreError;

    fn try_from(row: KnownRow) -> Result<Self> {
        Ok(Self {
            number: UserNo(row.user_no),
            id: ImmutableId(Bytes::from(row.immutable_id)),
            digest: sixteen(row.digest)?,
            status: status(row.status)?,
            user_name_key: row.user_name_key.map(sixteen).transpose()?.map(NameKey),
            mail_key: row.mail_key.map(sixteen).transpose()?.map(NameKey),
            added_job: JobNo(row.added_job),
            changed_job: JobNo(row.changed_job),
        })
    }
}

/// The users of a source with these ids, in no order.
pub(super) async fn known_by_id<'a>(
    connection: &mut Connection,
    source: SourceNo,
    ids: impl Iterator<Item = &'a ImmutableId>,
) -> Result<Vec<KnownUser>> {
    let text = format!("{KNOWN} WHERE source_no = $1 AND immutable_id {}", engine::in_blobs(2));
    let query = sqlx::query(AssertSqlSafe(text)).bind(source.0);
    fetch_known(connection, engine::blobs(query, ids.map(|id| &id.0[..]))).await
}

/// The users of a tenant that hold one of these names.
pub(super) async fn known_by_name(
    connection: &mut Connection,
    tenant: TenantNo,
    names: &[(NameKind, NameKey)],
) -> Result<Vec<KnownUser>> {
    let mut found = Vec::new();
    for (kind, column) in [(NameKind::UserName, "user_name_key"), (NameKind::Mail, "mail_key")] {
        let keys: Vec<_> = names.iter().filter(|(of, _)| *of == kind).map(|(_, key)| &key.0[..]).collect();
        if keys.is_empty() {
            continue;
        }
        let text = format!("{KNOWN} WHERE tenant_no = $1 AND {column} {}", engine::in_blobs(2));
        let query = sqlx::query(AssertSqlSafe(text)).bind(tenant.0);
        found.extend(fetch_known(connection, engine::blobs(query, keys.into_iter())).await?);
    }
    Ok(found)
}

pub(super) async fn fetch_known(connection: &mut Connection, query: Query) -> Result<Vec<KnownUser>> {
    use sqlx::FromRow;
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| KnownUser::try_from(KnownRow::from_row(row)?)).collect()
}

/// Frees the names of users, so that they can be given out again within the transaction.
pub(super) async fn release_names(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[i64],
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = format!(
        "UPDATE users SET user_name_key = NULL, mail_key = NULL WHERE tenant_no = $1 AND user_no {}",
        engine::in_ints(2)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(tenant.0);
    engine::ints(query, users).execute(connection).await?;
    Ok(())
}

/// Writes users into the job's journal as they are now; whoever is in it already stays as first written.
pub(super) async fn journal(connection: &mut Connection, fence: Fence, users: &[i64]) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = format!(
        "INSERT INTO user_changes (job_no, tenant_no, user_no, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, \
         display_name, phone, distinguished_name, policy_attributes, status, changed_job, status_job, updated_at, disabled_at) \
         SELECT $1, tenant_no, user_no, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, \
         phone, distinguished_name, policy_attributes, status, changed_job, status_job, updated_at, disabled_at FROM users \
         WHERE tenant_no = $2 AND user_no {} ON CONFLICT (job_no, user_no) DO NOTHING",
        engine::in_ints(3)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0).bind(fence.tenant.0);
    engine::ints(query, users).execute(connection).await?;
    Ok(())
}

pub(super) fn sixteen(bytes: Vec<u8>) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| StoreError::Broken("a key or digest that has not 16 bytes".into()))
}

pub(super) fn status(number: i64) -> Result<Status> {
    let status = i16::try_from(number).ok().and_then(Status::from_number);
    status.ok_or_else(|| StoreError::Broken("a user with an unknown status".into()))
}
