//! Syncs of single users beside a sync of all, in every order of their steps: whatever was seen
//! later is never overwritten by what was seen before, the numbers add up, and the next sync brings
//! whatever was left. A single sync that does not find a user marks it, and the mark goes only when
//! something has seen the entry since, or disables the user.
//!
//! The flow of a single sync is the real one; the identity router is this test, so that it can say
//! when each answer is read in the directory and when it arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use control_plane::clock::Clock;
use control_plane::jobs::{JobSettings, Jobs, Order, Session};
use control_plane::model::{
    Absence, Actor, Admitted, Fence, Found, ImmutableId, JobState, Offered, Presence, Single, SingleOutcome,
    SingleUserSettings, Status, TenantNo, Timestamp, UserFilter, UserNo, UserSelector,
};
use control_plane::reconcile::offer;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::{Engine, NOW, block_on, cases};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, Running, Seen};

const PEOPLE: u8 = 3;
/// Anything that takes longer than this never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a person in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Edit,
    MoveOut,
    Vanish,
    Delete,
    Return,
    Disable,
}

/// A person at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    here: Presence,
    disabled: bool,
}

/// The directory and its whole past: of each person the moments in their order.
struct Past {
    moments: Vec<Vec<Moment>>,
    /// Whether values come back: every other moment of a person looks the same.
    repeats: bool,
}

impl Past {
    fn new(repeats: bool) -> Self {
        let here = Moment { here: Presence::InScope, disabled: false };
        Self { moments: vec![vec![here]; usize::from(PEOPLE)], repeats }
    }

    fn change(&mut self, person: u8, change: Change) {
        let moments = &mut self.moments[usize::from(person)];
        let last = moments[moments.len() - 1];
        moments.push(match change {
            Change::Edit => last,
            Change::MoveOut => Moment { here: Presence::OutOfScope, ..last },
            Change::Vanish => Moment { here: Presence::NotFound, ..last },
            Change::Delete => Moment { here: Presence::Deleted, ..last },
            Change::Return => Moment { here: Presence::InScope, disabled: false },
            Change::Disable => Moment { disabled: true, ..last },
        });
    }

    fn now(&self, person: u8) -> usize {
        self.moments[usize::from(person)].len() - 1
    }

    /// The person as the directory had it at that moment; none if it was not in scope.
    fn person(&self, person: u8, at: usize) -> Option<Person> {
        let moment = self.moments[usize::from(person)][at];
        let title = u8::try_from(if self.repeats { at % 2 } else { at }).expect("a short past");
        (moment.here == Presence::InScope).then_some(Person {
            id: person,
            user_name: person,
            mail: Some(person),
            title,
            disabled: moment.disabled,
            spelling: 0,
            hidden: false,
        })
    }

    fn directory(&self) -> Directory {
        (0..PEOPLE).filter_map(|person| self.person(person, self.now(person))).collect()
    }
}

/// A single sync under way.
struct Call {
    person: u8,
    done: JoinHandle<Arc<Single>>,
    order: Order,
    /// The moment at which the directory was read for the order, once it was.
    read_at: Option<usize>,
}

/// Everything, and how far it is.
struct Scene {
    database: Database,
    jobs: Jobs,
    /// Ends them.
    end: CancellationToken,
    session: Session,
    orders: mpsc::Receiver<Order>,
    clock: Clock,
    past: Past,
    calls: [Option<Call>; 2],
    bulk: Bulk,
    /// Of each person the latest moment that was written down, or found to be as it is written.
    accepted: BTreeMap<u8, usize>,
    /// Whoever is marked as not found, and the moment at which it was not.
    marked: BTreeMap<u8, usize>,
    /// Of each person the latest moment at which anything saw its entry in scope.
    seen: BTreeMap<u8, usize>,
}

/// A sync of all under way.
struct Bulk {
    job: Running,
    fence: Option<Fence>,
    next: usize,
    steps: Vec<BulkStep>,
    /// What was read of each person.
    read: BTreeMap<u8, usize>,
    wanted: BTreeSet<u8>,
    seen: BTreeSet<UserNo>,
    absent: Vec<(UserNo, u8)>,
    looked_up: BTreeMap<u8, (UserNo, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum BulkStep {
    Begin,
    Read(u8),
    Offer(u8),
    Apply(u8),
    Find,
    LookUp,
    Disable,
    Settle,
    Finish,
}

fn bulk_steps() -> Vec<BulkStep> {
    let mut steps = vec![BulkStep::Begin];
    for person in 0..PEOPLE {
        steps.extend([BulkStep::Read(person), BulkStep::Offer(person), BulkStep::Apply(person)]);
    }
    steps.extend([BulkStep::Find, BulkStep::LookUp, BulkStep::Disable, BulkStep::Settle, BulkStep::Finish]);
    steps
}

fn whom(actor: usize, person: u8) -> UserSelector {
    let person = Person {
        id: person,
        user_name: person,
        mail: Some(person),
        title: 0,
        disabled: false,
        spelling: 0,
        hidden: false,
    };
    let values = person.record(TenantNo(1)).values;
    if actor == 0 { UserSelector::UserName(values.user_name) } else { UserSelector::Mail(values.mail) }
}

impl Scene {
    async fn new(engine: &Engine, repeats: bool) -> Self {
        let ticks = AtomicI64::new(NOW.0);
        let clock = Clock::from_fn(move || Timestamp(ticks.fetch_add(1, Ordering::SeqCst)));
        let database = Database::create(engine, 1_000).await;
        database.license(100).await;
        let past = Past::new(repeats);
        database.sync(&past.directory(), Reading::plain()).await;
        let job = database.claimed().await;
        let end = CancellationToken::new();
        let jobs = Jobs::start(database.store(), JobSettings::default(), clock.clone(), end.clone());
        let admitted = Admitted { generation: 1, sources: Vec::new() };
        let (session, orders) = jobs.router_connected(database.tenant(), "r1".into(), admitted);
        let bulk = Bulk {
            job,
            fence: None,
            next: 0,
            steps: bulk_steps(),
            read: BTreeMap::new(),
            wanted: BTreeSet::new(),
            seen: BTreeSet::new(),
            absent: Vec::new(),
            looked_up: BTreeMap::new(),
        };
        let accepted = (0..PEOPLE).map(|person| (person, 0)).collect();
        Self {
            database,
            jobs,
            end,
            session,
            orders,
            clock,
            past,
            calls: [None, None],
            bulk,
            accepted,
            marked: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// What the store has of a person, as a moment would look.
    async fn kept(&self, person: u8) -> Option<(u8, Status)> {
        let users = self.database.users().await;
        let user = users.get(&("hq".to_owned(), person))?;
        let title = user.title.strip_prefix("title ").and_then(|title| title.parse().ok()).expect("a title");
        Some((title, user.status))
    }

    /// Whether the store has the person as it was at that moment.
    async fn is_kept_as(&self, person: u8, at: usize) -> bool {
        let kept = self.kept(person).await;
        match (self.past.person(person, at), kept) {
            (None, Some((_, status))) => status == Status::OutOfScope,
            (Some(was), Some((title, status))) => {
                let wanted = if was.disabled { Status::DisabledInDirectory } else { Status::Enabled };
                (title, status) == (was.title, wanted)
            }
            (_, None) => false,
        }
    }

    /// Notes a moment that is written down now.
    async fn accept(&mut self, person: u8, at: usize) {
        if self.is_kept_as(person, at).await {
            let latest = self.accepted.entry(person).or_default();
            *latest = (*latest).max(at);
        }
    }

    /// The promise: what is kept is the latest that was written down.
    async fn check(&self, person: u8) -> Result<(), TestCaseError> {
        let at = self.accepted[&person];
        prop_assert!(
            self.is_kept_as(person, at).await,
            "person {} was seen at moment {} of {:?}, and is {:?}",
            person,
            at,
            self.past.moments[usize::from(person)],
            self.kept(person).await
        );
        Ok(())
    }

    /// Whoever is marked as not found at a sign-in. Only enabled users are.
    async fn now_marked(&self) -> BTreeSet<u8> {
        let absent = UserFilter { absent: true, ..UserFilter::default() };
        let users = self
            .database
            .store()
            .list_users(&self.database.tenant(), &absent, None, 100)
            .await
            .expect("users");
        assert!(users.iter().all(|user| user.status == Status::Enabled), "{users:?}");
        users.into_iter().map(|user| person_of(&user.id)).collect()
    }

    /// Another promise: a mark goes only when somebody saw the entry again, or disabled the user.
    async fn check_marks(&mut self, at: BTreeMap<u8, usize>) -> Result<(), TestCaseError> {
        let now = self.now_marked().await;
        for (person, marked_at) in self.marked.clone() {
            if !now.contains(&person) {
                self.marked.remove(&person);
                let disabled = self.kept(person).await.is_none_or(|(_, status)| status != Status::Enabled);
                let seen_at = self.seen.get(&person).copied();
                prop_assert!(
                    disabled || seen_at.is_some_and(|seen_at| seen_at >= marked_at),
                    "person {} was not found at moment {} of {:?}, was last seen at {:?}, and is not marked",
                    person,
                    marked_at,
                    self.past.moments[usize::from(person)],
                    seen_at
                );
            }
        }
        for person in now {
            let moment = at.get(&person).copied().unwrap_or_else(|| self.past.now(person));
            self.marked.entry(person).or_insert(moment);
        }
        Ok(())
    }

    /// Notes that the entry was seen in scope.
    fn note_seen(&mut self, person: u8, at: usize) {
        if self.past.person(person, at).is_some() {
            let latest = self.seen.entry(person).or_default();
            *latest = (*latest).max(at);
        }
    }

    /// The next step of a single sync: it is called, the directory is read for it, the answer
    /// arrives.
    async fn step_call(&mut self, actor: usize, person: u8) -> Result<(), TestCaseError> {
        match self.calls[actor].take() {
            None => {
                let (jobs, tenant, number) = (self.jobs.clone(), self.database.tenant(), TenantNo(1));
                let settings = SingleUserSettings { deadline: PATIENCE, ..SingleUserSettings::default() };
                let whom = whom(actor, person);
                let done = tokio::spawn(async move {
                    jobs.sync_user((&tenant, number), whom, settings, Actor::system()).await
                });
                self.wait(actor, person, done).await?;
            }
            Some(call) if call.read_at.is_none() => {
                let read_at = Some(self.past.now(call.person));
                self.calls[actor] = Some(Call { read_at, ..call });
            }
            Some(Call { person, done, order, read_at }) => {
                let at = read_at.expect("it was read");
                let hq = match &order {
                    Order::Fetch { order, .. } => order.settings.roots[0].starts_with("ou=hq,"),
                    _ => true,
                };
                if hq {
                    self.note_seen(person, at);
                }
                self.answer(&order, person, at);
                self.wait(actor, person, done).await?;
                self.check_marks(BTreeMap::from([(person, at)])).await?;
                // That nobody has a name says nothing of the user who had it.
                let is_fetch = matches!(order, Order::Fetch { .. });
                if hq && (!is_fetch || self.past.person(person, at).is_some()) {
                    self.accept(person, at).await;
                }
            }
        }
        Ok(())
    }

    /// Waits until a call asks something, or has ended.
    async fn wait(
        &mut self,
        actor: usize,
        person: u8,
        mut done: JoinHandle<Arc<Single>>,
    ) -> Result<(), TestCaseError> {
        let next = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                biased;
                order = self.orders.recv() => Ok(order.expect("an order")),
                single = &mut done => Err(single.expect("an answer")),
            }
        });
        match next.await.expect("it goes on") {
            Ok(order) => self.calls[actor] = Some(Call { person, done, order, read_at: None }),
            Err(single) => {
                let marked = single.user.as_ref().is_some_and(|user| user.absent_since.is_some());
                let enabled = single.user.as_ref().is_some_and(|user| user.status == Status::Enabled);
                prop_assert!(!(single.allowed && marked), "a marked user is let in: {:?}", single);
                if single.outcome == SingleOutcome::Absent {
                    prop_assert!(!single.allowed && marked == enabled, "{:?}", single);
                }
            }
        }
        Ok(())
    }

    fn answer(&self, order: &Order, person: u8, at: usize) {
        let here = self.past.moments[usize::from(person)][at].here;
        match order {
            Order::Fetch { request, order } => {
                let tenant = self.session.asked_for(request).expect("somebody waits");
                if !order.settings.roots[0].starts_with("ou=hq,") {
                    // The other source has nobody.
                    return self.session.answer_fetch(request, Ok(Found::Absent(Presence::NotFound)));
                }
                let found = match self.past.person(person, at) {
                    Some(person) => Found::Record(Box::new(person.record(tenant))),
                    None => Found::Absent(here),
                };
                self.session.answer_fetch(request, Ok(found));
            }
            Order::LookUp { request, .. } => self.session.answer_look_up(request, Ok(vec![here])),
            other => panic!("an order that nobody gave: {other:?}"),
        }
    }

    /// The next step of the sync of all. False once there is none.
    async fn step_bulk(&mut self) -> bool {
        let Some(step) = self.bulk.steps.get(self.bulk.next).copied() else { return false };
        self.bulk.next += 1;
        let store = self.database.store();
        let fence = self.bulk.fence;
        let now = self.clock.now();
        match step {
            BulkStep::Begin => self.bulk.fence = Some(self.database.begin(&self.bulk.job).await.fence),
            BulkStep::Read(person) => {
                self.bulk.read.insert(person, self.past.now(person));
                self.note_seen(person, self.past.now(person));
            }
            BulkStep::Offer(person) => {
                let fence = fence.expect("a read");
                let at = self.bulk.read[&person];
                let Some(was) = self.past.person(person, at) else { return true };
                let record = was.record(fence.tenant);
                let offered = [Offered { id: record.id.clone(), digest: record.digest }];
                let known = store.known_users(fence, vec![record.id]).await.expect("known users");
                let plan = offer::plan(fence.job, &offered, &known, None, &Seen(&self.bulk.seen));
                self.bulk.seen.extend(plan.seen);
                if plan.want.is_empty() {
                    store
                        .apply(fence, Arc::new(Vec::new()), Vec::new(), plan.unchanged, now)
                        .await
                        .expect("counted");
                    self.accept(person, at).await;
                } else {
                    self.bulk.wanted.insert(person);
                }
            }
            BulkStep::Apply(person) => {
                let fence = fence.expect("a read");
                if self.bulk.wanted.remove(&person) {
                    let at = self.bulk.read[&person];
                    let record = self.past.person(person, at).expect("it was offered").record(fence.tenant);
                    let applied = store
                        .apply(fence, Arc::new(vec![record]), Vec::new(), 0, now)
                        .await
                        .expect("a batch");
                    self.bulk.seen.extend(applied.seen);
                    self.accept(person, at).await;
                }
            }
            BulkStep::Find => {
                let fence = fence.expect("a read");
                store.begin_reconciling(fence).await.expect("reconciling");
                self.database.clear_marks(fence, &self.bulk.seen).await;
                let in_scope = store.users_in_scope(fence, None, 100).await.expect("users in scope");
                let unseen =
                    in_scope.into_iter().map(|(user, _)| user).filter(|user| !self.bulk.seen.contains(user));
                let absentees = store.absentees(fence, unseen.collect()).await.expect("absentees");
                self.bulk.absent =
                    absentees.into_iter().map(|absentee| (absentee.user, person_of(&absentee.id))).collect();
            }
            BulkStep::LookUp => {
                for (user, person) in &self.bulk.absent {
                    let at = self.past.now(*person);
                    if self.past.person(*person, at).is_none() {
                        self.bulk.looked_up.insert(*person, (*user, at));
                    }
                }
            }
            BulkStep::Disable => {
                let fence = fence.expect("a read");
                store.accept_suspect_changes(fence).await.expect("trusted");
                let gone: Vec<_> =
                    self.bulk.looked_up.values().map(|(user, _)| (*user, Absence::Moved)).collect();
                store.disable_absent(fence, gone, None, now).await.expect("disabled");
                for (person, (_, at)) in self.bulk.looked_up.clone() {
                    self.accept(person, at).await;
                }
            }
            BulkStep::Settle => {
                let fence = fence.expect("a read");
                store.resolve_names(fence, false, now).await.expect("names");
                while store.assign_seats(fence, 10, false, self.clock.now()).await.expect("seats") {}
                for (person, at) in self.bulk.read.clone() {
                    // What had waited is written down only now.
                    if self.past.person(person, at).is_some() && at > self.accepted[&person] {
                        self.accept(person, at).await;
                    }
                }
            }
            BulkStep::Finish => {
                let job = self.database.finish(fence.expect("a read")).await;
                assert_eq!((job.state, job.counts.waiting), (JobState::Succeeded, 0));
                let read =
                    self.bulk.read.iter().filter(|(person, at)| self.past.person(**person, **at).is_some());
                let read = i64::try_from(read.count()).expect("a small number");
                assert_eq!(job.counts.read(), read, "the numbers add up: {:?}", job.counts);
            }
        }
        true
    }
}

fn person_of(id: &ImmutableId) -> u8 {
    id.0[0] - 1
}

/// Who makes the next step.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Directory(u8, Change),
    Single(usize, u8),
    Bulk,
}

fn turns(singles: usize) -> impl Strategy<Value = Vec<Turn>> {
    let change = prop_oneof![
        3 => Just(Change::Edit),
        1 => Just(Change::MoveOut),
        1 => Just(Change::Vanish),
        1 => Just(Change::Delete),
        2 => Just(Change::Return),
        1 => Just(Change::Disable),
    ];
    let turn = prop_oneof![
        3 => (0..PEOPLE, change).prop_map(|(person, change)| Turn::Directory(person, change)),
        4 => (0..singles, 0..PEOPLE).prop_map(|(actor, person)| Turn::Single(actor, person)),
        4 => Just(Turn::Bulk),
    ];
    proptest::collection::vec(turn, 10..60)
}

async fn play(engine: &Engine, repeats: bool, turns: &[Turn]) -> Result<(), TestCaseError> {
    let mut scene = Scene::new(engine, repeats).await;
    for turn in turns {
        match turn {
            Turn::Directory(person, change) => scene.past.change(*person, *change),
            Turn::Single(actor, person) => scene.step_call(*actor, *person).await?,
            Turn::Bulk => {
                scene.step_bulk().await;
            }
        }
        scene.check_marks(BTreeMap::new()).await?;
        for person in 0..PEOPLE {
            // While a change is being confirmed, it may still turn out to be an old one.
            if scene.calls.iter().flatten().all(|call| call.person != person) {
                scene.check(person).await?;
            }
        }
    }
    for actor in [0, 1] {
        while let Some(call) = &scene.calls[actor] {
            let person = call.person;
            scene.step_call(actor, person).await?;
        }
    }
    while scene.step_bulk().await {
        scene.check_marks(BTreeMap::new()).await?;
    }
    for person in 0..PEOPLE {
        scene.check(person).await?;
    }
    // Nothing is lost for ever.
    scene.end.cancel();
    let directory = scene.past.directory();
    let outcome = scene.database.sync(&directory, Reading::plain()).await;
    for person in &directory {
        let kept = outcome.users.get(&("hq".to_owned(), person.id));
        let wanted = if person.disabled { Status::DisabledInDirectory } else { Status::Enabled };
        prop_assert_eq!(
            kept.map(|kept| (kept.title.clone(), kept.status)),
            Some((format!("title {}", person.title), wanted))
        );
    }
    prop_assert_eq!(scene.now_marked().await, BTreeSet::new(), "everybody was seen, or disabled");
    let hq = scene.database.store().source(&scene.database.tenant(), &"hq".into()).await;
    prop_assert_eq!(hq.expect("a source").sync_due_at, None);
    prop_assert_eq!(outcome.enabled(), directory.iter().filter(|person| !person.disabled).count());
    Ok(())
}

/// The directory shows somebody gone when it is asked for the sync of all, and back when it is
/// asked for that one alone; the disable comes last. And somebody changes to and fro: the sync of
/// all sees no change and writes nothing, the other one has read the change before.
#[test]
fn the_moments_that_a_random_order_seldom_meets() {
    let bulk = |steps| std::iter::repeat_n(Turn::Bulk, steps);
    let single = |steps| std::iter::repeat_n(Turn::Single(0, 0), steps);
    let change = |change| std::iter::once(Turn::Directory(0, change));
    let looked_up: Vec<_> = change(Change::MoveOut)
        .chain(bulk(12))
        .chain(change(Change::Return))
        .chain(single(5))
        .chain(bulk(3))
        .collect();
    let to_and_fro: Vec<_> = change(Change::Edit)
        .chain(bulk(1))
        .chain(single(2))
        .chain(change(Change::Edit))
        .chain(bulk(2))
        .chain(single(5))
        .chain(bulk(12))
        .collect();
    for engine in [Engine::sqlite(), Engine::postgres()] {
        block_on(play(&engine, false, &looked_up)).expect("an older look-up");
        block_on(play(&engine, true, &to_and_fro)).expect("an older change");
    }
}

fn play_all(engine: &Engine, usual: u32, singles: usize, repeats: bool) {
    let config =
        ProptestConfig { failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() };
    TestRunner::new(ProptestConfig { cases: cases(usual), ..config })
        .run(&turns(singles), |turns| block_on(play(engine, repeats, &turns)))
        .expect("nothing newer is overwritten");
}

#[test]
fn an_older_observation_never_overwrites_a_newer_one_in_whatever_order_they_come() {
    play_all(&Engine::sqlite(), 64, 2, false);
}

#[test]
fn nor_does_one_that_shows_what_was_there_before_that() {
    play_all(&Engine::sqlite(), 64, 1, true);
}

#[test]
fn postgresql_keeps_the_order_of_observations_too() {
    let engine = Engine::postgres();
    play_all(&engine, 12, 2, false);
    play_all(&engine, 12, 1, true);
}
