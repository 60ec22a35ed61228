//! One row of a statement over many users, as both engines bind it.

use crate::model::{EntryVersion, Record, Status, UserValues};
use crate::reconcile::enabling::may_enable;

/// One row of a statement over many users.
pub(crate) struct Row<'a> {
    pub(crate) user_no: i64,
    pub(crate) id: &'a [u8],
    pub(crate) digest: &'a [u8],
    pub(crate) user_name_key: Option<[u8; 16]>,
    pub(crate) mail_key: Option<[u8; 16]>,
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
    pub(crate) fn of(record: &'a Record, user: i64, status: Status, queue: i64) -> Self {
        Self {
            user_no: user,
            id: &record.id.0,
            digest: &record.digest,
            user_name_key: Some(record.user_name_key.0),
            mail_key: record.mail_key.map(|key| key.0),
            values: &record.values,
            status: i64::from(status.number()),
            queue,
            mark_proved: i64::from(may_enable(record)),
            warnings: warnings_json(&record.warnings),
            entry_version: record.version.as_ref().map(EntryVersion::to_text),
        }
    }
}

/// Warnings as the tables have them.
fn warnings_json(warnings: &[String]) -> Option<String> {
    if warnings.is_empty() {
        return None;
    }
    serde_json::to_string(warnings).ok()
}
