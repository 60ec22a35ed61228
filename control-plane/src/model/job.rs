//! A sync job, its counts, and what may write for it.

use uuid::Uuid;

use super::stored_enum::stored_enum;
use super::{
    FailureReason, Hold, JobKind, JobNo, KnownBy, ReadFacts, RouterId, SourceId, SourceNo, SyncPlan,
    TenantId, TenantNo, Timestamp, UserNo,
};

stored_enum! {
    /// Where a job is. The numbers are those of the API and of the tables.
    pub enum JobState {
        /// Waits for a router.
        Queued = 1,
        /// Reads or reconciles.
        Running = 2,
        /// Ended well.
        Succeeded = 3,
        /// Ended by an admin.
        Stopped = 4,
        /// Ended by a [`Failure`].
        Failed = 5,
        /// Waits for an administrator before it disables anyone: see [`Hold`].
        Held = 6,
    }
}

impl JobState {
    /// Whether the job has ended.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Stopped | Self::Failed)
    }
}

stored_enum! {
    /// What a running job is doing. The numbers are those of the API and of the tables.
    pub enum Phase {
        /// Records are applied as they come.
        Reading = 1,
        /// The read is complete; leavers are disabled, records that waited are settled.
        Reconciling = 2,
    }
}

/// What became of the records; also used for the differences that one transaction makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// New users.
    pub added: i64,
    /// Changed users.
    pub updated: i64,
    /// Users that were right already.
    pub unchanged: i64,
    /// Users disabled for absence.
    pub disabled: i64,
    /// Records not applied.
    pub not_synchronized: i64,
    /// Of the updated.
    pub reenabled: i64,
    /// Of the added and updated.
    pub disabled_in_directory: i64,
    /// Records in the deferred table.
    pub waiting: i64,
    /// Absent users who were in scope when looked up again.
    pub still_in_scope: i64,
    /// Users of the source with warnings after the job; none until then.
    pub warnings: Option<i64>,
    /// Absent users who were left alone, since the directory does not show that they are gone.
    pub not_visible: i64,
}

impl Counts {
    /// Distinct records handled.
    #[must_use]
    pub fn read(&self) -> i64 {
        self.added + self.updated + self.unchanged + self.not_synchronized
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.disabled += other.disabled;
        self.not_synchronized += other.not_synchronized;
        self.reenabled += other.reenabled;
        self.disabled_in_directory += other.disabled_in_directory;
        self.waiting += other.waiting;
        self.still_in_scope += other.still_in_scope;
        self.not_visible += other.not_visible;
    }
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub reason: FailureReason,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure with its usual text.
    #[must_use]
    pub fn of(reason: FailureReason) -> Self {
        Self { reason, message: reason.text().to_owned() }
    }
}

/// Leavers who were left alone in a job that otherwise succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// For people.
    pub message: String,
    /// How many.
    pub users: i64,
}

/// A sync job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncJob {
    /// Number in the store.
    pub number: JobNo,
    /// Id in its resource name; a UUID of version 7, so ids sort by time.
    pub id: Uuid,
    /// The tenant.
    pub tenant: TenantId,
    /// The tenant's number.
    pub tenant_no: TenantNo,
    /// The source.
    pub source: SourceId,
    /// The source's number.
    pub source_no: SourceNo,
    /// What it does.
    pub kind: JobKind,
    /// The job whose plan it applies, or which it undoes.
    pub origin: Option<Uuid>,
    /// What a dry run found.
    pub plan: Option<SyncPlan>,
    /// State.
    pub state: JobState,
    /// Phase while running.
    pub phase: Option<Phase>,
    /// Counts.
    pub counts: Counts,
    /// Users of the source before the job.
    pub expected: i64,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Leavers left alone.
    pub withheld: Option<Withheld>,
    /// Disables that wait, or waited, for an administrator.
    pub hold: Option<Hold>,
    /// Published revision that the job reads.
    pub revision: i32,
    /// Router that read last.
    pub router: Option<RouterId>,
    /// How often the directory was read from its beginning. Not the fence's epoch, which rises with
    /// each claim, too.
    pub reads: i64,
    /// Who started it.
    pub started_by: String,
    /// Who stopped it.
    pub stopped_by: String,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it began to read.
    pub started_at: Option<Timestamp>,
    /// When it last got on.
    pub progress_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A job as the dispatcher sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// Number in the store.
    pub number: JobNo,
    /// The tenant.
    pub tenant: TenantId,
    /// The source.
    pub source: SourceId,
    /// What it does.
    pub kind: JobKind,
    /// When it last got on; when it was queued, before that.
    pub progress_at: Timestamp,
    /// The router that read the source last, whichever job that was.
    pub last_router: Option<RouterId>,
}

/// The right to write for one read of one job: void as soon as the job has ended or a later read
/// has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The job.
    pub job: JobNo,
    /// The read.
    pub epoch: i64,
    /// The tenant's number.
    pub tenant: TenantNo,
    /// The source's number.
    pub source: SourceNo,
}

/// What a read starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadStart {
    /// The right to write.
    pub fence: Fence,
    /// Users of the source, whatever their status.
    pub known: i64,
    /// Users of the source that are enabled.
    pub enabled: i64,
    /// Users in scope numbered from here on are beyond the sync limit, if more are in scope.
    pub beyond_limit: Option<UserNo>,
    /// What the job does.
    pub kind: JobKind,
    /// What the last trusted read of the published revision found; none before the first.
    pub before: Option<ReadFacts>,
    /// In the dry run of a draft with another immutable id: what the source's users are known by.
    /// Each entry is read with both.
    pub former: Option<KnownBy>,
}
