//! Properties of the reconciliation through the real store: whatever the order of arrival, the size
//! of the batches, the moment of a crash, and whether an administrator had to approve, the outcome
//! is the same, the numbers add up, and the license holds after every transaction.

use std::collections::BTreeMap;

use control_plane::model::{Counts, NotSynchronizedReason, Status, TenantNo};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::database::{Engine, block_on, cases};
use crate::directory::{Crash, Directory, Person, Reading};
use crate::drive::{Database, Outcome};
use crate::strategies::{all_enabled, colliding, distinct, reading};

/// More than there are people.
const PLENTY: i64 = 1_000;

/// What all ways of reading the same directory must agree on.
fn outcome(before: &Directory, after: &Directory, limit: i64, reading: Reading) -> Outcome {
    outcome_in(&Engine::sqlite(), (before, after), (limit, 1_000), reading)
}

fn outcome_in(
    engine: &Engine,
    (before, after): (&Directory, &Directory),
    (limit, sync_limit): (i64, u32),
    reading: Reading,
) -> Outcome {
    block_on(async {
        let database = Database::create(engine, sync_limit).await;
        database.license(PLENTY).await;
        database.sync(before, Reading::plain()).await;
        // Lowering the limit disables nobody: the excess only shrinks.
        database.license(limit).await;
        database.sync(after, reading).await
    })
}

fn plain(counts: Counts) -> Counts {
    Counts { waiting: 0, ..counts }
}

/// Counts without those that tell only which of the new users got in.
fn sums(counts: Counts) -> Counts {
    Counts { disabled_in_directory: 0, ..plain(counts) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(32), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_and_crashes_do_not_change_the_outcome(
        before in colliding(8), after in colliding(8), one in reading(8), other in reading(8),
    ) {
        let one = outcome(&before, &after, PLENTY, one);
        let other = outcome(&before, &after, PLENTY, other);
        prop_assert_eq!(&one.users, &other.users);
        prop_assert_eq!(plain(one.counts), plain(other.counts));
        prop_assert_eq!(&one.refused, &other.refused);
    }

    #[test]
    fn names_that_go_round_in_cycles_and_change_their_letters_all_get_where_they_belong(
        before in distinct(8), after in distinct(8), reading in reading(8),
    ) {
        let outcome = outcome(&before, &after, PLENTY, reading);
        prop_assert_eq!(&outcome.refused, &Default::default());
        for person in &after {
            let user = &outcome.users[&("hq".to_owned(), person.id)];
            let record = person.record(TenantNo(1));
            prop_assert_eq!((&user.user_name, &user.mail), (&record.values.user_name, &record.values.mail));
        }
    }

    #[test]
    fn under_a_tight_license_the_counts_do_not_depend_on_the_order(
        before in all_enabled(distinct(8)), after in all_enabled(distinct(8)), limit in 0..9_i64, one in reading(8), other in reading(8),
    ) {
        let one = outcome(&before, &after, limit, one);
        let other = outcome(&before, &after, limit, other);
        prop_assert_eq!(plain(one.counts), plain(other.counts));
        prop_assert_eq!(one.enabled(), other.enabled());
    }

    #[test]
    fn whatever_collides_the_license_holds_and_the_numbers_add_up(
        before in colliding(8), after in colliding(8), limit in 0..9_i64, sync_limit in 1..12_u32, reading in reading(8),
    ) {
        // What is to be proved is asserted after every transaction.
        outcome_in(&Engine::sqlite(), (&before, &after), (limit, sync_limit), reading);
    }

    #[test]
    fn under_a_small_sync_limit_the_counts_do_not_depend_on_the_order(
        before in distinct(8), after in distinct(8), limit in 1..9_u32, one in reading(8), other in reading(8),
    ) {
        let with = |reading| outcome_in(&Engine::sqlite(), (&before, &after), (PLENTY, limit), reading);
        let (one, other) = (with(one), with(other));
        prop_assert_eq!(sums(one.counts), sums(other.counts));
    }

    #[test]
    fn a_second_sync_of_the_same_directory_changes_nobody(
        before in colliding(8), after in colliding(8), one in reading(8), other in reading(8),
    ) {
        let (first, second) = block_on(async {
            let engine = Engine::sqlite();
            let database = Database::create(&engine, 1_000).await;
            database.license(PLENTY).await;
            database.sync(&before, Reading::plain()).await;
            (database.sync(&after, one).await, database.sync(&after, other).await)
        });
        prop_assert_eq!(&first.users, &second.users);
        prop_assert!(second.changed_nobody(), "{:?}", second.counts);
        // Of two names that someone does not get, the second sync may meet the other one first.
        let who = |outcome: &Outcome| -> Vec<u8> { outcome.refused.iter().map(|(id, _)| *id).collect() };
        // UserSelector the first one has disabled only, without the names, it has counted for that;
        // the second one refuses the names alone.
        let disabled_only = |id: &u8| {
            let user = first.users.get(&("hq".to_owned(), *id));
            !who(&first).contains(id) && user.is_some_and(|user| user.status == Status::DisabledInDirectory)
        };
        let again: Vec<u8> = who(&second).into_iter().filter(|id| !disabled_only(id)).collect();
        prop_assert_eq!(who(&first), again);
    }
}

fn one(id: u8, name: u8) -> Person {
    Person { id, user_name: name, mail: Some(name), title: 0, disabled: false, spelling: 0, hidden: false }
}

#[test]
fn a_cycle_of_three_mail_addresses_is_one_sync() {
    let with = |mails: [u8; 3]| -> Directory {
        (0..3u8).map(|id| Person { mail: Some(mails[usize::from(id)]), ..one(id, id) }).collect()
    };
    let mails = |outcome: &Outcome| -> BTreeMap<u8, String> {
        outcome.users.iter().map(|((_, id), user)| (*id, user.mail.clone())).collect()
    };
    let wanted = mails(&outcome(&Vec::new(), &with([1, 2, 0]), 3, Reading::plain()));
    for shuffle in 0..6 {
        let outcome =
            outcome(&with([0, 1, 2]), &with([1, 2, 0]), 3, Reading { shuffle, batch: 1, ..Reading::plain() });
        assert_eq!((outcome.counts.updated, outcome.counts.not_synchronized), (3, 0));
        assert_eq!(mails(&outcome), wanted);
    }
}

#[test]
fn a_name_in_other_letters_is_an_update_and_no_conflict_with_itself() {
    for spelling in 1..4 {
        let respelled = Person { spelling, ..one(1, 7) };
        let names = |person: &Person| person.record(TenantNo(1)).names().collect::<Vec<_>>();
        assert_eq!(names(&respelled), names(&one(1, 7)), "{spelling}: the same names");
        let outcome = outcome(&vec![one(1, 7)], &vec![respelled], 1, Reading::plain());
        assert_eq!((outcome.counts.updated, outcome.counts.not_synchronized), (1, 0), "{spelling}");
    }
}

#[test]
fn a_seat_that_a_leaver_frees_goes_to_a_newcomer_of_the_same_sync() {
    let outcome = outcome(&vec![one(1, 7)], &vec![one(2, 7)], 1, Reading::plain());
    assert_eq!((outcome.counts.added, outcome.counts.disabled, outcome.counts.not_synchronized), (1, 1, 0));
}

/// Two users get a contested name while the directory is read, and must give it back; the seat that
/// one of them freed is gone by then.
#[test]
fn a_change_that_is_taken_back_does_not_take_a_seat_that_another_has_got() {
    let person = |id, user_name, disabled| Person { disabled, user_name, ..one(id, id) };
    let before = vec![person(0, 10, false), person(1, 11, false), person(2, 12, false), person(3, 13, false)];
    let after = vec![
        person(0, 11, false), // waits for the name of 1
        person(1, 14, false), // gives it up
        person(2, 11, false), // takes it, and gives up its own
        person(3, 12, true),  // takes that, and frees a seat
        person(4, 15, false), // takes the seat
    ];
    let in_order = |shuffle| Reading { shuffle, batch: 1, ..Reading::plain() };
    let shuffle = (0..)
        .find(|shuffle| in_order(*shuffle).order(&after).iter().map(|person| person.id).eq(0..5))
        .expect("an order of these five");
    let outcome = outcome(&before, &after, 4, in_order(shuffle));
    assert_eq!(outcome.enabled(), 4);
}

#[test]
fn postgresql_comes_to_the_same_as_sqlite() {
    let engine = Engine::postgres();
    let config = ProptestConfig { cases: cases(16), failure_persistence: None, ..ProptestConfig::default() };
    let inputs = (colliding(8), colliding(8), 0..9_i64, 1..12_u32, reading(8));
    TestRunner::new(config)
        .run(&inputs, |(before, after, license, sync_limit, reading)| {
            let with = |engine| outcome_in(engine, (&before, &after), (license, sync_limit), reading);
            let (there, here) = (with(&engine), with(&Engine::sqlite()));
            prop_assert_eq!(&there.users, &here.users);
            prop_assert_eq!(there.counts, here.counts);
            prop_assert_eq!(there.refused, here.refused);
            Ok(())
        })
        .expect("the same outcome");
}

#[test]
fn a_change_that_is_taken_back_never_takes_a_seat_that_is_gone() {
    let before = vec![one(0, 0), one(1, 1)];
    let leaves = Person { user_name: 1, mail: Some(2), disabled: true, ..one(1, 1) };
    let wants_the_same = Person { mail: Some(2), ..one(0, 0) };
    let after = vec![wants_the_same, leaves, one(5, 5)];
    for shuffle in 0..24 {
        outcome(&before, &after, 2, Reading { shuffle, batch: 1, ..Reading::plain() });
    }
}

#[test]
fn whoever_keeps_a_name_keeps_it_through_a_hold_and_a_crash() {
    let before = vec![one(3, 1), one(5, 0)];
    let after = vec![Person { mail: None, ..one(3, 0) }, Person { mail: None, ..one(5, 0) }];
    let plain = outcome(&before, &after, 2, Reading::plain());
    assert_eq!(plain.refused, [(3, NotSynchronizedReason::DuplicateUserName)].into());
    let held = Reading { held: true, ..Reading::plain() };
    assert_eq!(outcome(&before, &after, 2, held).users, plain.users);
    for step in 0..6 {
        let crashed = Reading { crash: Some(Crash::Reconciling(step)), ..Reading::plain() };
        assert_eq!(outcome(&before, &after, 2, crashed).users, plain.users, "{step}");
    }
}

#[test]
fn a_disable_is_not_taken_back_once_an_administrator_has_approved_and_its_seat_is_gone() {
    let person = |id, user_name, mail, disabled| Person { user_name, mail, disabled, ..one(id, 0) };
    let before =
        vec![person(0, 1, None, true), person(4, 2, Some(9), false), person(5, 5, None, false), one(7, 3)];
    // The first wants the name of the second once it finds a seat, the second's former address has
    // gone to the third by then.
    let after = vec![
        person(0, 6, None, false),
        person(4, 6, None, false),
        person(5, 4, Some(9), true),
        Person { user_name: 8, ..one(7, 3) },
    ];
    for shuffle in 0..3 {
        for limit in 2..4 {
            let held = Reading { shuffle, batch: 1, crash: None, held: true };
            outcome(&before, &after, limit, held);
            outcome(
                &before,
                &after,
                limit,
                Reading { held: false, crash: Some(Crash::Reconciling(4)), ..held },
            );
        }
    }
}

/// A name that another user has keeps nobody enabled whom the directory has disabled.
#[test]
fn whom_the_directory_disables_is_disabled_also_without_the_names_it_has_there() {
    let before = vec![one(0, 0), one(1, 1)];
    let disabled = Person { disabled: true, ..one(1, 0) };
    for held in [false, true] {
        for shuffle in 0..2 {
            let reading = Reading { shuffle, batch: 1, held, ..Reading::plain() };
            let outcome = outcome(&before, &vec![one(0, 0), disabled.clone()], 2, reading);
            let user = &outcome.users[&("hq".to_owned(), 1)];
            assert_eq!(user.status, Status::DisabledInDirectory, "held {held}");
            assert_eq!(user.mail, one(1, 1).record(TenantNo(1)).values.mail);
            let counts = outcome.counts;
            assert_eq!((counts.updated, counts.disabled_in_directory, counts.not_synchronized), (1, 1, 0));
        }
    }
}
