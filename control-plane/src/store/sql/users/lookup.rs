//! Known users by immutable id, by name and by number.

use std::collections::HashMap;

use bytes::Bytes;
use sqlx::FromRow;

use super::super::dialect::{Connection, IN_INTS_2, Query, USERS_BY_KEYS, USERS_BY_KEYS_END};
use super::super::statement::sql;
use super::super::{codec, dialect, statement};
use super::rows::ValuesRow;
use crate::model::{
    ImmutableId, JobNo, KnownUser, NameKey, NameKind, SourceNo, TenantNo, UserNo, UserValues,
};
use crate::store::{Result, StoreError};

#[derive(sqlx::FromRow)]
pub(crate) struct KnownRow {
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

/// Known users by keys, which are bound by [`dialect::blobs`] as $2: one look-up in an index a key.
/// Left to themselves, planners that have not yet heard how many users there are read all of them.
const KNOWN: &str = "SELECT users.user_no, users.immutable_id, users.digest, users.status, users.user_name_key, \
     users.mail_key, users.added_job, users.changed_job, users.fetched_job, users.fetched_stage";

impl TryFrom<KnownRow> for KnownUser {
    type Error = StoreError;

    fn try_from(row: KnownRow) -> Result<Self> {
        Ok(Self {
            number: UserNo(row.user_no),
            id: ImmutableId(Bytes::from(row.immutable_id)),
            digest: codec::digest_bytes(row.digest)?,
            status: codec::user_status(row.status)?,
            user_name_key: row.user_name_key.map(codec::digest_bytes).transpose()?.map(NameKey),
            mail_key: row.mail_key.map(codec::digest_bytes).transpose()?.map(NameKey),
            added_job: JobNo(row.added_job),
            changed_job: JobNo(row.changed_job),
            fetched: (JobNo(row.fetched_job), row.fetched_stage),
        })
    }
}

/// The users of a source with these ids, in no order.
pub(crate) async fn known_by_id<'a>(
    connection: &mut Connection,
    source: SourceNo,
    ids: impl Iterator<Item = &'a ImmutableId>,
) -> Result<Vec<KnownUser>> {
    let text =
        sql!("{KNOWN} {USERS_BY_KEYS}users.source_no = $1 AND users.immutable_id = k.key{USERS_BY_KEYS_END}");
    let query = statement::query(text).bind(source.0);
    fetch_known(connection, dialect::blobs(query, ids.map(|id| &id.0[..]))).await
}

/// The users of a tenant that hold one of these names.
pub(crate) async fn known_by_name(
    connection: &mut Connection,
    tenant: TenantNo,
    names: &[(NameKind, NameKey)],
) -> Result<Vec<KnownUser>> {
    let mut found = Vec::new();
    // The key alone decides: the tenant is part of it.
    let by_user_name = sql!(
        "{KNOWN} {USERS_BY_KEYS}users.tenant_no + 0 = $1 AND users.user_name_key = k.key{USERS_BY_KEYS_END}"
    );
    let by_mail =
        sql!("{KNOWN} {USERS_BY_KEYS}users.tenant_no + 0 = $1 AND users.mail_key = k.key{USERS_BY_KEYS_END}");
    for (kind, text) in [(NameKind::UserName, by_user_name), (NameKind::Mail, by_mail)] {
        let keys: Vec<_> = names.iter().filter(|(of, _)| *of == kind).map(|(_, key)| &key.0[..]).collect();
        if keys.is_empty() {
            continue;
        }
        let query = statement::query(text).bind(tenant.0);
        found.extend(fetch_known(connection, dialect::blobs(query, keys.into_iter())).await?);
    }
    Ok(found)
}

pub(crate) async fn fetch_known(connection: &mut Connection, query: Query) -> Result<Vec<KnownUser>> {
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| KnownUser::try_from(KnownRow::from_row(row)?)).collect()
}

/// The values of users.
pub(crate) async fn values(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[i64],
) -> Result<HashMap<i64, UserValues>> {
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let text = sql!(
        "SELECT user_no, user_name, mail, first_name, last_name, display_name, phone, \
         distinguished_name, policy_attributes FROM users WHERE tenant_no = $1 AND user_no \
         {IN_INTS_2}"
    );
    let query = statement::query(text).bind(tenant.0);
    let rows = dialect::ints(query, users).fetch_all(connection).await?;
    let values = |row| -> Result<(i64, UserValues)> {
        let (user,): (i64,) = FromRow::from_row(row)?;
        Ok((user, ValuesRow::from_row(row)?.into()))
    };
    rows.iter().map(values).collect()
}
