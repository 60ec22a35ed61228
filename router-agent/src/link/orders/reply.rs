//! Answers to orders in the words of the contract.

use rollcall_proto::admin::v1::FailureReason;
use rollcall_proto::router::v1::{ReadFailure, lookup_result};

use super::limits::LimitExceeded;
use crate::directory::{DirectoryError, Presence};

pub(super) fn failure(reason: FailureReason, message: impl Into<String>) -> ReadFailure {
    ReadFailure { reason: reason.into(), message: message.into() }
}

/// What the control plane is told of an order that is beyond the limits.
pub(super) fn limit_failure(exceeded: LimitExceeded) -> ReadFailure {
    failure(FailureReason::RouterPolicy, exceeded.to_string())
}

/// What the control plane is told when a directory could not be read.
pub(super) fn directory_failure(error: &DirectoryError) -> ReadFailure {
    failure(error.failure_reason(), error.to_string())
}

pub(super) fn to_proto_presence(presence: Presence) -> lookup_result::Presence {
    use lookup_result::Presence as Proto;
    match presence {
        Presence::InScope => Proto::InScope,
        Presence::OutOfScope => Proto::OutOfScope,
        Presence::Deleted => Proto::Deleted,
        Presence::NotFound => Proto::NotFound,
    }
}
