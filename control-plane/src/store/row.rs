//! One row of a statement over many users, as both engines bind it.

use crate::model::{EntryVersion, NameKey, NameKind, Record, Status, TenantNo, UserValues};
use crate::reconcile::enabling::may_enable;
use crate::reconcile::names;

/// One row of a statement over many users.
pub(crate) struct Row<'a> {
    pub(crate) user_no: i64,
    pub(crate) id: &'a [u8],
    pub(crate) digest: &'a [u8],
    pub(crate) user_name_key: Option<[u8; 16]>,
    pub(crate) mail_key: Option<[u8; 16]>,
    /// Key of the user name as a mail address, where it could be another user's.
    pub(crate) login_key: Option<[u8; 16]>,
    pub(crate) values: &'a UserValues,
    pub(crate) status: i64,
    pub(crate) queue: i64,
    /// Of a record that waits: whether it may enable a user.
    pub(crate) mark_proved: i64,
    /// JSON array of sentences; none if there are none.
    pub(crate) warnings: Option<String>,
    /// Which version of the entry was seen.
    pub(crate) entry_version: Option<String>,
}

impl<'a> Row<'a> {
    pub(crate) fn of(tenant: TenantNo, record: &'a Record, user: i64, status: Status, queue: i64) -> Self {
        Self {
            user_no: user,
            id: &record.id.0,
            digest: &record.digest,
            user_name_key: Some(record.user_name_key.0),
            mail_key: record.mail_key.map(|key| key.0),
            login_key: login_key(tenant, record).map(|key| key.0),
            values: &record.values,
            status: i64::from(status.number()),
            queue,
            mark_proved: i64::from(may_enable(record)),
            warnings: warnings_json(&record.warnings),
            entry_version: record.version.as_ref().map(EntryVersion::to_text),
        }
    }
}

/// The key of a user name as a mail address. None where it is the user's own address, or no address
/// at all: every address has an at sign.
fn login_key(tenant: TenantNo, record: &Record) -> Option<NameKey> {
    let name = &record.values.user_name;
    let key = name.contains('@').then(|| names::key(tenant, NameKind::Mail, name));
    key.filter(|_| record.mail_key != key)
}

/// Warnings as the tables have them.
fn warnings_json(warnings: &[String]) -> Option<String> {
    if warnings.is_empty() {
        return None;
    }
    serde_json::to_string(warnings).ok()
}
