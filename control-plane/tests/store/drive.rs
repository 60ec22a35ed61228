//! Drives the store through a whole sync as the jobs do, checking after every step what must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use control_plane::model::{
    Absence, Category, Counts, Decision, Fence, Hold, HoldReason, JobState, NotSynchronizedReason, Offered,
    ReadFacts, RouterId, SourceId, Status, TenantId, UserFilter, UserNo,
};
use control_plane::reconcile::offer;
use control_plane::store::{self, NewJob, SourceChange, Store};
use uuid::Uuid;

use crate::database::{Engine, NOW, settings};
use crate::directory::{Directory, Reading};

/// A user as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) user_name: String,
    pub(crate) mail: Option<u8>,
    pub(crate) title: String,
    pub(crate) status: Status,
}

/// What a sync led to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) users: BTreeMap<u8, Kept>,
    pub(crate) counts: Counts,
    pub(crate) refused: BTreeSet<(u8, NotSynchronizedReason)>,
    pub(crate) reads: usize,
}

impl Outcome {
    pub(crate) fn enabled(&self) -> usize {
        self.users.values().filter(|user| user.status == Status::Enabled).count()
    }
}

/// A fresh database with one tenant and one published source.
pub(crate) struct Database {
    store: Arc<dyn Store>,
    tenant: TenantId,
    source: SourceId,
}

const OWNER: &str = "this test";

impl Database {
    pub(crate) async fn create(engine: &Engine) -> Self {
        let store = engine.store().await;
        let (tenant, source) = (TenantId::from("acme"), SourceId::from("hq"));
        store.set_license_limit(&tenant, 0, true, NOW).await.expect("a tenant");
        let change = SourceChange { display_name: "HQ".to_owned(), draft: settings() };
        store.create_source(&tenant, &source, change, 30, NOW).await.expect("a source");
        store.publish_source(&tenant, &source, None, NOW).await.expect("a published source");
        Self { store, tenant, source }
    }

    pub(crate) async fn license(&self, limit: i64) {
        self.store.set_license_limit(&self.tenant, limit, false, NOW).await.expect("a license");
    }

    pub(crate) async fn sync(&self, directory: &Directory, reading: Reading) -> Outcome {
        let used_before = self.store.license(&self.tenant).await.expect("a license").used;
        let job = NewJob {
            id: Uuid::now_v7(),
            tenant: self.tenant.clone(),
            source: self.source.clone(),
            started_by: "admins/test".to_owned(),
            request_id: None,
            full_lists_kept: 5,
            now: NOW,
        };
        let job = self.store.create_job(job).await.expect("a job");
        assert!(
            self.store.claim_job(job.number, OWNER, Duration::from_secs(60), NOW).await.expect("a claim")
        );
        let mut reads = 1;
        if let Some(batches) = reading.crash_after {
            reads = 2;
            self.read(
                job.number,
                directory,
                Reading { shuffle: !reading.shuffle, ..reading },
                batches,
                used_before,
            )
            .await;
        }
        let (start, seen) = self.read(job.number, directory, reading, usize::MAX, used_before).await;
        let fence = start.fence;
        self.store.begin_reconciling(fence).await.expect("reconciling");
        let in_scope = self.store.users_in_scope(fence, None, 1_000).await.expect("users in scope");
        let leavers = in_scope
            .into_iter()
            .filter(|(user, _)| !seen.contains(user))
            .map(|(user, _)| (user, Absence::Unexplained))
            .collect();
        let facts = ReadFacts { server: "lab".to_owned(), ..ReadFacts::default() };
        self.store.trust_doubtful(fence).await.expect("trust");
        let fence = if reading.held {
            self.hold_and_approve(fence, leavers, used_before).await
        } else {
            self.store.disable_absent(fence, leavers, None, NOW).await.expect("disables");
            fence
        };
        self.check_license(used_before).await;
        self.settle(fence, false, used_before).await;
        let outcome = store::Outcome::Succeeded { withheld: None, facts: Some(facts) };
        let job = self.store.finish_job(fence, outcome, NOW).await.expect("an end");
        assert_eq!(job.state, JobState::Succeeded);
        assert_eq!(job.counts.waiting, 0, "nothing waits after the end");
        if reads == 1 {
            assert_eq!(
                job.counts.read(),
                i64::try_from(directory.len()).expect("a small number"),
                "the numbers add up"
            );
        }
        self.look(job.number, job.counts, reads).await
    }

    async fn settle(&self, fence: Fence, held: bool, used_before: i64) {
        self.store.settle_names(fence, held, NOW).await.expect("settled names");
        self.check_license(used_before).await;
        while self.store.settle_seats(fence, 2, held, NOW).await.expect("settled seats") {
            self.check_license(used_before).await;
        }
    }

    /// Takes the way round by an administrator who approves.
    async fn hold_and_approve(
        &self,
        fence: Fence,
        leavers: Vec<(UserNo, Absence)>,
        used_before: i64,
    ) -> Fence {
        let (store, later) = (&self.store, NOW.plus(Duration::from_secs(60)));
        store.note_absent(fence, leavers).await.expect("noted");
        self.settle(fence, true, used_before).await;
        let hold = Hold {
            reason: HoldReason::DisableGuard,
            message: "Look.".to_owned(),
            users: 0,
            etag: "the list".to_owned(),
            since: NOW,
            expires_at: later,
            decision: Decision::Pending,
            decided_by: String::new(),
        };
        let job = store.hold_job(fence, hold, ReadFacts::default()).await.expect("held");
        assert_eq!((job.state, job.counts.waiting), (JobState::Held, 0), "nothing waits while it is held");
        let name = (&self.tenant, &self.source, None);
        store.approve_job(name, "the list", "admins/test", NOW).await.expect("approved");
        assert!(store.claim_job(job.number, OWNER, Duration::from_secs(60), NOW).await.expect("a claim"));
        let start = store.begin_approved(job.number, OWNER, NOW).await.expect("begun");
        let noted = store.noted_absent(start.fence, job.number, None, 1_000).await.expect("the list");
        store.recall_kept(start.fence, NOW).await.expect("recalled");
        store.disable_absent(start.fence, noted, Some(start.held_at), NOW).await.expect("disables");
        start.fence
    }

    /// Reads at most `batches` batches.
    async fn read(
        &self,
        job: control_plane::model::JobNo,
        directory: &Directory,
        reading: Reading,
        batches: usize,
        used_before: i64,
    ) -> (control_plane::model::ReadStart, BTreeSet<UserNo>) {
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
            let plan = offer::plan(job, &offered, &known, start.beyond_limit, |user| seen.contains(&user));
            seen.extend(plan.seen);
            let wanted = plan.want.iter().map(|position| records[*position as usize].clone()).collect();
            let applied = store
                .apply(start.fence, Arc::new(wanted), Vec::new(), plan.unchanged, NOW)
                .await
                .expect("a batch");
            seen.extend(applied.seen);
            self.check_license(used_before).await;
        }
        (start, seen)
    }

    /// Enabled users are within the limit; where the limit was lowered below the use, there are at least no more than before.
    async fn check_license(&self, used_before: i64) {
        let license = self.store.license(&self.tenant).await.expect("a license");
        assert!(
            license.used <= license.limit.max(used_before),
            "{} of {} seats",
            license.used,
            license.limit
        );
        let enabled = UserFilter { enabled: Some(true), ..UserFilter::default() };
        let enabled = self.store.list_users(&self.tenant, &enabled, None, 1_000).await.expect("users");
        assert_eq!(
            i64::try_from(enabled.len()).expect("a small number"),
            license.used,
            "seats are enabled users"
        );
    }

    async fn look(&self, job: control_plane::model::JobNo, counts: Counts, reads: usize) -> Outcome {
        let all = UserFilter::default();
        let users = self.store.list_users(&self.tenant, &all, None, 1_000).await.expect("users");
        let users = users
            .into_iter()
            .map(|user| {
                let mail = user.values.mail.strip_prefix('m').and_then(|rest| rest.strip_suffix("@lab.test"));
                let kept = Kept {
                    user_name: user.values.user_name,
                    mail: mail.and_then(|number| number.parse().ok()),
                    title: user.values.display_name,
                    status: user.status,
                };
                (user.id.0[0] - 1, kept)
            })
            .collect();
        let refused = self
            .store
            .list_details(job, Some(Category::NotSynchronized), None, 1_000)
            .await
            .expect("details")
            .into_iter()
            .filter_map(|(_, detail)| Some((detail.id?.0[0] - 1, detail.reason?)))
            .collect();
        Outcome { users, counts, refused, reads }
    }
}
