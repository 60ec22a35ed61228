//! Who is marked for deletion by itself, and which of these marks still hold. A mark that an
//! administrator put on holds until an administrator takes it off; one that was put on
//! automatically holds as long as its reason does.

use std::time::Duration;

use crate::model::{DeletionSettings, MarkReason, Status, Timestamp, UserStanding};

/// How exactly it is known when a user last signed in: one write an hour is enough for what is
/// decided by days.
pub const SIGN_IN_PRECISION: Duration = Duration::from_secs(3_600);

/// When a sync last saw the user, or last wrote it. A complete read of a source sees whoever is in
/// scope.
#[must_use]
pub fn synchronized_at(user: &UserStanding) -> Timestamp {
    let by_a_read = user.source_synced_at.filter(|_| user.status != Status::OutOfScope);
    user.created_at.max(user.updated_at).max(user.observed_at).max(by_a_read.unwrap_or(user.created_at))
}

/// Why the user is to be marked now, if it is. A user that an administrator undeleted is left
/// alone for the whole time once more.
#[must_use]
pub fn due(settings: &DeletionSettings, user: &UserStanding, now: Timestamp) -> Option<MarkReason> {
    if user.mark.is_some() {
        return None;
    }
    let undeleted = user.undeleted_at.unwrap_or(Timestamp(0));
    let disabled = settings.disabled_for.zip(user.disabled_at).is_some_and(|(period, since)| {
        user.status != Status::Enabled && since.max(undeleted) <= now.minus(period)
    });
    let unused = settings.unused_for.is_some_and(|period| {
        user.last_sign_in_at.is_none() && synchronized_at(user).max(undeleted) <= now.minus(period)
    });
    match (disabled, unused) {
        (true, _) => Some(MarkReason::LongDisabled),
        (_, true) => Some(MarkReason::LongUnused),
        _ => None,
    }
}

/// Whether a mark still holds: whoever was enabled meanwhile, or signed in, or was synchronized,
/// has come back.
#[must_use]
pub fn holds(user: &UserStanding) -> bool {
    match user.mark {
        None => false,
        Some((MarkReason::Administrator, _)) => true,
        Some((MarkReason::LongDisabled, since)) => {
            user.status != Status::Enabled && user.disabled_at.is_some_and(|disabled| disabled <= since)
        }
        Some((MarkReason::LongUnused, since)) => {
            user.last_sign_in_at.is_none() && synchronized_at(user) <= since
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UserNo;

    const DAY: Duration = Duration::from_secs(24 * 3_600);
    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn ago(days: u32) -> Timestamp {
        NOW.minus(days * DAY)
    }

    /// Disabled for 40 days, added 100 days ago, seen by no sync since.
    fn disabled() -> UserStanding {
        UserStanding {
            user: UserNo(7),
            status: Status::OutOfScope,
            disabled_at: Some(ago(40)),
            created_at: ago(100),
            updated_at: ago(40),
            observed_at: Timestamp(0),
            source_synced_at: Some(ago(1)),
            last_sign_in_at: Some(ago(50)),
            undeleted_at: None,
            mark: None,
        }
    }

    /// Enabled, added 100 days ago by the only sync there was, and never signed in.
    fn unused() -> UserStanding {
        UserStanding {
            status: Status::Enabled,
            disabled_at: None,
            updated_at: ago(100),
            source_synced_at: Some(ago(100)),
            last_sign_in_at: None,
            ..disabled()
        }
    }

    fn after(disabled: Option<u32>, unused: Option<u32>) -> DeletionSettings {
        let days = |days: Option<u32>| days.map(|days| days * DAY);
        DeletionSettings {
            disabled_for: days(disabled),
            unused_for: days(unused),
            ..DeletionSettings::default()
        }
    }

    fn marked(user: UserStanding, reason: MarkReason, days: u32) -> UserStanding {
        UserStanding { mark: Some((reason, ago(days))), ..user }
    }

    #[test]
    fn nobody_is_marked_until_a_tenant_says_so() {
        assert_eq!(due(&DeletionSettings::default(), &disabled(), NOW), None);
        assert_eq!(due(&DeletionSettings::default(), &unused(), NOW), None);
    }

    #[test]
    fn whoever_is_disabled_for_as_long_as_the_settings_say_is_marked_to_the_moment() {
        assert_eq!(due(&after(Some(40), None), &disabled(), NOW), Some(MarkReason::LongDisabled));
        let a_moment_early = NOW.minus(Duration::from_micros(1));
        assert_eq!(due(&after(Some(40), None), &disabled(), a_moment_early), None);
        let enabled = UserStanding { status: Status::Enabled, ..disabled() };
        assert_eq!(due(&after(Some(40), None), &enabled, NOW), None);
    }

    #[test]
    fn whoever_ever_signed_in_or_was_synchronized_lately_is_not_unused() {
        let settings = after(None, Some(30));
        assert_eq!(due(&settings, &unused(), NOW), Some(MarkReason::LongUnused));
        let signed_in = UserStanding { last_sign_in_at: Some(ago(99)), ..unused() };
        let read = UserStanding { source_synced_at: Some(ago(29)), ..unused() };
        let asked_for = UserStanding { observed_at: ago(29), ..unused() };
        let changed = UserStanding { updated_at: ago(29), ..unused() };
        let new = UserStanding { created_at: ago(29), ..unused() };
        for user in [signed_in, read.clone(), asked_for, changed, new] {
            assert_eq!(due(&settings, &user, NOW), None, "{user:?}");
        }
        let out_of_scope = UserStanding { status: Status::OutOfScope, ..read };
        assert_eq!(
            due(&settings, &out_of_scope, NOW),
            Some(MarkReason::LongUnused),
            "that read did not have it"
        );
    }

    #[test]
    fn whoever_was_undeleted_is_left_alone_for_the_whole_time_once_more() {
        let undeleted = |days, user| UserStanding { undeleted_at: Some(ago(days)), ..user };
        assert_eq!(due(&after(Some(40), None), &undeleted(39, disabled()), NOW), None);
        assert_eq!(
            due(&after(Some(40), None), &undeleted(40, disabled()), NOW),
            Some(MarkReason::LongDisabled)
        );
        assert_eq!(due(&after(None, Some(30)), &undeleted(29, unused()), NOW), None);
    }

    #[test]
    fn a_marked_user_is_not_marked_again() {
        let user = marked(disabled(), MarkReason::Administrator, 3);
        assert_eq!(due(&after(Some(40), Some(30)), &user, NOW), None);
    }

    #[test]
    fn an_automatic_mark_holds_as_long_as_its_reason_and_an_administrators_for_ever() {
        let disabled = || marked(disabled(), MarkReason::LongDisabled, 3);
        assert!(holds(&disabled()));
        assert!(!holds(&UserStanding { status: Status::Enabled, disabled_at: None, ..disabled() }));
        assert!(!holds(&UserStanding { disabled_at: Some(ago(1)), ..disabled() }), "enabled in between");
        let unused = || marked(unused(), MarkReason::LongUnused, 3);
        assert!(holds(&unused()));
        assert!(!holds(&UserStanding { last_sign_in_at: Some(ago(2)), ..unused() }));
        assert!(!holds(&UserStanding { source_synced_at: Some(ago(2)), ..unused() }));
        assert!(!holds(&UserStanding { observed_at: ago(2), ..unused() }));
        let wanted = marked(unused(), MarkReason::Administrator, 3);
        assert!(holds(&UserStanding { last_sign_in_at: Some(ago(1)), observed_at: ago(1), ..wanted }));
    }
}
