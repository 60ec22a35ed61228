//! Names for the numbers of enumerations in statements, taken from the enumerations themselves.

use crate::model::{
    Category, Decision, JobKind, JobState, MarkReason, NotSynchronizedReason, Phase, RouterState, Status,
    WebhookState,
};
use crate::reconcile::batch::Queue;

/// What a job did to a user, as the journal has it. A user that it did both to has their sum.
#[derive(Clone, Copy)]
#[repr(i16)]
pub(crate) enum Change {
    /// Changed it.
    Updated = 1,
    /// Disabled it for absence.
    Disabled = 2,
}

/// Constants of the numbers that an enumeration has in the tables.
macro_rules! words {
    ($($name:ident = $kind:ident::$variant:ident;)+) => {
        $(pub(crate) const $name: i16 = $kind::$variant as i16;)+
    };
}

words! {
    JOB_QUEUED = JobState::Queued;
    JOB_RUNNING = JobState::Running;
    JOB_SUCCEEDED = JobState::Succeeded;
    JOB_STOPPED = JobState::Stopped;
    JOB_FAILED = JobState::Failed;
    JOB_HELD = JobState::Held;

    KIND_SYNC = JobKind::Sync;
    KIND_DRY_RUN = JobKind::DryRun;
    KIND_PLAN = JobKind::Plan;

    PHASE_READING = Phase::Reading;
    PHASE_RECONCILING = Phase::Reconciling;

    DECISION_APPROVED = Decision::Approved;

    USER_ENABLED = Status::Enabled;
    USER_DISABLED_IN_DIRECTORY = Status::DisabledInDirectory;
    USER_OUT_OF_SCOPE = Status::OutOfScope;

    MARKED_BY_ADMINISTRATOR = MarkReason::Administrator;

    CATEGORY_ADDED = Category::Added;
    CATEGORY_UPDATED = Category::Updated;
    CATEGORY_DISABLED = Category::Disabled;
    CATEGORY_NOT_SYNCHRONIZED = Category::NotSynchronized;
    CATEGORY_WARNING = Category::Warning;
    CATEGORY_NOT_VISIBLE = Category::NotVisible;

    REASON_DUPLICATE_UNIQUE_ID = NotSynchronizedReason::DuplicateUniqueId;
    REASON_USER_DELETED = NotSynchronizedReason::UserDeleted;

    QUEUE_NAME = Queue::Name;
    QUEUE_RETURNING = Queue::Returning;
    QUEUE_SUSPECT_CHANGE = Queue::SuspectChange;
    QUEUE_REENABLE = Queue::Reenable;
    QUEUE_REENABLE_RENAME = Queue::ReenableRename;
    QUEUE_RETURN = Queue::Return;

    CHANGE_UPDATED = Change::Updated;
    CHANGE_DISABLED = Change::Disabled;

    ROUTER_ACTIVE = RouterState::Active;

    WEBHOOK_ACTIVE = WebhookState::Active;
}

/// The journal's number of a user that a job both changed and disabled.
pub(crate) const CHANGE_BOTH: i16 = CHANGE_UPDATED + CHANGE_DISABLED;
