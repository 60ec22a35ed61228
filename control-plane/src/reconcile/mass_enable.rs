//! How many users a job may enable again without an administrator. A mark that suddenly cannot be
//! read, or a group that was renamed, looks as if many accounts had been enabled at once.

/// Most users that a job enables again by itself, however many are disabled.
const MAX_USERS: i64 = 25;
/// The same in percent of the users that the directory had disabled.
const MAX_PERCENT: i64 = 1;
/// However few are disabled, this many may always be enabled again.
const MIN_USERS: i64 = 5;

/// How many users a job may enable again, where the directory had disabled this many.
#[must_use]
pub fn limit(disabled_in_directory: i64) -> i64 {
    (disabled_in_directory.saturating_mul(MAX_PERCENT) / 100).clamp(MIN_USERS, MAX_USERS)
}

/// Why a job that would enable this many users again is held; none if it is not.
#[must_use]
pub fn too_many(reenables: i64, disabled_in_directory: i64) -> Option<String> {
    let allowed = limit(disabled_in_directory);
    (reenables > allowed).then(|| {
        format!(
            "{reenables} of {disabled_in_directory} users that the directory had disabled would be enabled again; a job enables {allowed} by itself (at most {MAX_USERS} users and {MAX_PERCENT} percent, never fewer than {MIN_USERS}). Check that the bind account can read the attribute that marks disabled accounts, and look at the list; approve it if it is right."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_percent_and_25_users_are_allowed_and_never_fewer_than_5() {
        for (disabled, allowed) in [(0, 5), (5, 5), (100, 5), (599, 5), (600, 6), (2_500, 25), (100_000, 25)]
        {
            assert_eq!(limit(disabled), allowed, "{disabled}");
            assert_eq!(too_many(allowed, disabled), None);
            assert!(too_many(allowed + 1, disabled).is_some(), "{disabled}");
        }
    }
}
