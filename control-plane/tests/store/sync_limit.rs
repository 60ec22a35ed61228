//! The sync limit: known users in scope keep their places, and repeated syncs of one directory
//! change nobody.

use control_plane::model::{NotSynchronizedReason, Status};

use crate::database::{Engine, block_on, on_both};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, Outcome, SOURCES};

on_both! {
    repeated_syncs_at_the_limit_change_nobody
    users_that_left_the_scope_take_no_place
    a_lower_limit_disables_no_user_and_the_mark_still_counts
    a_dry_run_plans_what_a_sync_at_the_limit_does
}

const LIMIT: u32 = 10;
const BEYOND: NotSynchronizedReason = NotSynchronizedReason::SyncLimit;

fn person(id: u8) -> Person {
    Person { id, user_name: id, mail: Some(id), title: 0, disabled: false, spelling: 0, hidden: false }
}

fn people(ids: impl Iterator<Item = u8>) -> Directory {
    ids.map(person).collect()
}

async fn database(engine: &Engine, limit: u32) -> Database {
    let database = Database::create(engine, limit).await;
    database.license(1_000).await;
    database
}

fn in_scope(outcome: &Outcome) -> usize {
    outcome.users.values().filter(|user| user.status != Status::OutOfScope).count()
}

async fn repeated_syncs_at_the_limit_change_nobody(engine: Engine) {
    let database = database(&engine, LIMIT).await;
    let outcome = database.sync(&people(0..30), Reading::plain()).await;
    assert_eq!((outcome.counts.added, outcome.counts.not_synchronized), (10, 20));
    assert_eq!(outcome.refused.iter().filter(|(_, reason)| *reason == BEYOND).count(), 20, "all are listed");
    let enabled: Vec<u8> = outcome.users.keys().map(|(_, id)| *id).collect();
    let left: Directory = people((0..30).filter(|id| !enabled[..2].contains(id)));
    for (round, changes) in [(0, (2, 2)), (1, (0, 0)), (2, (0, 0)), (3, (0, 0))] {
        let reading = Reading { shuffle: round, held: round == 2, ..Reading::plain() };
        let outcome = database.sync(&left, reading).await;
        assert_eq!((outcome.counts.added, outcome.counts.disabled), changes, "{round}");
        assert_eq!((outcome.enabled(), outcome.counts.not_synchronized), (10, 18), "{round}");
    }
}

/// Also where a user in scope cannot be synchronized: it keeps its place.
async fn users_that_left_the_scope_take_no_place(engine: Engine) {
    let database = database(&engine, LIMIT).await;
    database.sync(&people(0..10), Reading::plain()).await;
    database.sync(&people(5..10), Reading::plain()).await;
    let outcome = database.sync(&people(5..15), Reading::plain()).await;
    assert_eq!((outcome.counts.added, outcome.counts.not_synchronized), (5, 0));
    // Some return: those in scope come first, and they are 10.
    let outcome = database.sync(&people(3..15), Reading::plain()).await;
    assert_eq!(outcome.refused, [(3, BEYOND), (4, BEYOND)].into());
    assert_eq!((in_scope(&outcome), outcome.counts.unchanged), (10, 10));
    // Returning users come before new ones.
    let outcome = database.sync(&people((3..14).chain(20..25)), Reading::plain()).await;
    assert_eq!((outcome.counts.reenabled, outcome.counts.added), (1, 0));
    assert_eq!(in_scope(&outcome), 10);
    // One takes another's name and cannot be synchronized.
    let taken = Person { user_name: 6, title: 1, ..person(5) };
    let after: Directory = people(6..14).into_iter().chain([taken, person(30), person(31)]).collect();
    for _ in 0..3 {
        let outcome = database.sync(&after, Reading::plain()).await;
        assert!(in_scope(&outcome) <= 10, "{:?}", outcome.users);
        assert_eq!(outcome.counts.read(), 11);
    }
}

async fn a_lower_limit_disables_no_user_and_the_mark_still_counts(engine: Engine) {
    let database = database(&engine, LIMIT).await;
    database.sync(&people(0..10), Reading { batch: 1, ..Reading::plain() }).await;
    let numbers = database.numbers_by_id().await;
    database.publish_limit(4).await;
    let outcome = database.sync(&people(0..12), Reading::plain()).await;
    assert_eq!((outcome.enabled(), outcome.counts.unchanged, outcome.counts.not_synchronized), (10, 4, 8));
    let beyond: Vec<u8> = numbers[4..].iter().map(|(_, id)| *id).collect();
    assert!(beyond.iter().all(|id| outcome.refused.contains(&(*id, BEYOND))), "{:?}", outcome.refused);
    let marked = beyond[0];
    let after: Directory =
        people(0..12).into_iter().map(|one| Person { disabled: one.id == marked, ..one }).collect();
    for (round, disabled) in [1, 0, 0].into_iter().enumerate() {
        let outcome = database.sync(&after, Reading::plain()).await;
        let user = &outcome.users[&(SOURCES[0].to_owned(), marked)];
        assert_eq!(user.status, Status::DisabledInDirectory, "{round}");
        assert_eq!(outcome.counts.disabled_in_directory, disabled, "{round}");
        assert!(outcome.refused.contains(&(marked, BEYOND)), "listed as both");
        assert_eq!((outcome.counts.read(), outcome.enabled()), (12, 9), "{round}");
    }
    // It comes back no earlier than it has a place.
    let outcome = database.sync(&people(0..12), Reading::plain()).await;
    assert_eq!(outcome.users[&(SOURCES[0].to_owned(), marked)].status, Status::DisabledInDirectory);
}

async fn a_dry_run_plans_what_a_sync_at_the_limit_does(engine: Engine) {
    let database = database(&engine, LIMIT).await;
    database.sync(&people(0..12), Reading::plain()).await;
    let after = people(4..20);
    let (plan, _) = database.dry_run(&after, Reading::plain()).await;
    let outcome = database.sync(&after, Reading::plain()).await;
    let sums = |counts: control_plane::model::Counts| {
        (counts.added, counts.updated, counts.disabled, counts.not_synchronized)
    };
    assert_eq!(sums(plan.counts), sums(outcome.counts));
    assert_eq!(in_scope(&outcome), 10);
}
