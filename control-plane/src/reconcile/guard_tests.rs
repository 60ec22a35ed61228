//! Tests of the guard.

use std::collections::BTreeMap;

use super::*;
use crate::model::RootFacts;

fn facts(roots: &[(u8, u64)]) -> ReadFacts {
    let root = |(at, (fingerprint, entries)): (usize, &(u8, u64))| RootFacts {
        root: format!("ou={at}"),
        fingerprint: [*fingerprint; 16],
        fingerprint_attribute: String::new(),
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
        id_attribute: "entryUUID",
        unidentified: 0,
        absent: leavers,
        leavers,
        unexplained: 0,
        not_visible: 0,
        not_looked_up: 0,
        recent: 0,
        recent_unexplained: 0,
        doubtful: 0,
        reenables: 0,
        disabled_in_directory: 0,
        enabling: 0,
        emptied: Vec::new(),
        recency: Recency::Current,
    }
}

fn broken(evidence: &Evidence<'_>) -> Vec<(HoldReason, i64)> {
    match judge(evidence) {
        Verdict::Hold(broken) => broken.iter().map(|check| (check.reason, check.users)).collect(),
        Verdict::Disable | Verdict::Withhold(_) => Vec::new(),
    }
}

fn held(evidence: &Evidence<'_>) -> Option<HoldReason> {
    broken(evidence).first().map(|(reason, _)| *reason)
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
        let Verdict::Hold(broken) = judge(&evidence(Some(&before), &now, 1_000, 1)) else {
            panic!("not held")
        };
        assert_eq!(broken[0].reason, reason);
        assert!(broken[0].message.contains("ou=1"), "{broken:?}");
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
fn without_ids_leavers_are_left_alone() {
    let read = facts(&[(1, 900)]);
    let blind = Evidence { unidentified: 1, ..evidence(None, &read, 1_000, 1) };
    assert!(matches!(judge(&blind), Verdict::Withhold(why) if why.contains("immutable id")));
}

fn older() -> Recency {
    Recency::Older("its change number is 9 and was 10".to_owned())
}

#[test]
fn an_older_server_is_held_if_it_would_disable_enable_or_restore() {
    let read = facts(&[(1, 900)]);
    for recency in [older(), Recency::Incomparable] {
        let of = |leavers| Evidence { recency: recency.clone(), ..evidence(None, &read, 1_000, leavers) };
        assert_eq!(broken(&of(1)), [(HoldReason::OlderServer, 1)], "disables");
        let enables = Evidence { enabling: 3, ..of(0) };
        assert_eq!(broken(&enables), [(HoldReason::OlderServer, 3)], "nobody is absent");
        let restores = Evidence { doubtful: 2, ..of(0) };
        assert_eq!(broken(&restores), [(HoldReason::OlderServer, 2)]);
    }
    let current = Evidence { enabling: 3, ..evidence(None, &read, 1_000, 0) };
    assert_eq!(judge(&current), Verdict::Disable);
    let hidden = Evidence { recency: older(), not_visible: 3, ..evidence(None, &read, 1_000, 0) };
    assert_eq!(held(&hidden), None, "who is not visible is left alone anyway");
}

#[test]
fn an_older_server_that_changes_nobody_is_told_and_not_held() {
    let read = facts(&[(1, 900)]);
    let quiet = Evidence { recency: older(), ..evidence(None, &read, 1_000, 0) };
    assert!(matches!(judge(&quiet), Verdict::Withhold(why) if why.contains("change number is 9")));
    let other = Evidence { recency: Recency::Incomparable, ..evidence(None, &read, 1_000, 0) };
    assert_eq!(judge(&other), Verdict::Disable);
}

#[test]
fn a_hold_names_every_check_that_broke_and_how_many_users_it_concerns() {
    let before = facts(&[(1, 1_000), (2, 50)]);
    let read = facts(&[(1, 900), (0, 0)]);
    let emptied = vec![EmptiedContainer { name: "ou=sales".to_owned(), users: 40 }];
    let all = Evidence {
        unexplained: 60,
        not_visible: 5,
        emptied,
        enabling: 2,
        recency: older(),
        ..evidence(Some(&before), &read, 1_050, 90)
    };
    assert_eq!(
        broken(&all),
        [
            (HoldReason::RootMissing, 50),
            (HoldReason::ContainerEmpty, 40),
            (HoldReason::OlderServer, 92),
            (HoldReason::DisableGuard, 90),
            (HoldReason::UnexplainedAbsences, 60),
        ]
    );
}

#[test]
fn a_hidden_id_is_told_as_that_and_not_as_another_root() {
    let (before, read) = (facts(&[(1, 900)]), facts(&[(2, 900)]));
    let hidden = Evidence { unidentified: 900, ..evidence(Some(&before), &read, 900, 900) };
    let Verdict::Hold(broken) = judge(&hidden) else { panic!("not held") };
    assert_eq!(broken.len(), 1, "the fingerprint is of another attribute: {broken:?}");
    assert_eq!(broken[0].reason, HoldReason::AttributeLoss);
    assert!(broken[0].message.contains("entryUUID is readable in none of 900"), "{broken:?}");
}

#[test]
fn a_fingerprint_of_another_attribute_is_no_other_root() {
    let of = |fingerprint, attribute: &str| {
        let mut facts = facts(&[(fingerprint, 900)]);
        facts.roots[0].fingerprint_attribute = attribute.to_owned();
        facts
    };
    let before = of(1, "nsUniqueId");
    for (read, reason) in [
        (of(2, "entryUUID"), Some(HoldReason::AttributeLoss)),
        (of(2, "nsUniqueId"), Some(HoldReason::RootChanged)),
        (of(1, "nsUniqueId"), None),
    ] {
        assert_eq!(held(&evidence(Some(&before), &read, 900, 1)), reason);
    }
    let unknown = of(1, "");
    let read = of(2, "nsUniqueId");
    assert_eq!(
        held(&evidence(Some(&unknown), &read, 900, 1)),
        Some(HoldReason::RootChanged),
        "facts of a router that did not say"
    );
}

#[test]
fn entries_without_id_keep_leavers_however_much_else_is_broken() {
    let read = facts(&[(1, 900)]);
    let blind = Evidence { unidentified: 1, recency: older(), ..evidence(None, &read, 1_000, 400) };
    assert!(matches!(judge(&blind), Verdict::Withhold(_)));
    let enables = Evidence { enabling: 1, ..blind };
    assert_eq!(broken(&enables), [(HoldReason::OlderServer, 1)], "none of the leavers is on the list");
}

#[test]
fn users_who_are_not_visible_tell_of_the_place_and_count_for_no_guard() {
    let (before, read) = (facts(&[(1, 900), (2, 50)]), facts(&[(1, 900), (2, 0)]));
    let hidden = Evidence { not_visible: 50, ..evidence(Some(&before), &read, 950, 0) };
    assert_eq!(broken(&hidden), [(HoldReason::RootMissing, 50)]);
    let one_by_one = Evidence { not_visible: 50, ..evidence(None, &read, 950, 0) };
    assert_eq!(judge(&one_by_one), Verdict::Disable, "they are left alone and listed");
}

#[test]
fn a_container_that_lost_all_its_users_is_held_and_named() {
    let read = facts(&[(1, 900)]);
    let emptied = vec![EmptiedContainer { name: "ou=sales".to_owned(), users: 10 }];
    let emptied = Evidence { emptied, ..evidence(None, &read, 1_000, 10) };
    let Verdict::Hold(broken) = judge(&emptied) else { panic!("not held") };
    assert_eq!(broken[0].reason, HoldReason::ContainerEmpty);
    assert!(broken[0].message.contains("ou=sales"), "{broken:?}");
}
