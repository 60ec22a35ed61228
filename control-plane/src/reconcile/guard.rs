//! Whether the users that a complete read did not have may be disabled.

use crate::model::{DisableGuard, Failure, FailureReason};

/// However small a source is, this many may always leave at once.
pub const FLOOR: i64 = 5;

/// Says whether `leavers` may be disabled, given how many users of the source were enabled before, and how many records the
/// read had.
///
/// # Errors
/// The failure with which the job ends, if not.
pub fn check(guard: DisableGuard, enabled_before: i64, records: i64, leavers: i64) -> Result<(), Failure> {
    if leavers == 0 {
        return Ok(());
    }
    if records == 0 {
        return Err(Failure::of(FailureReason::DirectoryEmpty));
    }
    let allowed = allowed(guard, enabled_before);
    if leavers > allowed {
        return Err(Failure {
            reason: FailureReason::DisableGuard,
            message: format!(
                "{leavers} users are gone from scope, and the disable guard allows {allowed} (at most {} users and {} percent of {enabled_before} enabled ones). None of them was disabled. If that is right, raise disable_guard and publish, then synchronize again; if not, check root, filter and the rights of the bind account.",
                guard.max_users, guard.max_percent
            ),
        });
    }
    Ok(())
}

fn allowed(guard: DisableGuard, enabled_before: i64) -> i64 {
    let percent = enabled_before.saturating_mul(i64::from(guard.max_percent)) / 100;
    percent.min(i64::from(guard.max_users)).max(FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: DisableGuard = DisableGuard { max_users: 500, max_percent: 5 };

    fn reason(enabled: i64, records: i64, leavers: i64) -> Option<FailureReason> {
        check(DEFAULT, enabled, records, leavers).err().map(|failure| failure.reason)
    }

    #[test]
    fn the_lower_of_number_and_percent_holds() {
        assert_eq!(reason(1_000, 900, 50), None);
        assert_eq!(reason(1_000, 900, 51), Some(FailureReason::DisableGuard));
        assert_eq!(reason(100_000, 99_000, 500), None);
        assert_eq!(reason(100_000, 99_000, 501), Some(FailureReason::DisableGuard));
    }

    #[test]
    fn a_small_source_may_always_lose_five() {
        assert_eq!(reason(6, 1, 5), None);
        assert_eq!(reason(7, 1, 6), Some(FailureReason::DisableGuard));
    }

    #[test]
    fn an_empty_directory_disables_nobody_however_few_there_were() {
        assert_eq!(reason(1, 0, 1), Some(FailureReason::DirectoryEmpty));
        assert_eq!(reason(0, 0, 0), None);
    }
}
