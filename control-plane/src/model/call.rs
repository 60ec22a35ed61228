//! By whom and when an operation of the store is called.

use super::{Actor, Timestamp};

/// What every change in the store is stamped with.
#[derive(Clone, Debug)]
pub struct Call {
    /// On whose behalf.
    pub by: Actor,
    /// The time.
    pub now: Timestamp,
}

impl Call {
    /// What the control plane does by itself.
    #[must_use]
    pub fn system(now: Timestamp) -> Self {
        Self { by: Actor::system(), now }
    }
}
