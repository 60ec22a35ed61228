//! Conversions that every service needs: times, durations and counts as protobuf has them.

use std::time::Duration;

use prost_types::{Duration as ProtoDuration, Timestamp as ProtoTimestamp};

use crate::model::Timestamp;

/// A point in time as protobuf has it.
pub(in crate::api) fn timestamp_to_proto(at: Timestamp) -> ProtoTimestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    ProtoTimestamp { seconds: at.0.div_euclid(1_000_000), nanos }
}

/// A duration as protobuf has it; none where it is too long for that.
pub(in crate::api) fn duration_to_proto(duration: Duration) -> Option<ProtoDuration> {
    ProtoDuration::try_from(duration).ok()
}

/// A count as the API has it: 32 bits print as a number.
pub(in crate::api) fn count_to_proto(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
