//! Users as rows: what statements over many users are given and what comes back.

use std::collections::HashMap;

use bytes::Bytes;
use sqlx::{AssertSqlSafe, FromRow};

use super::engine::{self, Connection, Query};
use crate::model::{
    Fence, ImmutableId, JobNo, KnownUser, NameKey, NameKind, Record, SourceNo, Status, TenantNo, Timestamp,
    UserNo, UserValues,
};
use crate::store::{Result, StoreError};

/// The columns of a user's values, under the same names in every table that has them.
#[derive(FromRow)]
pub(super) struct ValuesRow {
    user_name: String,
    mail: String,
    first_name: String,
    last_name: String,
    display_name: String,
    phone: String,
    distinguished_name: String,
    policy_attributes: String,
}

impl From<ValuesRow> for UserValues {
    fn from(row: ValuesRow) -> Self {
        Self {
            user_name: row.user_name,
            mail: row.mail,
            first_name: row.first_name,
            last_name: row.last_name,
            display_name: row.display_name,
            phone: row.phone,
            distinguished_name: row.distinguished_name,
            policy_attributes: row.policy_attributes,
        }
    }
}

/// A record as the tables have it: one that waits, or a user as the journal has it from before a job.
#[derive(FromRow)]
pub(super) struct RecordRow {
    immutable_id: Vec<u8>,
    digest: Vec<u8>,
    #[sqlx(flatten)]
    values: ValuesRow,
    user_name_key: Option<Vec<u8>>,
    mail_key: Option<Vec<u8>>,
    status: i64,
}

impl RecordRow {
    /// Whether it is of a user in scope: only such a one has names.
    pub(super) fn in_scope(&self) -> Result<bool> {
        Ok(self.user_name_key.is_some() && status(self.status)? != Status::OutOfScope)
    }

    pub(super) fn has_no_id(&self) -> bool {
        ImmutableId(Bytes::copy_from_slice(&self.immutable_id)).is_gone()
    }

    pub(super) fn whose(self) -> (ImmutableId, UserValues) {
        (ImmutableId(Bytes::from(self.immutable_id)), self.values.into())
    }
}

impl TryFrom<RecordRow> for Record {
    type Error = StoreError;

    fn try_from(row: RecordRow) -> Result<Self> {
        let user_name_key =
            row.user_name_key.ok_or_else(|| StoreError::Broken("a record without user name".into()))?;
        Ok(Self {
            id: ImmutableId(Bytes::from(row.immutable_id)),
            digest: sixteen(row.digest)?,
            values: row.values.into(),
            disabled: status(row.status)? != Status::Enabled,
            user_name_key: NameKey(sixteen(user_name_key)?),
            mail_key: row.mail_key.map(sixteen).transpose()?.map(NameKey),
        })
    }
}

/// Names by the two columns of their keys.
pub(super) fn names(user_name: Option<Vec<u8>>, mail: Option<Vec<u8>>) -> Result<Vec<(NameKind, NameKey)>> {
    let mut names = Vec::new();
    for (kind, key) in [(NameKind::UserName, user_name), (NameKind::Mail, mail)] {
        names.extend(key.map(sixteen).transpose()?.map(|key| (kind, NameKey(key))));
    }
    Ok(names)
}

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

/// Runs a statement over rows: `before FROM rows AS r after`. In both texts $1 to $4 are tenant, source, job and now; the engine gives
/// them the numbers that fit its way to bind rows.
async fn execute(
    connection: &mut Connection,
    (before, after): (&str, &str),
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<u64> {
    let mut affected = 0;
    for rows in rows.chunks(engine::MOST_ROWS) {
        let numbers = engine::scalars(rows.len());
        let renumber = |text: &str| {
            let numbered = (0..4).rev().fold(text.to_owned(), |text, at| {
                text.replace(&format!("${}", at + 1), &format!("@{}", numbers[at]))
            });
            numbered.replace('@', "$")
        };
        let text =
            format!("{} FROM {} {}", renumber(before), engine::rows_table(rows.len()), renumber(after));
        let scalars = [fence.tenant.0, fence.source.0, fence.job.0, now.0];
        let query = sqlx::query(AssertSqlSafe(text)).persistent(engine::same_text(rows.len()));
        let query = engine::bind_rows(query, scalars, rows);
        affected += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(affected)
}

pub(super) async fn insert_users(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<()> {
    let text = (
        "INSERT INTO users (tenant_no, user_no, source_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, \
         first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, added_job, status_job, \
         created_at, updated_at, disabled_at) SELECT $1, r.user_no, $2, r.immutable_id, r.digest, r.user_name, \
         r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, r.distinguished_name, \
         r.policy_attributes, r.status, $3, $3, $4, $4, CASE WHEN r.status = 1 THEN NULL ELSE $4 END",
        "",
    );
    execute(connection, text, fence, now, rows).await.map(drop)
}

/// The begin of a change of users that are there. Written as an upsert, which both engines drive from the rows: an UPDATE … FROM may read
/// the whole table instead.
const CHANGE: &str = "INSERT INTO users (tenant_no, user_no, source_no, immutable_id, digest, user_name, user_name_key, mail, mail_key, \
     first_name, last_name, display_name, phone, distinguished_name, policy_attributes, status, added_job, changed_job, \
     created_at, updated_at) SELECT $1, r.user_no, $2, r.immutable_id, r.digest, r.user_name, r.user_name_key, r.mail, \
     r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, r.distinguished_name, r.policy_attributes, r.status, $3, \
     $3, $4, $4";

/// Changes users that are there.
pub(super) async fn update_users(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<()> {
    let text = (
        CHANGE,
        "WHERE true ON CONFLICT (tenant_no, user_no) DO UPDATE SET digest = excluded.digest, user_name = excluded.user_name, \
         user_name_key = excluded.user_name_key, mail = excluded.mail, mail_key = excluded.mail_key, \
         first_name = excluded.first_name, last_name = excluded.last_name, display_name = excluded.display_name, \
         phone = excluded.phone, distinguished_name = excluded.distinguished_name, \
         policy_attributes = excluded.policy_attributes, status = excluded.status, changed_job = excluded.changed_job, \
         updated_at = excluded.updated_at, \
         status_job = CASE WHEN users.status = excluded.status THEN users.status_job ELSE excluded.changed_job END, \
         disabled_at = CASE WHEN excluded.status = 1 THEN NULL WHEN users.status = 1 THEN excluded.updated_at \
         ELSE users.disabled_at END",
    );
    execute(connection, text, fence, now, rows).await.map(drop)
}

/// Disables enabled users as their directory has them, and leaves everything else as it was.
pub(super) async fn disable_in_directory(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
    now: Timestamp,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = format!(
        "UPDATE users SET status = 2, status_job = $2, changed_job = $2, updated_at = $3, disabled_at = $3 \
         WHERE tenant_no = $1 AND user_no {}",
        engine::in_ints(4)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.tenant.0).bind(fence.job.0).bind(now.0);
    engine::ints(query, users).execute(connection).await?;
    Ok(())
}

/// Notes the digests of records that are as their users are.
pub(super) async fn refresh_digests(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<()> {
    let text = (CHANGE, "WHERE true ON CONFLICT (tenant_no, user_no) DO UPDATE SET digest = excluded.digest");
    execute(connection, text, fence, now, rows).await.map(drop)
}

/// Lets records wait; one that waits already is not taken twice. Returns how many are new.
pub(super) async fn insert_deferred(
    connection: &mut Connection,
    fence: Fence,
    now: Timestamp,
    rows: &[Row<'_>],
) -> Result<i64> {
    // The conditions on the other parameters are always true; they only give the engine their types.
    let text = (
        "INSERT INTO deferred_records (job_no, queue, immutable_id, digest, user_name, user_name_key, mail, mail_key, first_name, \
         last_name, display_name, phone, distinguished_name, policy_attributes, status) SELECT $3, r.queue, r.immutable_id, \
         r.digest, r.user_name, r.user_name_key, r.mail, r.mail_key, r.first_name, r.last_name, r.display_name, r.phone, \
         r.distinguished_name, r.policy_attributes, r.status",
        "WHERE $1 >= 0 AND $2 >= 0 AND $4 >= 0 ON CONFLICT (job_no, immutable_id) DO NOTHING",
    );
    let inserted = execute(connection, text, fence, now, rows).await?;
    Ok(i64::try_from(inserted).unwrap_or(i64::MAX))
}

/// Digests of those of these records that wait.
pub(super) async fn waiting_digests(
    connection: &mut Connection,
    fence: Fence,
    ids: &[ImmutableId],
) -> Result<HashMap<ImmutableId, [u8; 16]>> {
    let text = format!(
        "SELECT immutable_id, digest FROM deferred_records WHERE job_no = $1 AND immutable_id {}",
        engine::in_blobs(2)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0);
    let rows = engine::blobs(query, ids.iter().map(|id| &id.0[..])).fetch_all(connection).await?;
    let digest = |row| -> Result<(ImmutableId, [u8; 16])> {
        let (id, digest): (Vec<u8>, Vec<u8>) = FromRow::from_row(row)?;
        Ok((ImmutableId(id.into()), sixteen(digest)?))
    };
    rows.iter().map(digest).collect()
}

#[derive(FromRow)]
pub(super) struct KnownRow {
    user_no: i64,
    immutable_id: Vec<u8>,
    digest: Vec<u8>,
    status: i64,
    user_name_key: Option<Vec<u8>>,
    mail_key: Option<Vec<u8>>,
    added_job: i64,
    changed_job: i64,
    fetched_job: i64,
    fetched_stage: i64,
}

const KNOWN: &str = "SELECT users.user_no, users.immutable_id, users.digest, users.status, users.user_name_key, users.mail_key, \
     users.added_job, users.changed_job, users.fetched_job, users.fetched_stage";

/// Known users by keys, which are bound by [`engine::blobs`] as $2: one look-up in an index a key. Left to themselves, planners that
/// have not yet heard how many users there are read all of them instead.
fn by_keys(condition: &str) -> String {
    format!("{KNOWN} {}", engine::users_by_keys(condition))
}

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
            fetched: (JobNo(row.fetched_job), row.fetched_stage),
        })
    }
}

/// The users of a source with these ids, in no order.
pub(super) async fn known_by_id<'a>(
    connection: &mut Connection,
    source: SourceNo,
    ids: impl Iterator<Item = &'a ImmutableId>,
) -> Result<Vec<KnownUser>> {
    let text = by_keys("users.source_no = $1 AND users.immutable_id = k.key");
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
        // The key alone decides: the tenant is part of it.
        let text = by_keys(&format!("users.tenant_no + 0 = $1 AND users.{column} = k.key"));
        let query = sqlx::query(AssertSqlSafe(text)).bind(tenant.0);
        found.extend(fetch_known(connection, engine::blobs(query, keys.into_iter())).await?);
    }
    Ok(found)
}

pub(super) async fn fetch_known(connection: &mut Connection, query: Query) -> Result<Vec<KnownUser>> {
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

/// What a job did to a user, as the journal has it. The numbers are those of the tables, and add up.
#[derive(Clone, Copy)]
#[repr(i64)]
pub(super) enum Change {
    /// Changed it.
    Updated = 1,
    /// Disabled it for absence.
    Disabled = 2,
}

/// Writes users into the job's journal as they are now; whoever is in it already stays as first written.
pub(super) async fn journal(
    connection: &mut Connection,
    fence: Fence,
    users: &[i64],
    change: Change,
) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let text = format!(
        "INSERT INTO user_changes (job_no, tenant_no, user_no, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, \
         display_name, phone, distinguished_name, policy_attributes, status, changed_job, status_job, updated_at, disabled_at, what) \
         SELECT $1, tenant_no, user_no, digest, user_name, user_name_key, mail, mail_key, first_name, last_name, display_name, \
         phone, distinguished_name, policy_attributes, status, changed_job, status_job, updated_at, disabled_at, $3 FROM users \
         WHERE tenant_no = $2 AND user_no {} ON CONFLICT (job_no, user_no) DO UPDATE SET what = user_changes.what | excluded.what",
        engine::in_ints(4)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(fence.job.0).bind(fence.tenant.0).bind(change as i64);
    engine::ints(query, users).execute(connection).await?;
    Ok(())
}

/// The values of users.
pub(super) async fn values(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[i64],
) -> Result<HashMap<i64, UserValues>> {
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let text = format!(
        "SELECT user_no, user_name, mail, first_name, last_name, display_name, phone, distinguished_name, policy_attributes FROM users \
         WHERE tenant_no = $1 AND user_no {}",
        engine::in_ints(2)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(tenant.0);
    let rows = engine::ints(query, users).fetch_all(connection).await?;
    let values = |row| -> Result<(i64, UserValues)> {
        let (user,): (i64,) = FromRow::from_row(row)?;
        Ok((user, ValuesRow::from_row(row)?.into()))
    };
    rows.iter().map(values).collect()
}

/// An INSERT of so many rows: `into`, then for each row the parameters up to `shared`, which all have, and `own` more of its own.
pub(super) fn insert_many(into: &str, shared: usize, own: usize, rows: usize) -> String {
    let numbers = |from: usize, count: usize| (from..from + count).map(|number| format!("${number}"));
    let row = |row: usize| {
        let parameters: Vec<_> = numbers(1, shared).chain(numbers(1 + shared + row * own, own)).collect();
        format!("({})", parameters.join(", "))
    };
    format!("INSERT INTO {into} VALUES {}", (0..rows).map(row).collect::<Vec<_>>().join(", "))
}

pub(super) fn sixteen(bytes: Vec<u8>) -> Result<[u8; 16]> {
    bytes.try_into().map_err(|_| StoreError::Broken("a key or digest that has not 16 bytes".into()))
}

pub(super) fn status(number: i64) -> Result<Status> {
    let status = i16::try_from(number).ok().and_then(Status::from_number);
    status.ok_or_else(|| StoreError::Broken("a user with an unknown status".into()))
}
