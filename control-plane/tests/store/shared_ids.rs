//! Two entries with one immutable id are refused both, in any order and however they come; an entry
//! below two roots counts once.

use std::collections::HashSet;
use std::sync::Arc;

use control_plane::model::{
    Category, Counts, Fence, NotSynchronizedReason, Offered, ReadStart, Record, Rejected, Status, SyncJob,
};
use control_plane::store::{Repeats, Work};

use crate::database::{Engine, NOW, block_on, on_both};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, OWNER, SOURCES, Steps};

on_both! {
    two_entries_with_one_id_take_no_user_over
    two_entries_with_one_id_are_refused_in_one_batch_and_in_two
    what_a_first_entry_did_is_taken_back
    the_mark_of_neither_entry_counts
    an_entry_below_two_roots_counts_once
    rejected_entries_below_two_roots_count_once
}

const SHARED: NotSynchronizedReason = NotSynchronizedReason::DuplicateUniqueId;

fn person(id: u8, title: u8) -> Person {
    Person { id, user_name: id, mail: Some(id), title, disabled: false, spelling: 0, hidden: false }
}

/// Another entry with the same id.
fn twin(id: u8) -> Person {
    Person { user_name: 100 + id, mail: Some(100 + id), ..person(id, 9) }
}

async fn database(engine: &Engine, before: &Directory) -> Database {
    let database = Database::create(engine, 1_000).await;
    database.license(1_000).await;
    database.sync(before, Reading::plain()).await;
    database
}

/// A read that applies each batch at once, as one that sends records only.
struct Read<'a> {
    database: &'a Database,
    start: ReadStart,
    met: HashSet<control_plane::model::ImmutableId>,
    seen: roaring::RoaringTreemap,
}

impl<'a> Read<'a> {
    async fn begin(database: &'a Database) -> Self {
        let job = database.started(Work::Sync).await;
        let start = database.store().begin_read(job, OWNER, &"r1".into(), NOW).await.expect("a read");
        Self { database, start, met: HashSet::new(), seen: roaring::RoaringTreemap::new() }
    }

    fn fence(&self) -> Fence {
        self.start.fence
    }

    async fn take(&mut self, people: &[Person], rejected: &[Rejected]) {
        let records: Vec<Record> = people.iter().map(|one| one.record(self.fence().tenant)).collect();
        let ids = records.iter().map(|record| &record.id);
        let ids: Vec<_> = ids.chain(rejected.iter().filter_map(|one| one.id.as_ref())).cloned().collect();
        let repeats = Repeats {
            ids: ids.iter().filter(|id| self.met.contains(*id)).cloned().collect(),
            seen: Arc::new(self.seen.clone()),
            ..Repeats::default()
        };
        self.met.extend(ids);
        self.apply(records, rejected, repeats, 0).await;
    }

    /// An offer whose ids came before.
    async fn repeat(&mut self, people: &[Person]) {
        let tenant = self.fence().tenant;
        let offered = people.iter().map(|one| {
            let record = one.record(tenant);
            Offered { id: record.id, digest: record.digest }
        });
        let (offered, seen) = (offered.collect(), Arc::new(self.seen.clone()));
        self.apply(Vec::new(), &[], Repeats { offered, seen, ..Repeats::default() }, 0).await;
    }

    async fn apply(&mut self, records: Vec<Record>, rejected: &[Rejected], repeats: Repeats, unchanged: i64) {
        let (store, fence) = (self.database.store(), self.fence());
        let applied = store.apply_after(fence, Arc::new(records), rejected.to_vec(), repeats, unchanged, NOW);
        let applied = applied.await.expect("a batch");
        self.seen.extend(applied.seen.iter().map(|user| user.0.unsigned_abs()));
    }

    async fn end(self) -> (SyncJob, Counts) {
        let (store, fence) = (self.database.store(), self.fence());
        store.begin_reconciling(fence).await.expect("reconciling");
        store.accept_suspect_changes(fence).await.expect("trust");
        self.database.settle(fence, false, &mut Steps(usize::MAX), 1_000).await;
        let job = self.database.finish(fence).await;
        assert_eq!(job.counts.waiting, 0);
        (job.clone(), job.counts)
    }
}

async fn listed(database: &Database, job: &SyncJob) -> Vec<(u8, NotSynchronizedReason)> {
    let store = database.store();
    let lines = store.list_details(job.number, Some(Category::NotSynchronized), None, 100).await;
    let lines = lines.expect("details").into_iter();
    lines.filter_map(|(_, line)| Some((line.id?.0[0] - 1, line.reason?))).collect()
}

async fn two_entries_with_one_id_take_no_user_over(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0), person(2, 0)]).await;
    let before = database.users().await;
    // The user's own entry comes first, or second, or another one comes in both places.
    for (first, second) in [(person(1, 0), twin(1)), (twin(1), person(1, 0)), (twin(1), person(1, 1))] {
        let mut read = Read::begin(&database).await;
        read.take(&[first.clone(), person(2, 0)], &[]).await;
        read.take(std::slice::from_ref(&second), &[]).await;
        let (job, counts) = read.end().await;
        assert_eq!(database.users().await, before, "{first:?} {second:?}");
        assert_eq!((counts.unchanged, counts.updated, counts.added, counts.not_synchronized), (1, 0, 0, 2));
        assert_eq!(listed(&database, &job).await, [(1, SHARED), (1, SHARED)]);
    }
    // The same where the second one is offered: right already, or not.
    for (first, second) in [(person(1, 0), twin(1)), (twin(1), person(1, 0))] {
        let mut read = Read::begin(&database).await;
        read.take(&[first, person(2, 0)], &[]).await;
        read.repeat(&[second]).await;
        let (job, counts) = read.end().await;
        assert_eq!((database.users().await, counts.not_synchronized), (before.clone(), 2));
        assert_eq!(listed(&database, &job).await, [(1, SHARED), (1, SHARED)]);
    }
}

async fn two_entries_with_one_id_are_refused_in_one_batch_and_in_two(engine: Engine) {
    let batches: [&[&[Person]]; 3] = [
        &[&[person(1, 0), twin(1), person(2, 0)]],
        &[&[person(1, 0), person(2, 0)], &[twin(1)]],
        &[&[person(1, 0)], &[twin(1), person(2, 0)]],
    ];
    for batches in batches {
        let database = database(&engine, &Vec::new()).await;
        let mut read = Read::begin(&database).await;
        for batch in batches {
            read.take(batch, &[]).await;
        }
        // A third one, and the first one again.
        read.take(&[Person { title: 5, ..twin(1) }, person(1, 0)], &[]).await;
        let (job, counts) = read.end().await;
        assert_eq!((counts.added, counts.not_synchronized, counts.read()), (1, 3, 4));
        assert_eq!(listed(&database, &job).await, [(1, SHARED); 3]);
        let users = database.users().await;
        assert_eq!(users.keys().map(|(_, id)| *id).collect::<Vec<_>>(), [2], "a first sync adds neither");
        assert_eq!(database.store().license(&database.tenant()).await.expect("a license").used, 1);
    }
}

async fn what_a_first_entry_did_is_taken_back(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0), person(2, 0)]).await;
    let mut read = Read::begin(&database).await;
    // Another user gets the names that the first entry gives up: they cannot be given back.
    read.take(&[twin(1)], &[]).await;
    read.take(&[Person { id: 2, ..person(1, 3) }], &[]).await;
    read.take(&[person(1, 1)], &[]).await;
    let (_, counts) = read.end().await;
    let users = database.users().await;
    let user = |id: u8| &users[&(SOURCES[0].to_owned(), id)];
    assert_eq!((user(2).title.as_str(), user(2).status), ("title 3", Status::Enabled));
    assert_eq!(user(1).status, Status::Enabled);
    assert!(counts.not_synchronized >= 1);
    // A waiting record is forgotten.
    let database = self::database(&engine, &vec![person(1, 0), person(2, 0)]).await;
    let before = database.users().await;
    let mut read = Read::begin(&database).await;
    read.take(&[Person { mail: Some(2), ..person(1, 4) }, person(2, 0)], &[]).await;
    read.take(&[twin(1)], &[]).await;
    let (_, counts) = read.end().await;
    assert_eq!((database.users().await, counts.not_synchronized), (before, 2));
}

fn rejected(person: &Person, reason: NotSynchronizedReason) -> Rejected {
    Rejected { disabled: person.disabled, ..Rejected::of(Some(person.immutable_id()), reason) }
}

async fn the_mark_of_neither_entry_counts(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0), person(2, 0)]).await;
    let before = database.users().await;
    let marked = rejected(&Person { disabled: true, ..person(1, 0) }, NotSynchronizedReason::MissingEmail);
    let disabled = Person { disabled: true, ..twin(1) };
    for order in 0..3 {
        let mut read = Read::begin(&database).await;
        match order {
            0 => {
                read.take(&[], std::slice::from_ref(&marked)).await;
                read.take(&[person(1, 0)], &[]).await;
            }
            1 => {
                read.take(&[person(1, 0)], &[]).await;
                read.take(&[], std::slice::from_ref(&marked)).await;
            }
            _ => {
                read.take(std::slice::from_ref(&disabled), &[]).await;
                read.take(&[person(1, 0)], &[]).await;
            }
        }
        read.take(&[person(2, 0)], &[]).await;
        let (job, counts) = read.end().await;
        assert_eq!(database.users().await, before, "{order}");
        assert_eq!(listed(&database, &job).await, [(1, SHARED), (1, SHARED)], "{order}");
        assert_eq!(counts.disabled_in_directory, 0, "{order}");
    }
}

async fn an_entry_below_two_roots_counts_once(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0), person(2, 0)]).await;
    let hidden = Person { hidden: true, ..person(5, 0) };
    // Unchanged, updated, waiting for a name, new, and refused.
    let entries =
        [person(1, 0), person(2, 1), Person { mail: Some(1), ..person(3, 0) }, person(4, 0), hidden];
    let mut read = Read::begin(&database).await;
    read.take(&entries, &[]).await;
    read.take(&entries, &[]).await;
    read.repeat(&entries[..2]).await;
    let (_, counts) = read.end().await;
    assert_eq!((counts.unchanged, counts.updated, counts.added, counts.not_synchronized), (1, 1, 1, 2));
}

async fn rejected_entries_below_two_roots_count_once(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0)]).await;
    let named = rejected(&person(1, 0), NotSynchronizedReason::MissingEmail);
    let nameless = |dn: &str| Rejected {
        distinguished_name: dn.to_owned(),
        ..Rejected::of(None, NotSynchronizedReason::MissingUniqueId)
    };
    let mut read = Read::begin(&database).await;
    for _ in 0..2 {
        read.take(
            &[],
            &[named.clone(), nameless("uid=a,dc=x"), nameless("UID=a,dc=x"), nameless("uid=b,dc=x")],
        )
        .await;
    }
    let (_, counts) = read.end().await;
    assert_eq!((counts.not_synchronized, counts.read()), (3, 3));
}
