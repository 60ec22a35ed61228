//! Schedules through the real store and the real scheduler, with a clock that the test sets: each
//! run once, missed ones caught up once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use control_plane::clock::Clock;
use control_plane::jobs::{JobSettings, Jobs};
use control_plane::model::{
    Actor, DueSchedule, JobState, PlannedRun, Presence, ReadFacts, Recurrence, RunOutcome, Schedule,
    SourceId, SyncJob, SyncSchedule, TenantId, Timestamp, UserSelector,
};
use control_plane::schedule::next_run;
use control_plane::store::{
    NewJob, Observation, Outcome, ScheduleChange, SingleWrite, SourceChange, Store, StoreError, Work,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::{Engine, NOW, admin, block_on, on_both, settings};
use crate::trouble::person;

const DAY: Duration = Duration::from_secs(86_400);

struct World {
    store: Arc<Store>,
    tenant: TenantId,
    source: SourceId,
    now: Arc<AtomicI64>,
}

impl World {
    async fn new(engine: &Engine) -> Self {
        let (tenant, source) = (TenantId::from("acme"), SourceId::from("hq"));
        let store = engine.store().await;
        store.set_license_limit(&tenant, 100, true, &admin(), NOW).await.expect("a tenant");
        let change = SourceChange { display_name: "People".to_owned(), draft: settings() };
        store.create_source(&tenant, &source, change, 30, &admin(), NOW).await.expect("a source");
        store.publish_source(&tenant, &source, None, &admin(), NOW).await.expect("a published source");
        Self { store, tenant, source, now: Arc::new(AtomicI64::new(NOW.0)) }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }

    /// A replica of the control plane that shares the database and the clock.
    fn replica(&self, shutdown: &CancellationToken) -> Jobs {
        let now = Arc::clone(&self.now);
        let clock = Clock::from_fn(move || Timestamp(now.load(Ordering::SeqCst)));
        Jobs::start(Arc::clone(&self.store), JobSettings::default(), clock, shutdown.clone())
    }

    async fn nightly(&self) -> PlannedRun {
        let schedule = Schedule {
            enabled: true,
            recurrence: Some(Recurrence::Daily { hour: 2, minute: 0 }),
            ..Schedule::default()
        };
        let next = next_run(&schedule, "acme/hq", self.now()).expect("understood");
        self.change(None, schedule, next).await.expect("a schedule").next.expect("a next run")
    }

    async fn change(
        &self,
        version: Option<i64>,
        schedule: Schedule,
        next: Option<PlannedRun>,
    ) -> Result<SyncSchedule, StoreError> {
        let change = ScheduleChange { version, schedule, next };
        self.store.set_schedule(&self.tenant, &self.source, change, &admin(), self.now()).await
    }

    async fn schedule(&self) -> SyncSchedule {
        self.store.schedule(&self.tenant, &self.source).await.expect("a schedule")
    }

    async fn jobs(&self) -> Vec<SyncJob> {
        self.store.list_jobs(&self.tenant, &self.source, None, 100).await.expect("jobs")
    }

    async fn due(&self) -> Vec<DueSchedule> {
        self.store.due_schedules(self.now(), 10).await.expect("a list")
    }

    async fn run(&self, due: &DueSchedule) -> Option<RunOutcome> {
        let next = next_run(&due.schedule, "acme/hq", self.now()).expect("understood");
        self.store.run_schedule(due, self.new_job(), next, self.now()).await.expect("carried out, or not")
    }

    fn new_job(&self) -> NewJob {
        NewJob {
            id: Uuid::now_v7(),
            tenant: self.tenant.clone(),
            source: self.source.clone(),
            started_by: Actor { name: "schedule".to_owned(), ..Actor::system() },
            request_id: None,
            full_lists_kept: 5,
            work: Work::Sync,
            now: self.now(),
        }
    }

    /// Waits until a run that was planned for then is noted.
    async fn until_run(&self, run: PlannedRun) -> SyncSchedule {
        for _ in 0..600 {
            let schedule = self.schedule().await;
            if schedule.last.as_ref().is_some_and(|last| last.planned >= run.planned) {
                return schedule;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no run came; {:?}", self.schedule().await);
    }
}

on_both! {
    a_run_is_carried_out_once_however_many_replicas_look
    runs_that_were_missed_for_days_are_caught_up_once
    a_run_that_comes_while_a_job_runs_is_left_out_and_says_so
    a_schedule_that_was_changed_does_not_run_as_it_was
    a_schedule_goes_with_its_source
    a_sync_that_is_due_for_an_absence_is_queued_at_most_once_an_hour
}

async fn a_sync_that_is_due_for_an_absence_is_queued_at_most_once_an_hour(engine: Engine) {
    const HOUR: Duration = Duration::from_secs(3_600);
    let world = World::new(&engine).await;
    let since = |world: &World| world.now().minus(HOUR);
    let due = async |world: &World| world.store.due_syncs(since(world), 10).await.expect("a list");
    let run = async |world: &World| world.store.run_due_sync(world.new_job(), since(world)).await;
    let (number, _) = world.store.single_user_settings(&world.tenant).await.expect("a tenant");
    let anna = person(number, 1, 0);
    let observation = |version| Observation {
        tenant: world.tenant.clone(),
        source: world.source.clone(),
        revision: 1,
        version,
        asked_at: world.now(),
        keep_fresh: false,
        by: Actor::system(),
        now: world.now(),
    };
    let whom = UserSelector::UserName(anna.values.user_name.clone());
    let sign_in = async |presence: Option<Presence>| {
        let known = world.store.look_up_user(number, &whom).await.expect("an answer");
        let observation = observation(known.as_ref().map(|known| known.version));
        let written = match presence.zip(known) {
            None => world.store.apply_observation(observation, anna.clone()).await,
            Some((presence, known)) => {
                world.store.observe_absence(observation, known.user.number, presence).await
            }
        };
        assert!(matches!(written, Ok(SingleWrite::Done(_))), "{written:?}");
    };
    sign_in(None).await;
    sign_in(Some(Presence::NotFound)).await;
    assert!(due(&world).await.is_empty(), "the source has no schedule");
    assert!(!run(&world).await.expect("an answer"));
    world.nightly().await;
    assert_eq!(due(&world).await, [(world.tenant.clone(), world.source.clone())]);

    // Two replicas look, and one of them queues it.
    let shutdown = CancellationToken::new();
    let _replicas = (world.replica(&shutdown), world.replica(&shutdown));
    for _ in 0..600 {
        if !world.jobs().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    shutdown.cancel();
    let jobs = world.jobs().await;
    assert_eq!((jobs.len(), jobs[0].started_by.as_str()), (1, "schedule"));
    assert!(world.schedule().await.last.is_none(), "it is no run of the schedule");

    // Not while it has not ended, nor within the hour; while a job is held, its list is left alone.
    world.set(world.now().plus(HOUR));
    assert!(due(&world).await.is_empty(), "it has not ended");
    let stop = |world: &World| {
        let (store, tenant, source) = (Arc::clone(&world.store), world.tenant.clone(), world.source.clone());
        let now = world.now();
        async move { store.stop_job(&tenant, &source, None, &admin(), now).await.expect("stopped") }
    };
    stop(&world).await;
    world.set(Timestamp(world.now().0 - 1));
    assert!(due(&world).await.is_empty(), "within the hour");
    world.set(Timestamp(world.now().0 + 1));
    assert_eq!(due(&world).await.len(), 1);
    assert!(run(&world).await.expect("queued"));
    assert!(!run(&world).await.expect("an answer"), "once");
    stop(&world).await;

    // A sync that has succeeded ends it.
    world.set(world.now().plus(HOUR));
    let job = world.store.create_job(world.new_job()).await.expect("a job").number;
    assert!(world.store.claim_job(job, "this test", DAY, world.now()).await.expect("a claim"));
    let fence =
        world.store.begin_read(job, "this test", &"r1".into(), world.now()).await.expect("a read").fence;
    world.store.begin_reconciling(fence).await.expect("reconciling");
    let facts = Some(ReadFacts::default());
    let outcome = Outcome::Succeeded { withheld: None, facts };
    world.store.finish_job(fence, outcome, world.now()).await.expect("an end");
    assert!(due(&world).await.is_empty(), "no sync is due");
    sign_in(Some(Presence::NotFound)).await;
    assert_eq!(due(&world).await.len(), 1, "the user is still marked, and was not found again");
}

async fn a_run_is_carried_out_once_however_many_replicas_look(engine: Engine) {
    let world = World::new(&engine).await;
    let run = world.nightly().await;
    world.set(Timestamp(run.at.0 - 1));
    assert!(world.due().await.is_empty(), "not before its time");
    world.set(run.at);
    let due = world.due().await.pop().expect("it is due");
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, due, job, now) = (Arc::clone(&world.store), due.clone(), world.new_job(), world.now());
        let next = next_run(&due.schedule, "acme/hq", now).expect("understood");
        tries.spawn(
            async move { store.run_schedule(&due, job, next, now).await.expect("carried out, or not") },
        );
    }
    let outcomes = tries.join_all().await;
    assert_eq!(outcomes.iter().flatten().collect::<Vec<_>>(), [&RunOutcome::Started]);
    assert_eq!(world.jobs().await.len(), 1);
    let schedule = world.schedule().await;
    assert_eq!(schedule.last.expect("a run").job, Some(world.jobs().await[0].id));
    assert_eq!(schedule.next.expect("a next run").planned, run.planned.plus(DAY));
}

async fn runs_that_were_missed_for_days_are_caught_up_once(engine: Engine) {
    let world = World::new(&engine).await;
    let run = world.nightly().await;
    // Nobody ran for three days and a half; then two replicas start at once.
    world.set(run.planned.plus(DAY * 7 / 2));
    let shutdown = CancellationToken::new();
    let _replicas = (world.replica(&shutdown), world.replica(&shutdown));
    let schedule = world.until_run(run).await;
    let next = schedule.next.expect("a next run");
    assert_eq!(next.planned, run.planned.plus(DAY * 4), "the next one is in the future");
    let jobs = world.jobs().await;
    assert_eq!(jobs.len(), 1, "three were missed, one is caught up");
    assert_eq!((jobs[0].state, jobs[0].started_by.as_str()), (JobState::Queued, "schedule"));
    // The clock is set back over the run: it does not come again.
    world.set(Timestamp(run.at.0 - 1));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.jobs().await.len(), 1);
    assert_eq!(world.schedule().await.next, Some(next));
    shutdown.cancel();
}

async fn a_run_that_comes_while_a_job_runs_is_left_out_and_says_so(engine: Engine) {
    let world = World::new(&engine).await;
    let run = world.nightly().await;
    world.store.create_job(world.new_job()).await.expect("a job by hand");
    world.set(run.at);
    let due = world.due().await.pop().expect("it is due");
    assert_eq!(world.run(&due).await, Some(RunOutcome::SkippedRunning));
    let schedule = world.schedule().await;
    assert_eq!(schedule.last.expect("a run").job, None);
    assert_eq!(schedule.next.expect("a next run").planned, run.planned.plus(DAY));
    assert_eq!(world.jobs().await.len(), 1);
    // A source that was never published has nothing to be read.
    let draft = SourceId::from("draft");
    let change = SourceChange { display_name: "Draft".to_owned(), draft: settings() };
    world.store.create_source(&world.tenant, &draft, change, 30, &admin(), NOW).await.expect("a source");
    let unpublished = World { source: draft, ..world };
    let run = unpublished.nightly().await;
    unpublished.set(run.at);
    let due = unpublished.due().await.into_iter().find(|due| due.source == unpublished.source);
    let outcome = unpublished.run(&due.expect("it is due")).await;
    assert_eq!(outcome, Some(RunOutcome::SkippedNotPublished));
}

async fn a_schedule_that_was_changed_does_not_run_as_it_was(engine: Engine) {
    let world = World::new(&engine).await;
    let run = world.nightly().await;
    world.set(run.at);
    let due = world.due().await.pop().expect("it is due");
    let off = Schedule { enabled: false, ..due.schedule.clone() };
    let stale = world.change(Some(due.version - 1), off.clone(), None).await;
    assert!(matches!(stale, Err(StoreError::VersionMismatch)));
    world.change(Some(due.version), off, None).await.expect("switched off");
    assert_eq!(world.run(&due).await, None, "a replica that had looked before does not run it");
    assert!(world.due().await.is_empty() && world.jobs().await.is_empty());
}

async fn a_schedule_goes_with_its_source(engine: Engine) {
    let world = World::new(&engine).await;
    let run = world.nightly().await;
    world.store.delete_source(&world.tenant, &world.source, true, &admin(), NOW).await.expect("deleted");
    world.set(run.at);
    assert!(world.due().await.is_empty());
    let gone = world.store.schedule(&world.tenant, &world.source).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))));
}
