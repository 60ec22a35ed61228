//! The audit trail. What a method of another part of the store does is audited by that method, in its own transaction; what is in here
//! is for what was refused, and for reading.

use async_trait::async_trait;

use super::Result;
use crate::model::{Actor, AuditEvent, AuditFilter, AuditHead, Event, TenantNo, Timestamp, Trail};

/// A trail as the tables have it, whether or not they are sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTrail {
    /// Its number; 0 for the installation's own.
    pub number: TenantNo,
    /// Whose it is; none if there is no tenant of this number.
    pub trail: Option<Trail>,
}

/// The audit trail.
#[async_trait]
pub trait AuditStore {
    /// Writes an event that belongs to no other write: something that was refused.
    async fn record(&self, trail: &Trail, by: &Actor, event: Event, now: Timestamp) -> Result<()>;
    /// Events of a trail, newest first, before the sequence number `before`.
    async fn list_events(
        &self,
        trail: &Trail,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditEvent>>;
    /// The same, oldest first, from a sequence number on.
    async fn events_from(
        &self,
        trail: &Trail,
        filter: &AuditFilter,
        from: i64,
        limit: i64,
    ) -> Result<Vec<AuditEvent>>;
    /// The newest event of a trail.
    async fn audit_head(&self, trail: &Trail) -> Result<AuditHead>;
    /// The hash of an event, if there is one of this sequence number.
    async fn audit_hash(&self, trail: &Trail, sequence: i64) -> Result<Option<[u8; 32]>>;
    /// Whether whoever reads a trail may go on: not if its tenant is suspended.
    async fn trail_is_open(&self, trail: &Trail) -> Result<bool>;

    // --- for whoever does not believe the tables ---

    /// The trail with the next number after `after` of which the tables have anything, or should have.
    async fn next_trail(&self, after: Option<TenantNo>) -> Result<Option<StoredTrail>>;
    /// Rows of a trail in the order of their sequence numbers, after `after`; none for a row that cannot be an event.
    async fn stored_events(
        &self,
        trail: TenantNo,
        after: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Option<AuditEvent>>>;
    /// What the tables say is the newest event of a trail; none if they say nothing usable.
    async fn stored_head(&self, trail: TenantNo) -> Result<Option<AuditHead>>;
}
