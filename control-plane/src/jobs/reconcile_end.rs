//! How a reconciliation ends.

use crate::model::SyncJob;
use crate::store::Outcome;

/// How a reconciliation ends.
pub(super) enum ReconcileEnd {
    /// The job ends with this outcome.
    Finish(Outcome),
    /// The job waits for an administrator.
    Held(Box<SyncJob>),
    /// The router was lost before absent users could be looked up.
    Lost,
}
