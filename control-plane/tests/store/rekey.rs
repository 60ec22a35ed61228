//! Another immutable id for a source that has users: its dry run reads both ids of each entry, and
//! publishing it gives everyone the new one. Nobody becomes somebody else, whatever the ids are, in
//! which order they come, and what happens meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use control_plane::model::{
    Absence, Actor, AuditFilter, Category, EventType, Fence, IdFormat, IdPair, ImmutableId, JobNo, JobState,
    KnownBy, NotSynchronizedReason, PlanLine, Record, Rejected, RouterId, SourceId, Status, SyncJob,
    SyncPlan, Timestamp, Trail, User, UserFilter,
};
use control_plane::reconcile::preview;
use control_plane::reconcile::rekey::{self, Occurrence};
use control_plane::store::{
    NewJob, Observation, Outcome as End, SingleWrite, SourceChange, StoreError, Work,
};
use proptest::prelude::*;

use crate::database::{Engine, NOW, admin, block_on, cases, on_both};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, LEASE, OWNER, SOURCES};
use crate::strategies::{distinct, reading};

const LATER: Timestamp = Timestamp(NOW.0 + 60_000_000);

/// An entry by what it is called so far and by the draft.
#[derive(Clone, Debug)]
struct Entry {
    former: Option<u8>,
    new: Option<u8>,
    person: Person,
}

fn id(number: u8) -> ImmutableId {
    ImmutableId(Bytes::from(vec![number + 1; 16]))
}

fn person(id: u8) -> Person {
    Person { id, user_name: id, mail: Some(id), title: 0, disabled: false, spelling: 0, hidden: false }
}

/// Entries whose new id is this.
fn entries(ids: &[(u8, u8)]) -> Vec<Entry> {
    let entry =
        |(former, new): &(u8, u8)| Entry { former: Some(*former), new: Some(*new), person: person(*former) };
    ids.iter().map(entry).collect()
}

/// Those entries as they are read by the new ids alone.
fn by_new_ids(entries: &[Entry]) -> Directory {
    entries.iter().filter_map(|entry| Some(Person { id: entry.new?, ..entry.person.clone() })).collect()
}

fn hq() -> SourceId {
    SourceId::from(SOURCES[0])
}

impl Database {
    /// Makes a draft that knows people by another attribute.
    async fn draft_with(&self, attribute: &str) {
        let source = self.store().source(&self.tenant(), &hq()).await.expect("the source");
        let mut draft = source.draft;
        draft.mapping.immutable_id = attribute.to_owned();
        draft.mapping.immutable_id_format =
            if attribute == "entryUUID" { IdFormat::Uuid } else { IdFormat::Text };
        let change = SourceChange { display_name: source.display_name, draft };
        let (store, tenant) = (self.store(), self.tenant());
        let updated = store.update_source(&tenant, &hq(), source.version, change, &admin(), NOW).await;
        updated.expect("a draft");
    }

    async fn publish(&self) -> Result<i32, StoreError> {
        self.publish_at(NOW).await
    }

    async fn publish_at(&self, now: Timestamp) -> Result<i32, StoreError> {
        let published = self.store().publish_source(&self.tenant(), &hq(), None, &admin(), now).await;
        published.map(|source| source.published_revision)
    }

    async fn reading_draft(&self) -> (JobNo, Fence, Option<KnownBy>) {
        let job = NewJob { work: Work::DryRun { draft: true }, ..self.new_job(SOURCES[0]) };
        let job = self.store().create_job(job).await.expect("a job").number;
        assert!(self.store().claim_job(job, OWNER, LEASE, NOW).await.expect("a claim"));
        let start = self.store().begin_read(job, OWNER, &RouterId::from("r1"), NOW).await.expect("a read");
        (job, start.fence, start.former)
    }

    /// Takes in what a read of both ids has, as an intake does.
    async fn take(&self, fence: Fence, entries: &[Entry]) -> BTreeSet<i64> {
        let pair = |entry: &Entry| {
            let record = entry.former.is_some() && entry.new.is_some();
            let id_of_new = entry.new.map_or(0, |new| new + 1);
            let digest = if record { *digest(&entry.person, id_of_new) } else { [0; 16] };
            (IdPair { former: entry.former.map(id), new: entry.new.map(id), digest }, record)
        };
        let pairs: Vec<_> = entries.iter().map(pair).collect();
        let occurrences = self.store().record_id_pairs(fence, pairs.clone()).await.expect("pairs");
        let (mut records, mut rejected) = (Vec::new(), Vec::new());
        for ((entry, (pair, record)), occurrence) in entries.iter().zip(pairs).zip(occurrences) {
            let mapped = entry.person.record(fence.tenant);
            let (former, digest) = (pair.former.clone(), pair.digest);
            match (occurrence, record, pair.former) {
                (Occurrence::Again, ..) => {}
                (Occurrence::First, true, Some(id)) => records.push(Record { id, digest, ..mapped }),
                (Occurrence::Clash, true, _) => rejected.push(rekey::clash(former, &mapped.values)),
                _ => rejected.push(Rejected::of(former, NotSynchronizedReason::MissingUniqueId)),
            }
        }
        let applied = self.store().apply(fence, Arc::new(records), rejected, 0, NOW).await.expect("a batch");
        applied.seen.into_iter().map(|user| user.0).collect()
    }

    /// Makes the plan of a complete read.
    async fn plan(&self, fence: Fence, seen: &BTreeSet<i64>) -> SyncJob {
        let store = self.store();
        store.begin_reconciling(fence).await.expect("reconciling");
        store.refuse_clashes(fence, NOW).await.expect("clashes");
        let in_scope = store.users_in_scope(fence, None, 1_000_000).await.expect("users in scope");
        let absent: Vec<_> = in_scope
            .into_iter()
            .filter(|(user, _)| !seen.contains(&user.0))
            .map(|(user, _)| (user, Absence::Unexplained))
            .collect();
        store.record_absent(fence, absent.clone()).await.expect("noted");
        let situation = store.planning_inputs(fence).await.expect("the situation");
        let forecasts = preview::planned_change(&situation);
        let records = situation.waiting.iter().map(|waiting| waiting.id.clone()).zip(forecasts);
        let mut lines: Vec<_> = records.map(|(id, forecast)| PlanLine::Record(id, forecast)).collect();
        lines.extend(absent.into_iter().map(|(user, absence)| PlanLine::Absent(user, absence)));
        store.write_plan(fence, lines, NOW).await.expect("lines of the plan");
        let plan = SyncPlan { expires_at: LATER, doubts: Vec::new(), of_draft: false };
        store.finish_job(fence, End::Planned { plan, withheld: None }, NOW).await.expect("an end")
    }

    async fn dry_run_of_draft(&self, entries: &[Entry], reading: Reading) -> SyncJob {
        let (job, mut fence, former) = self.reading_draft().await;
        assert!(former.is_some(), "both ids are read");
        let mut order: Vec<Entry> = entries.to_vec();
        order.sort_by_key(|entry| {
            let name = [&reading.shuffle.to_le_bytes()[..], &[entry.person.user_name]].concat();
            *blake3::hash(&name).as_bytes()
        });
        if reading.crash.is_some() {
            // Lost in the middle, and read anew in another order.
            for batch in order.chunks(reading.batch).take(2) {
                self.take(fence, batch).await;
            }
            let start = self.store().begin_read(job, OWNER, &RouterId::from("r1"), NOW).await;
            fence = start.expect("another read").fence;
            order.reverse();
        }
        let mut seen = BTreeSet::new();
        for batch in order.chunks(reading.batch) {
            seen.extend(self.take(fence, batch).await);
        }
        self.plan(fence, &seen).await
    }

    /// Number and status of each user, by user name.
    async fn numbers(&self) -> BTreeMap<String, (i64, Status)> {
        self.everyone()
            .await
            .into_iter()
            .map(|user| (user.values.user_name, (user.number.0, user.status)))
            .collect()
    }

    async fn everyone(&self) -> Vec<User> {
        self.store().list_users(&self.tenant(), &UserFilter::default(), None, 1_000).await.expect("users")
    }

    async fn of(directory: &Directory, engine: &Engine) -> Self {
        let database = Self::create(engine, 1_000).await;
        database.license(1_000).await;
        database.sync(directory, Reading::plain()).await;
        database
    }
}

fn digest(person: &Person, new: u8) -> Box<[u8; 16]> {
    let mut digest = Box::new([0; 16]);
    digest.copy_from_slice(&blake3::hash(format!("{person:?} {new}").as_bytes()).as_bytes()[..16]);
    digest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(48), max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_new_ids_are_every_user_keeps_the_number_and_the_next_sync_changes_nobody(
        people in distinct(9), here in prop::collection::vec((any::<bool>(), any::<bool>()), 9),
        new in prop::collection::vec(prop::option::weighted(0.9, 0..11_u8), 9), all_different in any::<bool>(),
        way in reading(9), back in reading(9),
    ) {
        let before: Directory = people.iter().filter(|one| here[usize::from(one.id)].0).cloned().collect();
        let mut entries: Vec<Entry> = people
            .iter()
            .filter(|one| here[usize::from(one.id)].1)
            .map(|one| Entry { former: Some(one.id), new: new[usize::from(one.id)], person: one.clone() })
            .collect();
        if all_different {
            // Everybody gets the id of the next one.
            entries.iter_mut().for_each(|entry| entry.new = Some((entry.person.id + 1) % 9));
        }
        prop_assume!(!before.is_empty());
        let alone = |entry: &&Entry| {
            entry.new.is_some() && entries.iter().filter(|other| other.new == entry.new).count() == 1
        };
        let sound: Vec<Entry> = entries.iter().filter(alone).cloned().collect();
        let was_here = |entry: &&Entry| before.iter().any(|one| one.id == entry.person.id);
        block_on(async {
            let engine = Engine::sqlite();
            let database = Database::of(&before, &engine).await;
            let known = database.numbers().await;
            database.draft_with("employeeNumber").await;
            let run = database.dry_run_of_draft(&entries, way).await;
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            let (stay, come) = (sound.iter().filter(was_here).count(), sound.iter().filter(|one| !was_here(one)).count());
            let shown = (run.counts.unchanged, run.counts.added, run.counts.updated, run.counts.not_synchronized);
            prop_assert_eq!(shown, (count(stay), count(come), 0, count(entries.len() - sound.len())));
            prop_assert_eq!(&known, &database.numbers().await, "a dry run changes nobody");

            database.publish().await.expect("published");
            prop_assert_eq!(&known, &database.numbers().await, "nobody is somebody else");
            let synced = database.sync(&by_new_ids(&sound), Reading::plain()).await;
            let did = (synced.counts.unchanged, synced.counts.added, synced.counts.updated);
            prop_assert_eq!(did, (count(stay), count(come), 0));
            let after = database.numbers().await;
            for (name, (number, status)) in &known {
                let now = after.get(name).copied();
                let stays = sound.iter().any(|one| one.person.record(control_plane::model::TenantNo(1)).values.user_name == *name);
                prop_assert_eq!(now, Some((*number, if stays { *status } else { Status::OutOfScope })), "{}", name);
            }

            // And back, by those who are left.
            let returning: Vec<Entry> = sound
                .iter()
                .map(|one| Entry { former: one.new, new: one.former, person: one.person.clone() })
                .collect();
            if returning.is_empty() {
                return Ok(());
            }
            database.draft_with("entryUUID").await;
            let run = database.dry_run_of_draft(&returning, back).await;
            prop_assert_eq!((run.counts.unchanged, run.counts.read()), (count(sound.len()), count(sound.len())));
            database.publish().await.expect("published");
            let synced = database.sync(&by_new_ids(&returning), Reading::plain()).await;
            prop_assert!(synced.changed_nobody(), "{:?}", synced.counts);
            prop_assert_eq!(&after, &database.numbers().await);
            Ok(())
        })?;
    }
}

on_both! {
    everybody_gets_the_id_that_somebody_else_had_and_stays_the_same_user
    without_a_dry_run_of_this_very_draft_nothing_is_published
    whoever_came_since_the_dry_run_is_no_stranger_since_it_has_to_be_made_again
    whom_the_dry_run_would_disable_may_not_have_been_seen_since
    who_shares_an_id_or_lacks_one_is_listed_and_nobody_is_guessed
    nothing_that_was_read_by_the_former_ids_is_written_after_they_have_changed
    a_publication_while_records_arrive_makes_nobody_a_stranger
    what_a_dry_run_has_read_of_ids_is_gone_with_its_plan
    a_job_from_before_is_undone_and_gives_nobody_a_former_id_nor_enables_who_has_none
}

async fn everybody_gets_the_id_that_somebody_else_had_and_stays_the_same_user(engine: Engine) {
    let entries = entries(&[(0, 1), (1, 2), (2, 0), (3, 3), (4, 9)]);
    let before: Directory = entries.iter().map(|entry| entry.person.clone()).collect();
    let database = Database::of(&before, &engine).await;
    let known = database.numbers().await;
    database.draft_with("employeeNumber").await;
    let run = database.dry_run_of_draft(&entries, Reading::plain()).await;
    assert_eq!((run.state, run.counts.unchanged, run.counts.read()), (JobState::Succeeded, 5, 5));
    assert_eq!(database.publish().await.expect("published"), 2);
    assert_eq!(database.numbers().await, known);
    let ids: BTreeMap<_, _> =
        database.everyone().await.into_iter().map(|user| (user.values.user_name, user.id)).collect();
    for entry in &entries {
        let name = entry.person.record(control_plane::model::TenantNo(1)).values.user_name;
        assert_eq!(ids.get(&name), entry.new.map(id).as_ref(), "{name}");
    }
    let trail = Trail::Tenant(database.tenant());
    let events = database.store().events_from(&trail, &AuditFilter::default(), 1, 1_000).await;
    let events = events.expect("events");
    let published = EventType::SourcePublished.number();
    let published = events.iter().rev().find(|event| event.kind == published).expect("an event");
    assert!(published.details.contains(r#""rekeyed":"5""#), "{published:?}");
    assert!(database.sync(&by_new_ids(&entries), Reading::plain()).await.changed_nobody());
}

fn in_use(result: Result<i32, StoreError>) -> bool {
    matches!(result, Err(StoreError::ImmutableIdInUse))
}

async fn without_a_dry_run_of_this_very_draft_nothing_is_published(engine: Engine) {
    let entries = entries(&[(0, 5), (1, 6)]);
    let before: Directory = entries.iter().map(|entry| entry.person.clone()).collect();
    let database = Database::of(&before, &engine).await;
    let known = database.numbers().await;
    database.draft_with("employeeNumber").await;
    assert!(in_use(database.publish().await), "no dry run");
    let (job, fence, _) = database.reading_draft().await;
    database.take(fence, &entries).await;
    assert!(in_use(database.publish().await), "it has not ended");
    database.store().stop_job(&database.tenant(), &hq(), None, &admin(), NOW).await.expect("stopped");
    assert!(in_use(database.publish().await), "it was stopped: job {}", job.0);
    database.dry_run_of_draft(&entries, Reading::plain()).await;
    assert!(in_use(database.publish_at(LATER).await), "its plan has expired");
    database.draft_with("uid").await;
    assert!(in_use(database.publish().await), "of another draft");
    database.draft_with("entryUUID").await;
    database.publish().await.expect("the same id can always be published");
    database.draft_with("employeeNumber").await;
    assert!(in_use(database.publish().await), "of what was published before");
    assert_eq!(database.numbers().await, known);
    assert!(database.sync(&before, Reading::plain()).await.changed_nobody(), "the former ids still count");
}

async fn whoever_came_since_the_dry_run_is_no_stranger_since_it_has_to_be_made_again(engine: Engine) {
    let all = entries(&[(0, 5), (1, 6), (2, 7)]);
    let directory = |entries: &[Entry]| entries.iter().map(|one| one.person.clone()).collect::<Directory>();
    let database = Database::of(&directory(&all[..2]), &engine).await;
    database.draft_with("employeeNumber").await;
    database.dry_run_of_draft(&all[..2], Reading::plain()).await;
    // A sync adds somebody whom the dry run has not read.
    database.sync(&directory(&all), Reading::plain()).await;
    let known = database.numbers().await;
    assert!(matches!(database.publish().await, Err(StoreError::NotInDryRun(1))));
    assert_eq!(database.numbers().await, known);
    database.dry_run_of_draft(&all, Reading::plain()).await;
    database.publish().await.expect("published");
    assert!(database.sync(&by_new_ids(&all), Reading::plain()).await.changed_nobody());
    assert_eq!(database.numbers().await, known);
}

async fn whom_the_dry_run_would_disable_may_not_have_been_seen_since(engine: Engine) {
    let all = entries(&[(0, 5), (1, 6)]);
    let before: Directory = all.iter().map(|one| one.person.clone()).collect();
    let database = Database::of(&before, &engine).await;
    database.draft_with("employeeNumber").await;
    database.dry_run_of_draft(&all[..1], Reading::plain()).await;
    // The one who was gone is back, and a later sync has seen it: that leaves no other trace.
    let job = database.claimed().await;
    let start = database.begin_at(&job, NOW.plus(Duration::from_secs(1))).await;
    let fence = start.fence;
    database.apply_unchanged(fence, &before).await;
    database.store().begin_reconciling(fence).await.expect("reconciling");
    database.finish(fence).await;
    assert!(matches!(database.publish().await, Err(StoreError::NotInDryRun(1))));
}

impl Database {
    async fn apply_unchanged(&self, fence: Fence, directory: &Directory) {
        let records = directory.iter().map(|person| person.record(fence.tenant)).collect();
        self.store().apply(fence, Arc::new(records), Vec::new(), 0, NOW).await.expect("a batch");
    }
}

async fn who_shares_an_id_or_lacks_one_is_listed_and_nobody_is_guessed(engine: Engine) {
    let mut all = entries(&[(0, 5), (1, 6), (2, 6), (3, 7), (4, 8)]);
    all[4].new = None;
    let before: Directory = all.iter().map(|one| one.person.clone()).collect();
    let database = Database::of(&before, &engine).await;
    let known = database.numbers().await;
    // Another entry says that it is the fourth one, and one does not say who it was.
    all.push(Entry { former: Some(3), new: Some(9), person: person(8) });
    all.push(Entry { former: None, new: Some(10), person: person(7) });
    // And the first one is on two pages.
    all.push(all[0].clone());
    database.draft_with("employeeNumber").await;
    let way = Reading { batch: 1, ..Reading::plain() };
    let run = database.dry_run_of_draft(&all, way).await;
    assert_eq!((run.counts.unchanged, run.counts.not_synchronized, run.counts.read()), (1, 6, 7));
    let listed = database.store().list_details(run.number, Some(Category::NotSynchronized), None, 100).await;
    let listed: BTreeSet<_> = listed
        .expect("details")
        .into_iter()
        .map(|(_, line)| (line.id, line.reason.expect("a reason").number()))
        .collect();
    let (twice, missing) =
        (NotSynchronizedReason::DuplicateUniqueId.number(), NotSynchronizedReason::MissingUniqueId.number());
    let expected =
        [(Some(1), twice), (Some(2), twice), (Some(3), twice), (Some(4), missing), (None, missing)];
    assert_eq!(listed, expected.map(|(number, reason)| (number.map(id), reason)).into());
    database.publish().await.expect("published: each of them was shown");
    assert_eq!(database.numbers().await, known);
    let without = database.everyone().await.into_iter().filter(|user| user.id.is_gone()).count();
    assert_eq!(without, 4, "nobody got an id that two entries have");
    let synced = database.sync(&by_new_ids(&all[..1]), Reading::plain()).await;
    assert_eq!((synced.counts.unchanged, synced.counts.disabled), (1, 4));
}

async fn nothing_that_was_read_by_the_former_ids_is_written_after_they_have_changed(engine: Engine) {
    let all = entries(&[(0, 5), (1, 6)]);
    let before: Directory = all.iter().map(|one| one.person.clone()).collect();
    let database = Database::of(&before, &engine).await;
    let known = database.numbers().await;
    database.draft_with("employeeNumber").await;
    database.dry_run_of_draft(&all, Reading::plain()).await;
    let job = database.claimed().await;
    let fence = database.begin(&job).await.fence;
    database.publish().await.expect("published");
    let store = database.store();
    let records = before.iter().map(|person| person.record(fence.tenant)).collect();
    let written = store.apply(fence, Arc::new(records), Vec::new(), 0, NOW).await;
    assert!(matches!(written, Err(StoreError::Fenced)), "{written:?}");
    let observation = Observation {
        tenant: database.tenant(),
        source: hq(),
        revision: 1,
        version: None,
        asked_at: NOW,
        keep_fresh: false,
        by: Actor::system(),
        now: NOW,
    };
    let written =
        store.apply_observation(observation, person(0).record(fence.tenant)).await.expect("an answer");
    assert!(matches!(written, SingleWrite::AskAgain(_)), "{written:?}");
    assert_eq!(database.numbers().await, known);
}

async fn a_publication_while_records_arrive_makes_nobody_a_stranger(engine: Engine) {
    let all = entries(&[(0, 5), (1, 6), (2, 7), (3, 8)]);
    let before: Directory = all.iter().map(|one| one.person.clone()).collect();
    for round in 0..12_u64 {
        let database = Database::of(&before, &engine).await;
        let known = database.everyone().await.len();
        database.draft_with("employeeNumber").await;
        database.dry_run_of_draft(&all, Reading::plain()).await;
        let job = database.claimed().await;
        let fence = database.begin(&job).await.fence;
        // With names that are free: a stranger would be added.
        let changed: Vec<Record> = before
            .iter()
            .map(|person| {
                Person { user_name: person.id + 20, mail: None, ..person.clone() }.record(fence.tenant)
            })
            .collect();
        let writes: Vec<_> = changed
            .into_iter()
            .map(|record| {
                let store = database.store();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_micros(round * 300)).await;
                    store.apply(fence, Arc::new(vec![record]), Vec::new(), 0, NOW).await
                })
            })
            .collect();
        database.publish().await.expect("published");
        for write in writes {
            match write.await.expect("no panic") {
                Ok(_) | Err(StoreError::Fenced) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(database.everyone().await.len(), known, "nobody was added by a former id");
    }
}

async fn what_a_dry_run_has_read_of_ids_is_gone_with_its_plan(engine: Engine) {
    let all = entries(&[(0, 5), (1, 6)]);
    let before: Directory = all.iter().map(|one| one.person.clone()).collect();
    let database = Database::of(&before, &engine).await;
    database.draft_with("employeeNumber").await;
    // Nothing would change, so the plan has no entry, and only the pairs are left to expire.
    database.dry_run_of_draft(&all, Reading::plain()).await;
    assert_eq!(database.store().expire_plans(NOW).await.expect("asked"), 0);
    assert_eq!(database.store().expire_plans(LATER).await.expect("asked"), 1);
    assert_eq!(database.store().expire_plans(LATER).await.expect("asked"), 0);
}

async fn a_job_from_before_is_undone_and_gives_nobody_a_former_id_nor_enables_who_has_none(engine: Engine) {
    let all = entries(&[(0, 5), (1, 6), (2, 7), (3, 8), (4, 9)]);
    let directory = |ids: &[u8], title| {
        let of = |id: &u8| Person { title: if *id == 0 { title } else { 0 }, ..person(*id) };
        ids.iter().map(of).collect::<Directory>()
    };
    let database = Database::of(&directory(&[0, 1, 2, 3], 0), &engine).await;
    database.sync(&directory(&[0, 3, 4], 1), Reading::plain()).await;
    let job = database.newest().await.id;
    // UserSelector the job disabled by mistake is there again, but for one.
    let mut there: Vec<Entry> = all.into_iter().filter(|entry| entry.person.id != 2).collect();
    there[0].person.title = 1;
    database.draft_with("employeeNumber").await;
    database.dry_run_of_draft(&there, Reading::plain()).await;
    database.publish().await.expect("published");
    let (undo, undone) = database.undo(job, true).await;
    let status = |id: u8| undone.users[&(SOURCES[0].to_owned(), id)].status;
    assert_eq!(undone.users[&(SOURCES[0].to_owned(), 5)].title, "title 0", "has its former values");
    assert_eq!((status(5), status(6), status(8)), (Status::Enabled, Status::Enabled, Status::Enabled));
    assert_eq!(status(9), Status::OutOfScope, "was added");
    let without: Vec<_> = database.everyone().await.into_iter().filter(|user| user.id.is_gone()).collect();
    assert_eq!(without.iter().map(|user| user.status).collect::<Vec<_>>(), [Status::OutOfScope]);
    assert_eq!((undo.counts.updated, undo.counts.disabled, undo.counts.not_synchronized), (2, 1, 1));
    let reasons: Vec<_> = undone.refused.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(reasons, [NotSynchronizedReason::ChangedSince]);
    // The next sync brings what the directory has to the same users.
    let known = database.numbers().await.into_values().map(|(number, _)| number).collect::<BTreeSet<_>>();
    let synced = database.sync(&by_new_ids(&there), Reading::plain()).await;
    assert_eq!((synced.counts.unchanged, synced.counts.updated, synced.counts.added), (2, 2, 0));
    let after = database.numbers().await.into_values().map(|(number, _)| number).collect::<BTreeSet<_>>();
    assert_eq!(after, known, "nobody is a stranger");
}

/// Not part of the suite: says how long it takes. `cargo nextest run --workspace --run-ignored only
/// -E 'test(hundred_thousand_users_get)' --no-capture`
#[expect(clippy::print_stdout, reason = "a measurement that nobody compares")]
async fn hundred_thousand_users_get_new_ids(engine: Engine) {
    const PEOPLE: u32 = 100_000;
    let database = Database::create(&engine, 1_000_000).await;
    database.license(1_000_000).await;
    let job = database.claimed().await;
    let fence = database.begin(&job).await.fence;
    let number = |n: u32, salt: u8| {
        let hash = blake3::hash(&[&n.to_le_bytes()[..], &[salt]].concat());
        ImmutableId(Bytes::copy_from_slice(&hash.as_bytes()[..16]))
    };
    let record = |n: u32| crate::trouble::person(fence.tenant, n, 0);
    for from in (0..PEOPLE).step_by(5_000) {
        let records = (from..from + 5_000).map(|n| Record { id: number(n, 1), ..record(n) }).collect();
        database.store().apply(fence, Arc::new(records), Vec::new(), 0, NOW).await.expect("a batch");
    }
    database.store().begin_reconciling(fence).await.expect("reconciling");
    database.finish(fence).await;
    database.draft_with("employeeNumber").await;
    let (_, fence, _) = database.reading_draft().await;
    let began = Instant::now();
    let mut seen = BTreeSet::new();
    for from in (0..PEOPLE).step_by(5_000) {
        // Every tenth one gets the former id of another one.
        let new = |n: u32| if n.is_multiple_of(10) { number((n + 10) % PEOPLE, 1) } else { number(n, 2) };
        let pair = |n| (IdPair { former: Some(number(n, 1)), new: Some(new(n)), digest: [2; 16] }, true);
        let pairs = (from..from + 5_000).map(pair).collect();
        database.store().record_id_pairs(fence, pairs).await.expect("pairs");
        let records = (from..from + 5_000).map(|n| Record { id: number(n, 1), digest: [2; 16], ..record(n) });
        let applied = database.store().apply(fence, Arc::new(records.collect()), Vec::new(), 0, NOW).await;
        seen.extend(applied.expect("a batch").seen.into_iter().map(|user| user.0));
    }
    let read = began.elapsed();
    database.plan(fence, &seen).await;
    let planned = began.elapsed() - read;
    let began = Instant::now();
    database.publish().await.expect("published");
    println!("pairs of {PEOPLE}: read {read:?}, planned {planned:?}, published {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
#[ignore = "a measurement"]
fn hundred_thousand_users_get_new_ids_on_sqlite() {
    block_on(hundred_thousand_users_get_new_ids(Engine::sqlite()));
}

#[test]
#[ignore = "a measurement"]
fn hundred_thousand_users_get_new_ids_on_postgres() {
    block_on(hundred_thousand_users_get_new_ids(Engine::postgres()));
}
