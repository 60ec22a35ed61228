//! Whether the users that a complete read did not have may be disabled: at once, after an
//! administrator has looked at the list, or not on the strength of this read.
//!
//! Changes that an attribute's sudden loss would explain come first, whether anyone is absent or
//! not. Then the rungs, in this order: is anybody there at all, is it the right place, do we see
//! with the same eyes, is a whole container gone, can every entry be told apart, is the server up
//! to date, are there suspiciously many. The first that breaks decides.

use super::read_quality::{self, Loss};
use crate::model::{DisableGuard, HoldReason, ReadFacts};

/// However small a source is, this many may always leave at once.
pub const FLOOR: i64 = 5;
/// The same for absences that the directory does not explain.
pub const FLOOR_UNEXPLAINED: i64 = 2;

/// What the decision rests on.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The source's guard.
    pub guard: DisableGuard,
    /// Users of the source that were enabled before the job.
    pub enabled: i64,
    /// What the last trusted read of the same revision found.
    pub before: Option<&'a ReadFacts>,
    /// What this read found.
    pub read: &'a ReadFacts,
    /// Attributes without which an entry is no user.
    pub required: Vec<&'a str>,
    /// Entries without readable immutable id.
    pub unidentified: u64,
    /// Users, enabled or not, whom the read did not have and who were not found in scope when
    /// looked up again.
    pub absent: i64,
    /// Of those, the enabled ones: whom the job would disable.
    pub leavers: i64,
    /// Of the leavers, those for whom the directory does not show what became of them.
    pub unexplained: i64,
    /// Absent users who were too many to be looked up again.
    pub not_looked_up: i64,
    /// Users that syncs of the last 24 hours disabled for absence without having been approved.
    pub recent: i64,
    /// Of those, the unexplained ones.
    pub recent_unexplained: i64,
    /// Changes that take attributes away and wait.
    pub doubtful: i64,
    /// Containers that had users and have none any more, by distinguished name.
    pub emptied: Vec<String>,
    /// Whether the server's data is not older than that of the last trusted read, or has shown the
    /// same absences before.
    pub fresh: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Disable them.
    Disable,
    /// Let an administrator decide.
    Hold(HoldReason, String),
    /// Leave them alone, and say so.
    Withhold(String),
}

/// Decides.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let lost = evidence
        .before
        .map(|before| {
            read_quality::attribute_losses(before, evidence.read, &evidence.required, evidence.absent)
        })
        .unwrap_or_default();
    if !lost.is_empty() && evidence.doubtful > 0 {
        return Verdict::Hold(HoldReason::AttributeLoss, attribute_loss(&lost));
    }
    if evidence.absent == 0 {
        return Verdict::Disable;
    }
    if evidence.read.entries() == 0 {
        return Verdict::Hold(
            HoldReason::DirectoryEmpty,
            format!(
                "The directory {} answered that there is nobody, where {} users were in scope. Check root, filter and the rights of the bind account before you approve.",
                evidence.read.server, evidence.absent
            ),
        );
    }
    if let Some((reason, message)) = evidence.before.and_then(|before| wrong_place(before, evidence.read)) {
        return Verdict::Hold(reason, message);
    }
    if !lost.is_empty() {
        return Verdict::Hold(HoldReason::AttributeLoss, attribute_loss(&lost));
    }
    if !evidence.emptied.is_empty() {
        return Verdict::Hold(
            HoldReason::ContainerEmpty,
            format!(
                "Containers that had {} users or more have none any more: {}. Check whether they were renamed or moved, or are hidden from the bind account, before you approve.",
                super::containers::MANY,
                evidence.emptied.join("; ")
            ),
        );
    }
    if evidence.unidentified > 0 {
        return Verdict::Withhold(format!(
            "{} entries have no readable immutable id, so {} users who seem to be gone from scope were left alone. Correct the entries or the mapping, then synchronize again.",
            evidence.unidentified, evidence.absent
        ));
    }
    if !evidence.fresh {
        return Verdict::Withhold(format!(
            "The directory server {} may be behind the one that was read before ({}), so {} users who seem to be gone from scope were left alone. They are disabled once a server that is not behind does not have them either, or this one after half an hour.",
            evidence.read.server,
            evidence.before.map(|before| before.server.as_str()).unwrap_or_default(),
            evidence.absent
        ));
    }
    too_many(evidence)
}

fn attribute_loss(lost: &[Loss]) -> String {
    let lost: Vec<_> = lost
        .iter()
        .map(|Loss { attribute, had, has }| format!("{attribute} ({had} entries had it, {has} have it now)"))
        .collect();
    format!(
        "Attributes are suddenly missing: {}. Users keep their values. Check the rights of the bind account before you approve.",
        lost.join(", ")
    )
}

fn wrong_place(before: &ReadFacts, read: &ReadFacts) -> Option<(HoldReason, String)> {
    before.roots.iter().zip(&read.roots).find_map(|(was, is)| {
        if was.missing {
            None
        } else if is.missing || (is.entries == 0 && was.entries > 0) {
            let what = if is.missing { "is missing" } else { "has nobody any more" };
            let message = format!(
                "The root {} {what}; at the last sync it had {} entries. Check whether it was renamed or moved, or is hidden from the bind account, before you approve.",
                is.root, was.entries
            );
            Some((HoldReason::RootMissing, message))
        } else if was.fingerprint != is.fingerprint {
            let message = format!(
                "The root {} is no longer the entry that it was at the last sync: it was made anew, or another entry has its name. Check it before you approve.",
                is.root
            );
            Some((HoldReason::RootChanged, message))
        } else {
            None
        }
    })
}

fn too_many(evidence: &Evidence<'_>) -> Verdict {
    let Evidence { guard, enabled, leavers, unexplained, recent, recent_unexplained, .. } = evidence;
    let within = |recent: i64| match recent {
        0 => String::new(),
        recent => format!(", and syncs of the last 24 hours disabled {recent}"),
    };
    // Percent of those who were there before the day's leavers.
    let enabled = &(enabled + recent);
    let allowed = limit(*enabled, guard.max_users, i64::from(guard.max_percent) * 10, FLOOR);
    if *leavers > 0 && leavers + recent > allowed {
        return Verdict::Hold(
            HoldReason::DisableGuard,
            format!(
                "{leavers} users are gone from scope{}; the disable guard allows {allowed} (at most {} users and {} percent of {enabled} enabled ones). Look at the list; approve it if it is right.",
                within(*recent),
                guard.max_users,
                guard.max_percent
            ),
        );
    }
    if evidence.not_looked_up > 0 {
        return Verdict::Hold(
            HoldReason::UnexplainedAbsences,
            format!(
                "{leavers} users are gone from scope, too many to look all of them up again. Look at the list; approve it if it is right."
            ),
        );
    }
    let allowed =
        limit(*enabled, guard.max_unexplained, i64::from(guard.max_unexplained_permille), FLOOR_UNEXPLAINED);
    if *unexplained > 0 && unexplained + recent_unexplained > allowed {
        return Verdict::Hold(
            HoldReason::UnexplainedAbsences,
            format!(
                "{unexplained} users are gone from scope, and the directory does not show what became of them{}; the disable guard allows {allowed} of those (at most {} users and {} permille of {enabled} enabled ones). They were deleted, or are hidden from the bind account. Look at the list; approve it if it is right.",
                within(*recent_unexplained),
                guard.max_unexplained,
                guard.max_unexplained_permille
            ),
        );
    }
    Verdict::Disable
}

/// Whether one more user may be disabled for absence, outside of a job. `recent` as in
/// [`Evidence`].
#[must_use]
pub fn one_more(
    guard: DisableGuard,
    enabled: i64,
    (recent, recent_unexplained): (i64, i64),
    unexplained: bool,
) -> bool {
    let enabled = enabled + recent;
    let all = limit(enabled, guard.max_users, i64::from(guard.max_percent) * 10, FLOOR);
    let of_those =
        limit(enabled, guard.max_unexplained, i64::from(guard.max_unexplained_permille), FLOOR_UNEXPLAINED);
    recent < all && (!unexplained || recent_unexplained < of_those)
}

fn limit(enabled: i64, most: u32, permille: i64, floor: i64) -> i64 {
    (enabled.saturating_mul(permille) / 1_000).min(i64::from(most)).max(floor)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::RootFacts;

    fn facts(roots: &[(u8, u64)]) -> ReadFacts {
        let root = |(at, (fingerprint, entries)): (usize, &(u8, u64))| RootFacts {
            root: format!("ou={at}"),
            fingerprint: [*fingerprint; 16],
            entries: *entries,
            missing: *fingerprint == 0,
        };
        ReadFacts { roots: roots.iter().enumerate().map(root).collect(), ..ReadFacts::default() }
    }

    fn evidence<'a>(
        before: Option<&'a ReadFacts>,
        read: &'a ReadFacts,
        enabled: i64,
        leavers: i64,
    ) -> Evidence<'a> {
        Evidence {
            guard: DisableGuard::default(),
            enabled,
            before,
            read,
            required: vec!["mail"],
            unidentified: 0,
            absent: leavers,
            leavers,
            unexplained: 0,
            not_looked_up: 0,
            recent: 0,
            recent_unexplained: 0,
            doubtful: 0,
            emptied: Vec::new(),
            fresh: true,
        }
    }

    fn held(evidence: &Evidence<'_>) -> Option<HoldReason> {
        match judge(evidence) {
            Verdict::Hold(reason, _) => Some(reason),
            Verdict::Disable | Verdict::Withhold(_) => None,
        }
    }

    #[test]
    fn the_lower_of_number_and_percent_holds() {
        let read = facts(&[(1, 900)]);
        for (enabled, leavers, reason) in [
            (1_000, 50, None),
            (1_000, 51, Some(HoldReason::DisableGuard)),
            (100_000, 500, None),
            (100_000, 501, Some(HoldReason::DisableGuard)),
            (6, 5, None),
            (7, 6, Some(HoldReason::DisableGuard)),
        ] {
            assert_eq!(held(&evidence(None, &read, enabled, leavers)), reason, "{leavers} of {enabled}");
        }
    }

    #[test]
    fn far_fewer_may_leave_of_whom_nobody_can_say_where_they_went() {
        let read = facts(&[(1, 900)]);
        for (enabled, unexplained, reason) in [
            (1_000, 5, None),
            (1_000, 6, Some(HoldReason::UnexplainedAbsences)),
            (100_000, 25, None),
            (100_000, 26, Some(HoldReason::UnexplainedAbsences)),
            (100, 2, None),
            (100, 3, Some(HoldReason::UnexplainedAbsences)),
        ] {
            let evidence = Evidence { unexplained, ..evidence(None, &read, enabled, unexplained) };
            assert_eq!(held(&evidence), reason, "{unexplained} of {enabled}");
        }
        let guard = DisableGuard {
            max_users: 1_000_000,
            max_percent: 100,
            max_unexplained: 1_000_000,
            max_unexplained_permille: 1_000,
        };
        let many = Evidence {
            guard,
            unexplained: 50_000,
            not_looked_up: 30_000,
            ..evidence(None, &read, 100_000, 50_000)
        };
        assert_eq!(
            held(&many),
            Some(HoldReason::UnexplainedAbsences),
            "no guard lets through who was not looked up"
        );
    }

    #[test]
    fn dripping_does_not_get_past_the_guard() {
        let read = facts(&[(1, 900)]);
        let drip = Evidence { recent: 50, ..evidence(None, &read, 1_000, 3) };
        assert_eq!(held(&drip), Some(HoldReason::DisableGuard));
        let drip =
            Evidence { recent: 10, recent_unexplained: 5, unexplained: 1, ..evidence(None, &read, 1_000, 1) };
        assert_eq!(held(&drip), Some(HoldReason::UnexplainedAbsences));
        let nobody = Evidence { recent: 500, recent_unexplained: 25, ..evidence(None, &read, 1_000, 0) };
        assert_eq!(held(&nobody), None, "whoever disables nobody is not held for what came before");
    }

    #[test]
    fn single_disables_add_up_to_what_the_guard_allows_a_day() {
        let guard = DisableGuard::default();
        assert!(one_more(guard, 1_000, (49, 4), true));
        assert!(!one_more(guard, 950, (50, 0), false));
        assert!(!one_more(guard, 1_000, (10, 5), true), "the smaller guard");
        assert!(one_more(guard, 1_000, (10, 5), false), "is for unexplained ones only");
        assert!(one_more(guard, 1, (1, 1), true) && !one_more(guard, 1, (2, 2), true), "the floor");
    }

    #[test]
    fn a_directory_without_anybody_is_held_however_few_there_were() {
        let empty = facts(&[(1, 0)]);
        assert_eq!(held(&evidence(None, &empty, 1, 1)), Some(HoldReason::DirectoryEmpty));
        assert_eq!(held(&evidence(None, &empty, 0, 0)), None, "the first sync of an empty directory");
    }

    #[test]
    fn a_root_that_is_missing_empty_or_another_entry_is_held_and_named() {
        let before = facts(&[(1, 50), (2, 50)]);
        for (now, reason) in [
            (facts(&[(1, 50), (0, 0)]), HoldReason::RootMissing),
            (facts(&[(1, 50), (2, 0)]), HoldReason::RootMissing),
            (facts(&[(1, 50), (3, 50)]), HoldReason::RootChanged),
        ] {
            let Verdict::Hold(why, message) = judge(&evidence(Some(&before), &now, 1_000, 1)) else {
                panic!("not held")
            };
            assert_eq!(why, reason);
            assert!(message.contains("ou=1"), "{message}");
        }
        let was_missing = facts(&[(1, 50), (0, 0)]);
        assert_eq!(
            held(&evidence(Some(&was_missing), &before, 1_000, 1)),
            None,
            "a root that has come is no loss"
        );
    }

    #[test]
    fn an_attribute_that_is_suddenly_missing_is_held_if_it_would_change_anything() {
        let of = |mail, phone| ReadFacts {
            attributes: BTreeMap::from([("mail".to_owned(), mail), ("phone".to_owned(), phone)]),
            ..facts(&[(1, 1_000)])
        };
        let before = of(1_000, 500);
        let (no_phone, less_mail) = (of(1_000, 0), of(980, 500));
        assert_eq!(held(&evidence(Some(&before), &no_phone, 1_000, 0)), None);
        let doubtful = Evidence { doubtful: 1, ..evidence(Some(&before), &no_phone, 1_000, 0) };
        assert_eq!(held(&doubtful), Some(HoldReason::AttributeLoss));
        assert_eq!(held(&evidence(Some(&before), &less_mail, 1_000, 1)), Some(HoldReason::AttributeLoss));
    }

    #[test]
    fn without_ids_or_from_a_server_that_may_be_behind_leavers_are_left_alone() {
        let read = facts(&[(1, 900)]);
        let blind = Evidence { unidentified: 1, ..evidence(None, &read, 1_000, 1) };
        assert!(matches!(judge(&blind), Verdict::Withhold(why) if why.contains("immutable id")));
        let behind = Evidence { fresh: false, ..evidence(None, &read, 1_000, 1) };
        assert!(matches!(judge(&behind), Verdict::Withhold(why) if why.contains("behind")));
    }

    #[test]
    fn a_container_that_lost_all_its_users_is_held_and_named() {
        let read = facts(&[(1, 900)]);
        let emptied = Evidence { emptied: vec!["ou=sales".to_owned()], ..evidence(None, &read, 1_000, 10) };
        assert!(
            matches!(judge(&emptied), Verdict::Hold(HoldReason::ContainerEmpty, why) if why.contains("ou=sales"))
        );
    }
}
