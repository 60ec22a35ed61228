//! Outcomes of a sync of one user that let no user in.

use crate::model::{Single, SingleOutcome};
use crate::reconcile::single_user;
use crate::store::StoreError;

/// An outcome alone: no user is let in.
pub(super) fn outcome_only(outcome: SingleOutcome) -> Single {
    Single {
        outcome,
        user: None,
        allowed: false,
        observed_at: None,
        message: single_user::text(outcome).to_owned(),
        source: None,
        denied: false,
    }
}

/// The outcome of a sync that the store failed.
pub(super) fn fault(error: &StoreError) -> Single {
    tracing::error!(error = error as &dyn std::error::Error, "the sync of a single user failed");
    outcome_only(SingleOutcome::Internal)
}
