//! The audit trail. What a method of another part of the store does is audited by that method, in its own transaction; what is in here
//! is for what was refused, and for reading.

use async_trait::async_trait;

use super::Result;
use crate::model::{Actor, Event, Timestamp, Trail};

/// The audit trail.
#[async_trait]
pub trait AuditStore {
    /// Writes an event that belongs to no other write: something that was refused.
    async fn record(&self, trail: &Trail, by: &Actor, event: Event, now: Timestamp) -> Result<()>;
}
