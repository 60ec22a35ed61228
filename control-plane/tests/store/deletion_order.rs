//! Marks, purges and deletions at any moment of syncs of all and of one user: seats are enabled
//! users, the numbers of jobs add up, and nobody who is gone comes back under its number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control_plane::model::{
    Absence, Actor, Category, Decision, Fence, Hold, HoldReason, JobState, NotSynchronizedReason, Offered,
    Presence, ReadFacts, Record, SourceId, Status, SyncJob, Timestamp, UserNo, UserSelector,
};
use control_plane::reconcile::offer;
use control_plane::store::{Observation, Outcome, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::conformance::OWNER;
use crate::database::{Engine, NOW, admin, block_on, cases};
use crate::deletion::{DAY, World};
use crate::directory::Person;
use crate::drive::Seen;

const PEOPLE: u8 = 4;
/// One fewer than there are people: somebody often waits.
const SEATS: i64 = 3;

#[derive(Clone, Copy, Debug)]
enum Turn {
    /// The person changes, moves out of scope or back, is disabled or enabled.
    Edit(u8),
    Move(u8),
    Disable(u8),
    Mark(u8),
    Undelete(u8),
    /// Four days go by: a mark is due after two of these.
    Days,
    Purge,
    DeleteNow(u8),
    /// The directory is asked for one user; the answer is written down later.
    Ask(u8),
    Answer(u8),
    /// The next step of a sync of all, which is held at its end or not.
    Bulk(bool),
    /// It reads once more from the beginning.
    Again,
}

struct Bulk {
    job: SyncJob,
    fence: Fence,
    step: u8,
    seen: BTreeSet<UserNo>,
    /// People whose records came in this read, and in all of them.
    read: BTreeSet<u8>,
    ever: BTreeSet<u8>,
    held: bool,
    /// It has read more than once.
    again: bool,
}

impl Bulk {
    fn ever(&self) -> i64 {
        i64::try_from(self.ever.len()).expect("few")
    }

    fn begin_again(&mut self, fence: Fence) {
        (self.fence, self.step, self.again) = (fence, 0, true);
        (self.seen, self.read) = (BTreeSet::new(), BTreeSet::new());
    }
}

struct Scene {
    world: World,
    now: Timestamp,
    people: Vec<(Person, bool)>,
    asked: BTreeMap<u8, (Observation, Option<UserNo>, Option<Record>)>,
    bulk: Option<Bulk>,
    /// Numbers of users that there were, and those of them that are gone.
    known: BTreeSet<i64>,
    gone: BTreeSet<i64>,
    /// Ends that were seen, so that the test can say that it meets them.
    met: BTreeMap<&'static str, usize>,
}

impl Scene {
    async fn new(engine: &Engine) -> Self {
        let person = |id| Person {
            id,
            user_name: id,
            mail: Some(id),
            title: 0,
            disabled: false,
            spelling: 0,
            hidden: false,
        };
        Self {
            world: World::new(engine, SEATS).await,
            now: NOW,
            people: (0..PEOPLE).map(|id| (person(id), true)).collect(),
            asked: BTreeMap::new(),
            bulk: None,
            known: BTreeSet::new(),
            gone: BTreeSet::new(),
            met: BTreeMap::new(),
        }
    }

    fn record(&self, person: u8) -> Option<Record> {
        let (person, in_scope) = &self.people[usize::from(person)];
        in_scope.then(|| person.record(self.world.number))
    }

    fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// The user of a person, in scope or not.
    async fn user(&self, person: u8) -> Option<UserNo> {
        let id = self.people[usize::from(person)].0.immutable_id();
        let users = self.world.store.list_users(&self.world.tenant, &Default::default(), None, 100).await;
        users.expect("users").into_iter().find(|user| user.id == id).map(|user| user.number)
    }

    async fn turn(&mut self, turn: Turn) -> Result<(), TestCaseError> {
        self.now = self.now.plus(std::time::Duration::from_secs(1));
        let (store, tenant, now) = (Arc::clone(&self.world.store), self.world.tenant.clone(), self.now);
        match turn {
            Turn::Edit(person) => self.people[usize::from(person)].0.title ^= 1,
            Turn::Move(person) => self.people[usize::from(person)].1 ^= true,
            Turn::Disable(person) => self.people[usize::from(person)].0.disabled ^= true,
            Turn::Days => self.now = now.plus(4 * DAY),
            Turn::Mark(person) => {
                if let Some(user) = self.user(person).await {
                    self.world.mark(&[user], now).await.expect("marked");
                }
            }
            Turn::Undelete(person) => {
                if let Some(user) = self.user(person).await {
                    store.undelete_users(&tenant, vec![user], &admin(), now).await.expect("undeleted");
                }
            }
            Turn::Purge => {
                let purged = self.world.purge(now).await;
                if purged.deleted > 0 {
                    self.meet(if self.bulk.is_some() { "purged beside a job" } else { "purged" });
                }
            }
            Turn::DeleteNow(person) => {
                if let Some(user) = self.user(person).await {
                    let status = store.user(&tenant, user).await.expect("a user").status;
                    match store.delete_user(&tenant, user, &admin(), now).await {
                        Ok(()) => {
                            self.meet(if self.bulk.is_some() { "deleted beside a job" } else { "deleted" })
                        }
                        Err(StoreError::UserEnabled) => prop_assert_eq!(status, Status::Enabled),
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
            Turn::Ask(person) => self.ask(person).await,
            Turn::Answer(person) => self.answer(person).await,
            Turn::Bulk(held) => self.step(held).await?,
            Turn::Again => {
                if let Some(bulk) = self.bulk.as_mut().filter(|bulk| !bulk.held && bulk.step > 0) {
                    bulk.begin_again(self.world.read_again(&bulk.job, now).await);
                }
            }
        }
        self.check().await
    }

    async fn ask(&mut self, person: u8) {
        let store = &self.world.store;
        let known = self.user(person).await;
        let sighting = match known {
            Some(user) => {
                store.look_up_user(self.world.number, &UserSelector::User(user)).await.expect("an answer")
            }
            None => None,
        };
        let observation = Observation {
            tenant: self.world.tenant.clone(),
            source: SourceId::from("hq"),
            revision: 1,
            version: sighting.map(|sighting| sighting.version),
            asked_at: self.now,
            keep_fresh: false,
            by: Actor::system(),
            now: self.now,
        };
        let record = self.record(person);
        self.asked.insert(person, (observation, known, record));
    }

    async fn answer(&mut self, person: u8) {
        let Some((observation, known, record)) = self.asked.remove(&person) else { return };
        let (store, observation) = (&self.world.store, Observation { now: self.now, ..observation });
        match (record, known) {
            (Some(record), _) => drop(store.apply_observation(observation, record).await.expect("an answer")),
            (None, Some(user)) => {
                drop(store.observe_absence(observation, user, Presence::Deleted).await.expect("an answer"));
            }
            (None, None) => {}
        }
    }

    /// The next step of a sync of all. One that finds its read voided reads again.
    async fn step(&mut self, held: bool) -> Result<(), TestCaseError> {
        let Some(mut bulk) = self.bulk.take() else {
            let (job, fence) = self.world.reading(self.now).await;
            self.bulk = Some(Bulk {
                job,
                fence,
                step: 0,
                seen: BTreeSet::new(),
                read: BTreeSet::new(),
                ever: BTreeSet::new(),
                held: false,
                again: false,
            });
            return Ok(());
        };
        match self.carry(&mut bulk, held).await {
            Ok(true) => {}
            Ok(false) => self.bulk = Some(bulk),
            Err(StoreError::Fenced) => {
                bulk.begin_again(self.world.read_again(&bulk.job, self.now).await);
                self.meet("a read voided");
                self.bulk = Some(bulk);
            }
            Err(other) => panic!("{other:?}"),
        }
        Ok(())
    }

    /// True once the job has ended.
    async fn carry(&mut self, bulk: &mut Bulk, held: bool) -> Result<bool, StoreError> {
        let (store, now, fence) = (Arc::clone(&self.world.store), self.now, bulk.fence);
        let step = bulk.step;
        match step {
            person if person < PEOPLE => {
                if let Some(record) = self.record(person) {
                    let offered = [Offered { id: record.id.clone(), digest: record.digest }];
                    let known = store.known_users(fence, vec![record.id.clone()]).await?;
                    let plan = offer::plan(fence.job, &offered, &known, None, &Seen(&bulk.seen));
                    bulk.seen.extend(plan.seen);
                    let wanted = if plan.want.is_empty() { Vec::new() } else { vec![record] };
                    let applied =
                        store.apply(fence, Arc::new(wanted), Vec::new(), plan.unchanged, now).await?;
                    bulk.seen.extend(applied.seen);
                    bulk.read.insert(person);
                    bulk.ever.insert(person);
                }
            }
            step if step == PEOPLE => {
                store.begin_reconciling(fence).await?;
                let in_scope = store.users_in_scope(fence, None, 100).await?.into_iter();
                let gone = in_scope.map(|(user, _)| user).filter(|user| !bulk.seen.contains(user));
                let gone: Vec<_> = gone.map(|user| (user, Absence::Moved)).collect();
                bulk.held = held;
                if held {
                    store.record_absent(fence, gone).await?;
                    self.meet("held");
                } else {
                    store.accept_suspect_changes(fence).await?;
                    store.disable_absent(fence, gone, None, now).await?;
                }
            }
            step if step == PEOPLE + 1 => {
                if bulk.held {
                    let reason = NotSynchronizedReason::AttributeLoss;
                    while store.refuse_suspect_changes(fence, reason, 10, now).await? {}
                    store.accept_returns(fence).await?;
                }
                store.resolve_names(fence, bulk.held, now).await?;
            }
            step if step == PEOPLE + 2 => {
                // One record at a time, so that a deletion comes between.
                if store.assign_seats(fence, 1, bulk.held, now).await? {
                    return Ok(false);
                }
            }
            step if step == PEOPLE + 3 => {
                if !bulk.held {
                    return self.end(bulk).await;
                }
                let job = store.hold_job(fence, hold(now), ReadFacts::default()).await?;
                assert_eq!((job.state, job.counts.waiting), (JobState::Held, 0));
            }
            step if step == PEOPLE + 4 => {
                let name = (&self.world.tenant, &bulk.job.source, None);
                // A sync of all may have been long; the hold does not expire here.
                store.approve_job(name.0, name.1, name.2, "the list", &admin(), NOW).await?;
                assert!(store.claim_job(bulk.job.number, OWNER, DAY, now).await?);
                bulk.fence = store.begin_approved(bulk.job.number, OWNER, now).await?.fence;
                store.requeue_retained(bulk.fence, now).await?;
            }
            step if step == PEOPLE + 5 => {
                let noted = store.recorded_absent(fence, bulk.job.number, None, 100).await?;
                store.disable_absent(fence, noted, None, now).await?;
                store.resolve_names(fence, false, now).await?;
            }
            _ => {
                if store.assign_seats(fence, 1, false, now).await? {
                    return Ok(false);
                }
                return self.end(bulk).await;
            }
        }
        bulk.step += 1;
        Ok(false)
    }

    async fn end(&mut self, bulk: &Bulk) -> Result<bool, StoreError> {
        let done = Outcome::Succeeded { withheld: None, facts: None };
        let job = self.world.store.finish_job(bulk.fence, done, self.now).await?;
        assert_eq!((job.state, job.counts.waiting), (JobState::Succeeded, 0));
        let least = i64::try_from(bulk.read.len()).expect("few");
        let read = job.counts.read();
        assert!((least..=bulk.ever()).contains(&read), "{read} of {:?}: {:?}", bulk.read, job.counts);
        let details = self.world.store.list_details(job.number, Some(Category::NotSynchronized), None, 100);
        let listed = i64::try_from(details.await?.len()).expect("few");
        assert_eq!(listed, job.counts.not_synchronized, "the list is as long as its count");
        self.meet("ended");
        Ok(true)
    }

    async fn check(&mut self) -> Result<(), TestCaseError> {
        let used = self.world.check_seats().await;
        prop_assert!(used <= SEATS, "{} of {} seats", used, SEATS);
        let users = self.world.store.list_users(&self.world.tenant, &Default::default(), None, 100).await;
        let users: BTreeSet<i64> = users.expect("users").iter().map(|user| user.number.0).collect();
        let back: Vec<_> = users.intersection(&self.gone).collect();
        prop_assert!(back.is_empty(), "brought back: {:?}", back);
        let highest = self.known.last().copied().unwrap_or_default();
        prop_assert!(users.difference(&self.known).all(|new| *new > highest), "a number was given again");
        self.gone.extend(self.known.difference(&users).copied());
        self.known.extend(users);
        let Some(bulk) = &self.bulk else { return Ok(()) };
        let job = self.world.store.job_by_number(bulk.job.number).await.expect("a job");
        let (read, waiting) = (job.counts.read(), job.counts.waiting);
        if bulk.again {
            // UserSelector a former read counted keeps that outcome, and may wait for another one
            // now.
            prop_assert!(read <= bulk.ever(), "{} of {:?}: {:?}", read, bulk.ever, job.counts);
        } else {
            prop_assert_eq!(read + waiting, bulk.ever(), "{:?}", job.counts);
        }
        prop_assert!(waiting >= 0 && job.counts.not_synchronized >= 0, "{:?}", job.counts);
        prop_assert!(job.counts.reenabled <= job.counts.updated.max(1), "{:?}", job.counts);
        Ok(())
    }
}

fn hold(now: Timestamp) -> Hold {
    Hold {
        reason: HoldReason::DisableGuard,
        message: "Look.".to_owned(),
        broken: Vec::new(),
        users: 0,
        etag: "the list".to_owned(),
        since: now,
        expires_at: now.plus(1_000 * DAY),
        decision: Decision::Pending,
        decided_by: String::new(),
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        2 => (0..PEOPLE).prop_map(Turn::Edit),
        2 => (0..PEOPLE).prop_map(Turn::Move),
        2 => (0..PEOPLE).prop_map(Turn::Disable),
        3 => (0..PEOPLE).prop_map(Turn::Mark),
        1 => (0..PEOPLE).prop_map(Turn::Undelete),
        2 => Just(Turn::Days),
        3 => Just(Turn::Purge),
        3 => (0..PEOPLE).prop_map(Turn::DeleteNow),
        1 => (0..PEOPLE).prop_map(Turn::Ask),
        2 => (0..PEOPLE).prop_map(Turn::Answer),
        14 => any::<bool>().prop_map(Turn::Bulk),
        1 => Just(Turn::Again),
    ];
    proptest::collection::vec(turn, 20..90)
}

async fn play(engine: &Engine, turns: &[Turn]) -> Result<BTreeMap<&'static str, usize>, TestCaseError> {
    let mut scene = Scene::new(engine).await;
    for turn in turns {
        scene.turn(*turn).await?;
    }
    let mut steps = 0;
    while scene.bulk.is_some() {
        scene.turn(Turn::Bulk(false)).await?;
        steps += 1;
        prop_assert!(steps < 100, "it never ends");
    }
    // Whoever is in scope is there again after one more sync, as far as there are seats.
    let records: Vec<Record> = (0..PEOPLE).filter_map(|person| scene.record(person)).collect();
    let in_scope = records.len();
    let job = scene.world.sync(records, scene.now).await;
    prop_assert_eq!(job.counts.read(), i64::try_from(in_scope).expect("few"));
    let users = scene.world.users().await;
    let present = users.values().filter(|user| user.status != Status::OutOfScope).count();
    let refused = usize::try_from(job.counts.not_synchronized).expect("few");
    prop_assert!(present + refused >= in_scope, "{} users of {}", present, in_scope);
    scene.check().await?;
    Ok(scene.met)
}

/// Returns what was met, and how often.
fn play_all(engine: &Engine, usual: u32) -> BTreeMap<&'static str, usize> {
    let config =
        ProptestConfig { failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() };
    let met = std::cell::RefCell::new(BTreeMap::new());
    TestRunner::new(ProptestConfig { cases: cases(usual), ..config })
        .run(&turns(), |turns| {
            for (what, times) in block_on(play(engine, &turns))? {
                *met.borrow_mut().entry(what).or_default() += times;
            }
            Ok(())
        })
        .expect("seats, numbers and users hold together");
    met.into_inner()
}

#[test]
fn deletions_at_any_moment_bring_nobody_back_and_every_sum_adds_up() {
    let met = play_all(&Engine::sqlite(), 80);
    for what in ["purged beside a job", "deleted beside a job", "held", "ended"] {
        assert!(met.contains_key(what), "never met: {what} of {met:?}");
    }
}

#[test]
fn on_postgresql_too() {
    play_all(&Engine::postgres(), 8);
}

/// A user whom a former read of the job added is deleted before this read meets it: it is added
/// once more, and counted once.
#[test]
fn whoever_is_deleted_between_two_reads_of_a_job_counts_once() {
    let turns = [
        &[Turn::Disable(0)][..],
        &[Turn::Bulk(false); 3],
        &[Turn::Again, Turn::DeleteNow(0)],
        &[Turn::Bulk(false); 3],
    ]
    .concat();
    for engine in [Engine::sqlite(), Engine::postgres()] {
        let met = block_on(play(&engine, &turns)).expect("the sums");
        assert_eq!(met.get("a read voided"), Some(&1), "{met:?}");
    }
}
