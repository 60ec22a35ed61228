//! The mark of a disabled account in whole syncs, on both engines: what enables a user, what
//! disables one although its entry cannot become a record, how many are enabled at once, and
//! warnings.

use std::collections::BTreeSet;
use std::sync::Arc;

use control_plane::model::{
    Category, Counts, Decision, Fence, Hold, HoldReason, JobState, NotSynchronizedReason, ReadFacts, Record,
    Rejected, Status, SyncJob, UserFilter,
};
use control_plane::store::Work;

use crate::database::{Engine, NOW, admin, block_on, on_both};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, LEASE, OWNER, SOURCES, Steps};
use crate::plans::LATER;

on_both! {
    a_hidden_mark_enables_no_user_in_a_sync_a_plan_and_an_approval
    a_plan_enables_no_user_whose_mark_is_hidden_when_it_is_applied
    a_rejected_entry_disables_its_user
    a_plan_shows_and_applies_the_mark_of_a_rejected_entry
    reenabled_users_wait_for_their_number_and_for_an_approval
    a_rejected_hold_leaves_users_disabled
    warnings_are_kept_counted_and_listed
}

fn person(id: u8) -> Person {
    Person { id, user_name: id, mail: Some(id), title: 0, disabled: false, spelling: 0, hidden: false }
}

fn disabled(id: u8) -> Person {
    Person { disabled: true, ..person(id) }
}

fn hidden(person: Person) -> Person {
    Person { hidden: true, ..person }
}

async fn database(engine: &Engine, before: &Directory) -> Database {
    let database = Database::create(engine, 1_000).await;
    database.license(1_000).await;
    database.sync(before, Reading::plain()).await;
    database
}

async fn status(database: &Database, id: u8) -> Option<Status> {
    database.users().await.get(&(SOURCES[0].to_owned(), id)).map(|user| user.status)
}

const HIDDEN: NotSynchronizedReason = NotSynchronizedReason::MarkNotVisible;

/// Enabled, disabled, out of scope, and new; all marks become hidden.
async fn a_hidden_mark_enables_no_user_in_a_sync_a_plan_and_an_approval(engine: Engine) {
    let after: Directory = [1, 2, 3, 4].map(|id| hidden(Person { title: 1, ..person(id) })).into();
    for held in [None, Some(false), Some(true)] {
        let database = database(&engine, &vec![person(1), disabled(2), person(3)]).await;
        database.sync(&vec![person(1), disabled(2)], Reading::plain()).await;
        let outcome = match held {
            Some(held) => database.sync(&after, Reading { held, ..Reading::plain() }).await,
            None => {
                let (plan, entries) = database.dry_run(&after, Reading::plain()).await;
                let refused = entries.iter().filter(|entry| entry.reason == Some(HIDDEN)).count();
                assert_eq!((plan.counts.updated, plan.counts.not_synchronized, refused), (1, 3, 3));
                database.apply_plan(plan.id, &after, Reading::plain()).await
            }
        };
        let expected = [
            (1, Some(Status::Enabled)),
            (2, Some(Status::DisabledInDirectory)),
            (3, Some(Status::OutOfScope)),
            (4, None),
        ];
        for (id, expected) in expected {
            assert_eq!(status(&database, id).await, expected, "{id} {held:?}");
        }
        assert_eq!(outcome.refused, [(2, HIDDEN), (3, HIDDEN), (4, HIDDEN)].into(), "{held:?}");
        assert_eq!((outcome.counts.updated, outcome.counts.reenabled), (1, 0), "the enabled one");
        let shown: Directory = after.iter().map(|one| Person { hidden: false, ..one.clone() }).collect();
        assert_eq!(database.sync(&shown, Reading::plain()).await.enabled(), 4, "once it is seen");
    }
}

/// The plan was made while the mark was seen.
async fn a_plan_enables_no_user_whose_mark_is_hidden_when_it_is_applied(engine: Engine) {
    let database = database(&engine, &vec![person(1), disabled(2)]).await;
    let seen = vec![person(1), person(2), person(3)];
    let (plan, _) = database.dry_run(&seen, Reading::plain()).await;
    assert_eq!((plan.counts.reenabled, plan.counts.added), (1, 1));
    let now: Directory = seen.into_iter().map(hidden).collect();
    let applied = database.apply_plan(plan.id, &now, Reading::plain()).await;
    assert_eq!(applied.refused, [(2, HIDDEN), (3, HIDDEN)].into());
    assert_eq!(
        (status(&database, 2).await, status(&database, 3).await),
        (Some(Status::DisabledInDirectory), None)
    );
}

fn without_mail(person: &Person) -> Rejected {
    Rejected {
        disabled: person.disabled,
        user_name: "somebody".to_owned(),
        ..Rejected::of(Some(person.immutable_id()), NotSynchronizedReason::MissingEmail)
    }
}

impl Database {
    /// Reads entries that cannot become records, in one batch each, and ends the job.
    async fn sync_rejected(&self, work: Work, entries: &[Rejected], reads: usize) -> (SyncJob, Counts) {
        let store = self.store();
        let job = self.started(work).await;
        let mut fence = None;
        for _ in 0..reads {
            let start = store.begin_read(job, OWNER, &"r1".into(), NOW).await.expect("a read");
            for entry in entries {
                let nothing = Arc::new(Vec::new());
                store.apply(start.fence, nothing, vec![entry.clone()], 0, NOW).await.expect("a batch");
            }
            fence = Some(start.fence);
        }
        let fence: Fence = fence.expect("a read");
        store.begin_reconciling(fence).await.expect("reconciling");
        let job = self.finish(fence).await;
        (job.clone(), job.counts)
    }
}

async fn a_rejected_entry_disables_its_user(engine: Engine) {
    for reads in [1, 2] {
        let database = database(&engine, &vec![person(1), person(2), disabled(3)]).await;
        let entries = [disabled(1), person(2), disabled(3), disabled(4)].map(|one| without_mail(&one));
        let (job, counts) = database.sync_rejected(Work::Sync, &entries, reads).await;
        for (id, expected) in [
            (1, Some(Status::DisabledInDirectory)),
            (2, Some(Status::Enabled)),
            (3, Some(Status::DisabledInDirectory)),
            (4, None),
        ] {
            assert_eq!(status(&database, id).await, expected, "{id} {reads}");
        }
        assert_eq!((counts.updated, counts.disabled_in_directory, counts.not_synchronized), (1, 1, 3));
        assert_eq!(counts.read(), 4);
        let store = database.store();
        let list = |category| store.list_details(job.number, Some(category), None, 10);
        let updated = list(Category::Updated).await.expect("details");
        assert_eq!(updated.len(), 1, "{updated:?}");
        assert!(updated[0].1.message.contains("no mail address"), "{updated:?}");
        let refused = list(Category::NotSynchronized).await.expect("details");
        let reasons: Vec<_> = refused.iter().filter_map(|(_, line)| line.reason).collect();
        assert_eq!(reasons, [NotSynchronizedReason::MissingEmail; 4], "listed as both");
        let seats = store.license(&database.tenant()).await.expect("a license");
        assert_eq!(seats.used, 1);
    }
}

async fn a_plan_shows_and_applies_the_mark_of_a_rejected_entry(engine: Engine) {
    let database = database(&engine, &vec![person(1), person(2)]).await;
    let store = database.store();
    let job = database.started(Work::DryRun { draft: false }).await;
    let start = store.begin_read(job, OWNER, &"r1".into(), NOW).await.expect("a read");
    let entries = [disabled(1), person(2)].map(|one| without_mail(&one));
    store.apply(start.fence, Arc::new(Vec::new()), entries.to_vec(), 0, NOW).await.expect("a batch");
    store.begin_reconciling(start.fence).await.expect("reconciling");
    let (plan, listed) = database.end_dry_run(start.fence, Vec::new()).await;
    assert_eq!(
        (plan.counts.updated, plan.counts.disabled_in_directory, plan.counts.not_synchronized),
        (1, 1, 1)
    );
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].reason, Some(NotSynchronizedReason::MissingEmail));
    assert_eq!(listed[0].after.as_ref().map(|(_, status)| *status), Some(Status::DisabledInDirectory));
    assert_eq!(status(&database, 1).await, Some(Status::Enabled), "a dry run changes nobody");
    // What the plan does not have is left out.
    let now = [disabled(1), disabled(2)].map(|one| without_mail(&one));
    let (_, counts) = database.sync_rejected(Work::Plan(plan.id), &now, 1).await;
    assert_eq!((counts.updated, counts.disabled_in_directory, counts.not_synchronized), (1, 1, 1));
    assert_eq!(
        (status(&database, 1).await, status(&database, 2).await),
        (Some(Status::DisabledInDirectory), Some(Status::Enabled))
    );
}

/// Holds a job for the users that it would enable again, as the jobs do.
async fn held_for_reenables(database: &Database, after: &Directory) -> SyncJob {
    let store = database.store();
    let used = store.license(&database.tenant()).await.expect("a license").used;
    let job = database.started(Work::Sync).await;
    let (start, _) = database.read(job, after, Reading::plain(), usize::MAX, used).await;
    let fence = start.fence;
    store.begin_reconciling(fence).await.expect("reconciling");
    let reenables = store.count_reenables(fence).await.expect("a number");
    assert_eq!((reenables.waiting, reenables.disabled), (2, 3));
    while store.refuse_reenables(fence, 1, NOW).await.expect("refused") {}
    store.accept_suspect_changes(fence).await.expect("trust");
    database.settle(fence, true, &mut Steps(usize::MAX), used).await;
    let hold = Hold {
        reason: HoldReason::MassEnable,
        message: "Look.".to_owned(),
        users: reenables.waiting,
        etag: "the list".to_owned(),
        broken: Vec::new(),
        since: NOW,
        expires_at: LATER,
        decision: Decision::Pending,
        decided_by: String::new(),
    };
    store.hold_job(fence, hold, ReadFacts::default()).await.expect("held")
}

/// Three are disabled; two are enabled in the directory, one of them with other names.
fn reenabled() -> (Directory, Directory) {
    let before = vec![disabled(1), disabled(2), disabled(3), person(4)];
    let renamed = Person { user_name: 9, mail: Some(9), ..person(2) };
    (before, vec![person(1), renamed, disabled(3), Person { title: 1, ..person(4) }, person(5)])
}

async fn reenabled_users_wait_for_their_number_and_for_an_approval(engine: Engine) {
    let (before, after) = reenabled();
    let database = database(&engine, &before).await;
    let store = database.store();
    let job = held_for_reenables(&database, &after).await;
    assert_eq!((job.state, job.counts.waiting), (JobState::Held, 0));
    assert_eq!((job.counts.added, job.counts.updated, job.counts.reenabled), (1, 1, 0), "all else is done");
    assert_eq!((job.counts.not_synchronized, job.counts.read()), (2, 5));
    let listed = store.list_details(job.number, Some(Category::WouldBeEnabled), None, 10).await;
    let listed: BTreeSet<_> =
        listed.expect("details").into_iter().filter_map(|(_, line)| Some(line.id?.0[0] - 1)).collect();
    assert_eq!(listed, [1, 2].into());
    let name = (&database.tenant(), &job.source);
    store.approve_job(name.0, name.1, None, "the list", &admin(), NOW).await.expect("approved");
    assert!(store.claim_job(job.number, OWNER, LEASE, NOW).await.expect("a claim"));
    let start = store.begin_approved(job.number, OWNER, NOW).await.expect("begun");
    store.requeue_retained(start.fence, NOW).await.expect("recalled");
    database.settle(start.fence, false, &mut Steps(usize::MAX), 1_000).await;
    let counts = database.finish(start.fence).await.counts;
    assert_eq!((counts.updated, counts.reenabled, counts.not_synchronized), (3, 2, 0));
    for id in [1, 2] {
        assert_eq!(status(&database, id).await, Some(Status::Enabled), "{id}");
    }
}

async fn a_rejected_hold_leaves_users_disabled(engine: Engine) {
    let (before, after) = reenabled();
    let database = database(&engine, &before).await;
    let store = database.store();
    let job = held_for_reenables(&database, &after).await;
    let rejected =
        store.reject_job(&database.tenant(), &job.source, None, &admin(), NOW).await.expect("rejected");
    assert_eq!((rejected.state, rejected.withheld), (JobState::Succeeded, None), "nobody was to be disabled");
    for id in [1, 2, 3] {
        assert_eq!(status(&database, id).await, Some(Status::DisabledInDirectory), "{id}");
    }
    let again = held_for_reenables(&database, &after).await;
    assert_eq!(again.state, JobState::Held, "the next sync finds them again");
}

async fn warnings_are_kept_counted_and_listed(engine: Engine) {
    let database = database(&engine, &vec![person(1), person(2)]).await;
    let store = database.store();
    let sync = async |warnings: &[&str], digest: u8| -> SyncJob {
        let job = database.started(Work::Sync).await;
        let fence = store.begin_read(job, OWNER, &"r1".into(), NOW).await.expect("a read").fence;
        let warnings = warnings.iter().map(|warning| (*warning).to_owned()).collect();
        let record = Record { digest: [digest; 16], warnings, ..person(1).record(fence.tenant) };
        store.apply(fence, Arc::new(vec![record]), Vec::new(), 0, NOW).await.expect("a batch");
        store.begin_reconciling(fence).await.expect("reconciling");
        database.finish(fence).await
    };
    let job = sync(&["phone: has a tab.", "memberOf: has 101 values."], 7).await;
    let counts = job.counts;
    assert_eq!((counts.warnings, counts.unchanged, counts.updated), (Some(1), 1, 0), "no value changed");
    let users = store.list_users(&database.tenant(), &UserFilter::default(), None, 10).await.expect("users");
    let kept: BTreeSet<_> = users.iter().map(|user| (user.id.0[0] - 1, user.warnings.len())).collect();
    assert_eq!(kept, [(1, 2), (2, 0)].into());
    let listed = store.list_details(job.number, Some(Category::Warning), None, 10).await.expect("details");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].1.message, "phone: has a tab. memberOf: has 101 values.");
    let exported = store.export_details(job.number, Category::Warning, 5, 0, 10).await.expect("a list");
    assert_eq!(exported.len(), 1);
    assert_eq!(sync(&[], 8).await.counts.warnings, Some(0), "mended");
}
