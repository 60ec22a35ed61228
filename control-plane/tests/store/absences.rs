//! What the store keeps of absent users, and of users who return: on both engines.

use control_plane::model::{
    Absence, BrokenCheck, Category, Decision, Fence, Hold, HoldReason, NotSynchronizedReason, ReadFacts,
    SourceId, Status, SyncJob, User, UserFilter, UserNo,
};
use control_plane::store::Outcome;

use crate::conformance::{OWNER, World, people};
use crate::database::{Engine, NOW, admin, block_on, on_both};
use crate::deletion::DAY;

on_both! {
    users_who_return_wait_and_stay_as_they_are_where_the_server_is_behind
    what_an_approval_enables_is_listed_and_then_enabled
    why_a_user_went_out_of_scope_is_kept_while_it_is
    users_who_are_not_visible_are_counted_and_listed_once
    a_hold_keeps_every_check_that_broke
}

/// Three users, the first of whom went out of scope for this reason.
async fn one_is_gone(engine: &Engine, absence: Absence) -> World {
    let world = World::new(engine, 100).await;
    let (_, start) = world.reading("hq").await;
    world.apply(start.fence, people(start.fence.tenant, 0..3)).await.expect("applied");
    finish(&world, start.fence).await;
    let (_, start) = world.reading("hq").await;
    let gone = vec![(UserNo(1), absence)];
    world.store.disable_absent(start.fence, gone, None, NOW).await.expect("disabled");
    finish(&world, start.fence).await;
    world
}

async fn finish(world: &World, fence: Fence) -> SyncJob {
    let done = Outcome::Succeeded { withheld: None, facts: Some(ReadFacts::default()) };
    world.store.finish_job(fence, done, NOW).await.expect("an end")
}

async fn user(world: &World, number: i64) -> User {
    let users = world.store.list_users(&world.tenant, &UserFilter::default(), None, 100).await;
    users.expect("users").into_iter().find(|user| user.number == UserNo(number)).expect("a user")
}

/// A read that has the user who is gone, and waits for its end.
async fn returns(world: &World) -> (SyncJob, Fence) {
    let (job, start) = world.reading("hq").await;
    world.apply(start.fence, people(start.fence.tenant, 0..1)).await.expect("applied");
    assert_eq!(user(world, 1).await.status, Status::OutOfScope, "it waits");
    world.store.begin_reconciling(start.fence).await.expect("reconciling");
    assert_eq!(world.store.count_reenables(start.fence).await.expect("a count").all, 1);
    assert_eq!(world.store.count_suspect_changes(start.fence).await.expect("a count"), 0);
    (job, start.fence)
}

async fn refuse(world: &World, fence: Fence) {
    let reason = NotSynchronizedReason::OlderServer;
    assert!(world.store.refuse_suspect_changes(fence, reason, 10, NOW).await.expect("refused"));
    assert!(!world.store.refuse_suspect_changes(fence, reason, 10, NOW).await.expect("none is left"));
}

async fn settle(world: &World, fence: Fence, held: bool) {
    world.store.resolve_names(fence, held, NOW).await.expect("names");
    while world.store.assign_seats(fence, 10, held, NOW).await.expect("seats") {}
}

async fn users_who_return_wait_and_stay_as_they_are_where_the_server_is_behind(engine: Engine) {
    let world = one_is_gone(&engine, Absence::Deleted).await;
    let (job, fence) = returns(&world).await;
    refuse(&world, fence).await;
    settle(&world, fence, false).await;
    let ended = finish(&world, fence).await;
    assert_eq!((ended.counts.not_synchronized, ended.counts.waiting, ended.counts.read()), (1, 0, 1));
    assert_eq!(user(&world, 1).await.status, Status::OutOfScope);
    let details = world.store.list_details(job.number, Some(Category::NotSynchronized), None, 10).await;
    let reasons: Vec<_> = details.expect("details").into_iter().map(|(_, detail)| detail.reason).collect();
    assert_eq!(reasons, [Some(NotSynchronizedReason::OlderServer)]);

    let (_, fence) = returns(&world).await;
    let other = NotSynchronizedReason::AttributeLoss;
    assert!(!world.store.refuse_suspect_changes(fence, other, 10, NOW).await.expect("nothing is lost"));
    world.store.accept_returns(fence).await.expect("accepted");
    settle(&world, fence, false).await;
    let ended = finish(&world, fence).await;
    assert_eq!((ended.counts.updated, ended.counts.reenabled), (1, 1));
    assert_eq!(user(&world, 1).await.status, Status::Enabled);
}

pub(crate) fn hold() -> Hold {
    let check = |reason, users| BrokenCheck { reason, message: format!("{reason:?}"), users };
    Hold {
        reason: HoldReason::OlderServer,
        message: "behind".to_owned(),
        broken: vec![check(HoldReason::OlderServer, 1), check(HoldReason::DisableGuard, 7)],
        users: 0,
        etag: "the list".to_owned(),
        since: NOW,
        expires_at: NOW.plus(DAY),
        decision: Decision::Pending,
        decided_by: String::new(),
    }
}

async fn what_an_approval_enables_is_listed_and_then_enabled(engine: Engine) {
    let world = one_is_gone(&engine, Absence::Deleted).await;
    let (job, fence) = returns(&world).await;
    refuse(&world, fence).await;
    settle(&world, fence, true).await;
    world.store.hold_job(fence, hold(), ReadFacts::default()).await.expect("held");
    let listed = || world.store.list_details(job.number, Some(Category::WouldBeEnabled), None, 10);
    let users: Vec<_> = listed().await.expect("a list").into_iter().map(|(_, detail)| detail.user).collect();
    assert_eq!(users, [Some(UserNo(1))]);

    let source = SourceId::from("hq");
    let by = admin();
    world.store.approve_job(&world.tenant, &source, None, "the list", &by, NOW).await.expect("approved");
    assert!(world.store.claim_job(job.number, OWNER, DAY, NOW).await.expect("a claim"));
    let fence = world.store.begin_approved(job.number, OWNER, NOW).await.expect("begun").fence;
    world.store.requeue_retained(fence, NOW).await.expect("recalled");
    settle(&world, fence, false).await;
    let ended = finish(&world, fence).await;
    assert_eq!((ended.counts.updated, ended.counts.not_synchronized), (1, 0));
    assert_eq!(user(&world, 1).await.status, Status::Enabled);
    assert!(listed().await.expect("a list").is_empty(), "a list that is decided is none");
}

async fn why_a_user_went_out_of_scope_is_kept_while_it_is(engine: Engine) {
    for absence in [Absence::Moved, Absence::NotMatching, Absence::Deleted, Absence::Unexplained] {
        let world = one_is_gone(&engine, absence).await;
        assert_eq!(user(&world, 1).await.absence, Some(absence));
        let source = SourceId::from("hq");
        let job = world.store.job(&world.tenant, &source, None).await.expect("a job").number;
        let exported = world.store.export_details(job, Category::Disabled, 5, 0, 10).await.expect("a list");
        assert_eq!(exported[0].1.message, format!("Disabled: {}.", absence.text()));
        let (_, fence) = returns(&world).await;
        world.store.accept_suspect_changes(fence).await.expect("accepted");
        settle(&world, fence, false).await;
        finish(&world, fence).await;
        assert_eq!(user(&world, 1).await.absence, None);
    }
}

async fn users_who_are_not_visible_are_counted_and_listed_once(engine: Engine) {
    let world = one_is_gone(&engine, Absence::Deleted).await;
    let (job, start) = world.reading("hq").await;
    let (listed, fence) = (vec![(UserNo(2), Absence::Unexplained)], start.fence);
    world.store.record_absent(fence, listed).await.expect("noted");
    world.store.leave_alone(fence, vec![UserNo(2)], NOW).await.expect("left alone");
    let list = world.store.recorded_absent(fence, job.number, None, 10).await.expect("the list");
    assert!(list.is_empty(), "it is taken off the list");
    let again = world.store.begin_read(job.number, OWNER, &"r1".into(), NOW).await.expect("a read").fence;
    world.store.leave_alone(again, vec![UserNo(2), UserNo(3)], NOW).await.expect("left alone");
    let ended = finish(&world, again).await;
    assert_eq!(ended.counts.not_visible, 2, "a repeated read counts from the beginning");
    for list in [
        world.store.list_details(job.number, Some(Category::NotVisible), None, 10).await,
        world.store.export_details(job.number, Category::NotVisible, 5, 0, 10).await,
    ] {
        let users: Vec<_> = list.expect("a list").into_iter().map(|(_, detail)| detail.user).collect();
        assert_eq!(users, [Some(UserNo(2)), Some(UserNo(3))]);
    }
    assert_eq!(user(&world, 2).await.status, Status::Enabled);
}

async fn a_hold_keeps_every_check_that_broke(engine: Engine) {
    let world = one_is_gone(&engine, Absence::Deleted).await;
    let (_, fence) = returns(&world).await;
    refuse(&world, fence).await;
    let held = world.store.hold_job(fence, hold(), ReadFacts::default()).await.expect("held");
    assert_eq!(held.hold.expect("a hold").broken, hold().broken);
}
