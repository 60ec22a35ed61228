//! What is left of a deleted user: whole databases are looked through for everything that was known
//! of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control_plane::model::{
    Absence, Actor, Decision, Fence, Hold, HoldReason, ImmutableId, JobState, NameKind,
    NotSynchronizedReason, Presence, ReadFacts, Record, Rejected, SourceId, TenantNo, UserNo, UserSelector,
    UserValues, hex,
};
use control_plane::reconcile::names;
use control_plane::store::{Observation, SingleWrite};

use crate::database::{Engine, NOW, admin, block_on, on_both};
use crate::deletion::{DAY, World};
use crate::tool::Tool;

on_both! {
    what_is_deleted_is_gone_from_every_table_and_the_trail_has_its_number_alone
    of_a_held_job_too_and_its_lists_are_as_long_as_its_counts
    nothing_of_anybody_else_goes_with_it
}

/// Values that nobody else has, one a column.
const PLANTED: [&str; 8] = [
    "plantedname",
    "planted@mail.test",
    "plantedfirst",
    "plantedlast",
    "planteddisplay",
    "+49-planted-phone",
    "uid=planted,ou=dn",
    "plantedattribute",
];
/// The same once the person was renamed.
const RENAMED: &str = "plantedanew";

fn planted(tenant: TenantNo, user_name: &str, digest: u8) -> Record {
    let [_, mail, first, last, display, phone, dn, attribute] = PLANTED.map(str::to_owned);
    Record {
        id: ImmutableId(Bytes::from_static(b"planted-id-16byt")),
        digest: [digest; 16],
        user_name_key: names::key(tenant, NameKind::UserName, user_name),
        mail_key: Some(names::key(tenant, NameKind::Mail, &mail)),
        values: UserValues {
            user_name: user_name.to_owned(),
            mail,
            first_name: first,
            last_name: last,
            display_name: display,
            phone,
            distinguished_name: dn,
            policy_attributes: format!(r#"{{"title":["{attribute}"]}}"#),
        },
        disabled: false,
        mark_proved: true,
        warnings: Vec::new(),
        version: None,
    }
}

/// Everything of the person that could be in a database: values, and bytes in hexadecimal.
fn traces(tenant: TenantNo) -> Vec<String> {
    let record = planted(tenant, PLANTED[0], 0xd1);
    let renamed = planted(tenant, RENAMED, 0xd2);
    let mut traces: Vec<String> = PLANTED.iter().map(|value| (*value).to_owned()).collect();
    traces.extend([RENAMED.to_owned(), record.id.text().to_lowercase(), hex(&record.id.0)]);
    traces.extend([record.digest, renamed.digest].map(|digest| hex(&digest)));
    traces.extend([record.user_name_key, renamed.user_name_key].map(|key| hex(&key.0)));
    traces.extend(record.mail_key.map(|key| hex(&key.0)));
    traces
}

/// Rows that have one of these.
fn rows_with(rows: &[String], traces: &[String]) -> Vec<String> {
    rows.iter().filter(|row| traces.iter().any(|trace| row.contains(trace))).cloned().collect()
}

fn tables(rows: &[String]) -> Vec<&str> {
    let mut tables: Vec<&str> =
        rows.iter().filter_map(|row| row.split_once(':')).map(|(table, _)| table).collect();
    tables.dedup();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// Entries that could not become records and are of the person: by id, by names alone, and by an id
/// that is told of.
fn rejected(id: &ImmutableId) -> Vec<Rejected> {
    let entry = |id, reason, user_name: &str, mail: &str, message: String| Rejected {
        id,
        reason,
        message,
        user_name: user_name.to_owned(),
        mail: mail.to_owned(),
        disabled: false,
        distinguished_name: String::new(),
        digest: None,
        version: None,
    };
    use NotSynchronizedReason as Reason;
    vec![
        entry(Some(id.clone()), Reason::InvalidAttribute, PLANTED[0], PLANTED[1], PLANTED[5].to_owned()),
        entry(None, Reason::MissingUniqueId, "", "PLANTED@mail.test", "No id.".to_owned()),
        entry(None, Reason::MissingUniqueId, "PlantedAnew", "", "No id.".to_owned()),
        entry(None, Reason::DuplicateUniqueId, "", "", format!("Immutable id {}: twice.", id.text())),
        entry(None, Reason::MissingUniqueId, "somebody", "else@mail.test", "No id.".to_owned()),
    ]
}

struct Scene {
    world: World,
    user: UserNo,
}

impl Scene {
    /// A user of whom there is something in every table that can have something: out of scope,
    /// after four syncs and two single ones.
    async fn new(engine: &Engine) -> Self {
        let world = World::new(engine, 10).await;
        let tenant = world.number;
        let with = |record: Record| [world.people(0..2), vec![record]].concat();
        world.sync(with(planted(tenant, PLANTED[0], 0xd1)), NOW).await;
        world.sync(with(planted(tenant, RENAMED, 0xd2)), NOW).await;
        world.sync(world.people(0..2), NOW).await;
        let user = world.users().await[RENAMED].number;
        let scene = Self { world, user };
        // Single syncs bring it back, and find it gone.
        scene.single(Some(planted(tenant, RENAMED, 0xd2))).await;
        scene.single(None).await;
        scene
    }

    async fn single(&self, found: Option<Record>) {
        let (store, tenant) = (&self.world.store, self.world.tenant.clone());
        let sighting =
            store.look_up_user(self.world.number, &UserSelector::User(self.user)).await.expect("an answer");
        let observation = Observation {
            tenant,
            source: SourceId::from("hq"),
            revision: 1,
            version: sighting.map(|sighting| sighting.version),
            asked_at: NOW,
            keep_fresh: false,
            by: Actor::system(),
            now: NOW.plus(DAY),
        };
        let written = match found {
            Some(record) => store.apply_observation(observation, record).await,
            None => store.observe_absence(observation, self.user, Presence::Deleted).await,
        };
        assert!(matches!(written, Ok(SingleWrite::Done(_))), "{written:?}");
    }

    async fn delete(&self) {
        self.world.store.delete_user(&self.world.tenant, self.user, &admin(), NOW).await.expect("deleted");
    }

    async fn dump(&self) -> Vec<String> {
        Tool::open(&self.world.url).await.dump().await
    }

    /// Of the tables but the trail, those that have the user's number.
    async fn tables_with_the_number(&self) -> Vec<String> {
        let mut tool = Tool::open(&self.world.url).await;
        let mut found = Vec::new();
        for table in ["users", "user_changes", "absent_users", "single_disables", "job_details"] {
            // A statement that changes nothing says how many rows there are.
            let sql = format!("UPDATE {table} SET user_no = user_no WHERE user_no = {}", self.user);
            if tool.run(&sql).await > 0 {
                found.push(table.to_owned());
            }
        }
        found
    }
}

fn later() -> control_plane::model::Timestamp {
    NOW.plus(DAY * 2)
}

async fn what_is_deleted_is_gone_from_every_table_and_the_trail_has_its_number_alone(engine: Engine) {
    let scene = Scene::new(&engine).await;
    let (world, user) = (&scene.world, scene.user);
    let traces = traces(world.number);
    // A job is under way: it has noted the user as absent, refuses entries of it, and lets its
    // record wait for a seat.
    let (job, fence) = world.reading(later()).await;
    world.store.record_absent(fence, vec![(user, Absence::Unexplained)]).await.expect("noted");
    world.store.set_license_limit(&world.tenant, 2, false, &admin(), NOW).await.expect("set");
    let people = [world.people(0..2), vec![planted(world.number, PLANTED[0], 0xd1)]].concat();
    let id = people[2].id.clone();
    let seen = world.apply(fence, people, later()).await;
    let refused = world.store.apply(fence, Arc::new(Vec::new()), rejected(&id), 0, later()).await;
    let before = refused.expect("refused").counts;
    assert_eq!((before.waiting, before.not_synchronized, before.read()), (1, 5, 7));

    let before = scene.dump().await;
    let everywhere = rows_with(&before, &traces);
    assert_eq!(tables(&everywhere), ["deferred_records", "job_details", "user_changes", "users"]);
    assert!(traces.iter().all(|trace| before.iter().any(|row| row.contains(trace))), "each is somewhere");
    let numbered = scene.tables_with_the_number().await;
    assert_eq!(numbered, ["users", "user_changes", "absent_users", "single_disables", "job_details"]);

    scene.delete().await;
    let after = scene.dump().await;
    assert_eq!(rows_with(&after, &traces), Vec::<String>::new());
    assert_eq!(scene.tables_with_the_number().await, Vec::<String>::new());
    let named = rows_with(&after, &[format!("tenants/acme/users/{user}")]);
    assert_eq!(tables(&named), ["audit_events"]);
    assert_eq!(named.len(), 3, "two single syncs and the deletion: {named:?}");

    // The job goes on, and its numbers add up: what waited was given up.
    let job_now = world.store.job_by_number(job.number).await.expect("the job");
    assert_eq!((job_now.counts.waiting, job_now.counts.not_synchronized), (0, 6));
    let done = world.finish(fence, &seen, later()).await;
    assert_eq!((done.state, done.counts.read()), (JobState::Succeeded, 8));
    let details = world.store.list_details(job.number, None, None, 100).await.expect("details");
    let reasons: Vec<_> = details.iter().filter_map(|(_, detail)| detail.reason).collect();
    use NotSynchronizedReason as Reason;
    let deleted = [Reason::UserDeleted; 4];
    assert_eq!(reasons, [&deleted[..], &[Reason::MissingUniqueId], &deleted[..1]].concat());
    assert_eq!(details[4].1.user_name, "somebody");
    let recent = world.store.recent_disables(fence, NOW.minus(DAY)).await.expect("a sum");
    assert_eq!(
        (recent.all, recent.unexplained),
        (2, 0),
        "the guard forgets no disable: by the job, and alone"
    );

    // In scope again, it is somebody new.
    world.store.set_license_limit(&world.tenant, 10, false, &admin(), NOW).await.expect("set");
    let people = [world.people(0..2), vec![planted(world.number, PLANTED[0], 0xd1)]].concat();
    let job = world.sync(people, later()).await;
    assert_eq!((job.counts.added, job.counts.unchanged), (1, 2));
    assert_eq!(world.users().await[PLANTED[0]].number, UserNo(user.0 + 1));
    assert_eq!(world.check_seats().await, 3);
}

async fn of_a_held_job_too_and_its_lists_are_as_long_as_its_counts(engine: Engine) {
    let scene = Scene::new(&engine).await;
    let (world, traces) = (&scene.world, traces(scene.world.number));
    let (job, fence) = world.reading(later()).await;
    world.store.set_license_limit(&world.tenant, 2, false, &admin(), NOW).await.expect("set");
    let people = [world.people(0..1), vec![planted(world.number, PLANTED[0], 0xd1)]].concat();
    world.apply(fence, people, later()).await;
    world.store.begin_reconciling(fence).await.expect("reconciling");
    let gone = world.users().await["u1"].number;
    world.store.record_absent(fence, vec![(gone, Absence::Moved)]).await.expect("noted");
    hold(world, fence).await;
    let held = world.store.job_by_number(job.number).await.expect("the job");
    assert_eq!((held.state, held.counts.not_synchronized, held.counts.waiting), (JobState::Held, 1, 0));
    assert_eq!(tables(&rows_with(&scene.dump().await, &traces)).len(), 4, "kept for another try");

    scene.delete().await;
    assert_eq!(rows_with(&scene.dump().await, &traces), Vec::<String>::new());
    let held = world.store.job_by_number(job.number).await.expect("the job");
    assert_eq!((held.state, held.counts.not_synchronized, held.counts.read()), (JobState::Held, 1, 2));
    let list = |kept| world.store.export_details(job.number, kept, 5, 0, 100);
    let listed = list(control_plane::model::Category::NotSynchronized).await.expect("a list");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].1.reason, Some(NotSynchronizedReason::UserDeleted));

    // An approval takes everyone else off, and the freed seat is nobody's.
    let name = (&world.tenant, &job.source, None);
    world.store.approve_job(name.0, name.1, name.2, "the list", &admin(), later()).await.expect("approved");
    let owner = crate::conformance::OWNER;
    assert!(world.store.claim_job(job.number, owner, DAY, later()).await.expect("a claim"));
    let start = world.store.begin_approved(job.number, owner, later()).await.expect("begun");
    world.store.requeue_retained(start.fence, later()).await.expect("recalled");
    let noted = world.store.recorded_absent(start.fence, job.number, None, 100).await.expect("the list");
    assert_eq!(noted, [(gone, Absence::Moved)]);
    world.store.disable_absent(start.fence, noted, None, later()).await.expect("disabled");
    world.store.resolve_names(start.fence, false, later()).await.expect("names");
    while world.store.assign_seats(start.fence, 10, false, later()).await.expect("seats") {}
    let done = control_plane::store::Outcome::Succeeded { withheld: None, facts: None };
    let done = world.store.finish_job(start.fence, done, later()).await.expect("an end");
    let counts = done.counts;
    assert_eq!((counts.read(), counts.not_synchronized, counts.waiting, counts.disabled), (2, 1, 0, 1));
    assert_eq!(world.users().await.len(), 2, "nobody was brought back");
    assert_eq!(world.check_seats().await, 1);
}

async fn hold(world: &World, fence: Fence) {
    world.store.resolve_names(fence, true, later()).await.expect("names");
    while world.store.assign_seats(fence, 10, true, later()).await.expect("seats") {}
    let hold = Hold {
        reason: HoldReason::DisableGuard,
        message: "Look.".to_owned(),
        broken: Vec::new(),
        users: 1,
        etag: "the list".to_owned(),
        since: later(),
        expires_at: later().plus(Duration::from_secs(3_600)),
        decision: Decision::Pending,
        decided_by: String::new(),
    };
    world.store.hold_job(fence, hold, ReadFacts::default()).await.expect("held");
}

/// Two tenants have the same people, and the numbers of their users are the same.
async fn nothing_of_anybody_else_goes_with_it(engine: Engine) {
    let scene = Scene::new(&engine).await;
    let own = &scene.world;
    let other = own.beside("globex").await;
    let people = || [other.people(0..2), vec![planted(other.number, PLANTED[0], 0xd1)]].concat();
    other.sync(people(), NOW).await;
    other.sync(other.people(0..1), NOW).await;
    let (_, fence) = other.reading(later()).await;
    other.store.record_absent(fence, vec![(scene.user, Absence::Moved)]).await.expect("noted");
    let id = people()[2].id.clone();
    other.store.apply(fence, Arc::new(people()), rejected(&id), 0, later()).await.expect("a batch");
    let of_others = |rows: Vec<String>| {
        let own = ["users", "user_changes", "job_details", "absent_users", "deferred_records"];
        rows.into_iter().filter(|row| own.iter().any(|table| row.starts_with(table))).collect::<Vec<_>>()
    };
    let before = of_others(scene.dump().await);
    own.store.delete_user(&own.tenant, scene.user, &admin(), NOW).await.expect("deleted");
    let after = of_others(scene.dump().await);
    let kept = before.iter().filter(|row| after.contains(row)).count();
    assert_eq!(kept, after.len(), "what is left is as it was");
    assert_eq!(other.users().await.len(), 3);
    let left = rows_with(&after, &[PLANTED[0].to_owned()]);
    assert!(left.len() >= 3, "the other tenant has all of its own: {left:?}");
    // And of its own tenant, the others' rows.
    assert_eq!(own.users().await.len(), 2);
    let changes = after.iter().filter(|row| row.starts_with("absent_users")).count();
    assert_eq!(changes, 1);
}
