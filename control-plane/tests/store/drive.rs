//! Drives the store through a whole sync as the jobs do, checking after every step what must always
//! hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use control_plane::model::{
    Absence, Category, Counts, Decision, Fence, Hold, HoldReason, ImmutableId, JobNo, JobState,
    NotSynchronizedReason, Offered, ReadFacts, ReadStart, Rejected, RouterId, SourceId, Status, SyncJob,
    TenantId, Timestamp, UserFilter, UserNo,
};
use control_plane::reconcile::offer;
use control_plane::store::{self, NewJob, SourceChange, Store, Work};
use uuid::Uuid;

use crate::database::{Engine, NOW, admin, settings};
use crate::directory::{Crash, Directory, Reading};

/// A user as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) user_name: String,
    pub(crate) mail: String,
    pub(crate) title: String,
    pub(crate) status: Status,
}

/// Users by source and id.
pub(crate) type Users = BTreeMap<(String, u8), Kept>;

/// What a sync led to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) users: Users,
    pub(crate) counts: Counts,
    pub(crate) refused: BTreeSet<(u8, NotSynchronizedReason)>,
}

impl Outcome {
    pub(crate) fn enabled(&self) -> usize {
        self.users.values().filter(|user| user.status == Status::Enabled).count()
    }

    /// Whether the sync found everything as it should be, or could do nothing about it.
    pub(crate) fn changed_nobody(&self) -> bool {
        (self.counts.added, self.counts.updated, self.counts.disabled) == (0, 0, 0)
    }
}

/// The sources of the tenant.
pub(crate) const SOURCES: [&str; 2] = ["hq", "branch"];

/// A read that had these users and waits for nothing.
pub(crate) struct Seen<'a>(pub(crate) &'a BTreeSet<UserNo>);

impl offer::Earlier for Seen<'_> {
    fn has_seen(&self, user: UserNo) -> bool {
        self.0.contains(&user)
    }

    fn asked(&self, _id: &ImmutableId) -> Option<[u8; 16]> {
        None
    }
}

/// A fresh database with one tenant and its published sources.
pub(crate) struct Database {
    store: Arc<Store>,
    tenant: TenantId,
}

pub(crate) const OWNER: &str = "this test";
pub(crate) const LEASE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A job that somebody drives step by step.
pub(crate) struct Running(JobNo);

/// Transactions that are left until everything is lost.
pub(crate) struct Steps(pub(crate) usize);

impl Steps {
    /// None if it was the last one.
    fn step(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

impl Database {
    pub(crate) async fn create(engine: &Engine, sync_limit: u32) -> Self {
        let store = engine.store().await;
        let tenant = TenantId::from("acme");
        store.set_license_limit(&tenant, 0, true, &admin(), NOW).await.expect("a tenant");
        for source in SOURCES.map(SourceId::from) {
            let mut draft = settings();
            draft.sync_limit = sync_limit;
            draft.roots = vec![format!("ou={source},dc=lab,dc=test")];
            let change = SourceChange { display_name: "People".to_owned(), draft };
            store.create_source(&tenant, &source, change, 30, &admin(), NOW).await.expect("a source");
            store.publish_source(&tenant, &source, None, &admin(), NOW).await.expect("a published source");
        }
        Self { store, tenant }
    }

    pub(crate) async fn license(&self, limit: i64) {
        self.store.set_license_limit(&self.tenant, limit, false, &admin(), NOW).await.expect("a license");
    }

    /// The store itself.
    pub(crate) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant.clone()
    }

    /// A job of the first source that is claimed and has not begun.
    pub(crate) async fn claimed(&self) -> Running {
        let job = self.new_job(SOURCES[0]);
        let job = self.store.create_job(job).await.expect("a job").number;
        assert!(self.store.claim_job(job, OWNER, DAY, NOW).await.expect("a claim"));
        Running(job)
    }

    /// Begins its read.
    pub(crate) async fn begin(&self, job: &Running) -> ReadStart {
        self.begin_at(job, NOW).await
    }

    /// The same at another time.
    pub(crate) async fn begin_at(&self, Running(job): &Running, now: Timestamp) -> ReadStart {
        self.store.begin_read(*job, OWNER, &RouterId::from("r1"), now).await.expect("a read")
    }

    /// Ends it.
    pub(crate) async fn finish(&self, fence: Fence) -> SyncJob {
        let facts = ReadFacts { server: "lab".to_owned(), ..ReadFacts::default() };
        let outcome = store::Outcome::Succeeded { withheld: None, facts: Some(facts) };
        self.store.finish_job(fence, outcome, NOW).await.expect("an end")
    }

    pub(crate) fn new_job(&self, source: &str) -> NewJob {
        NewJob {
            id: Uuid::now_v7(),
            tenant: self.tenant.clone(),
            source: SourceId::from(source),
            started_by: admin(),
            request_id: None,
            full_lists_kept: 5,
            work: Work::Sync,
            now: NOW,
        }
    }

    /// Synchronizes the first source.
    pub(crate) async fn sync(&self, directory: &Directory, reading: Reading) -> Outcome {
        self.sync_source(SOURCES[0], directory, reading).await
    }

    pub(crate) async fn sync_source(&self, source: &str, directory: &Directory, reading: Reading) -> Outcome {
        let used_before = self.store.license(&self.tenant).await.expect("a license").used;
        let job = self.store.create_job(self.new_job(source)).await.expect("a job").number;
        assert!(self.store.claim_job(job, OWNER, LEASE, NOW).await.expect("a claim"));
        let (batches, mut steps) = match reading.crash {
            Some(Crash::Reading(batches)) => (Some(batches), Steps(usize::MAX)),
            Some(Crash::Reconciling(steps)) => (None, Steps(steps)),
            None => (None, Steps(usize::MAX)),
        };
        let otherwise = Reading { shuffle: !reading.shuffle, ..reading };
        if let Some(batches) = batches {
            self.read(job, directory, otherwise, batches, used_before).await;
        }
        let (start, seen) = self.read(job, directory, reading, usize::MAX, used_before).await;
        let fence = match self.reconcile(&start, &seen, reading, &mut steps, used_before).await {
            Some(fence) => fence,
            None => {
                let (start, seen) = self.read(job, directory, otherwise, usize::MAX, used_before).await;
                let again = self.reconcile(&start, &seen, reading, &mut Steps(usize::MAX), used_before).await;
                again.expect("the second time nothing interrupts it")
            }
        };
        let job = self.finish(fence).await;
        assert_eq!(job.state, JobState::Succeeded);
        assert_eq!(job.counts.waiting, 0, "nothing waits after the end");
        let read = i64::try_from(directory.len()).expect("a small number");
        assert_eq!(job.counts.read(), read, "the numbers add up: {:?}", job.counts);
        self.look(job.number, job.counts).await
    }

    /// Reconciles a complete read; none if that was interrupted and the directory is to be read
    /// again.
    async fn reconcile(
        &self,
        start: &ReadStart,
        seen: &BTreeSet<UserNo>,
        reading: Reading,
        steps: &mut Steps,
        used_before: i64,
    ) -> Option<Fence> {
        let fence = start.fence;
        self.store.begin_reconciling(fence).await.expect("reconciling");
        steps.step()?;
        let in_scope = self.store.users_in_scope(fence, None, 1_000).await.expect("users in scope");
        let leavers: Vec<_> = in_scope
            .into_iter()
            .filter(|(user, _)| !seen.contains(user))
            .map(|(user, _)| (user, Absence::Unexplained))
            .collect();
        self.clear_marks(fence, seen).await;
        steps.step()?;
        if reading.held {
            self.store.record_absent(fence, leavers.clone()).await.expect("noted");
            steps.step()?;
        }
        self.store.accept_suspect_changes(fence).await.expect("trust");
        steps.step()?;
        if reading.held {
            self.settle(fence, true, steps, used_before).await?;
            return Some(self.hold_and_approve(fence, steps, used_before).await);
        }
        self.store.disable_absent(fence, leavers, None, NOW).await.expect("disables");
        self.check_license(used_before).await;
        steps.step()?;
        self.settle(fence, false, steps, used_before).await?;
        Some(fence)
    }

    /// Takes the marks of sign-ins off users that a complete read has seen.
    pub(crate) async fn clear_marks(&self, fence: Fence, seen: &BTreeSet<UserNo>) {
        let mut marked = self.store.marked_absent(fence, None, 1_000).await.expect("marked users");
        marked.retain(|user| seen.contains(user));
        if !marked.is_empty() {
            self.store.clear_absent_marks(fence, marked, true).await.expect("cleared");
        }
    }

    pub(crate) async fn settle(
        &self,
        fence: Fence,
        held: bool,
        steps: &mut Steps,
        used_before: i64,
    ) -> Option<()> {
        self.store.resolve_names(fence, held, NOW).await.expect("settled names");
        self.check_license(used_before).await;
        steps.step()?;
        while self.store.assign_seats(fence, 2, held, NOW).await.expect("settled seats") {
            self.check_license(used_before).await;
            steps.step()?;
        }
        Some(())
    }

    /// Takes the way round by an administrator who approves.
    async fn hold_and_approve(&self, fence: Fence, steps: &mut Steps, used_before: i64) -> Fence {
        let (store, later) = (&self.store, NOW.plus(Duration::from_secs(60)));
        let hold = Hold {
            reason: HoldReason::DisableGuard,
            message: "Look.".to_owned(),
            broken: Vec::new(),
            users: 0,
            etag: "the list".to_owned(),
            since: NOW,
            expires_at: later,
            decision: Decision::Pending,
            decided_by: String::new(),
        };
        let job = store.hold_job(fence, hold, ReadFacts::default()).await.expect("held");
        assert_eq!((job.state, job.counts.waiting), (JobState::Held, 0), "nothing waits while it is held");
        let name = (&self.tenant, &job.source, None);
        store.approve_job(name.0, name.1, name.2, "the list", &admin(), NOW).await.expect("approved");
        assert!(store.claim_job(job.number, OWNER, LEASE, NOW).await.expect("a claim"));
        if let Some(fence) = self.go_on(job.number, steps, used_before).await {
            return fence;
        }
        let again = self.go_on(job.number, &mut Steps(usize::MAX), used_before).await;
        again.expect("the second time nothing interrupts it")
    }

    /// Carries out what was approved; none if that was interrupted.
    async fn go_on(&self, job: JobNo, steps: &mut Steps, used_before: i64) -> Option<Fence> {
        let store = &self.store;
        let start = store.begin_approved(job, OWNER, NOW).await.expect("begun");
        let noted = store.recorded_absent(start.fence, job, None, 1_000).await.expect("the list");
        store.requeue_retained(start.fence, NOW).await.expect("recalled");
        steps.step()?;
        store.disable_absent(start.fence, noted, Some(start.held_at), NOW).await.expect("disables");
        steps.step()?;
        self.settle(start.fence, false, steps, used_before).await?;
        Some(start.fence)
    }

    /// Reads at most `batches` batches.
    pub(crate) async fn read(
        &self,
        job: JobNo,
        directory: &Directory,
        reading: Reading,
        batches: usize,
        used_before: i64,
    ) -> (ReadStart, BTreeSet<UserNo>) {
        let store = &self.store;
        let start = store.begin_read(job, OWNER, &RouterId::from("r1"), NOW).await.expect("a read");
        let mut seen = BTreeSet::new();
        for batch in reading.order(directory).chunks(reading.batch).take(batches) {
            let records: Vec<_> = batch.iter().map(|person| person.record(start.fence.tenant)).collect();
            let offered: Vec<_> = records
                .iter()
                .map(|record| Offered { id: record.id.clone(), digest: record.digest })
                .collect();
            let ids = offered.iter().map(|offer| offer.id.clone()).collect();
            let known = store.known_users(start.fence, ids).await.expect("known users");
            let plan = offer::plan(job, &offered, &known, start.beyond_limit, &Seen(&seen));
            seen.extend(plan.seen);
            let wanted = plan.want.iter().map(|position| records[*position as usize].clone()).collect();
            let beyond = plan.beyond_limit.iter().map(|position| {
                let record = &records[*position as usize];
                let reason = NotSynchronizedReason::SyncLimit;
                let digest = Some(record.digest);
                Rejected { digest, ..Rejected::of(Some(record.id.clone()), reason) }
            });
            let applied = store
                .apply(start.fence, Arc::new(wanted), beyond.collect(), plan.unchanged, NOW)
                .await
                .expect("a batch");
            seen.extend(applied.seen);
            self.check_license(used_before).await;
        }
        (start, seen)
    }

    /// Enabled users are within the limit; where the limit was lowered below the use, there are at
    /// least no more than before.
    async fn check_license(&self, used_before: i64) {
        let license = self.store.license(&self.tenant).await.expect("a license");
        assert!(
            license.used <= license.limit.max(used_before),
            "{} of {} seats",
            license.used,
            license.limit
        );
        // Whoever must know has been told with the commit: that a level is left only below it is in
        // the level's own tests.
        assert_eq!(license.level, license.level.next(license.used, license.limit), "told: {license:?}");
        let enabled = UserFilter { enabled: Some(true), ..UserFilter::default() };
        let enabled = self.store.list_users(&self.tenant, &enabled, None, 1_000).await.expect("users");
        assert_eq!(
            i64::try_from(enabled.len()).expect("a small number"),
            license.used,
            "seats are enabled users"
        );
    }

    /// Publishes the first source with another sync limit.
    pub(crate) async fn publish_limit(&self, sync_limit: u32) {
        let source = SourceId::from(SOURCES[0]);
        let kept = self.store.source(&self.tenant, &source).await.expect("the source");
        let mut draft = settings();
        draft.sync_limit = sync_limit;
        draft.roots = vec![format!("ou={source},dc=lab,dc=test")];
        let change = SourceChange { display_name: "People".to_owned(), draft };
        let (store, by) = (&self.store, admin());
        store.update_source(&self.tenant, &source, kept.version, change, &by, NOW).await.expect("changed");
        store.publish_source(&self.tenant, &source, None, &by, NOW).await.expect("published");
    }

    /// Users by number, with their ids.
    pub(crate) async fn numbers_by_id(&self) -> Vec<(UserNo, u8)> {
        let users = self.store.list_users(&self.tenant, &UserFilter::default(), None, 1_000).await;
        users.expect("users").into_iter().map(|user| (user.number, user.id.0[0] - 1)).collect()
    }

    pub(crate) async fn users(&self) -> Users {
        let all = UserFilter::default();
        let users = self.store.list_users(&self.tenant, &all, None, 1_000).await.expect("users");
        let kept = |user: control_plane::model::User| {
            let kept = Kept {
                user_name: user.values.user_name,
                mail: user.values.mail,
                title: user.values.display_name,
                status: user.status,
            };
            ((user.source.0, user.id.0[0] - 1), kept)
        };
        users.into_iter().map(kept).collect()
    }

    pub(crate) async fn look(&self, job: JobNo, counts: Counts) -> Outcome {
        let refused = self
            .store
            .list_details(job, Some(Category::NotSynchronized), None, 1_000)
            .await
            .expect("details")
            .into_iter()
            .filter_map(|(_, detail)| Some((detail.id?.0[0] - 1, detail.reason?)))
            .collect();
        Outcome { users: self.users().await, counts, refused }
    }
}
