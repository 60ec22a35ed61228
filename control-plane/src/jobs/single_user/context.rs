//! What a search is for, and until when.

use std::time::Duration;

use tokio::time::Instant;

use crate::jobs::Inner;
use crate::model::{TenantId, TenantNo};

/// More than an answer takes from a router to this replica.
const NETWORK_ALLOWANCE: Duration = Duration::from_millis(500);

/// What a search is for, and until when it may take.
#[derive(Clone, Copy)]
pub(super) struct SearchContext<'a> {
    pub(super) inner: &'a Inner,
    pub(super) tenant: &'a TenantId,
    pub(super) number: TenantNo,
    pub(super) deadline: Instant,
}

impl SearchContext<'_> {
    /// The same, with its share of the time that is left for so many sources that are asked one
    /// after the other: one that hangs leaves time for the others.
    pub(super) fn with_share_of(self, asked: usize) -> Self {
        let now = Instant::now();
        let share =
            self.deadline.saturating_duration_since(now) / u32::try_from(asked).unwrap_or(u32::MAX).max(1);
        Self { deadline: now + share, ..self }
    }

    /// How long a router may take: a little less than is left, so that its error arrives in time.
    pub(super) fn router_deadline(self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        left - (left / 10).min(NETWORK_ALLOWANCE)
    }
}
