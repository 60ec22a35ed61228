//! What deletion promises, on both engines: marks and their end, Delete Now, automatic marks, and
//! who does it by itself. (What is left of a user is looked for in `deletion_traces`; deletions
//! amid the steps of syncs are in `deletion_order`.)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use control_plane::clock::Clock;
use control_plane::jobs::{JobSettings, Jobs};
use control_plane::model::{
    Absence, Actor, AuditEvent, AuditFilter, DeletionSettings, EventType, Fence, Mark, MarkReason, Record,
    RouterId, SourceId, Status, SyncJob, TenantId, TenantNo, Timestamp, Trail, User, UserFilter, UserNo,
};
use control_plane::store::{
    self, DeletionLease, NewJob, Outcome, Purged, SourceChange, Store, StoreError, Work,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::conformance::{OWNER, people};
use crate::database::{Engine, NOW, admin, block_on, on_both, settings};

on_both! {
    whoever_is_marked_is_deleted_when_its_time_has_come_and_not_a_moment_before
    an_undeleted_user_is_as_it_was_and_stays
    a_batch_marks_all_or_nobody
    a_repeated_call_changes_nothing_and_an_administrators_mark_takes_the_place_of_an_automatic_one
    only_a_disabled_user_is_deleted_at_once
    whoever_is_in_scope_again_is_a_new_user_with_a_number_that_nobody_had
    a_changed_pending_period_is_that_of_later_marks
    nobody_of_a_suspended_tenant_is_deleted_until_it_is_served_again
    of_two_replicas_one_deletes_and_the_other_takes_over_when_the_lease_is_over
    by_itself_whoever_is_disabled_or_unused_for_so_long_is_marked_and_nobody_else
    whoever_comes_back_before_the_end_is_not_deleted
    whom_an_administrator_undeleted_is_not_marked_again_at_once
    a_sign_in_is_noted_once_an_hour
    a_crowd_is_deleted_in_small_transactions
}

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3_600);
const LEASE: Duration = Duration::from_secs(15);

/// A tenant with one source.
pub(crate) struct World {
    pub(crate) store: Arc<Store>,
    pub(crate) tenant: TenantId,
    pub(crate) number: TenantNo,
    pub(crate) url: String,
}

impl World {
    pub(crate) async fn new(engine: &Engine, seats: i64) -> Self {
        let (tenant, url) = (TenantId::from("acme"), engine.url());
        let store = store::open(&url).await.expect("a store");
        Self::of(store, url, tenant, seats).await
    }

    /// Another tenant in the same database.
    pub(crate) async fn beside(&self, tenant: &str) -> Self {
        Self::of(Arc::clone(&self.store), self.url.clone(), tenant.into(), 10).await
    }

    async fn of(store: Arc<Store>, url: String, tenant: TenantId, seats: i64) -> Self {
        store.set_license_limit(&tenant, seats, true, &admin(), NOW).await.expect("a tenant");
        let (source, change) = (SourceId::from("hq"), draft());
        store.create_source(&tenant, &source, change, 30, &admin(), NOW).await.expect("a source");
        store.publish_source(&tenant, &source, None, &admin(), NOW).await.expect("a published source");
        let (number, _) = store.single_user_settings(&tenant).await.expect("a tenant");
        Self { store, tenant, number, url }
    }

    /// A job that has begun to read.
    pub(crate) async fn reading(&self, now: Timestamp) -> (SyncJob, Fence) {
        let job = NewJob {
            id: Uuid::now_v7(),
            tenant: self.tenant.clone(),
            source: SourceId::from("hq"),
            started_by: admin(),
            request_id: None,
            full_lists_kept: 5,
            work: Work::Sync,
            now,
        };
        let job = self.store.create_job(job).await.expect("a job");
        (job.clone(), self.read_again(&job, now).await)
    }

    /// The next read of a job.
    pub(crate) async fn read_again(&self, job: &SyncJob, now: Timestamp) -> Fence {
        let _ = self.store.claim_job(job.number, OWNER, DAY, now).await.expect("an answer");
        self.store.begin_read(job.number, OWNER, &RouterId::from("r1"), now).await.expect("a read").fence
    }

    pub(crate) async fn apply(&self, fence: Fence, records: Vec<Record>, now: Timestamp) -> Vec<UserNo> {
        self.store.apply(fence, Arc::new(records), Vec::new(), 0, now).await.expect("a batch").seen
    }

    /// What comes after a complete read that had these users.
    pub(crate) async fn finish(&self, fence: Fence, seen: &[UserNo], now: Timestamp) -> SyncJob {
        self.store.begin_reconciling(fence).await.expect("reconciling");
        let in_scope = self.store.users_in_scope(fence, None, 10_000).await.expect("users in scope");
        let gone = in_scope.into_iter().filter(|(user, _)| !seen.contains(user));
        let gone = gone.map(|(user, _)| (user, Absence::Moved)).collect();
        self.store.accept_suspect_changes(fence).await.expect("trusted");
        self.store.disable_absent(fence, gone, None, now).await.expect("disabled");
        self.store.resolve_names(fence, false, now).await.expect("names");
        while self.store.assign_seats(fence, 100, false, now).await.expect("seats") {}
        let done = Outcome::Succeeded { withheld: None, facts: None };
        self.store.finish_job(fence, done, now).await.expect("an end")
    }

    /// A whole sync that finds these people.
    pub(crate) async fn sync(&self, records: Vec<Record>, now: Timestamp) -> SyncJob {
        let (_, fence) = self.reading(now).await;
        let seen = self.apply(fence, records, now).await;
        self.finish(fence, &seen, now).await
    }

    pub(crate) fn people(&self, numbers: std::ops::Range<u16>) -> Vec<Record> {
        people(self.number, numbers)
    }

    /// Users by user name.
    pub(crate) async fn users(&self) -> BTreeMap<String, User> {
        let users = self.store.list_users(&self.tenant, &UserFilter::default(), None, 10_000).await;
        users.expect("users").into_iter().map(|user| (user.values.user_name.clone(), user)).collect()
    }

    async fn names(&self) -> Vec<String> {
        self.users().await.into_keys().collect()
    }

    async fn user(&self, name: &str) -> User {
        self.users().await.remove(name).expect("a user of this name")
    }

    pub(crate) async fn mark(&self, users: &[UserNo], now: Timestamp) -> Result<Vec<User>, StoreError> {
        self.store.mark_users(&self.tenant, users.to_vec(), &admin(), now).await
    }

    /// Deletes whoever's time has come.
    pub(crate) async fn purge(&self, now: Timestamp) -> Purged {
        let mut all = Purged::default();
        for due in self.store.due_purges(now, 100).await.expect("an answer") {
            let purged = self.store.purge(&lease("r1"), &due, 200, now).await.expect("purged");
            let purged = purged.expect("nobody else has the lease");
            all = Purged { deleted: all.deleted + purged.deleted, lifted: all.lifted + purged.lifted };
        }
        all
    }

    /// Seats that are taken are users that are enabled, in the tenant and in its sources.
    pub(crate) async fn check_seats(&self) -> i64 {
        let license = self.store.license(&self.tenant).await.expect("a license");
        let enabled = self.users().await.values().filter(|user| user.status == Status::Enabled).count();
        assert_eq!(license.used, i64::try_from(enabled).expect("few"), "of the tenant");
        assert_eq!(license.by_source.iter().map(|source| source.used).sum::<i64>(), license.used);
        license.used
    }

    pub(crate) async fn events(&self, kind: EventType) -> Vec<AuditEvent> {
        let filter = AuditFilter { kinds: vec![kind.number()], ..AuditFilter::default() };
        let trail = Trail::Tenant(self.tenant.clone());
        self.store.list_events(&trail, &filter, None, 10_000).await.expect("events")
    }

    async fn set(&self, settings: DeletionSettings) {
        self.store.set_deletion_settings(&self.tenant, settings, &admin(), NOW).await.expect("set");
    }
}

fn draft() -> SourceChange {
    SourceChange { display_name: "Headquarters".to_owned(), draft: settings() }
}

fn lease(owner: &str) -> DeletionLease {
    DeletionLease { owner: owner.to_owned(), lease: LEASE }
}

fn after(days: u32) -> Timestamp {
    NOW.plus(days * DAY)
}

fn moment_before(time: Timestamp) -> Timestamp {
    time.minus(Duration::from_micros(1))
}

async fn whoever_is_marked_is_deleted_when_its_time_has_come_and_not_a_moment_before(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..3), NOW).await;
    let number = world.user("u1").await.number;
    let marked = world.mark(&[number], NOW).await.expect("marked").remove(0);
    let mark =
        Mark { at: NOW, purge_at: after(7), by: "admins/test".to_owned(), reason: MarkReason::Administrator };
    assert_eq!((marked.mark.clone(), marked.status), (Some(mark), Status::Enabled), "it keeps its seat");
    assert_eq!(world.check_seats().await, 3);
    assert_eq!(marked, world.store.user(&world.tenant, number).await.expect("the user"));
    let pending = UserFilter { pending_deletion: true, ..UserFilter::default() };
    let listed = world.store.list_users(&world.tenant, &pending, None, 10).await.expect("users");
    assert_eq!(listed, [marked]);

    assert_eq!(world.purge(moment_before(after(7))).await, Purged::default());
    assert_eq!(world.names().await, ["u0", "u1", "u2"]);
    // A sync meanwhile changes nothing of the mark.
    world.sync(world.people(0..3), after(1)).await;
    assert_eq!(world.purge(after(7)).await, Purged { deleted: 1, lifted: 0 });
    assert_eq!(world.names().await, ["u0", "u2"]);
    assert_eq!(world.check_seats().await, 2, "its seat is free");
    assert!(matches!(world.store.user(&world.tenant, number).await, Err(StoreError::NotFound("user"))));
    let marked = world.events(EventType::UserMarked).await;
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0].subject, format!("tenants/acme/users/{number}"));
    let purged = world.events(EventType::UsersPurged).await;
    assert_eq!(purged.len(), 1);
    assert_eq!(purged[0].subject, "tenants/acme/identitySources/hq");
    assert_eq!(purged[0].details, format!(r#"{{"numbers":"{number}","users":"1"}}"#));
    assert_eq!(purged[0].actor, Actor::system());
}

async fn an_undeleted_user_is_as_it_was_and_stays(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..3), NOW).await;
    let before = world.user("u1").await;
    world.mark(&[before.number], NOW).await.expect("marked");
    let by = admin();
    let undelete = |users| world.store.undelete_users(&world.tenant, users, &by, after(6));
    let undeleted = undelete(vec![before.number]).await.expect("undeleted").remove(0);
    assert_eq!(undeleted, before);
    assert_eq!(undelete(vec![before.number]).await.expect("nothing to do").remove(0), before);
    assert_eq!(world.events(EventType::UserUndeleted).await.len(), 1, "what did nothing is no event");
    assert_eq!(world.purge(after(700)).await, Purged::default());
    assert_eq!(world.names().await.len(), 3);
}

async fn a_batch_marks_all_or_nobody(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..3), NOW).await;
    let numbers: Vec<UserNo> = world.users().await.values().map(|user| user.number).collect();
    let with_strangers = [&numbers[..], &[UserNo(77), UserNo(78)]].concat();
    match world.mark(&with_strangers, NOW).await {
        Err(StoreError::NoSuchUsers(missing)) => assert_eq!(missing, [UserNo(77), UserNo(78)]),
        other => panic!("{other:?}"),
    }
    assert!(world.users().await.values().all(|user| user.mark.is_none()));
    assert_eq!(world.events(EventType::UserMarked).await.len(), 0);
    assert_eq!(world.mark(&numbers, NOW).await.expect("marked").len(), 3);
    let undelete = world.store.undelete_users(&world.tenant, with_strangers, &admin(), NOW).await;
    assert!(matches!(undelete, Err(StoreError::NoSuchUsers(_))), "{undelete:?}");
    assert!(world.users().await.values().all(|user| user.mark.is_some()));
    assert_eq!(world.events(EventType::UserMarked).await.len(), 3, "an event a user");
    assert_eq!(world.purge(after(7)).await.deleted, 3);
    assert_eq!(world.check_seats().await, 0);
    let nobody = world.store.mark_users(&"globex".into(), numbers, &admin(), NOW).await;
    assert!(matches!(nobody, Err(StoreError::NotFound("tenant"))), "{nobody:?}");
}

async fn a_repeated_call_changes_nothing_and_an_administrators_mark_takes_the_place_of_an_automatic_one(
    engine: Engine,
) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..2), NOW).await;
    world.sync(world.people(0..1), NOW).await;
    let number = world.user("u1").await.number;
    world.set(DeletionSettings { disabled_for: Some(DAY), ..DeletionSettings::default() }).await;
    review(&world, after(1)).await;
    let mark = world.user("u1").await.mark.expect("a mark");
    assert_eq!((mark.reason, mark.by.as_str()), (MarkReason::LongDisabled, "system"));
    let mine = world.mark(&[number], after(2)).await.expect("marked").remove(0).mark.expect("a mark");
    assert_eq!((mine.reason, mine.at, mine.purge_at), (MarkReason::Administrator, after(2), after(9)));
    let again = world.mark(&[number], after(3)).await.expect("nothing to do").remove(0);
    assert_eq!(again.mark, Some(mine));
    assert_eq!(world.events(EventType::UserMarked).await.len(), 1);
    // It would have been taken off.
    world.sync(world.people(0..2), after(4)).await;
    review(&world, after(5)).await;
    assert_eq!(world.user("u1").await.status, Status::Enabled);
    assert_eq!(world.purge(after(9)).await.deleted, 1);
}

async fn only_a_disabled_user_is_deleted_at_once(engine: Engine) {
    let world = World::new(&engine, 10).await;
    let mut off = world.people(0..4);
    off[1].disabled = true;
    world.sync(off, NOW).await;
    let by = admin();
    let delete = |number| world.store.delete_user(&world.tenant, number, &by, NOW);
    let (in_directory, enabled) = (world.user("u1").await.number, world.user("u2").await.number);
    assert!(matches!(delete(enabled).await, Err(StoreError::UserEnabled)));
    world.mark(&[enabled], NOW).await.expect("marked");
    assert!(matches!(delete(enabled).await, Err(StoreError::UserEnabled)), "a mark disables nobody");
    delete(in_directory).await.expect("deleted");
    assert!(matches!(delete(in_directory).await, Err(StoreError::NotFound("user"))));
    world.sync(world.people(0..1), NOW).await;
    let out_of_scope = world.user("u3").await;
    assert_eq!(out_of_scope.status, Status::OutOfScope);
    delete(out_of_scope.number).await.expect("deleted");
    delete(enabled).await.expect("deleted, though it was marked");
    assert_eq!(world.names().await, ["u0"]);
    assert_eq!(world.check_seats().await, 1);
    let trail = world.events(EventType::UserDeleted).await;
    let subjects: Vec<_> = trail.iter().map(|event| event.subject.as_str()).collect();
    let name = |number| format!("tenants/acme/users/{number}");
    assert_eq!(subjects, [name(enabled), name(out_of_scope.number), name(in_directory)]);
    assert!(trail.iter().all(|event| event.actor == admin() && event.details == "{}"));
}

async fn whoever_is_in_scope_again_is_a_new_user_with_a_number_that_nobody_had(engine: Engine) {
    let world = World::new(&engine, 3).await;
    world.sync(world.people(0..3), NOW).await;
    let before = world.user("u2").await;
    world.mark(&[before.number], NOW).await.expect("marked");
    world.purge(after(7)).await;
    let job = world.sync(world.people(0..3), after(8)).await;
    assert_eq!((job.counts.added, job.counts.unchanged), (1, 2));
    let again = world.user("u2").await;
    assert_eq!((again.id.clone(), again.created_at), (before.id, after(8)));
    assert_eq!((again.number, again.mark), (UserNo(before.number.0 + 1), None));
    assert_eq!(world.check_seats().await, 3);
}

async fn a_changed_pending_period_is_that_of_later_marks(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..2), NOW).await;
    assert_eq!(
        world.store.deletion_settings(&world.tenant).await.expect("settings"),
        DeletionSettings { pending_period: 7 * DAY, disabled_for: None, unused_for: None }
    );
    world.mark(&[world.user("u0").await.number], NOW).await.expect("marked");
    let settings =
        DeletionSettings { pending_period: DAY, disabled_for: Some(30 * DAY), unused_for: Some(60 * DAY) };
    world.set(settings).await;
    assert_eq!(world.store.deletion_settings(&world.tenant).await.expect("settings"), settings);
    world.mark(&[world.user("u1").await.number], NOW).await.expect("marked");
    world.purge(after(1)).await;
    assert_eq!(world.names().await, ["u0"]);
    let event = &world.events(EventType::DeletionSet).await[0];
    assert_eq!(
        event.details,
        r#"{"disabled_for":"2592000","pending_period":"86400","unused_for":"5184000"}"#
    );
    let nobody: TenantId = "globex".into();
    let set = world.store.set_deletion_settings(&nobody, settings, &admin(), NOW).await;
    assert!(matches!(set, Err(StoreError::NotFound("tenant"))), "{set:?}");
}

async fn nobody_of_a_suspended_tenant_is_deleted_until_it_is_served_again(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..2), NOW).await;
    let number = world.user("u0").await.number;
    world.mark(&[number], NOW).await.expect("marked");
    let due = world.store.due_purges(after(7), 10).await.expect("due").remove(0);
    world.store.suspend_tenant(&world.tenant, "unpaid", &admin(), NOW).await.expect("suspended");
    assert_eq!(world.store.due_purges(after(8), 10).await.expect("due"), []);
    assert_eq!(world.store.purge(&lease("r1"), &due, 200, after(8)).await.expect("an answer"), None);
    let deleted = world.store.delete_user(&world.tenant, number, &admin(), NOW).await;
    assert!(matches!(deleted, Err(StoreError::TenantSuspended)), "{deleted:?}");
    assert!(matches!(world.mark(&[number], NOW).await, Err(StoreError::TenantSuspended)));
    assert_eq!(world.names().await.len(), 2);
    world.store.resume_tenant(&world.tenant, &admin(), NOW).await.expect("resumed");
    assert_eq!(world.purge(after(8)).await.deleted, 1);
}

async fn of_two_replicas_one_deletes_and_the_other_takes_over_when_the_lease_is_over(engine: Engine) {
    let world = World::new(&engine, 100).await;
    world.sync(world.people(0..30), NOW).await;
    let numbers: Vec<UserNo> = world.users().await.values().map(|user| user.number).collect();
    world.mark(&numbers, NOW).await.expect("marked");
    let due = world.store.due_purges(after(7), 10).await.expect("due").remove(0);
    let purge = |owner: &str, now| {
        let (store, lease, due) = (Arc::clone(&world.store), lease(owner), due.clone());
        async move { store.purge(&lease, &due, 10, now).await.expect("an answer") }
    };
    let ten = Some(Purged { deleted: 10, lifted: 0 });
    assert_eq!(purge("r1", after(7)).await, ten);
    assert_eq!(purge("r2", after(7)).await, None, "the other replica has the lease");
    let later = after(7).plus(LEASE);
    assert_eq!(purge("r1", moment_before(later)).await, ten, "which it keeps with each transaction");
    assert_eq!(purge("r2", later).await, None);
    let over = moment_before(later).plus(LEASE);
    assert_eq!(purge("r2", over).await, ten);
    assert_eq!(purge("r1", over).await, None, "whoever was frozen finds it taken");
    assert_eq!(world.names().await, Vec::<String>::new());
    assert_eq!(world.events(EventType::UsersPurged).await.len(), 3);
    assert_eq!(world.check_seats().await, 0);
}

/// Puts automatic marks on and takes them off, as a replica does.
async fn review(world: &World, now: Timestamp) {
    for marking in world.store.markings(None, 10).await.expect("tenants") {
        let mut users = world.store.automatic_marks(&marking, None, 1_000).await.expect("users");
        users.extend(world.store.mark_candidates(&marking, None, 1_000, now).await.expect("users"));
        let users = users.into_iter().map(|user| user.user).collect();
        let changed = world.store.review_marks(&lease("r1"), &marking.tenant, users, now).await;
        assert!(changed.expect("reviewed").is_some());
    }
}

async fn marks(world: &World) -> BTreeMap<String, MarkReason> {
    let marked = world.users().await.into_iter();
    marked.filter_map(|(name, user)| Some((name, user.mark?.reason))).collect()
}

async fn by_itself_whoever_is_disabled_or_unused_for_so_long_is_marked_and_nobody_else(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..4), NOW).await;
    // u3 is out of scope from the 10th day on.
    world.sync(world.people(0..3), after(10)).await;
    world
        .store
        .record_sign_ins(world.number, vec![world.user("u1").await.number], after(11))
        .await
        .expect("noted");
    review(&world, after(3_000)).await;
    assert_eq!(marks(&world).await, BTreeMap::new(), "off until it is set");
    assert_eq!(world.store.markings(None, 10).await.expect("tenants"), []);

    world.set(DeletionSettings { disabled_for: Some(30 * DAY), ..DeletionSettings::default() }).await;
    review(&world, moment_before(after(40))).await;
    assert_eq!(marks(&world).await, BTreeMap::new());
    review(&world, after(40)).await;
    assert_eq!(marks(&world).await, BTreeMap::from([("u3".to_owned(), MarkReason::LongDisabled)]));

    world.set(DeletionSettings { unused_for: Some(60 * DAY), ..DeletionSettings::default() }).await;
    review(&world, moment_before(after(70))).await;
    assert_eq!(marks(&world).await.len(), 1, "the read of the 10th day had the others");
    review(&world, after(70)).await;
    let mut unused = BTreeMap::from([("u3".to_owned(), MarkReason::LongDisabled)]);
    unused.extend(["u0", "u2"].map(|name| (name.to_owned(), MarkReason::LongUnused)));
    assert_eq!(marks(&world).await, unused, "and u1 once signed in");
    let events = world.events(EventType::UsersMarked).await;
    let details: Vec<_> = events.iter().map(|event| event.details.as_str()).collect();
    assert_eq!(
        details,
        [
            r#"{"numbers":"1,3","reason":"LONG_UNUSED","users":"2"}"#,
            r#"{"numbers":"4","reason":"LONG_DISABLED","users":"1"}"#
        ]
    );
    world.purge(after(77)).await;
    assert_eq!(world.names().await, ["u1"]);
    assert_eq!(world.check_seats().await, 1);
}

async fn whoever_comes_back_before_the_end_is_not_deleted(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..6), NOW).await;
    world.sync(world.people(0..3), NOW).await;
    let settings = DeletionSettings {
        disabled_for: Some(30 * DAY),
        unused_for: Some(30 * DAY),
        ..DeletionSettings::default()
    };
    world.set(settings).await;
    review(&world, after(30)).await;
    assert_eq!(marks(&world).await.len(), 6);
    // u0 signs in. u3 is in scope again and enabled; u4, too, and out of scope again a day later:
    // its time begins anew.
    world
        .store
        .record_sign_ins(world.number, vec![world.user("u0").await.number], after(31))
        .await
        .expect("noted");
    let gone = world.user("u5").await;
    let back: Vec<_> = world.people(0..5);
    let (_, fence) = world.reading(after(32)).await;
    let records = back[3..].to_vec();
    let seen = world.apply(fence, records, after(32)).await;
    assert_eq!(seen.len(), 2);
    world.store.stop_job(&world.tenant, &"hq".into(), None, &admin(), after(32)).await.expect("stopped");
    let (_, fence) = world.reading(after(33)).await;
    let out = vec![(world.user("u4").await.number, Absence::Moved)];
    world.store.disable_absent(fence, out, None, after(33)).await.expect("disabled");
    world.store.stop_job(&world.tenant, &"hq".into(), None, &admin(), after(33)).await.expect("stopped");

    // Without a review in between: the purge itself looks.
    assert_eq!(world.purge(after(37)).await, Purged { deleted: 3, lifted: 3 });
    assert_eq!(world.names().await, ["u0", "u3", "u4"]);
    assert_eq!(marks(&world).await, BTreeMap::new());
    assert_eq!(world.check_seats().await, 2);
    assert!(matches!(world.store.user(&world.tenant, gone.number).await, Err(StoreError::NotFound(_))));
    let lifted = world.events(EventType::MarksLifted).await;
    assert_eq!(lifted[0].details, r#"{"numbers":"1,4,5","users":"3"}"#);
    review(&world, moment_before(after(63))).await;
    assert!(!marks(&world).await.contains_key("u4"), "disabled since the 33rd day");
    review(&world, after(63)).await;
    assert_eq!(marks(&world).await["u4"], MarkReason::LongDisabled);
    // A complete read sees whoever is in scope, also where it changes nobody.
    world
        .store
        .record_sign_ins(world.number, vec![world.user("u4").await.number], after(64))
        .await
        .expect("noted");
    review(&world, after(100)).await;
    let reasons = marks(&world).await;
    assert_eq!((reasons["u3"], reasons["u4"]), (MarkReason::LongUnused, MarkReason::LongDisabled));
    world.sync([&back[..1], &back[3..4]].concat(), after(101)).await;
    review(&world, after(102)).await;
    assert_eq!(marks(&world).await, BTreeMap::from([("u4".to_owned(), MarkReason::LongDisabled)]));
}

async fn whom_an_administrator_undeleted_is_not_marked_again_at_once(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..2), NOW).await;
    world.sync(world.people(0..1), NOW).await;
    world.set(DeletionSettings { disabled_for: Some(30 * DAY), ..DeletionSettings::default() }).await;
    review(&world, after(30)).await;
    let user = world.user("u1").await;
    assert!(user.mark.is_some());
    world
        .store
        .undelete_users(&world.tenant, vec![user.number], &admin(), after(35))
        .await
        .expect("undeleted");
    review(&world, moment_before(after(65))).await;
    assert_eq!(marks(&world).await, BTreeMap::new());
    review(&world, after(65)).await;
    assert_eq!(marks(&world).await.len(), 1);
}

async fn a_sign_in_is_noted_once_an_hour(engine: Engine) {
    let world = World::new(&engine, 10).await;
    world.sync(world.people(0..1), NOW).await;
    let number = world.user("u0").await.number;
    let hour = Duration::from_secs(3_600);
    for (now, noted) in [
        (NOW, NOW),
        (moment_before(NOW.plus(hour)), NOW),
        (NOW.plus(hour), NOW.plus(hour)),
        (NOW, NOW.plus(hour)),
    ] {
        world.store.record_sign_ins(world.number, vec![number], now).await.expect("noted");
        assert_eq!(world.user("u0").await.last_sign_in_at, Some(noted));
    }
    world.store.record_sign_ins(world.number, vec![UserNo(77)], NOW).await.expect("nobody to note it of");
}

/// Through the real task of two replicas, with a clock that the test sets.
async fn a_crowd_is_deleted_in_small_transactions(engine: Engine) {
    let world = World::new(&engine, 2_000).await;
    world.sync(world.people(0..1_500), NOW).await;
    world.sync(world.people(0..500), NOW).await;
    world.set(DeletionSettings { disabled_for: Some(DAY), ..DeletionSettings::default() }).await;
    let now = Arc::new(AtomicI64::new(after(1).0));
    let shutdown = CancellationToken::new();
    let replicas: Vec<Jobs> = (0..2)
        .map(|_| {
            let now = Arc::clone(&now);
            let clock = Clock::from_fn(move || Timestamp(now.load(Ordering::SeqCst)));
            Jobs::start(Arc::clone(&world.store), JobSettings::default(), clock, shutdown.clone())
        })
        .collect();
    let until = async |wanted: usize, pending: bool| {
        let filter = UserFilter { pending_deletion: pending, ..UserFilter::default() };
        for _ in 0..600 {
            let users = world.store.list_users(&world.tenant, &filter, None, 10_000).await.expect("users");
            if users.len() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never {wanted} users");
    };
    until(1_000, true).await;
    now.store(after(8).0, Ordering::SeqCst);
    until(500, false).await;
    shutdown.cancel();
    drop(replicas);
    assert_eq!(world.check_seats().await, 500);
    for kind in [EventType::UsersMarked, EventType::UsersPurged] {
        let events = world.events(kind).await;
        let count = |event: &AuditEvent| {
            let details: BTreeMap<String, String> = serde_json::from_str(&event.details).expect("details");
            assert_eq!(details["numbers"].split(',').count().to_string(), details["users"]);
            details["users"].parse::<usize>().expect("a number")
        };
        let counts: Vec<usize> = events.iter().map(count).collect();
        assert_eq!(counts.iter().sum::<usize>(), 1_000, "each once: {counts:?}");
        assert!(counts.iter().all(|count| *count <= 200), "{counts:?}");
    }
}
