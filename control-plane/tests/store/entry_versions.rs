//! An observation of an entry that is older than the one before it writes nothing, in a sync and
//! alone, on both engines.

use std::sync::Arc;

use control_plane::model::{
    Category, EntryVersion, Fence, NotSynchronizedReason, ReadFacts, Record, Rejected, RouterId,
    SingleOutcome, SourceId, SourceSettings, Status, TenantNo, User, UserFilter, UserSelector, UserVersion,
    VersionKind,
};
use control_plane::store::{Observation, Outcome, SingleWrite, SourceChange};

use crate::absences::hold;
use crate::conformance::{OWNER, World, people};
use crate::database::{Engine, NOW, admin, block_on, on_both, settings};
use crate::deletion::DAY;

on_both! {
    an_older_entry_waits_for_the_end_of_a_read_and_makes_it_one_of_an_older_server
    another_read_of_a_job_counts_older_entries_anew
    an_entry_that_changes_between_the_read_and_a_sign_in_is_not_one_of_an_older_server
    an_older_observation_of_one_user_writes_nothing
    an_older_entry_that_cannot_be_used_disables_no_user
    what_may_be_of_a_server_that_is_behind_enables_no_user_alone
    versions_count_no_more_once_an_older_state_is_approved_or_another_directory_is_published
}

/// The first of three people as of a change number, with a title of its own.
fn seen(fence: Fence, change: u64, title: &str, disabled: bool) -> Record {
    let mut record = people(fence.tenant, 0..1).remove(0);
    record.values.display_name = title.to_owned();
    record.digest = blake3::hash(title.as_bytes()).as_bytes()[..16].try_into().expect("16 bytes");
    let version = EntryVersion { kind: VersionKind::EntryUsn, value: change.to_string(), origin: vec![7] };
    Record { disabled, version: Some(version), ..record }
}

async fn user(world: &World) -> User {
    let users = world.store.list_users(&world.tenant, &UserFilter::default(), None, 100).await;
    users.expect("users").into_iter().next().expect("a user")
}

async fn finish(world: &World, fence: Fence) {
    let done = Outcome::Succeeded { withheld: None, facts: None };
    world.store.finish_job(fence, done, NOW).await.expect("an end");
}

async fn synced(world: &World, change: u64, title: &str) {
    let (_, start) = world.reading("hq").await;
    world.apply(start.fence, vec![seen(start.fence, change, title, false)]).await.expect("applied");
    world.store.begin_reconciling(start.fence).await.expect("reconciling");
    assert_eq!(world.store.count_older_entries(start.fence).await.expect("a number"), 0, "{title}");
    finish(world, start.fence).await;
    assert_eq!(user(world).await.values.display_name, title);
}

async fn an_older_entry_waits_for_the_end_of_a_read_and_makes_it_one_of_an_older_server(engine: Engine) {
    let world = World::new(&engine, 100).await;
    synced(&world, 10, "first").await;
    synced(&world, 20, "second").await;
    for disabled in [false, true] {
        let (job, start) = world.reading("hq").await;
        let older = seen(start.fence, 19, "third", disabled);
        world.apply(start.fence, vec![older]).await.expect("applied");
        world.store.begin_reconciling(start.fence).await.expect("reconciling");
        assert_eq!(world.store.count_older_entries(start.fence).await.expect("a number"), 1);
        assert_eq!(world.store.count_suspect_changes(start.fence).await.expect("a number"), 1);
        let reason = NotSynchronizedReason::OlderServer;
        while world.store.refuse_suspect_changes(start.fence, reason, 10, NOW).await.expect("refused") {}
        finish(&world, start.fence).await;
        let listed = world.store.list_details(job.number, Some(Category::NotSynchronized), None, 10).await;
        let reasons: Vec<_> = listed.expect("details").into_iter().map(|(_, line)| line.reason).collect();
        assert_eq!(reasons, [Some(reason)]);
        let user = user(&world).await;
        assert_eq!((&*user.values.display_name, user.status), ("second", Status::Enabled), "{disabled}");
    }
    // The same version again, and a newer one.
    synced(&world, 20, "fourth").await;
    synced(&world, 21, "fifth").await;
}

/// The server of the first read is behind; that of the second is not.
async fn another_read_of_a_job_counts_older_entries_anew(engine: Engine) {
    let world = World::new(&engine, 100).await;
    synced(&world, 20, "first").await;
    let (job, start) = world.reading("hq").await;
    world.apply(start.fence, vec![seen(start.fence, 19, "second", false)]).await.expect("applied");
    assert_eq!(world.store.count_older_entries(start.fence).await.expect("a number"), 1);
    let start = world.store.begin_read(job.number, OWNER, &RouterId::from("r1"), NOW).await.expect("a read");
    world.apply(start.fence, vec![seen(start.fence, 20, "first", false)]).await.expect("applied");
    world.store.begin_reconciling(start.fence).await.expect("reconciling");
    assert_eq!(world.store.count_older_entries(start.fence).await.expect("a number"), 0);
    assert_eq!(world.store.count_suspect_changes(start.fence).await.expect("a number"), 0);
}

fn observation(world: &World, version: Option<UserVersion>) -> Observation {
    Observation {
        tenant: world.tenant.clone(),
        source: SourceId::from("hq"),
        revision: 1,
        version,
        asked_at: NOW,
        keep_fresh: false,
        by: admin(),
        now: NOW,
    }
}

/// Writes what the directory has of the user alone.
async fn observe(world: &World, tenant: TenantNo, record: Record) -> SingleOutcome {
    let selector = UserSelector::User(user(world).await.number);
    let known = world.store.look_up_user(tenant, &selector).await.expect("an answer");
    let observation = observation(world, known.map(|known| known.version));
    match world.store.apply_observation(observation, record).await.expect("written") {
        SingleWrite::Done(written) => written.outcome,
        SingleWrite::AskAgain(_) => panic!("the version is the present one"),
    }
}

/// The read has the entry as it was before the change, the sign-in as it is after it. The sign-in
/// is right, and the server is not behind.
async fn an_entry_that_changes_between_the_read_and_a_sign_in_is_not_one_of_an_older_server(engine: Engine) {
    let world = World::new(&engine, 100).await;
    synced(&world, 20, "first").await;
    let (job, start) = world.reading("hq").await;
    let after = seen(start.fence, 31, "third", false);
    assert_eq!(observe(&world, start.fence.tenant, after).await, SingleOutcome::Updated);
    world.apply(start.fence, vec![seen(start.fence, 30, "second", false)]).await.expect("applied");
    world.store.begin_reconciling(start.fence).await.expect("reconciling");
    assert_eq!(world.store.count_older_entries(start.fence).await.expect("a number"), 0);
    assert_eq!(world.store.count_suspect_changes(start.fence).await.expect("a number"), 0);
    finish(&world, start.fence).await;
    assert_eq!(user(&world).await.values.display_name, "third");
    // What a sign-in saw before a read began still counts against the read.
    let start = world.reading("hq").await.1;
    assert_ne!(start.fence.job, job.number);
    world.apply(start.fence, vec![seen(start.fence, 30, "second", false)]).await.expect("applied");
    assert_eq!(world.store.count_older_entries(start.fence).await.expect("a number"), 1);
}

async fn an_older_observation_of_one_user_writes_nothing(engine: Engine) {
    let world = World::new(&engine, 100).await;
    synced(&world, 20, "first").await;
    let (_, start) = world.reading("hq").await;
    finish(&world, start.fence).await;
    let observe = async |record: Record| observe(&world, start.fence.tenant, record).await;
    assert_eq!(observe(seen(start.fence, 19, "second", false)).await, SingleOutcome::OlderServer);
    assert_eq!(observe(seen(start.fence, 19, "second", true)).await, SingleOutcome::OlderServer);
    let kept = user(&world).await;
    assert_eq!((&*kept.values.display_name, kept.status), ("first", Status::Enabled));
    // Disabled since; the server that is behind has it enabled.
    let disabled = seen(start.fence, 30, "third", true);
    assert_eq!(observe(disabled).await, SingleOutcome::DisabledInDirectory);
    assert_eq!(observe(seen(start.fence, 20, "first", false)).await, SingleOutcome::OlderServer);
    assert_eq!(user(&world).await.status, Status::DisabledInDirectory);
    assert_eq!(observe(seen(start.fence, 31, "fourth", false)).await, SingleOutcome::Reenabled);
}

/// An administrator says that the older state is the true one.
async fn approve_an_older_state(world: &World) {
    let (job, start) = world.reading("hq").await;
    world.apply(start.fence, vec![seen(start.fence, 19, "second", false)]).await.expect("applied");
    world.store.begin_reconciling(start.fence).await.expect("reconciling");
    let reason = NotSynchronizedReason::OlderServer;
    while world.store.refuse_suspect_changes(start.fence, reason, 10, NOW).await.expect("refused") {}
    world.store.hold_job(start.fence, hold(), ReadFacts::default()).await.expect("held");
    let source = SourceId::from("hq");
    let approved = world.store.approve_job(&world.tenant, &source, None, "the list", &admin(), NOW).await;
    approved.expect("approved");
    assert!(world.store.claim_job(job.number, OWNER, DAY, NOW).await.expect("a claim"));
    let fence = world.store.begin_approved(job.number, OWNER, NOW).await.expect("begun").fence;
    finish(world, fence).await;
}

async fn publish(world: &World, change: impl Fn(&mut SourceSettings)) {
    let source = SourceId::from("hq");
    let before = world.store.source(&world.tenant, &source).await.expect("a source");
    let mut draft = settings();
    change(&mut draft);
    let change = SourceChange { display_name: "Headquarters".to_owned(), draft };
    let by = admin();
    let changed = world.store.update_source(&world.tenant, &source, before.version, change, &by, NOW);
    changed.await.expect("a draft");
    world.store.publish_source(&world.tenant, &source, None, &admin(), NOW).await.expect("published");
}

async fn versions_count_no_more_once_an_older_state_is_approved_or_another_directory_is_published(
    engine: Engine,
) {
    let mut ways = Vec::new();
    for way in ["approved", "other servers", "other roots", "another page size"] {
        let world = World::new(&engine, 100).await;
        synced(&world, 20, "first").await;
        match way {
            "approved" => approve_an_older_state(&world).await,
            "other servers" => publish(&world, |draft| draft.servers[0].port = 3_269).await,
            "other roots" => publish(&world, |draft| draft.roots = vec!["dc=other".to_owned()]).await,
            _ => publish(&world, |draft| draft.page_size = 500).await,
        }
        let (_, start) = world.reading("hq").await;
        world.apply(start.fence, vec![seen(start.fence, 18, "third", false)]).await.expect("applied");
        ways.push((way, world.store.count_older_entries(start.fence).await.expect("a number")));
    }
    let expected = [("approved", 0), ("other servers", 0), ("other roots", 0), ("another page size", 1)];
    assert_eq!(ways, expected);
}

/// The entry without its mail address, and with the mark, as of a change number.
fn marked(fence: Fence, change: u64) -> Rejected {
    let record = seen(fence, change, "marked", true);
    let reason = NotSynchronizedReason::MissingEmail;
    Rejected { disabled: true, version: record.version, ..Rejected::of(Some(record.id), reason) }
}

async fn an_older_entry_that_cannot_be_used_disables_no_user(engine: Engine) {
    for (change, expected) in [(19, Status::Enabled), (20, Status::DisabledInDirectory)] {
        let world = World::new(&engine, 100).await;
        synced(&world, 20, "first").await;
        let (_, start) = world.reading("hq").await;
        let entry = marked(start.fence, change);
        let applied = world.store.apply(start.fence, Arc::default(), vec![entry], 0, NOW).await;
        applied.expect("applied");
        world.store.begin_reconciling(start.fence).await.expect("reconciling");
        let older = world.store.count_older_entries(start.fence).await.expect("a number");
        assert_eq!((older, user(&world).await.status), (i64::from(change < 20), expected), "in a sync");
        finish(&world, start.fence).await;

        let world = World::new(&engine, 100).await;
        synced(&world, 20, "first").await;
        let (_, start) = world.reading("hq").await;
        finish(&world, start.fence).await;
        let selector = UserSelector::User(user(&world).await.number);
        let known = world.store.look_up_user(start.fence.tenant, &selector).await.expect("an answer");
        let observation = observation(&world, known.map(|known| known.version));
        let entry = marked(start.fence, change);
        world.store.observe_rejected(observation, &entry).await.expect("written");
        assert_eq!(user(&world).await.status, expected, "alone");
    }
    // Its version is kept: what the server said before does not enable the user again.
    let world = World::new(&engine, 100).await;
    synced(&world, 20, "first").await;
    let (_, start) = world.reading("hq").await;
    let entry = marked(start.fence, 30);
    world.store.apply(start.fence, Arc::default(), vec![entry], 0, NOW).await.expect("applied");
    finish(&world, start.fence).await;
    let (_, start) = world.reading("hq").await;
    world.apply(start.fence, vec![seen(start.fence, 25, "second", false)]).await.expect("applied");
    assert_eq!(world.store.count_older_entries(start.fence).await.expect("a number"), 1);
}

/// Another server of the source: its change numbers say nothing about those of the first one.
async fn what_may_be_of_a_server_that_is_behind_enables_no_user_alone(engine: Engine) {
    let world = World::new(&engine, 100).await;
    synced(&world, 20, "first").await;
    let (_, start) = world.reading("hq").await;
    finish(&world, start.fence).await;
    let tenant = start.fence.tenant;
    let of_another = |change, disabled| {
        let mut record = seen(start.fence, change, "another server", disabled);
        record.version.iter_mut().for_each(|version| version.origin = vec![8]);
        record
    };
    let without_version = || Record { version: None, ..seen(start.fence, 99, "no version", false) };
    assert_eq!(observe(&world, tenant, of_another(50, false)).await, SingleOutcome::Updated, "as it is");
    let disabled = seen(start.fence, 30, "disabled", true);
    assert_eq!(observe(&world, tenant, disabled).await, SingleOutcome::DisabledInDirectory);
    for record in [of_another(60, false), without_version()] {
        assert_eq!(observe(&world, tenant, record).await, SingleOutcome::OlderServer);
        assert_eq!(user(&world).await.status, Status::DisabledInDirectory);
    }
    let known = seen(start.fence, 31, "enabled", false);
    assert_eq!(observe(&world, tenant, known).await, SingleOutcome::Reenabled, "of the server that is known");
    assert_eq!(observe(&world, tenant, of_another(61, true)).await, SingleOutcome::DisabledInDirectory);
}
