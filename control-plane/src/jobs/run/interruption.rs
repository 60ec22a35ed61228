//! Why a run ends before its job does.

use crate::store::StoreError;

/// How often a step of a run is tried.
pub(super) const MAX_ATTEMPTS: u32 = 3;

/// Why a run ends without having ended the job.
pub(super) enum Interruption {
    /// The job was stopped, lost to another replica, or this one shuts down.
    NotOurs,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Interruption {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::NotOurs,
            other => Self::Store(other),
        }
    }
}

/// How often the store refused for a reason that waiting does not mend. A run that was refused
/// often enough fails its job.
#[derive(Default)]
pub(super) struct StoreFailures(u32);

impl StoreFailures {
    /// Whether the store refused too often.
    pub(super) fn are_too_many(&self) -> bool {
        self.0 >= MAX_ATTEMPTS
    }

    /// Counts a refusal that will come again; a passing trouble ends the run instead, and the job
    /// is taken up again later.
    pub(super) fn record_error(&mut self, error: StoreError) -> Result<(), Interruption> {
        if !matches!(error, StoreError::Broken(_)) {
            return Err(Interruption::Store(error));
        }
        tracing::error!(error = &error as &dyn std::error::Error, "the store refused what a sync job does");
        self.0 += 1;
        Ok(())
    }
}
