//! Converts the deletion settings of a tenant from and to messages.

use std::ops::RangeInclusive;
use std::time::Duration;

use rollcall_proto::admin::v1 as proto;
use tonic::Status;

use crate::api::common::convert::duration_to_proto;
use crate::api::common::{resource_names, status};
use crate::model::{DeletionSettings, TenantId};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long a marked user may be kept.
const PENDING_DAYS: RangeInclusive<u32> = 0..=90;
/// After how long users may be marked by themselves.
const AUTOMATIC_DAYS: RangeInclusive<u32> = 1..=3_650;

/// What an administrator sees of the settings.
pub(super) fn settings_to_proto(tenant: &TenantId, settings: DeletionSettings) -> proto::DeletionSettings {
    let DeletionSettings { pending_period, disabled_for, unused_for } = settings;
    proto::DeletionSettings {
        name: resource_names::deletion_settings_name(tenant),
        pending_period: duration_to_proto(pending_period),
        disabled_for: disabled_for.and_then(duration_to_proto),
        unused_for: unused_for.and_then(duration_to_proto),
    }
}

/// The settings, with every mistake in them.
pub(super) fn settings_from_proto(message: proto::DeletionSettings) -> Result<DeletionSettings, Status> {
    let proto::DeletionSettings { name: _, pending_period, disabled_for, unused_for } = message;
    let mut violations = Vec::new();
    let mut read = |field: &str, value: Option<prost_types::Duration>, days: RangeInclusive<u32>| {
        let (least, most) = (*days.start() * DAY, *days.end() * DAY);
        let read = Duration::try_from(value?).ok().filter(|value| (least..=most).contains(value));
        if read.is_none() {
            let must = format!(
                "must be from {}s to {}s ({} to {} days)",
                least.as_secs(),
                most.as_secs(),
                days.start(),
                days.end()
            );
            violations.push((format!("deletion_settings.{field}"), must));
        }
        read
    };
    let settings = DeletionSettings {
        pending_period: read("pending_period", pending_period, PENDING_DAYS)
            .unwrap_or(DeletionSettings::PENDING_PERIOD),
        disabled_for: read("disabled_for", disabled_for, AUTOMATIC_DAYS),
        unused_for: read("unused_for", unused_for, AUTOMATIC_DAYS),
    };
    if violations.is_empty() { Ok(settings) } else { Err(status::invalid(violations)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MarkReason, spelled};

    fn days(days: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds: days * 86_400, nanos: 0 })
    }

    #[test]
    fn what_is_not_said_is_the_default_and_what_cannot_be_is_refused_with_every_mistake() {
        let message = |pending_period, disabled_for, unused_for| proto::DeletionSettings {
            name: String::new(),
            pending_period,
            disabled_for,
            unused_for,
        };
        let settings = |pending, disabled, unused| settings_from_proto(message(pending, disabled, unused));
        assert_eq!(settings(None, None, None).expect("settings"), DeletionSettings::default());
        let set = settings(days(0), days(1), days(3_650)).expect("settings");
        assert_eq!(
            set,
            DeletionSettings {
                pending_period: Duration::ZERO,
                disabled_for: Some(DAY),
                unused_for: Some(3_650 * DAY)
            }
        );
        assert!(settings(days(90), None, None).is_ok());
        let refused = settings(days(91), days(0), days(3_651)).expect_err("refused");
        for field in ["pending_period", "disabled_for", "unused_for"] {
            assert!(refused.message().contains(field), "{}", refused.message());
        }
        assert!(settings(days(-1), None, None).is_err());
    }

    #[test]
    fn every_reason_is_one_of_the_api_under_the_same_name() {
        for reason in MarkReason::ALL {
            let number = i32::from(reason.number());
            let named = proto::user::MarkReason::try_from(number).expect("a reason");
            assert_eq!(spelled(reason), named.as_str_name());
        }
        let one_more = MarkReason::ALL.len() + 1;
        assert!(proto::user::MarkReason::try_from(i32::try_from(one_more).expect("few")).is_err());
    }
}
