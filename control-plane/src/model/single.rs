//! The sync of one user: whom, what an identity router found, and what became of it.

use std::time::Duration;

use super::stored_enum::stored_enum;
use super::{
    ImmutableId, JobNo, NotSynchronizedReason, Presence, Record, Rejected, SourceId, SourceNo, Status,
    Timestamp, User, UserNo,
};

/// Whether and how users are synchronized at sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleUserSettings {
    /// Whether sign-ins synchronize.
    pub enabled: bool,
    /// How long router and directory may take.
    pub deadline: Duration,
    /// If they do not answer: how old the last observation may be that still lets a user in. Zero:
    /// none does.
    pub last_known_max_age: Duration,
}

impl SingleUserSettings {
    /// Unless a tenant says otherwise.
    pub const DEADLINE: Duration = Duration::from_secs(5);
}

impl Default for SingleUserSettings {
    fn default() -> Self {
        Self { enabled: false, deadline: Self::DEADLINE, last_known_max_age: Duration::ZERO }
    }
}

/// The user to synchronize.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserSelector {
    /// A known user.
    User(UserNo),
    /// Whoever has this mail address.
    Mail(String),
    /// Whoever has this user name.
    UserName(String),
    /// Whoever has either.
    Login(String),
}

/// By what a router searches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchBy {
    /// By mail address.
    Mail(String),
    /// By user name.
    UserName(String),
    /// By either.
    Login(String),
    /// By immutable id.
    Id(ImmutableId),
}

/// What a router found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// In scope.
    Record(Box<Record>),
    /// In scope, and cannot be used.
    Rejected(Rejected),
    /// Not in scope. By name always [`Presence::NotFound`].
    Absent(Presence),
    /// So many entries in scope have the name.
    Ambiguous(i32),
}

stored_enum! {
    /// What became of the user. The numbers are those of the API.
    #[expect(missing_docs, reason = "the API's reference, just_in_time.proto, documents each")]
    pub enum SingleOutcome {
        Added = 1,
        Updated = 2,
        Unchanged = 3,
        Reenabled = 4,
        DisabledInDirectory = 5,
        DisabledOutOfScope = 6,
        Held = 7,
        NotFound = 8,
        Ambiguous = 9,
        InvalidEmail = 10,
        DuplicateEmail = 11,
        DuplicateUserName = 12,
        DisabledNotAdded = 13,
        MissingUniqueId = 14,
        MissingEmail = 15,
        NoRouter = 16,
        DirectoryUnreachable = 17,
        NotAllowed = 18,
        LicenseLimit = 19,
        InvalidAttribute = 20,
        LastKnown = 21,
        Internal = 22,
        Absent = 23,
        MarkNotVisible = 24,
        OlderServer = 25,
    }
}

impl SingleOutcome {
    /// What a record that cannot be applied comes to.
    #[must_use]
    pub fn refused(reason: NotSynchronizedReason) -> Self {
        use NotSynchronizedReason as Reason;
        match reason {
            Reason::MissingUniqueId => Self::MissingUniqueId,
            Reason::MissingEmail => Self::MissingEmail,
            Reason::InvalidEmail => Self::InvalidEmail,
            Reason::DuplicateEmail => Self::DuplicateEmail,
            Reason::DuplicateUserName => Self::DuplicateUserName,
            Reason::LicenseLimit => Self::LicenseLimit,
            Reason::RejectedByRouterPolicy => Self::NotAllowed,
            Reason::DuplicateUniqueId => Self::Ambiguous,
            Reason::MarkNotVisible => Self::MarkNotVisible,
            Reason::OlderServer => Self::OlderServer,
            Reason::MissingUserName
            | Reason::InvalidAttribute
            | Reason::SyncLimit
            | Reason::EntryUnreadable
            | Reason::AttributeLoss
            | Reason::PlanChanged
            | Reason::ChangedSince
            | Reason::LoginTaken
            | Reason::UserDeleted => Self::InvalidAttribute,
        }
    }

    /// Whether something of a user changed.
    #[must_use]
    pub fn changed(self) -> bool {
        matches!(
            self,
            Self::Added
                | Self::Updated
                | Self::Reenabled
                | Self::DisabledInDirectory
                | Self::DisabledOutOfScope
        )
    }
}

/// A user as it was at one moment: whatever is written to it later makes another version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserVersion {
    /// The user.
    pub user: UserNo,
    /// Digest of the record last applied.
    pub digest: [u8; 16],
    /// Status.
    pub status: Status,
    /// When values or status last changed.
    pub updated_at: Timestamp,
    /// When the directory was last asked for the user alone.
    pub observed_at: Timestamp,
    /// The job that was under way or held then, and its stage.
    pub fetched: (JobNo, i64),
    /// Since when it was not found when it was asked for alone.
    pub absent_since: Option<Timestamp>,
    /// The job that was under way or held when it was last not found, and its stage.
    pub absent_during: (JobNo, i64),
}

/// A user, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSnapshot {
    /// The user.
    pub user: User,
    /// Its source, and the revision of that which is published.
    pub source: (SourceNo, i32),
    /// The version.
    pub version: UserVersion,
}

/// What a sync of one user came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Single {
    /// What became of the user.
    pub outcome: SingleOutcome,
    /// The user as it is now, if there is one.
    pub user: Option<User>,
    /// Whether the user may be let in.
    pub allowed: bool,
    /// When the directory was asked for what `user` shows.
    pub observed_at: Option<Timestamp>,
    /// For people.
    pub message: String,
    /// The source that answered.
    pub source: Option<SourceId>,
    /// Whether a directory has said something that lets nobody in, whatever became of it
    /// afterwards.
    pub denied: bool,
}
