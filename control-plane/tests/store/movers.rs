//! People who move between two sources of one tenant. The sources are synchronized one after the other, each several times: in the end it
//! makes no difference which was first.

use control_plane::model::{Status, TenantNo};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::database::{Engine, block_on, cases};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, Outcome, SOURCES, Users};
use crate::strategies::{all_enabled, distinct, reading};

/// One directory, and which source has each person; none: nobody is there.
type Split = Vec<(Option<usize>, Person)>;

const PEOPLE: u8 = 6;

fn split() -> impl Strategy<Value = Split> {
    let sources =
        proptest::collection::vec(proptest::option::weighted(0.85, 0..2_usize), usize::from(PEOPLE));
    (all_enabled(distinct(PEOPLE)), sources)
        .prop_map(|(people, sources)| sources.into_iter().zip(people).collect())
}

fn part(split: &Split, source: usize) -> Directory {
    split.iter().filter(|(of, _)| *of == Some(source)).map(|(_, person)| person.clone()).collect()
}

/// Synchronizes both sources with `before`, then with `after` in turn, so often; the first of them comes first. Users, and the last syncs.
fn synchronized(
    engine: &Engine,
    (before, after): (&Split, &Split),
    limit: i64,
    first: usize,
    rounds: &[Reading],
) -> (Users, Vec<Outcome>) {
    block_on(async {
        let database = Database::create(engine, 1_000).await;
        database.license(1_000).await;
        for source in [0, 1] {
            database.sync_source(SOURCES[source], &part(before, source), Reading::plain()).await;
        }
        database.license(limit).await;
        let mut last = Vec::new();
        for reading in rounds {
            last.clear();
            for source in [first, 1 - first] {
                last.push(database.sync_source(SOURCES[source], &part(after, source), *reading).await);
            }
        }
        (database.users().await, last)
    })
}

fn readings(rounds: usize) -> impl Strategy<Value = Vec<Reading>> {
    proptest::collection::vec(reading(usize::from(PEOPLE)), rounds)
}

/// The people of one directory, elsewhere.
fn moved() -> impl Strategy<Value = (Split, Split)> {
    (split(), split()).prop_map(|(before, after)| {
        let places = after.into_iter().map(|(place, _)| place);
        let moved = places.zip(&before).map(|(place, (_, person))| (place, person.clone())).collect();
        (before, moved)
    })
}

fn enabled(users: &Users) -> usize {
    users.values().filter(|user| user.status == Status::Enabled).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whoever_moved_to_another_source_is_there_after_both_were_synchronized_twice(
        (before, after) in moved(), first in 0..2_usize, rounds in readings(2),
    ) {
        let (users, last) = synchronized(&Engine::sqlite(), (&before, &after), 1_000, first, &rounds);
        prop_assert!(last.iter().all(|outcome| outcome.counts.not_synchronized == 0));
        let there = after.iter().filter_map(|(place, person)| Some(((*place)?, person)));
        let mut count = 0;
        for (place, person) in there {
            let user = &users[&(SOURCES[place].to_owned(), person.id)];
            let record = person.record(TenantNo(1));
            prop_assert_eq!((user.status, &user.mail), (Status::Enabled, &record.values.mail));
            count += 1;
        }
        prop_assert_eq!(enabled(&users), count);
    }

    #[test]
    fn which_source_is_first_makes_no_difference_once_nothing_changes_any_more(
        before in split(), after in split(), one in readings(8), other in readings(8),
    ) {
        let (one, quiet) = synchronized(&Engine::sqlite(), (&before, &after), 1_000, 0, &one);
        prop_assert!(quiet.iter().all(Outcome::changed_nobody));
        let (other, quiet) = synchronized(&Engine::sqlite(), (&before, &after), 1_000, 1, &other);
        prop_assert!(quiet.iter().all(Outcome::changed_nobody));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn which_source_is_first_makes_no_difference_to_how_many_seats_are_taken(
        (before, after) in moved(), limit in 0..7_i64, one in readings(3), other in readings(3),
    ) {
        let (one, _) = synchronized(&Engine::sqlite(), (&before, &after), limit, 0, &one);
        let (other, _) = synchronized(&Engine::sqlite(), (&before, &after), limit, 1, &other);
        prop_assert_eq!(enabled(&one), enabled(&other));
    }
}

#[test]
fn postgresql_moves_people_as_sqlite_does() {
    let engine = Engine::postgres();
    let config = ProptestConfig { cases: cases(6), failure_persistence: None, ..ProptestConfig::default() };
    let inputs = (split(), split(), 0..7_i64, 0..2_usize, readings(2));
    TestRunner::new(config)
        .run(&inputs, |(before, after, limit, first, rounds)| {
            let (there, _) = synchronized(&engine, (&before, &after), limit, first, &rounds);
            let (here, _) = synchronized(&Engine::sqlite(), (&before, &after), limit, first, &rounds);
            prop_assert_eq!(there, here);
            Ok(())
        })
        .expect("the same outcome");
}
