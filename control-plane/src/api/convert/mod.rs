//! Messages to and from the words of the domain. What comes in is taken apart by field name, so that a new field is a compile error
//! until someone decides what it means.

mod audit;
mod deletion;
mod job;
pub(super) mod router;
mod schedule;
mod settings;
mod single;
mod source;
mod user;
mod webhook;

use std::time::Duration;

use prost_types::{Duration as ProtoDuration, Timestamp as ProtoTimestamp};

use crate::model::Timestamp;

pub use audit::audit_event;
pub(super) use audit::audit_filter;
pub(super) use deletion::{deletion_settings, deletion_settings_to_proto};
pub(super) use job::{detail, job, plan_entry};
pub(super) use schedule::{schedule, settings as schedule_settings};
pub use settings::settings_to_proto;
pub(super) use settings::{id_format, settings};
pub(super) use single::{single, single_settings, single_settings_to_proto, verification};
pub(super) use source::{merge, source};
pub(super) use user::user;
pub(super) use webhook::{failed_attempt, webhook, webhook_change};

pub(super) fn timestamp(at: Timestamp) -> ProtoTimestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    ProtoTimestamp { seconds: at.0.div_euclid(1_000_000), nanos }
}

pub(super) fn duration(duration: Duration) -> Option<ProtoDuration> {
    ProtoDuration::try_from(duration).ok()
}

/// A count as the API has it: 32 bits print as a number.
pub(super) fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
