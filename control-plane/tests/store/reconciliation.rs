//! Properties of the reconciliation through the real store: whatever the order of arrival, the size of the batches and the
//! moment of a crash, the outcome is the same, the numbers add up, and the license holds after every transaction.

use std::collections::BTreeMap;

use control_plane::model::Counts;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::database::{Engine, block_on};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, Outcome};

/// Few names, so that people often want each other's.
fn person(id: u8, names: u8) -> impl Strategy<Value = Person> {
    (0..names, proptest::option::weighted(0.9, 0..names), any::<bool>(), proptest::bool::weighted(0.15))
        .prop_map(move |(user_name, mail, changed, disabled)| Person {
            id,
            user_name,
            mail,
            title: u8::from(changed),
            disabled,
        })
}

/// Directories of at most `people` people in which names may collide.
fn colliding(people: u8) -> impl Strategy<Value = Directory> {
    let some =
        (0..people).map(|id| proptest::option::weighted(0.7, person(id, people + 2))).collect::<Vec<_>>();
    some.prop_map(|people| people.into_iter().flatten().collect())
}

/// Directories in which nobody has another's name, though they may have swapped since.
fn distinct(people: u8) -> impl Strategy<Value = Directory> {
    (colliding(people), Just((0..people).collect::<Vec<_>>()).prop_shuffle()).prop_map(
        |(mut directory, names)| {
            for person in &mut directory {
                person.user_name = names[usize::from(person.id)];
                person.mail = person.mail.map(|_| names[usize::from(person.id)]);
            }
            directory
        },
    )
}

/// The same with nobody disabled in the directory.
fn all_enabled(directories: impl Strategy<Value = Directory>) -> impl Strategy<Value = Directory> {
    directories.prop_map(|mut directory| {
        directory.iter_mut().for_each(|person| person.disabled = false);
        directory
    })
}

fn reading(people: usize) -> impl Strategy<Value = Reading> {
    (any::<u64>(), 1..=people, proptest::option::of(0..people), any::<bool>())
        .prop_map(|(shuffle, batch, crash_after, held)| Reading { shuffle, batch, crash_after, held })
}

/// What both ways of reading the same directory must agree on.
fn outcome(before: &Directory, after: &Directory, limit: i64, reading: Reading) -> Outcome {
    outcome_in(&Engine::sqlite(), before, after, limit, reading)
}

fn outcome_in(
    engine: &Engine,
    before: &Directory,
    after: &Directory,
    limit: i64,
    reading: Reading,
) -> Outcome {
    block_on(async {
        let database = Database::create(engine).await;
        database.license(1_000).await;
        database.sync(before, Reading::plain()).await;
        // Lowering the limit disables nobody: the excess only shrinks.
        database.license(limit).await;
        database.sync(after, reading).await
    })
}

fn plain(counts: Counts) -> Counts {
    Counts { waiting: 0, ..counts }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_and_crashes_do_not_change_the_outcome(
        before in colliding(8), after in colliding(8), one in reading(8), other in reading(8),
    ) {
        let one = outcome(&before, &after, 1_000, one);
        let other = outcome(&before, &after, 1_000, other);
        prop_assert_eq!(&one.users, &other.users);
        // A crash can only move a user from one read's count to another's; without one the counts are equal, too.
        if one.reads == 1 && other.reads == 1 {
            prop_assert_eq!(plain(one.counts), plain(other.counts));
            prop_assert_eq!(&one.refused, &other.refused);
        }
    }

    #[test]
    fn under_a_tight_license_the_counts_do_not_depend_on_the_order(
        before in all_enabled(distinct(8)), after in all_enabled(distinct(8)), limit in 0..9_i64, one in reading(8), other in reading(8),
    ) {
        let one = outcome(&before, &after, limit, Reading { crash_after: None, ..one });
        let other = outcome(&before, &after, limit, Reading { crash_after: None, ..other });
        prop_assert_eq!(plain(one.counts), plain(other.counts));
        prop_assert_eq!(one.enabled(), other.enabled());
    }

    #[test]
    fn a_second_sync_of_the_same_directory_changes_nobody(directory in distinct(8), one in reading(8), other in reading(8)) {
        let (first, second) = block_on(async {
            let engine = Engine::sqlite();
            let database = Database::create(&engine).await;
            database.license(1_000).await;
            (database.sync(&directory, one).await, database.sync(&directory, other).await)
        });
        prop_assert_eq!(&first.users, &second.users);
        let counts = second.counts;
        prop_assert_eq!((counts.added, counts.updated, counts.disabled, counts.not_synchronized), (0, 0, 0, 0));
        prop_assert_eq!(counts.unchanged, i64::try_from(directory.len()).unwrap_or_default());
    }
}

#[test]
fn a_cycle_of_three_mail_addresses_is_one_sync() {
    let with = |mails: [u8; 3]| -> Directory {
        (0..3u8)
            .map(|id| Person {
                id,
                user_name: id,
                mail: Some(mails[usize::from(id)]),
                title: 0,
                disabled: false,
            })
            .collect()
    };
    for shuffle in 0..6 {
        let outcome =
            outcome(&with([0, 1, 2]), &with([1, 2, 0]), 3, Reading { shuffle, batch: 1, ..Reading::plain() });
        assert_eq!((outcome.counts.updated, outcome.counts.not_synchronized), (3, 0));
        let mails: BTreeMap<u8, Option<u8>> =
            outcome.users.iter().map(|(id, user)| (*id, user.mail)).collect();
        assert_eq!(mails, BTreeMap::from([(0, Some(1)), (1, Some(2)), (2, Some(0))]));
    }
}

#[test]
fn a_seat_that_a_leaver_frees_goes_to_a_newcomer_of_the_same_sync() {
    let one = |id| Person { id, user_name: 7, mail: Some(7), title: 0, disabled: false };
    let outcome = outcome(&vec![one(1)], &vec![one(2)], 1, Reading::plain());
    assert_eq!((outcome.counts.added, outcome.counts.disabled, outcome.counts.not_synchronized), (1, 1, 0));
}

#[test]
fn postgresql_comes_to_the_same_as_sqlite() {
    let engine = Engine::postgres();
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
    let inputs = (colliding(8), colliding(8), 0..9_i64, reading(8));
    TestRunner::new(config)
        .run(&inputs, |(before, after, limit, reading)| {
            let there = outcome_in(&engine, &before, &after, limit, reading);
            let here = outcome(&before, &after, limit, reading);
            prop_assert_eq!(&there.users, &here.users);
            prop_assert_eq!(there.counts, here.counts);
            prop_assert_eq!(there.refused, here.refused);
            Ok(())
        })
        .expect("the same outcome");
}
