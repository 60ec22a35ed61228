//! What is kept for an undo and for Show Details, how long, and whom an undo leaves alone.

use control_plane::model::{
    Actor, Category, NotSynchronizedReason, Presence, SourceId, Status, UserNo, UserSelector,
};
use control_plane::store::{Observation, Outcome as End, SingleWrite, StoreError, Work};

use crate::database::{Engine, NOW, block_on, on_both};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, SOURCES};
use crate::plans::LATER;

on_both! {
    the_tenth_newest_job_is_undone_whole_and_an_older_one_is_refused
    dry_runs_replace_nothing_that_is_kept_of_a_sync
    a_plan_that_expires_while_it_is_applied_is_applied_whole
    an_undo_leaves_whom_a_sync_of_one_user_changed_while_the_job_ran
}

fn person(id: u8, title: u8) -> Person {
    Person { id, user_name: id, mail: Some(id), title, disabled: false, spelling: 0, hidden: false }
}

async fn database(engine: &Engine, before: &Directory) -> Database {
    let database = Database::create(engine, 1_000).await;
    database.license(1_000).await;
    database.sync(before, Reading::plain()).await;
    database
}

async fn the_tenth_newest_job_is_undone_whole_and_an_older_one_is_refused(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0), person(2, 0)]).await;
    let first = database.newest().await.id;
    let after = vec![person(1, 1), person(3, 0)];
    database.sync(&after, Reading::plain()).await;
    let job = database.newest().await.id;
    for _ in 0..9 {
        database.sync(&after, Reading::plain()).await;
    }
    let refused = database.store().create_job(crate::plans::new_undo(&database, first)).await;
    assert!(matches!(refused, Err(StoreError::NotUndoable(_))), "{refused:?}");
    let (_, undone) = database.undo(job, true).await;
    let user = |id: u8| &undone.users[&(SOURCES[0].to_owned(), id)];
    assert_eq!((user(1).title.as_str(), user(2).status), ("title 0", Status::Enabled));
    assert_eq!(user(3).status, Status::OutOfScope);
}

async fn dry_runs_replace_nothing_that_is_kept_of_a_sync(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0), person(2, 0)]).await;
    // The fourth has the name of the first.
    let after = vec![person(1, 1), Person { user_name: 1, ..person(4, 0) }];
    database.sync(&after, Reading::plain()).await;
    let job = database.newest().await;
    for _ in 0..12 {
        let (plan, _) = database.dry_run(&after, Reading::plain()).await;
        assert_eq!(plan.counts.not_synchronized, 1);
    }
    let store = database.store();
    let count = async |job, category| {
        let listed = store.list_details(job, Some(category), None, 100).await.expect("details");
        listed.into_iter().map(|(_, line)| line.reason).collect::<Vec<_>>()
    };
    let refused = Some(NotSynchronizedReason::DuplicateUserName);
    assert_eq!(count(job.number, Category::NotSynchronized).await, [refused]);
    assert_eq!(count(job.number, Category::Updated).await.len(), 1);
    let exported = store.export_details(job.number, Category::Disabled, 5, 0, 100).await.expect("an export");
    assert_eq!(exported.len(), 1, "the journal is there");
    let (_, undone) = database.undo(job.id, false).await;
    let user = |id: u8| &undone.users[&(SOURCES[0].to_owned(), id)];
    assert_eq!((user(1).title.as_str(), user(2).status), ("title 0", Status::Enabled));
}

async fn a_plan_that_expires_while_it_is_applied_is_applied_whole(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0)]).await;
    let (plan, _) = database.dry_run(&vec![person(1, 1)], Reading::plain()).await;
    let store = database.store();
    let job = database.started(Work::Plan(plan.id)).await;
    assert_eq!(store.expire_plans(LATER).await.expect("looked"), 0, "it is being applied");
    let entries = store.plan_entries(plan.number, None, 0, 10, NOW).await.expect("the plan");
    assert_eq!(entries.len(), 1);
    let start = store.begin_read(job, crate::drive::OWNER, &"r1".into(), NOW).await.expect("a read");
    store.begin_reconciling(start.fence).await.expect("reconciling");
    store.finish_job(start.fence, End::Succeeded { withheld: None, facts: None }, NOW).await.expect("an end");
    assert_eq!(store.expire_plans(LATER).await.expect("looked"), 1);
}

async fn an_undo_leaves_whom_a_sync_of_one_user_changed_while_the_job_ran(engine: Engine) {
    let database = database(&engine, &(1..=3).map(|id| person(id, 0)).collect()).await;
    database.sync(&(1..=4).map(|id| person(id, 1)).collect(), Reading::plain()).await;
    let job = database.newest().await;
    let store = database.store();
    let (tenant, _) = store.single_user_settings(&database.tenant()).await.expect("a tenant");
    // Not after the job's end: it may have been held since.
    let observation = async |id: u8| {
        let whom = UserSelector::UserName(person(id, 1).record(tenant).values.user_name);
        let known = store.look_up_user(tenant, &whom).await.expect("an answer").expect("a user");
        let observation = Observation {
            tenant: database.tenant(),
            source: SourceId::from(SOURCES[0]),
            revision: 1,
            version: Some(known.version),
            asked_at: NOW,
            keep_fresh: false,
            by: Actor::system(),
            now: job.ended_at.expect("an end"),
        };
        (observation, known.user.number)
    };
    let written =
        |write: SingleWrite| matches!(write, SingleWrite::Done(written) if written.outcome.changed());
    for id in [1, 4] {
        let (observation, _) = observation(id).await;
        let record = person(id, 2).record(tenant);
        assert!(written(store.apply_observation(observation, record).await.expect("written")));
    }
    let (gone, number): (_, UserNo) = observation(3).await;
    assert!(written(store.observe_absence(gone, number, Presence::Deleted).await.expect("written")));
    let (undo, undone) = database.undo(job.id, false).await;
    let user = |id: u8| {
        let user = &undone.users[&(SOURCES[0].to_owned(), id)];
        (user.title.as_str(), user.status)
    };
    assert_eq!(user(1), ("title 2", Status::Enabled));
    assert_eq!(user(2), ("title 0", Status::Enabled), "changed by the job alone");
    assert_eq!(user(3), ("title 1", Status::OutOfScope), "the directory no longer has it");
    assert_eq!(user(4), ("title 2", Status::Enabled));
    assert_eq!((undo.counts.updated, undo.counts.disabled, undo.counts.not_synchronized), (1, 0, 3));
}
