//! Dry runs, applied plans and undone jobs, as properties over whole syncs through the real store.

use std::collections::{BTreeMap, BTreeSet};

use control_plane::model::{
    Absence, Category, Counts, Fence, JobNo, JobState, PlanEntry, PlanLine, SourceId, Status, SyncJob,
    SyncPlan, TenantNo, Timestamp, UserNo,
};
use control_plane::reconcile::preview;
use control_plane::store::{NewJob, Outcome as End, StoreError, Work};
use proptest::prelude::*;
use uuid::Uuid;

use crate::database::{Engine, NOW, admin, block_on, cases, on_both};
use crate::directory::{Directory, Person, Reading};
use crate::drive::{Database, Kept, LEASE, OWNER, Outcome, SOURCES, Steps, Users};
use crate::strategies::{colliding, distinct, reading};

const PLENTY: i64 = 1_000;
pub(crate) const LATER: Timestamp = Timestamp(NOW.0 + 60_000_000);

impl Database {
    pub(crate) async fn started(&self, work: Work) -> JobNo {
        let job = NewJob { work, ..self.new_job(SOURCES[0]) };
        let job = self.store().create_job(job).await.expect("a job").number;
        assert!(self.store().claim_job(job, OWNER, LEASE, NOW).await.expect("a claim"));
        job
    }

    async fn absent(&self, fence: Fence, seen: &BTreeSet<UserNo>) -> Vec<(UserNo, Absence)> {
        let in_scope = self.store().users_in_scope(fence, None, 1_000).await.expect("users in scope");
        let absent = in_scope.into_iter().filter(|(user, _)| !seen.contains(user));
        absent.map(|(user, _)| (user, Absence::Unexplained)).collect()
    }

    /// Reads the directory as a dry run does, and makes the plan.
    pub(crate) async fn dry_run(&self, directory: &Directory, reading: Reading) -> (SyncJob, Vec<PlanEntry>) {
        let store = self.store();
        let used = store.license(&self.tenant()).await.expect("a license").used;
        let job = self.started(Work::DryRun { draft: false }).await;
        let (start, seen) = self.read(job, directory, reading, usize::MAX, used).await;
        let fence = start.fence;
        store.begin_reconciling(fence).await.expect("reconciling");
        let absent = self.absent(fence, &seen).await;
        let (job, entries) = self.end_dry_run(fence, absent).await;
        let read = i64::try_from(directory.len()).expect("a small number");
        assert_eq!(job.counts.read(), read, "the numbers add up: {:?}", job.counts);
        (job, entries)
    }

    /// Makes the plan of a complete read.
    pub(crate) async fn end_dry_run(
        &self,
        fence: Fence,
        absent: Vec<(UserNo, Absence)>,
    ) -> (SyncJob, Vec<PlanEntry>) {
        let store = self.store();
        store.record_absent(fence, absent.clone()).await.expect("noted");
        let situation = store.planning_inputs(fence).await.expect("the situation");
        let forecasts = preview::planned_change(&situation);
        let records = situation.waiting.iter().map(|waiting| waiting.id.clone()).zip(forecasts);
        let mut lines: Vec<PlanLine> = records.map(|(id, forecast)| PlanLine::Record(id, forecast)).collect();
        lines.extend(absent.into_iter().map(|(user, absence)| PlanLine::Absent(user, absence)));
        for chunk in lines.chunks(3) {
            store.write_plan(fence, chunk.to_vec(), NOW).await.expect("lines of the plan");
        }
        let plan = SyncPlan { expires_at: LATER, doubts: Vec::new(), of_draft: false };
        let job = store.finish_job(fence, End::Planned { plan, withheld: None }, NOW).await.expect("an end");
        assert_eq!((job.state, job.counts.waiting), (JobState::Succeeded, 0));
        let entries = store.plan_entries(job.number, None, 0, 1_000, NOW).await.expect("the plan");
        let entries: Vec<_> = entries.into_iter().map(|(_, entry)| entry).collect();
        (job, entries)
    }

    /// Applies a plan to what the directory is by now.
    pub(crate) async fn apply_plan(&self, plan: Uuid, directory: &Directory, reading: Reading) -> Outcome {
        let store = self.store();
        let used = store.license(&self.tenant()).await.expect("a license").used;
        let job = self.started(Work::Plan(plan)).await;
        let (start, seen) = self.read(job, directory, reading, usize::MAX, used).await;
        let fence = start.fence;
        store.begin_reconciling(fence).await.expect("reconciling");
        store.accept_suspect_changes(fence).await.expect("trust");
        let absent = self.absent(fence, &seen).await;
        let numbers = absent.iter().map(|(user, _)| *user).collect();
        let planned = store.planned_leavers(fence, numbers).await.expect("the planned");
        let (planned, others): (Vec<_>, Vec<_>) =
            absent.into_iter().partition(|(user, _)| planned.contains(user));
        store.disable_absent(fence, planned, None, NOW).await.expect("disables");
        let others = others.into_iter().map(|(user, _)| user).collect();
        store.leave_out_absent(fence, others, NOW).await.expect("left out");
        self.settle(fence, false, &mut Steps(usize::MAX), used).await;
        while store.leave_out_rest(fence, 2, NOW).await.expect("the rest") {}
        let job = self.finish(fence).await;
        self.look(job.number, job.counts).await
    }

    /// Undoes a job; `interrupted` once in the middle.
    pub(crate) async fn undo(&self, of: Uuid, interrupted: bool) -> (SyncJob, Outcome) {
        let store = self.store();
        let job = self.started(Work::Undo(of)).await;
        for cut_off in [true, false].into_iter().filter(|cut_off| interrupted || !cut_off) {
            let fence = store.begin_undo(job, OWNER, NOW).await.expect("begun");
            let mut after = None;
            while let Some(last) = store.undo_changes(fence, after, 2, NOW).await.expect("changes") {
                after = Some(last);
                if cut_off {
                    break;
                }
            }
            if cut_off {
                continue;
            }
            let mut after = None;
            while let Some(last) = store.undo_adds(fence, after, 2, NOW).await.expect("adds") {
                after = Some(last);
            }
            self.settle(fence, false, &mut Steps(usize::MAX), PLENTY).await;
            let end = End::Succeeded { withheld: None, facts: None };
            let job = store.finish_job(fence, end, NOW).await.expect("an end");
            let outcome = self.look(job.number, job.counts).await;
            return (job, outcome);
        }
        unreachable!("the last try is not cut off")
    }

    pub(crate) async fn newest(&self) -> SyncJob {
        self.store().job(&self.tenant(), &SourceId::from(SOURCES[0]), None).await.expect("a job")
    }
}

pub(crate) fn new_undo(database: &Database, of: Uuid) -> NewJob {
    NewJob { work: Work::Undo(of), ..database.new_job(SOURCES[0]) }
}

async fn database(engine: &Engine, before: &Directory) -> Database {
    let database = Database::create(engine, 1_000).await;
    database.license(PLENTY).await;
    database.sync(before, Reading::plain()).await;
    database
}

fn id_of(entry: &PlanEntry) -> u8 {
    entry.id.0[0] - 1
}

/// Users as the plan says they will be.
fn as_planned(before: &Users, entries: &[PlanEntry]) -> Users {
    let mut users = before.clone();
    for entry in entries {
        let key = (SOURCES[0].to_owned(), id_of(entry));
        let after = entry.after.as_ref().map(|(values, status)| Kept {
            user_name: values.user_name.clone(),
            mail: values.mail.clone(),
            title: values.display_name.clone(),
            status: *status,
        });
        match (entry.category, after, users.get_mut(&key)) {
            (Category::NotSynchronized, ..) => {}
            (Category::Disabled, _, Some(user)) => user.status = Status::OutOfScope,
            (Category::Updated, Some(_), Some(user)) if entry.message.contains("nothing else") => {
                user.status = Status::DisabledInDirectory;
            }
            (_, Some(after), _) => drop(users.insert(key, after)),
            other => panic!("{other:?}"),
        }
    }
    users
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_dry_run_changes_nobody_and_counts_what_a_sync_does(
        before in colliding(8), after in colliding(8), one in reading(8), other in reading(8),
    ) {
        block_on(async {
            let engine = Engine::sqlite();
            let database = database(&engine, &before).await;
            let users = database.users().await;
            let (job, _) = database.dry_run(&after, one).await;
            prop_assert_eq!(&users, &database.users().await);
            let sync = database.sync(&after, other).await;
            // A dry run changes no user, so it does not count users with warnings.
            prop_assert_eq!(job.counts, Counts { warnings: None, ..sync.counts });
            Ok(())
        })?;
    }

    #[test]
    fn a_plan_that_is_applied_at_once_does_exactly_what_it_shows(
        before in colliding(8), after in colliding(8), limit in 0..9_i64, one in reading(8), other in reading(8),
    ) {
        block_on(async {
            let engine = Engine::sqlite();
            let database = database(&engine, &before).await;
            database.license(limit).await;
            let users = database.users().await;
            let (plan, entries) = database.dry_run(&after, one).await;
            let planned = as_planned(&users, &entries);
            let applied = database.apply_plan(plan.id, &after, other).await;
            prop_assert_eq!(&planned, &applied.users);
            prop_assert_eq!(plan.counts, Counts { warnings: None, ..applied.counts });
            Ok(())
        })?;
    }

    #[test]
    fn whoever_is_not_in_the_plan_or_has_changed_since_is_left_out_and_listed(
        before in distinct(8), planned in distinct(8), between in distinct(8), by_now in distinct(8), reading in reading(8),
        as_planned_by_now in any::<bool>(),
    ) {
        let by_now = if as_planned_by_now { planned.clone() } else { by_now };
        block_on(async {
            let engine = Engine::sqlite();
            let database = database(&engine, &before).await;
            let users = database.users().await;
            let (plan, entries) = database.dry_run(&planned, Reading::plain()).await;
            let would_be = as_planned(&users, &entries);
            // Something else changes users before the plan is applied.
            let then = users;
            database.sync(&between, Reading::plain()).await;
            let users = database.users().await;
            let applied = database.apply_plan(plan.id, &by_now, reading).await;
            let listed: BTreeSet<u8> = applied.refused.iter().map(|(id, _)| *id).collect();
            let persons: BTreeMap<u8, &Person> = by_now.iter().map(|person| (person.id, person)).collect();
            for id in 0..8 {
                let key = (SOURCES[0].to_owned(), id);
                let (was, is) = (users.get(&key), applied.users.get(&key));
                if was != then.get(&key) {
                    prop_assert_eq!(is, was, "{} has changed since", id);
                }
                // Either as it was or as the plan has it, and nothing else.
                prop_assert!(is == was || is == would_be.get(&key), "{id}: {was:?} {is:?}");
                let asked_for = persons.get(&id).map(|person| {
                    let record = person.record(TenantNo(1));
                    let status = if record.disabled { Status::DisabledInDirectory } else { Status::Enabled };
                    (record.values.user_name, record.values.mail, record.values.display_name, status)
                });
                let has = is.filter(|user| user.status != Status::OutOfScope);
                let has = has.map(|user| (user.user_name.clone(), user.mail.clone(), user.title.clone(), user.status));
                let enabled = has.as_ref().is_some_and(|user| user.3 == Status::Enabled);
                if has != asked_for && (asked_for.is_some() || enabled) {
                    prop_assert!(listed.contains(&id), "{id} is not as the directory has it, and not listed");
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn undoing_a_sync_gives_everyone_back_what_they_were_and_disables_whom_it_added(
        before in colliding(8), after in colliding(8), reading in reading(8), interrupted in any::<bool>(),
    ) {
        block_on(async {
            let engine = Engine::sqlite();
            let database = database(&engine, &before).await;
            let users = database.users().await;
            let sync = database.sync(&after, reading).await;
            let job = database.newest().await;
            let (undo, undone) = database.undo(job.id, interrupted).await;
            let mut expected = users.clone();
            for (key, user) in &sync.users {
                let status = Status::OutOfScope;
                expected.entry(key.clone()).or_insert_with(|| Kept { status, ..user.clone() });
            }
            prop_assert_eq!(&expected, &undone.users);
            prop_assert_eq!(&undone.refused, &BTreeSet::new());
            // And the other way round.
            let (_, again) = database.undo(undo.id, false).await;
            prop_assert_eq!(&sync.users, &again.users);
            Ok(())
        })?;
    }
}

fn person(id: u8, title: u8) -> Person {
    Person { id, user_name: id, mail: Some(id), title, disabled: false, spelling: 0, hidden: false }
}

on_both! {
    everything_that_a_plan_shows_is_applied_and_can_be_undone
    an_undo_takes_no_seat_that_is_gone_and_leaves_whom_something_has_changed_since
    whoever_is_deleted_is_gone_from_plans_too
    only_ended_jobs_can_be_undone_and_only_plans_of_what_is_published_be_applied
}

async fn everything_that_a_plan_shows_is_applied_and_can_be_undone(engine: Engine) {
    let swapped = |id, name| Person { user_name: name, mail: Some(name), ..person(id, 0) };
    let database = database(&engine, &vec![person(0, 0), person(1, 0), person(2, 0), person(3, 0)]).await;
    let before = database.users().await;
    let disabled = Person { disabled: true, ..person(3, 1) };
    let after = vec![swapped(0, 1), swapped(1, 0), disabled, person(4, 0), swapped(5, 4)];
    let (plan, entries) = database.dry_run(&after, Reading::plain()).await;
    let count = |category| entries.iter().filter(|entry| entry.category == category).count();
    let lists =
        [Category::Added, Category::Updated, Category::Disabled, Category::NotSynchronized].map(count);
    assert_eq!(lists, [1, 3, 1, 1], "{entries:?}");
    let entry = entries.iter().find(|entry| id_of(entry) == 3).expect("the disabled one");
    let values = |state: &Option<(control_plane::model::UserValues, Status)>| {
        state.as_ref().map(|(values, status)| (values.display_name.clone(), *status))
    };
    assert_eq!(values(&entry.before), Some(("title 0".to_owned(), Status::Enabled)));
    assert_eq!(values(&entry.after), Some(("title 1".to_owned(), Status::DisabledInDirectory)));
    let applied = database.apply_plan(plan.id, &after, Reading::plain()).await;
    assert_eq!(as_planned(&before, &entries), applied.users);
    let (_, undone) = database.undo(database.newest().await.id, true).await;
    let newest = database.newest().await.number;
    let told =
        database.store().list_details(newest, Some(Category::Updated), None, 10).await.expect("details");
    assert!(told.iter().all(|(_, line)| line.message.contains("what it was before")), "{told:?}");
    let old = |users: Users| users.into_iter().filter(|((_, id), _)| *id < 4).collect::<Users>();
    assert_eq!(old(undone.users), before);
}

async fn whoever_is_deleted_is_gone_from_plans_too(engine: Engine) {
    let disabled = Person { disabled: true, ..person(1, 0) };
    let database = database(&engine, &vec![person(0, 0), disabled.clone()]).await;
    let (plan, entries) =
        database.dry_run(&vec![person(0, 1), Person { title: 1, ..disabled }], Reading::plain()).await;
    let user = entries.iter().find(|entry| id_of(entry) == 1).and_then(|entry| entry.user).expect("a user");
    database.store().delete_user(&database.tenant(), user, &admin(), NOW).await.expect("deleted");
    let left = database.store().plan_entries(plan.number, None, 0, 10, NOW).await.expect("the plan");
    assert_eq!(left.iter().map(|(_, entry)| id_of(entry)).collect::<Vec<_>>(), [0]);
}

async fn an_undo_takes_no_seat_that_is_gone_and_leaves_whom_something_has_changed_since(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0), person(2, 0), person(3, 0)]).await;
    database.sync(&vec![person(1, 0), person(3, 1), person(4, 0)], Reading::plain()).await;
    let job = database.newest().await;
    // Changed since: by a later sync.
    database.sync(&vec![person(1, 0), person(3, 2), person(4, 0)], Reading::plain()).await;
    database.license(1).await;
    let (_, undone) = database.undo(job.id, false).await;
    let status = |id: u8| undone.users[&(SOURCES[0].to_owned(), id)].status;
    assert_eq!(status(4), Status::OutOfScope, "was added");
    assert_eq!(status(2), Status::OutOfScope, "was disabled, and there is no seat");
    assert_eq!(undone.users[&(SOURCES[0].to_owned(), 3)].title, "title 2");
    assert_eq!((undone.counts.disabled, undone.counts.not_synchronized), (1, 2), "{:?}", undone.refused);
}

async fn only_ended_jobs_can_be_undone_and_only_plans_of_what_is_published_be_applied(engine: Engine) {
    let database = database(&engine, &vec![person(1, 0)]).await;
    let (store, source) = (database.store(), SourceId::from(SOURCES[0]));
    let start = |work| NewJob { work, ..database.new_job(SOURCES[0]) };
    let synced = database.newest().await.id;
    let (dry, _) = database.dry_run(&vec![person(1, 1)], Reading::plain()).await;
    for (work, why) in [
        (Work::Undo(dry.id), "is a dry run"),
        (Work::Plan(synced), "is no dry run"),
        (Work::Undo(Uuid::nil()), "no such sync job"),
    ] {
        let refused = store.create_job(start(work.clone())).await.expect_err("refused");
        assert!(refused.to_string().contains(why), "{work:?}: {refused}");
    }
    // A dry run replaces neither what Show Details has, nor a job that is held.
    store.list_details(database.newest().await.number, None, None, 10).await.expect("its own details");
    let jobs = store.list_jobs(&database.tenant(), &source, None, 10).await.expect("jobs");
    store.list_details(jobs[1].number, None, None, 10).await.expect("details of the last sync");
    // It is too late once it has expired, or once the source was published anew.
    let late = NewJob { now: LATER, ..start(Work::Plan(dry.id)) };
    let refused = store.create_job(late).await.expect_err("too late");
    assert!(refused.to_string().contains("expired"), "{refused}");
    store.publish_source(&database.tenant(), &source, None, &admin(), NOW).await.expect("published");
    let refused = store.create_job(start(Work::Plan(dry.id))).await.expect_err("published anew");
    assert!(matches!(refused, StoreError::ConfigChanged), "{refused}");
    assert_eq!(store.expire_plans(NOW).await.expect("looked"), 0);
    assert_eq!(store.expire_plans(LATER).await.expect("thrown away"), 1);
    assert_eq!(store.expire_plans(LATER).await.expect("looked"), 0);
    // What runs cannot be undone.
    let running = store.create_job(start(Work::Sync)).await.expect("a job");
    let refused = store.create_job(start(Work::Undo(running.id))).await.expect_err("it runs");
    assert!(matches!(refused, StoreError::JobRunning(_)), "{refused}");
}
