//! Answers to orders in the words of the contract.

use rollcall_proto::admin::v1::FailureReason;
use rollcall_proto::router::v1::{Freshness, ReadFailure, lookup_result};

use super::limits::LimitExceeded;
use crate::directory::{self, DirectoryError, FetchedEntry, Presence};
use crate::record::{Mapped, Mapping, map_entry};

pub(super) fn failure(reason: FailureReason, message: impl Into<String>) -> ReadFailure {
    ReadFailure { reason: reason.into(), message: message.into(), interrupted: false }
}

/// What the control plane is told of an order that is beyond the limits.
pub(super) fn limit_failure(exceeded: LimitExceeded) -> ReadFailure {
    failure(FailureReason::RouterPolicy, exceeded.to_string())
}

/// What the control plane is told when a directory could not be read.
pub(super) fn directory_failure(error: &DirectoryError) -> ReadFailure {
    let interrupted = error.is_interruption();
    ReadFailure { interrupted, ..failure(error.failure_reason(), error.to_string()) }
}

pub(super) fn to_proto_presence(presence: Presence) -> lookup_result::Presence {
    use lookup_result::Presence as Proto;
    match presence {
        Presence::InScope => Proto::InScope,
        Presence::OutOfScope => Proto::OutOfScope,
        Presence::Deleted => Proto::Deleted,
        Presence::NotFound => Proto::NotFound,
        Presence::NotVisible => Proto::NotVisible,
        Presence::NotMatching => Proto::NotMatching,
    }
}

pub(super) fn to_proto_freshness(freshness: directory::Freshness) -> Freshness {
    let directory::Freshness { context_csns, invocation_id, highest_committed_usn, last_usn } = freshness;
    Freshness {
        context_csns,
        invocation_id: invocation_id.map(|id| id.to_vec()).unwrap_or_default().into(),
        highest_committed_usn: highest_committed_usn.unwrap_or_default(),
        last_usn: last_usn.unwrap_or_default(),
    }
}

/// What a read of the whole source would make of an entry that was fetched, with what its server
/// showed of it.
pub(super) fn map_fetched(mapping: &Mapping, fetched: &FetchedEntry) -> Mapped {
    let mut mapped = map_entry(mapping, fetched);
    match &mut mapped {
        Mapped::Record(record) => {
            record.mark_proved |= fetched.is_mark_absent && !record.disabled;
            record.version.clone_from(&fetched.version);
        }
        Mapped::Rejected(rejected) => rejected.version.clone_from(&fetched.version),
    }
    mapped
}
