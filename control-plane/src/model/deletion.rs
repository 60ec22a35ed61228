//! Deletion: who is marked and why, and what a tenant wants to be marked by itself.

use std::time::Duration;

use super::stored_enum::stored_enum;
use super::{SourceId, SourceNo, Status, TenantId, TenantNo, Timestamp, UserNo};

/// When users of a tenant are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionSettings {
    /// How long a marked user can be undeleted.
    pub pending_period: Duration,
    /// Users who are disabled for so long are marked. None: nobody is.
    pub disabled_for: Option<Duration>,
    /// Users who never signed in and were not synchronized for so long are marked. None: nobody is.
    pub unused_for: Option<Duration>,
}

impl DeletionSettings {
    /// Unless a tenant says otherwise: 7 days.
    pub const PENDING_PERIOD: Duration = Duration::from_secs(7 * 24 * 3_600);
}

impl Default for DeletionSettings {
    fn default() -> Self {
        Self { pending_period: Self::PENDING_PERIOD, disabled_for: None, unused_for: None }
    }
}

stored_enum! {
    /// Why a user is marked. The numbers are those of the API and of the tables.
    pub enum MarkReason {
        /// An administrator wants it.
        Administrator = 1,
        /// It was disabled for as long as the tenant's settings say.
        LongDisabled = 2,
        /// It never signed in, and was not synchronized for as long as the settings say.
        LongUnused = 3,
    }
}

/// A mark for deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Since when.
    pub at: Timestamp,
    /// When the user is deleted.
    pub purge_at: Timestamp,
    /// Whoever marked it, as the audit trail names them.
    pub by: String,
    /// Why.
    pub reason: MarkReason,
}

/// What is known of a user where it is decided whether it is marked or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserStanding {
    /// The user.
    pub user: UserNo,
    /// Its status.
    pub status: Status,
    /// Since when it is not enabled.
    pub disabled_at: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When a sync last changed it.
    pub updated_at: Timestamp,
    /// When the directory was last asked for it alone.
    pub observed_at: Timestamp,
    /// When the newest complete read of its source began.
    pub source_synced_at: Option<Timestamp>,
    /// When it was last let in at a sign-in.
    pub last_sign_in_at: Option<Timestamp>,
    /// When an administrator last took a mark off.
    pub undeleted_at: Option<Timestamp>,
    /// Why it is marked, and since when.
    pub mark: Option<(MarkReason, Timestamp)>,
}

/// Users of one source whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuePurge {
    /// Their tenant.
    pub tenant: TenantId,
    /// Their source.
    pub source: SourceId,
    /// Its number.
    pub source_no: SourceNo,
}

/// A tenant in which the marks are to be looked through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marking {
    /// The tenant.
    pub tenant: TenantId,
    /// Its number.
    pub number: TenantNo,
    /// Its settings.
    pub settings: DeletionSettings,
}
