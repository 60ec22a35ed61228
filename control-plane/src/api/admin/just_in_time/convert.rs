//! Converts results of syncs of one user and of password checks, and the settings for syncs at
//! sign-in.

use std::time::Duration;

use rollcall_proto::admin::v1 as proto;
use tonic::Status;

use crate::api::admin::users::convert::user_to_proto;
use crate::api::common::convert::{duration_to_proto, timestamp_to_proto};
use crate::api::common::{resource_names, status};
use crate::model::{Single, SingleUserSettings, TenantId, Verification};
use crate::reconcile::password;

/// What a sign-in may wait.
const DEADLINES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);
/// The oldest observation that may let anyone in.
const MAX_LAST_KNOWN_AGE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What became of a sync of one user.
pub(super) fn single_to_proto(tenant: &TenantId, single: &Single) -> proto::SingleSync {
    let Single { outcome, user: known, allowed, observed_at, message, source, denied: _ } = single.clone();
    proto::SingleSync {
        outcome: outcome.number().into(),
        user: known.map(|known| user_to_proto(tenant, known)),
        allowed,
        observe_time: observed_at.map(timestamp_to_proto),
        message,
        identity_source: source
            .map(|source| resource_names::source_name(tenant, &source))
            .unwrap_or_default(),
    }
}

/// Of whom the password was not accepted nothing is shown.
pub(super) fn verification_to_proto(tenant: &TenantId, done: &Verification) -> proto::VerifyPasswordResponse {
    let Verification { outcome, sync, message, retry, user: _, refused_before: _ } = done;
    proto::VerifyPasswordResponse {
        outcome: outcome.number().into(),
        allowed: password::may_enter(*outcome, sync.as_ref()),
        sync: sync.as_ref().map(|sync| single_to_proto(tenant, sync)),
        message: message.clone(),
        retry_delay: retry.and_then(duration_to_proto),
    }
}

/// What an administrator sees of the settings.
pub(super) fn settings_to_proto(
    tenant: &TenantId,
    settings: SingleUserSettings,
) -> proto::JustInTimeSettings {
    let SingleUserSettings { enabled, deadline, last_known_max_age } = settings;
    proto::JustInTimeSettings {
        name: resource_names::just_in_time_settings_name(tenant),
        enabled,
        deadline: duration_to_proto(deadline),
        last_known_max_age: duration_to_proto(last_known_max_age),
    }
}

/// The settings, with defaults where nothing is said.
pub(super) fn settings_from_proto(message: proto::JustInTimeSettings) -> Result<SingleUserSettings, Status> {
    let proto::JustInTimeSettings { name: _, enabled, deadline, last_known_max_age } = message;
    let mut violations = Vec::new();
    let mut read = |field: &str,
                    value: Option<prost_types::Duration>,
                    default,
                    right: &dyn Fn(Duration) -> bool,
                    must: &str| {
        let Some(value) = value else { return default };
        match Duration::try_from(value).ok().filter(|value| right(*value)) {
            Some(value) => value,
            None => {
                violations.push((format!("just_in_time_settings.{field}"), must.to_owned()));
                default
            }
        }
    };
    let deadline = read(
        "deadline",
        deadline,
        SingleUserSettings::DEADLINE,
        &|value| DEADLINES.contains(&value),
        "must be from 1s to 30s",
    );
    let last_known_max_age = read(
        "last_known_max_age",
        last_known_max_age,
        Duration::ZERO,
        &|value| value <= MAX_LAST_KNOWN_AGE,
        "must be from 0s to 604800s (7 days)",
    );
    if violations.is_empty() {
        Ok(SingleUserSettings { enabled, deadline, last_known_max_age })
    } else {
        Err(status::invalid(violations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PasswordOutcome, SingleOutcome, spelled};

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn what_is_not_said_is_the_default_and_what_cannot_be_is_refused() {
        let message = |deadline, age| proto::JustInTimeSettings {
            deadline,
            last_known_max_age: age,
            ..proto::JustInTimeSettings::default()
        };
        assert_eq!(
            settings_from_proto(message(None, None)).expect("settings"),
            SingleUserSettings::default()
        );
        assert!(settings_from_proto(message(seconds(1), seconds(604_800))).is_ok());
        assert!(settings_from_proto(message(seconds(30), seconds(0))).is_ok());
        for (deadline, age) in [
            (seconds(0), None),
            (seconds(31), None),
            (seconds(-5), None),
            (None, seconds(-1)),
            (None, seconds(604_801)),
        ] {
            assert!(settings_from_proto(message(deadline, age)).is_err(), "{deadline:?} {age:?}");
        }
    }

    #[test]
    fn every_outcome_is_one_of_the_api_under_the_same_name() {
        for number in 1..=25 {
            let named = proto::single_sync::Outcome::try_from(number).expect("an outcome");
            let ours = SingleOutcome::ALL
                .iter()
                .find(|outcome| i32::from(outcome.number()) == number)
                .expect("one of ours");
            assert_eq!(spelled(ours), named.as_str_name());
        }
        assert!(proto::single_sync::Outcome::try_from(26).is_err(), "an outcome that is not listed here");
    }

    #[test]
    fn every_outcome_of_a_password_is_one_of_the_api_under_the_same_name() {
        use proto::verify_password_response::Outcome;
        for ours in PasswordOutcome::ALL {
            let named = Outcome::try_from(i32::from(ours.number())).expect("an outcome");
            assert_eq!(spelled(ours), named.as_str_name());
        }
        assert!(Outcome::try_from(13).is_err(), "an outcome that is not listed here");
    }
}
