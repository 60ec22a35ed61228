//! What can go wrong in the store, in the words of the domain.

use uuid::Uuid;

use crate::model::UserNo;

/// Result of an operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why a store method did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// There is one of that name.
    #[error("there is such {0} already")]
    AlreadyExists(&'static str),
    /// Someone else changed it meanwhile.
    #[error("it was changed by someone else meanwhile")]
    VersionMismatch,
    /// An operator suspended the tenant.
    #[error("the tenant is suspended")]
    TenantSuspended,
    /// The tenant has no users of these numbers.
    #[error("there are no such users")]
    NoSuchUsers(Vec<UserNo>),
    /// The user is enabled.
    #[error("the user is enabled")]
    UserEnabled,
    /// The source has a job that has not ended.
    #[error("a sync job of the source is running")]
    JobRunning(Uuid),
    /// The source has users.
    #[error("the identity source has users")]
    SourceHasUsers,
    /// The source has users who are known by another immutable id.
    #[error("the source's users are known by another immutable id")]
    ImmutableIdInUse,
    /// So many users came, or came back, since the dry run of the draft with another immutable id.
    #[error("{0} users are not in the dry run of the draft")]
    NotInDryRun(i64),
    /// The source was never published.
    #[error("the identity source is not published")]
    SourceNotPublished,
    /// No more of these.
    #[error("no more than {0} are possible")]
    TooMany(i64),
    /// The tenant has as many webhooks as it can have.
    #[error("no more than {0} webhooks are possible")]
    TooManyWebhooks(i64),
    /// The webhook was tested a moment ago.
    #[error("the webhook was tested just now")]
    TestedJustNow,
    /// The identity router was revoked: its name is never given again.
    #[error("the identity router was revoked")]
    RouterRevoked,
    /// The identity router may not connect any more.
    #[error("the identity router may not connect")]
    RouterInactive,
    /// The tenant has as many open registration codes as it can have.
    #[error("no more than {0} open registration codes are possible")]
    TooManyCodes(i64),
    /// The registration code was used or voided, or has expired.
    #[error("the registration code has ended")]
    CodeEnded,
    /// The job's details were thrown away when a later one began.
    #[error("the details were replaced by a later job")]
    DetailsReplaced,
    /// The fence is void: the job has ended, or another read of it has begun.
    #[error("the job has ended or was taken over")]
    Fenced,
    /// The job is not held.
    #[error("the job is not held")]
    NotHeld,
    /// Another list is held than the one that was looked at.
    #[error("another list is held")]
    HoldChanged,
    /// It is too late to decide.
    #[error("the hold has expired")]
    HoldExpired,
    /// The job cannot be undone, and why.
    #[error("{0}")]
    NotUndoable(&'static str),
    /// The plan cannot be applied or shown, and why.
    #[error("{0}")]
    PlanUnusable(&'static str),
    /// The source was published anew while the job ran.
    #[error("the source was published anew")]
    ConfigChanged,
    /// The database did not answer in time, or not at all. Trying again later can help.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database's disk is full: nothing of the write is there. It can be tried again once there
    /// is space.
    #[error("the database's disk is full: make room there")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row that cannot be right, or a statement that the database refused.
    #[error("the database failed")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Codes of a full disk: PostgreSQL's; SQLite's for its files, and for the index of its log.
const FULL: [&str; 3] = ["53100", "13", "4874"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error
            && database.code().is_some_and(|code| FULL.contains(&code.as_ref()))
        {
            return Self::Full(Box::new(error));
        }
        let passes = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            // PostgreSQL: connection trouble, shutdown, serialization, locks, resources. SQLite:
            // busy, locked.
            sqlx::Error::Database(database) => database.code().is_some_and(|code| {
                ["08", "40", "53", "55", "57"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                    || matches!(code.as_ref(), "5" | "6" | "261" | "517")
            }),
            _ => false,
        };
        if passes { Self::Unavailable(Box::new(error)) } else { Self::Broken(Box::new(error)) }
    }
}

impl StoreError {
    /// Whether the same transaction may well succeed if it is tried again at once: it lost against
    /// another one.
    pub(super) fn lost_a_race(&self) -> bool {
        let Self::Unavailable(cause) = self else { return false };
        match cause.downcast_ref::<sqlx::Error>() {
            Some(sqlx::Error::Database(database)) => {
                database.code().is_some_and(|code| matches!(code.as_ref(), "40001" | "40P01" | "5" | "517"))
            }
            _ => false,
        }
    }
}
