//! What kind of work a sync job does, and the plan that a dry run makes.

use super::stored_enum::stored_enum;
use super::{
    Absence, BrokenCheck, ImmutableId, NotSynchronizedReason, Status, Timestamp, UserNo, UserValues,
};

stored_enum! {
    /// What a job does. The numbers are those of the API and of the tables.
    pub enum JobKind {
        /// Brings the users in line with the directory.
        Sync = 1,
        /// Finds out what a sync would do, and changes nobody.
        DryRun = 2,
        /// A sync that does what a plan says and nothing else.
        Plan = 3,
        /// Gives users back what they were before another job.
        Undo = 4,
    }
}

/// What a dry run found that a sync would do. Its entries are kept until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncPlan {
    /// Until when it can be applied.
    pub expires_at: Timestamp,
    /// Why a sync would be held: every check that broke, the most telling first; none if it would
    /// not be.
    pub doubts: Vec<BrokenCheck>,
    /// Whether it is of the draft: such a plan only shows what publishing it would lead to.
    pub of_draft: bool,
}

/// What would become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedChange {
    /// A new user.
    Add(Status),
    /// A known user would get the record's values and this status.
    Update(Status),
    /// A known user would be disabled, and otherwise stay as it is: another one has a name that it
    /// has in the directory.
    DisableOnly(NotSynchronizedReason),
    /// Nothing.
    Refuse(NotSynchronizedReason),
}

/// A line of a plan before it is written: a record that waits, by its id, or an absent user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanLine {
    /// What would become of a record.
    Record(ImmutableId, PlannedChange),
    /// A user who is gone from scope.
    Absent(UserNo, Absence),
}

/// An entry of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanEntry {
    /// Which list it is on.
    pub category: super::Category,
    /// The user, if there is one.
    pub user: Option<UserNo>,
    /// Whose it is.
    pub id: ImmutableId,
    /// What the user is.
    pub before: Option<(UserValues, Status)>,
    /// What it would be; where it is not synchronized, what the directory has.
    pub after: Option<(UserValues, Status)>,
    /// Why it would not be synchronized.
    pub reason: Option<NotSynchronizedReason>,
    /// A sentence for people.
    pub message: String,
}
