//! The audit trail. What an operation does is recorded by that operation, in its own transaction;
//! these record refusals, and read.

use super::StoredTrail;
use super::operations::operations;
use crate::model::{Actor, AuditEvent, AuditFilter, AuditHead, Event, TenantNo, Timestamp, Trail};

operations! {
    /// Writes an event that belongs to no other write: something that was refused.
    write fn record(
        trail: &Trail,
        by: &Actor,
        event: Event,
        now: Timestamp,
    ) -> () = audit::append::record_alone;
    /// Events of a trail, newest first, before the sequence number `before`.
    read fn list_events(
        trail: &Trail,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Vec<AuditEvent> = audit::read::newest_first;
    /// The same, oldest first, from a sequence number on.
    read fn events_from(
        trail: &Trail,
        filter: &AuditFilter,
        from: i64,
        limit: i64,
    ) -> Vec<AuditEvent> = audit::read::oldest_first;
    /// The newest event of a trail.
    read fn audit_head(trail: &Trail) -> AuditHead = audit::read::newest;
    /// The hash of an event, if there is one of this sequence number.
    read fn audit_hash(trail: &Trail, sequence: i64) -> Option<[u8; 32]> = audit::read::hash;
    /// Whether whoever reads a trail may go on: not if its tenant is suspended.
    read fn trail_is_open(trail: &Trail) -> bool = audit::read::is_open;
    /// The trail with the next number after `after` of which the tables have anything, or should
    /// have.
    read fn next_trail(after: Option<TenantNo>) -> Option<StoredTrail> = audit::read::next_trail;
    /// Rows of a trail in the order of their sequence numbers, after `after`; none for a row that
    /// cannot be an event.
    read fn stored_events(
        trail: TenantNo,
        after: Option<i64>,
        limit: i64,
    ) -> Vec<Option<AuditEvent>> = audit::read::stored_events;
    /// What the tables say is the newest event of a trail; none if they say nothing usable.
    read fn stored_head(trail: TenantNo) -> Option<AuditHead> = audit::read::stored_head;
}
