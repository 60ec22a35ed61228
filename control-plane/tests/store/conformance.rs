//! What the store promises, method by method, on both engines.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control_plane::model::{
    Absence, Category, Fence, ImmutableId, JobState, NameKind, NotSynchronizedReason, ReadStart, Record,
    Rejected, RouterId, SourceId, Status, SyncJob, TenantId, TenantNo, UserFilter, UserNo, UserValues,
};
use control_plane::reconcile::names;
use control_plane::store::{self, NewJob, Outcome, SourceChange, Store, StoreError, Work};
use uuid::Uuid;

use crate::database::{Engine, NOW, admin, block_on, on_both, settings};

on_both! {
    a_source_has_one_job_at_a_time_however_many_are_started_at_once
    the_same_request_id_is_the_same_job
    a_job_is_claimed_once_and_again_when_its_lease_is_over_and_only_the_last_owner_writes
    after_a_stop_nothing_is_written_and_what_was_stays
    a_newer_read_voids_the_fence_of_the_older
    a_write_whose_caller_goes_away_is_whole_or_not_at_all
    the_license_holds_for_two_sources_that_fill_it_at_once
    names_are_unique_in_a_tenant_and_free_in_another
    who_came_first_and_loses_a_name_is_listed_by_name
    details_end_at_400_a_category_and_are_replaced_by_the_next_job
    a_source_published_anew_ends_a_job_that_began_before
    a_source_with_users_is_deleted_only_with_them
    known_users_come_in_the_order_of_the_ids
    a_second_start_finds_everything_as_it_was
}

const LEASE: Duration = Duration::from_secs(60);
pub(crate) const OWNER: &str = "replica-1";

pub(crate) struct World {
    pub(crate) store: Arc<Store>,
    pub(crate) tenant: TenantId,
}

impl World {
    pub(crate) async fn new(engine: &Engine, seats: i64) -> Self {
        Self::with(engine.store().await, seats).await
    }

    /// In a store that is there.
    pub(crate) async fn with(store: Arc<Store>, seats: i64) -> Self {
        let world = Self { store, tenant: TenantId::from("acme") };
        world.store.set_license_limit(&world.tenant, seats, true, &admin(), NOW).await.expect("a tenant");
        world.source("hq").await;
        world
    }

    async fn source(&self, id: &str) -> SourceId {
        let source = SourceId::from(id);
        self.store.create_source(&self.tenant, &source, draft(), 30, &admin(), NOW).await.expect("a source");
        self.store
            .publish_source(&self.tenant, &source, None, &admin(), NOW)
            .await
            .expect("a published source");
        source
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

    /// A job of a source that this replica has claimed and begun to read for.
    pub(crate) async fn reading(&self, source: &str) -> (SyncJob, ReadStart) {
        let job = self.store.create_job(self.new_job(source)).await.expect("a job");
        assert!(self.store.claim_job(job.number, OWNER, LEASE, NOW).await.expect("a claim"));
        let start = self.begin(&job).await;
        (job, start)
    }

    async fn begin(&self, job: &SyncJob) -> ReadStart {
        self.store.begin_read(job.number, OWNER, &RouterId::from("r1"), NOW).await.expect("a read")
    }

    pub(crate) async fn apply(&self, fence: Fence, records: Vec<Record>) -> Result<Vec<UserNo>, StoreError> {
        self.store.apply(fence, Arc::new(records), Vec::new(), 0, NOW).await.map(|applied| applied.seen)
    }

    async fn finish(&self, fence: Fence) -> SyncJob {
        let done = Outcome::Succeeded { withheld: None, facts: None };
        self.store.finish_job(fence, done, NOW).await.expect("an end")
    }

    async fn users(&self) -> usize {
        self.store.list_users(&self.tenant, &UserFilter::default(), None, 10_000).await.expect("users").len()
    }
}

fn draft() -> SourceChange {
    SourceChange { display_name: "Headquarters".to_owned(), draft: settings() }
}

/// Person number `n`, with a user name and a mail address of their own.
fn person(tenant: TenantNo, n: u16) -> Record {
    let (user_name, mail) = (format!("u{n}"), format!("u{n}@lab.test"));
    let mut digest = [0; 16];
    digest[..2].copy_from_slice(&n.to_be_bytes());
    Record {
        id: id(n),
        digest,
        user_name_key: names::key(tenant, NameKind::UserName, &user_name),
        mail_key: Some(names::key(tenant, NameKind::Mail, &mail)),
        values: UserValues { user_name, mail, ..UserValues::default() },
        disabled: false,
        mark_proved: true,
        warnings: Vec::new(),
        version: None,
    }
}

pub(crate) fn people(tenant: TenantNo, numbers: std::ops::Range<u16>) -> Vec<Record> {
    numbers.map(|n| person(tenant, n)).collect()
}

fn id(n: u16) -> ImmutableId {
    ImmutableId(Bytes::from([&[7; 14][..], &n.to_be_bytes()].concat()))
}

async fn a_source_has_one_job_at_a_time_however_many_are_started_at_once(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let starts = (0..8).map(|_| {
        let (store, job) = (Arc::clone(&world.store), world.new_job("hq"));
        tokio::spawn(async move { store.create_job(job).await })
    });
    let mut started = Vec::new();
    let mut refused = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        match start.await.expect("no panic") {
            Ok(job) => started.push(job.id),
            Err(StoreError::JobRunning(id)) => refused.push(id),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(started.len(), 1);
    assert_eq!(refused, vec![started[0]; 7], "each refusal names the job that runs");
}

async fn the_same_request_id_is_the_same_job(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let new = || NewJob { request_id: Some("press-1".to_owned()), ..world.new_job("hq") };
    let first = world.store.create_job(new()).await.expect("a job");
    let again = world.store.create_job(new()).await.expect("the same job");
    assert_eq!(again.id, first.id);
    world.store.stop_job(&world.tenant, &SourceId::from("hq"), None, &admin(), NOW).await.expect("a stop");
    let late = world.store.create_job(new()).await.expect("the same job, ended");
    assert_eq!((late.id, late.state), (first.id, JobState::Stopped));
}

async fn a_job_is_claimed_once_and_again_when_its_lease_is_over_and_only_the_last_owner_writes(
    engine: Engine,
) {
    let world = World::new(&engine, 10).await;
    let job = world.store.create_job(world.new_job("hq")).await.expect("a job").number;
    let claims = (0..8).map(|replica| {
        let store = Arc::clone(&world.store);
        tokio::spawn(async move {
            let owner = format!("replica-{replica}");
            store.claim_job(job, &owner, LEASE, NOW).await.expect("an answer").then_some(owner)
        })
    });
    let mut owners = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        owners.extend(claim.await.expect("no panic"));
    }
    assert_eq!(owners.len(), 1);
    let owner = &owners[0];
    assert!(!world.store.renew_lease(job, "another", LEASE, NOW).await.expect("an answer"));
    assert!(world.store.renew_lease(job, owner, LEASE, NOW).await.expect("an answer"));
    let read = world.store.begin_read(job, owner, &RouterId::from("r1"), NOW).await.expect("a read").fence;
    world.apply(read, people(read.tenant, 0..2)).await.expect("applied");
    let late = NOW.plus(LEASE * 2);
    assert_eq!(world.store.unowned_jobs(late, 10).await.expect("jobs").len(), 1);
    assert!(world.store.claim_job(job, "another", LEASE, late).await.expect("an answer"));
    let applied = world.apply(read, people(read.tenant, 2..4)).await;
    assert!(matches!(applied, Err(StoreError::Fenced)), "what it read so far is of no use: {applied:?}");
    assert!(!world.store.renew_lease(job, owner, LEASE, late).await.expect("an answer"), "lost");
    let begun = world.store.begin_read(job, owner, &RouterId::from("r1"), late).await;
    assert!(
        matches!(begun, Err(StoreError::Fenced)),
        "a replica that lost the job begins no read: {begun:?}"
    );
}

async fn after_a_stop_nothing_is_written_and_what_was_stays(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let (job, start) = world.reading("hq").await;
    let fence = start.fence;
    world.apply(fence, people(fence.tenant, 0..10)).await.expect("applied");
    let by = admin();
    let stop = || world.store.stop_job(&world.tenant, &job.source, Some(job.id), &by, NOW);
    let stopped = stop().await.expect("a stop");
    assert_eq!((stopped.state, stopped.counts.added), (JobState::Stopped, 10));
    assert_eq!(stop().await.expect("a second stop changes nothing"), stopped);

    let done = Outcome::Succeeded { withheld: None, facts: None };
    let attempts = [
        world.apply(fence, people(fence.tenant, 10..20)).await.map(drop),
        world.store.known_users(fence, vec![id(1)]).await.map(drop),
        world.store.begin_reconciling(fence).await,
        world.store.users_in_scope(fence, None, 10).await.map(drop),
        world.store.disable_absent(fence, vec![(UserNo(1), Absence::Moved)], None, NOW).await.map(drop),
        world.store.resolve_names(fence, false, NOW).await.map(drop),
        world.store.assign_seats(fence, 10, false, NOW).await.map(drop),
        world.store.finish_job(fence, done, NOW).await.map(drop),
        world.store.begin_read(job.number, OWNER, &RouterId::from("r1"), NOW).await.map(drop),
    ];
    for (position, attempt) in attempts.into_iter().enumerate() {
        assert!(matches!(attempt, Err(StoreError::Fenced)), "attempt {position}: {attempt:?}");
    }
    assert_eq!(world.users().await, 10);
    world.store.create_job(world.new_job("hq")).await.expect("the next job can start at once");
}

async fn a_newer_read_voids_the_fence_of_the_older(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let (job, old) = world.reading("hq").await;
    world.apply(old.fence, people(old.fence.tenant, 0..5)).await.expect("applied");
    let new = world.begin(&job).await;
    assert!(new.fence.epoch > old.fence.epoch);
    let late = world.apply(old.fence, people(old.fence.tenant, 5..10)).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    // The same people again: already counted, so not twice.
    world.apply(new.fence, people(new.fence.tenant, 0..5)).await.expect("applied");
    assert_eq!(world.finish(new.fence).await.counts.added, 5);
}

async fn a_write_whose_caller_goes_away_is_whole_or_not_at_all(engine: Engine) {
    let world = World::new(&engine, 10_000).await;
    let (_, start) = world.reading("hq").await;
    for batch in 0..60_u16 {
        let (store, fence) = (Arc::clone(&world.store), start.fence);
        let records = Arc::new(people(fence.tenant, batch * 10..batch * 10 + 10));
        let caller = tokio::spawn(async move { store.apply(fence, records, Vec::new(), 0, NOW).await });
        // From before the first statement to after the commit.
        tokio::time::sleep(Duration::from_micros(u64::from(batch) * 150)).await;
        caller.abort();
        let _ = caller.await;
    }
    // A write that its caller left may still be under way; the next one waits for it.
    world.apply(start.fence, people(start.fence.tenant, 600..610)).await.expect("the store still works");
    let job = world.finish(start.fence).await;
    let users = world.users().await;
    assert_eq!(users % 10, 0, "every batch is there as a whole or not at all");
    assert_eq!(
        usize::try_from(job.counts.added).expect("small"),
        users,
        "counts are written with what they count"
    );
    let license = world.store.license(&world.tenant).await.expect("a license");
    assert_eq!(usize::try_from(license.used).expect("small"), users);
}

async fn the_license_holds_for_two_sources_that_fill_it_at_once(engine: Engine) {
    let world = World::new(&engine, 50).await;
    world.source("lab").await;
    let (hq, lab) = (world.reading("hq").await.1.fence, world.reading("lab").await.1.fence);
    let mut callers = Vec::new();
    for batch in 0..10_u16 {
        for (fence, offset) in [(hq, 0), (lab, 1_000)] {
            let store = Arc::clone(&world.store);
            let records = Arc::new(people(fence.tenant, offset + batch * 10..offset + batch * 10 + 10));
            callers.push(tokio::spawn(async move {
                store.apply(fence, records, Vec::new(), 0, NOW).await.expect("applied");
                let license = store.license(&TenantId::from("acme")).await.expect("a license");
                assert!(license.used <= license.limit, "{} of {}", license.used, license.limit);
            }));
        }
    }
    for caller in callers {
        caller.await.expect("no panic");
    }
    let license = world.store.license(&world.tenant).await.expect("a license");
    assert_eq!(license.used, 50, "no seat is left empty while users wait");
    assert_eq!(license.by_source.iter().map(|source| source.used).sum::<i64>(), 50);
    let enabled = UserFilter { enabled: Some(true), ..UserFilter::default() };
    assert_eq!(world.store.list_users(&world.tenant, &enabled, None, 1_000).await.expect("users").len(), 50);
}

async fn names_are_unique_in_a_tenant_and_free_in_another(engine: Engine) {
    let world = World::new(&engine, 100).await;
    world.source("lab").await;
    let (hq, lab) = (world.reading("hq").await.1.fence, world.reading("lab").await.1.fence);
    world.apply(hq, people(hq.tenant, 1..2)).await.expect("applied");
    let twin = Record { id: id(900), ..person(lab.tenant, 1) };
    world.apply(lab, vec![twin]).await.expect("taken in, to wait");
    world.store.begin_reconciling(lab).await.expect("reconciling");
    world.store.resolve_names(lab, false, NOW).await.expect("settled");
    let counts = world.finish(lab).await.counts;
    assert_eq!((counts.added, counts.not_synchronized), (0, 1));

    let other = World { store: Arc::clone(&world.store), tenant: TenantId::from("globex") };
    other.store.set_license_limit(&other.tenant, 100, true, &admin(), NOW).await.expect("a tenant");
    other.source("hq").await;
    let theirs = other.reading("hq").await.1.fence;
    other.apply(theirs, people(theirs.tenant, 1..2)).await.expect("applied");
    assert_eq!((world.users().await, other.users().await), (1, 1));
}

async fn who_came_first_and_loses_a_name_is_listed_by_name(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let (job, start) = world.reading("hq").await;
    let fence = start.fence;
    // Two new users want one mail address: whichever is read first, the lower immutable id gets it.
    let (low, high) = (person(fence.tenant, 1), person(fence.tenant, 2));
    let values = UserValues { mail: low.values.mail.clone(), ..high.values.clone() };
    let high = Record { mail_key: low.mail_key, values, ..high };
    world.apply(fence, vec![high]).await.expect("added");
    world.apply(fence, vec![low]).await.expect("taken in, to wait");
    world.store.begin_reconciling(fence).await.expect("reconciling");
    world.store.resolve_names(fence, false, NOW).await.expect("settled");
    while world.store.assign_seats(fence, 10, false, NOW).await.expect("settled") {}
    let counts = world.finish(fence).await.counts;
    assert_eq!((counts.added, counts.not_synchronized), (1, 1));
    let details = world.store.list_details(job.number, None, None, 10).await.expect("details");
    let listed: Vec<_> =
        details.iter().map(|(_, detail)| (detail.category, detail.user_name.as_str())).collect();
    assert_eq!(listed, [(Category::Added, "u1"), (Category::NotSynchronized, "u2")]);
    assert_eq!(details[1].1.reason, Some(NotSynchronizedReason::DuplicateEmail));
}

async fn details_end_at_400_a_category_and_are_replaced_by_the_next_job(engine: Engine) {
    let world = World::new(&engine, 10_000).await;
    let (job, start) = world.reading("hq").await;
    let rejected = (0..450).map(|n| Rejected {
        id: Some(id(5_000 + n)),
        reason: NotSynchronizedReason::MissingEmail,
        message: "no mail".to_owned(),
        user_name: format!("x{n}"),
        mail: String::new(),
        disabled: false,
        distinguished_name: String::new(),
        digest: None,
        version: None,
    });
    world
        .store
        .apply(start.fence, Arc::new(people(start.fence.tenant, 0..950)), rejected.collect(), 0, NOW)
        .await
        .expect("applied");
    let done = world.finish(start.fence).await;
    assert_eq!((done.counts.added, done.counts.not_synchronized), (950, 450), "counts go on");
    let list = |category| world.store.list_details(job.number, category, None, 2_000);
    assert_eq!(list(Some(Category::Added)).await.expect("details").len(), 400);
    assert_eq!(list(Some(Category::NotSynchronized)).await.expect("details").len(), 400);
    assert_eq!(list(None).await.expect("details").len(), 800);
    // In two pages, nothing twice and nothing lost.
    let first = world.store.list_details(job.number, None, None, 399).await.expect("a page");
    let (position, last) = first.last().expect("a last line");
    let rest = world.store.list_details(job.number, None, Some((last.category, *position)), 2_000).await;
    let all: HashSet<_> =
        first.iter().chain(&rest.expect("a page")).map(|(at, detail)| (detail.category, *at)).collect();
    assert_eq!(all.len(), 800);

    world.store.create_job(world.new_job("hq")).await.expect("the next job");
    assert!(matches!(list(None).await, Err(StoreError::DetailsReplaced)));
}

async fn a_source_published_anew_ends_a_job_that_began_before(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let (job, start) = world.reading("hq").await;
    world.apply(start.fence, people(start.fence.tenant, 0..3)).await.expect("applied");
    let source = world.store.source(&world.tenant, &job.source).await.expect("the source");
    let change = SourceChange { display_name: "New".to_owned(), ..draft() };
    world
        .store
        .update_source(&world.tenant, &job.source, source.version, change.clone(), &admin(), NOW)
        .await
        .expect("a changed draft");
    let outdated =
        world.store.update_source(&world.tenant, &job.source, source.version, change, &admin(), NOW).await;
    assert!(matches!(outdated, Err(StoreError::VersionMismatch)), "{outdated:?}");
    world.store.publish_source(&world.tenant, &job.source, None, &admin(), NOW).await.expect("published");
    let reconciling = world.store.begin_reconciling(start.fence).await;
    assert!(matches!(reconciling, Err(StoreError::ConfigChanged)), "{reconciling:?}");
    let disabled =
        world.store.disable_absent(start.fence, vec![(UserNo(1), Absence::Moved)], None, NOW).await;
    assert!(matches!(disabled, Err(StoreError::ConfigChanged)), "{disabled:?}");
}

async fn a_source_with_users_is_deleted_only_with_them(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let (job, start) = world.reading("hq").await;
    world.apply(start.fence, people(start.fence.tenant, 0..3)).await.expect("applied");
    let by = admin();
    let delete = |with_users| world.store.delete_source(&world.tenant, &job.source, with_users, &by, NOW);
    assert!(matches!(delete(true).await, Err(StoreError::JobRunning(_))));
    world.finish(start.fence).await;
    assert!(matches!(delete(false).await, Err(StoreError::SourceHasUsers)));
    delete(true).await.expect("deleted");
    assert_eq!(world.users().await, 0);
    assert_eq!(world.store.license(&world.tenant).await.expect("a license").used, 0, "seats are free again");
    assert!(matches!(delete(true).await, Err(StoreError::NotFound(_))));
}

async fn known_users_come_in_the_order_of_the_ids(engine: Engine) {
    let world = World::new(&engine, 100).await;
    let (_, start) = world.reading("hq").await;
    world.apply(start.fence, people(start.fence.tenant, 0..5)).await.expect("applied");
    let ids = [3, 99, 1, 3].map(id).to_vec();
    let known = world.store.known_users(start.fence, ids.clone()).await.expect("known users");
    let found: Vec<_> = known.iter().map(|user| user.as_ref().map(|user| user.id.clone())).collect();
    assert_eq!(found, [Some(id(3)), None, Some(id(1)), Some(id(3))]);
}

async fn a_second_start_finds_everything_as_it_was(engine: Engine) {
    let url = engine.url();
    let open = || async {
        World { store: store::open(&url).await.expect("a store"), tenant: TenantId::from("acme") }
    };
    let world = open().await;
    world.store.set_license_limit(&world.tenant, 100, true, &admin(), NOW).await.expect("a tenant");
    world.source("hq").await;
    let fence = world.reading("hq").await.1.fence;
    world.apply(fence, people(fence.tenant, 0..3)).await.expect("applied");
    let done = world.finish(fence).await;
    drop(world);
    let again = open().await;
    assert_eq!(again.users().await, 3);
    let job = again.store.job(&again.tenant, &SourceId::from("hq"), None).await.expect("the job");
    assert_eq!(job, done);
    let statuses =
        again.store.list_users(&again.tenant, &UserFilter::default(), None, 10).await.expect("users");
    assert!(statuses.iter().all(|user| user.status == Status::Enabled));
}
