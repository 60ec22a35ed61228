//! Users as rows: what statements over many users are given and what comes back.

use bytes::Bytes;

use super::super::codec;
use crate::model::{EntryVersion, ImmutableId, NameKey, Record, Status, UserValues};
use crate::store::{Result, StoreError};

/// The columns of a user's values, under the same names in every table that has them.
#[derive(sqlx::FromRow)]
pub(crate) struct ValuesRow {
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

/// A record as the tables have it: one that waits, or a user as the journal has it from before a
/// job.
#[derive(sqlx::FromRow)]
pub(crate) struct RecordRow {
    immutable_id: Vec<u8>,
    digest: Vec<u8>,
    #[sqlx(flatten)]
    values: ValuesRow,
    user_name_key: Option<Vec<u8>>,
    mail_key: Option<Vec<u8>>,
    status: i64,
    mark_proved: i64,
    warnings: Option<String>,
    entry_version: Option<String>,
}

/// Warnings from their column.
pub(crate) fn warnings(json: Option<&str>) -> Result<Vec<String>> {
    let parse = |json| serde_json::from_str(json).map_err(|error| StoreError::Broken(Box::new(error)));
    json.map_or_else(|| Ok(Vec::new()), parse)
}

impl RecordRow {
    /// Whether it is of a user in scope: only such a one has names.
    pub(crate) fn in_scope(&self) -> Result<bool> {
        Ok(self.user_name_key.is_some() && codec::user_status(self.status)? != Status::OutOfScope)
    }

    pub(crate) fn has_no_id(&self) -> bool {
        ImmutableId(Bytes::copy_from_slice(&self.immutable_id)).is_gone()
    }

    pub(crate) fn whose(self) -> (ImmutableId, UserValues) {
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
            digest: codec::digest_bytes(row.digest)?,
            values: row.values.into(),
            disabled: codec::user_status(row.status)? != Status::Enabled,
            mark_proved: row.mark_proved == 1,
            warnings: warnings(row.warnings.as_deref())?,
            version: row.entry_version.as_deref().and_then(EntryVersion::from_text),
            user_name_key: NameKey(codec::digest_bytes(user_name_key)?),
            mail_key: row.mail_key.map(codec::digest_bytes).transpose()?.map(NameKey),
        })
    }
}
