//! What the control plane keeps of a person.

use super::{
    Absence, ImmutableId, JobNo, Mark, NameKey, NameKind, SourceId, Status, Timestamp, UserNo, UserValues,
};

/// What reconciliation needs to know of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownUser {
    /// Number.
    pub number: UserNo,
    /// Immutable id.
    pub id: ImmutableId,
    /// Digest of the record last applied.
    pub digest: [u8; 16],
    /// Status.
    pub status: Status,
    /// Key of the user name; none while out of scope.
    pub user_name_key: Option<NameKey>,
    /// Key of the mail address; none while out of scope, or without mail.
    pub mail_key: Option<NameKey>,
    /// Job that added the user.
    pub added_job: JobNo,
    /// Job that last changed the user.
    pub changed_job: JobNo,
    /// The job that was under way or held when the user was last fetched alone, and its stage:
    /// twice the number of its reads, and one more once it reconciles.
    pub fetched: (JobNo, i64),
}

impl KnownUser {
    /// The names that the user holds.
    pub fn names(&self) -> impl Iterator<Item = (NameKind, NameKey)> + use<> {
        [(NameKind::UserName, self.user_name_key), (NameKind::Mail, self.mail_key)]
            .into_iter()
            .filter_map(|(kind, key)| key.map(|key| (kind, key)))
    }

    /// Whether this job has counted the user as added or updated already, in this read or in an
    /// earlier one.
    #[must_use]
    pub fn counted_by(&self, job: JobNo) -> bool {
        self.added_job == job || self.changed_job == job
    }

    /// Whether the user was fetched alone after this read of the job began: what the read has of it
    /// may be older.
    #[must_use]
    pub fn fetched_during(&self, job: JobNo, read: i64) -> bool {
        self.fetched.0 == job && self.fetched.1 >= 2 * read
    }
}

/// A user, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Number within the tenant.
    pub number: UserNo,
    /// The source that represents the user.
    pub source: SourceId,
    /// Immutable id.
    pub id: ImmutableId,
    /// Values.
    pub values: UserValues,
    /// Status.
    pub status: Status,
    /// Since when the user is not enabled.
    pub disabled_at: Option<Timestamp>,
    /// What became of the entry, as far as the directory showed it; only of a user out of scope.
    pub absence: Option<Absence>,
    /// When the user was added.
    pub created_at: Timestamp,
    /// When values or status last changed.
    pub updated_at: Timestamp,
    /// When the user was last let in at a sign-in, to within an hour.
    pub last_sign_in_at: Option<Timestamp>,
    /// Whether the user is to be deleted.
    pub mark: Option<Mark>,
    /// Since when an enabled user was not found when it was asked for alone, as at sign-ins. None
    /// if it was found since.
    pub absent_since: Option<Timestamp>,
    /// Optional values of the entry that cannot be used and were left out, a sentence each.
    pub warnings: Vec<String>,
    /// Whether the user name or the mail address is no login, since another user has it as well and
    /// had it first, or both got it by one job. Known only where users are shown.
    pub login_taken: bool,
}

/// Which users to list.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct UserFilter {
    /// Only of this source.
    pub source: Option<SourceId>,
    /// Only enabled (true) or disabled (false) ones.
    pub enabled: Option<bool>,
    /// Only those whose user name, mail or display name contains this; ASCII case is ignored.
    pub text: Option<String>,
    /// Only those that are marked for deletion.
    pub pending_deletion: bool,
    /// Only those that sign-ins have not found.
    pub absent: bool,
}
