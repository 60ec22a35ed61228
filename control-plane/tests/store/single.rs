//! What syncs of single users promise, on both engines.

use std::sync::Arc;
use std::time::Duration;

use control_plane::model::{
    Absence, Actor, AuditFilter, Fence, ImmutableId, NotSynchronizedReason, Presence, Record, Rejected,
    SingleOutcome, SingleUserSettings, SourceId, Status, TenantNo, Timestamp, Trail, UserFilter,
    UserSelector, UserVersion, Withheld,
};
use control_plane::store::{self, Observation, SignIn, SingleWrite, Store, Written};
use tokio::task::JoinSet;

use crate::database::{Engine, NOW, admin, block_on, on_both};
use crate::directory::{Directory, Person, Reading};
use crate::drive::Database;

on_both! {
    settings_are_off_until_they_are_set
    a_user_is_found_by_number_and_while_in_scope_by_either_name
    what_a_sign_in_begins_with_is_the_same_the_first_time_and_later
    a_record_is_written_only_over_what_was_there_before_the_directory_was_asked
    an_unchanged_user_is_written_only_if_a_job_must_know_or_its_age_matters
    a_new_user_who_is_disabled_in_the_directory_is_not_added
    names_and_seats_are_refused_as_after_a_read_and_the_holder_is_named
    tombstones_that_single_syncs_read_disable_up_to_what_the_guard_allows_a_day
    an_absence_disables_nobody_and_is_marked_until_the_user_is_seen
    an_absence_is_no_observation_of_the_user_and_starts_no_clock
    a_complete_sync_takes_marks_off_whom_it_saw_and_is_no_longer_due
    only_a_record_that_shows_its_mark_adds_or_enables_a_user
    the_mark_of_an_entry_that_cannot_be_used_disables_its_user
    a_job_neither_forgets_whom_it_counted_nor_counts_twice
    whoever_was_fetched_alone_keeps_a_name_that_a_job_would_give_to_another
    the_license_holds_for_hundreds_of_single_syncs_beside_a_job
    single_syncs_and_a_job_never_wait_for_each_other_in_a_circle
    the_last_observation_is_the_newest_complete_sync_that_used_the_record
    a_user_that_only_looks_different_since_the_source_was_published_anew_is_unchanged
}

const PLENTY: i64 = 1_000;

fn person(id: u8) -> Person {
    Person { id, user_name: id, mail: Some(id), title: 0, disabled: false, spelling: 0, hidden: false }
}

/// An entry with this id that cannot be used.
fn unusable(id: ImmutableId, disabled: bool) -> Rejected {
    Rejected { disabled, ..Rejected::of(Some(id), NotSynchronizedReason::MissingEmail) }
}

fn people(ids: std::ops::Range<u8>) -> Directory {
    ids.map(person).collect()
}

/// A database, and what single syncs do in it.
struct World {
    database: Database,
    store: Arc<Store>,
    tenant: TenantNo,
}

impl World {
    async fn new(engine: &Engine, license: i64) -> Self {
        let database = Database::create(engine, 1_000).await;
        database.license(license).await;
        let store = database.store();
        let (tenant, _) = store.single_user_settings(&database.tenant()).await.expect("a tenant");
        Self { database, store, tenant }
    }

    fn record(&self, person: &Person) -> Record {
        person.record(self.tenant)
    }

    async fn version(&self, person: &Person) -> Option<UserVersion> {
        let whom = UserSelector::UserName(self.record(person).values.user_name);
        self.store.look_up_user(self.tenant, &whom).await.expect("an answer").map(|sighting| sighting.version)
    }

    fn observation(&self, version: Option<UserVersion>) -> Observation {
        Observation {
            tenant: self.database.tenant(),
            source: SourceId::from("hq"),
            revision: 1,
            version,
            asked_at: NOW.plus(Duration::from_secs(10)),
            keep_fresh: false,
            by: Actor::system(),
            now: NOW.plus(Duration::from_secs(11)),
        }
    }

    async fn apply(&self, observation: Observation, person: &Person) -> SingleWrite {
        self.store.apply_observation(observation, self.record(person)).await.expect("written")
    }

    /// The same over the present version, which must do.
    async fn written(&self, person: &Person) -> Written {
        match self.apply(self.observation(self.version(person).await), person).await {
            SingleWrite::Done(written) => *written,
            other => panic!("{other:?}"),
        }
    }

    async fn absent(&self, person: &Person, presence: Presence) -> SingleOutcome {
        let version = self.version(person).await.expect("a user");
        let absent =
            self.store.observe_absence(self.observation(Some(version)), version.user, presence).await;
        match absent.expect("written") {
            SingleWrite::Done(written) => written.outcome,
            other => panic!("{other:?}"),
        }
    }

    /// The same for an entry that cannot be used.
    async fn rejected(&self, person: &Person, disabled: bool) -> SingleOutcome {
        let (id, version) = (self.record(person).id, self.version(person).await);
        let rejected = self.store.observe_rejected(self.observation(version), &unusable(id, disabled)).await;
        match rejected.expect("written") {
            SingleWrite::Done(written) => written.outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Numbers of the users that are marked as not found.
    async fn marked(&self) -> Vec<i64> {
        let absent = UserFilter { absent: true, ..UserFilter::default() };
        let users = self.store.list_users(&self.database.tenant(), &absent, None, 1_000).await;
        users.expect("users").into_iter().map(|user| user.number.0).collect()
    }

    /// Since when a sync of the source is due.
    async fn due(&self) -> Option<Timestamp> {
        let source = self.store.source(&self.database.tenant(), &SourceId::from("hq")).await;
        source.expect("a source").sync_due_at
    }

    async fn used(&self) -> i64 {
        self.store.license(&self.database.tenant()).await.expect("a license").used
    }

    /// Reads people as a job does, without an end.
    async fn read(&self, fence: Fence, people: &[Person]) {
        let records = people.iter().map(|person| self.record(person)).collect();
        self.store.apply(fence, Arc::new(records), Vec::new(), 0, NOW).await.expect("a batch");
    }
}

async fn settings_are_off_until_they_are_set(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    let tenant = world.database.tenant();
    assert_eq!(
        world.store.single_user_settings(&tenant).await.expect("settings").1,
        SingleUserSettings::default()
    );
    let settings = SingleUserSettings {
        enabled: true,
        deadline: Duration::from_millis(1_500),
        last_known_max_age: Duration::from_secs(60),
    };
    world.store.set_single_user_settings(&tenant, settings, &admin(), NOW).await.expect("set");
    assert_eq!(world.store.single_user_settings(&tenant).await.expect("settings").1, settings);
    let nobody = "globex".into();
    assert!(world.store.single_user_settings(&nobody).await.is_err());
    assert!(world.store.set_single_user_settings(&nobody, settings, &admin(), NOW).await.is_err());
}

async fn a_user_is_found_by_number_and_while_in_scope_by_either_name(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..2), Reading::plain()).await;
    let values = world.record(&person(1)).values;
    let number = world.version(&person(1)).await.expect("a user").user;
    let find = async |whom| world.store.look_up_user(world.tenant, &whom).await.expect("an answer");
    let upper = |text: &str| text.to_uppercase();
    for whom in [
        UserSelector::User(number),
        UserSelector::UserName(upper(&values.user_name)),
        UserSelector::Mail(upper(&values.mail)),
        UserSelector::Login(upper(&values.user_name)),
        UserSelector::Login(values.mail.clone()),
    ] {
        assert_eq!(find(whom.clone()).await.expect("a user").user.number, number, "{whom:?}");
    }
    assert_eq!(
        find(UserSelector::Mail(values.user_name.clone())).await,
        None,
        "a user name is no mail address"
    );
    assert_eq!(world.absent(&person(1), Presence::Deleted).await, SingleOutcome::DisabledOutOfScope);
    assert_eq!(find(UserSelector::Login(values.mail)).await, None, "its names are free");
    assert_eq!(find(UserSelector::User(number)).await.expect("a user").user.status, Status::OutOfScope);
}

async fn what_a_sign_in_begins_with_is_the_same_the_first_time_and_later(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..2), Reading::plain()).await;
    let (tenant, store) = (world.database.tenant(), &world.store);
    let known = UserSelector::Login(world.record(&person(1)).values.mail);
    let unknown = UserSelector::Login("nobody".to_owned());
    let begin = async |whom: &UserSelector| store.begin_sign_in(&tenant, whom).await.expect("an answer");
    let settings = SingleUserSettings { enabled: true, ..SingleUserSettings::default() };
    for (settings, suspended) in
        [(SingleUserSettings::default(), false), (settings, false), (settings, true), (settings, false)]
    {
        store.set_single_user_settings(&tenant, settings, &admin(), NOW).await.expect("set");
        if suspended {
            store.suspend_tenant(&tenant, "unpaid", &admin(), NOW).await.expect("suspended");
        } else {
            store.resume_tenant(&tenant, &admin(), NOW).await.expect("not suspended");
        }
        for whom in [&known, &unknown, &known] {
            let known = store.look_up_user(world.tenant, whom).await.expect("an answer");
            assert_eq!(known.is_some(), *whom != unknown);
            let expected = SignIn { tenant: world.tenant, settings, suspended, known, is_taken: false };
            assert_eq!(begin(whom).await, expected);
        }
    }
    assert!(store.begin_sign_in(&"globex".into(), &known).await.is_err(), "no such tenant");
}

async fn a_record_is_written_only_over_what_was_there_before_the_directory_was_asked(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    let changed = Person { title: 1, ..person(0) };
    // New when it was asked for, and somebody else was quicker.
    world.database.sync(&people(0..1), Reading::plain()).await;
    let known = world.version(&person(0)).await.expect("a user");
    let late = world.apply(world.observation(None), &changed).await;
    assert_eq!(late, SingleWrite::AskAgain(Some(known.user)));
    // Written by somebody else since.
    assert_eq!(world.written(&changed).await.outcome, SingleOutcome::Updated);
    let again = Person { title: 2, ..person(0) };
    let late = world.apply(world.observation(Some(known)), &again).await;
    assert_eq!(late, SingleWrite::AskAgain(Some(known.user)));
    let late =
        world.store.observe_absence(world.observation(Some(known)), known.user, Presence::Deleted).await;
    assert_eq!(late.expect("an answer"), SingleWrite::AskAgain(Some(known.user)));
    // Asked by settings that are no longer those of the source.
    let version = world.version(&person(0)).await;
    let (tenant, source) = (world.database.tenant(), SourceId::from("hq"));
    world.store.publish_source(&tenant, &source, None, &admin(), NOW).await.expect("published");
    for record in [&changed, &again] {
        let late = world.apply(world.observation(version), record).await;
        assert!(matches!(late, SingleWrite::AskAgain(_)), "{late:?}");
    }
}

async fn an_unchanged_user_is_written_only_if_a_job_must_know_or_its_age_matters(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..1), Reading::plain()).await;
    let before = world.version(&person(0)).await.expect("a user");
    assert_eq!(world.written(&person(0)).await.outcome, SingleOutcome::Unchanged);
    assert_eq!(world.version(&person(0)).await, Some(before));

    let asked_at = world.observation(None).asked_at;
    let fresh = Observation { keep_fresh: true, ..world.observation(Some(before)) };
    world.apply(fresh.clone(), &person(0)).await;
    let noted = world.version(&person(0)).await.expect("a user");
    assert_eq!(noted.observed_at, asked_at);
    let soon = asked_at.plus(Duration::from_secs(30));
    world.apply(Observation { version: Some(noted), asked_at: soon, ..fresh }, &person(0)).await;
    assert_eq!(world.version(&person(0)).await, Some(noted), "young enough");

    let job = world.database.claimed().await;
    world.database.begin(&job).await;
    assert_eq!(world.written(&person(0)).await.outcome, SingleOutcome::Unchanged);
    let marked = world.version(&person(0)).await.expect("a user");
    assert_ne!(marked.fetched, noted.fetched);
    world.written(&person(0)).await;
    assert_eq!(world.version(&person(0)).await, Some(marked), "once is enough");
}

async fn a_new_user_who_is_disabled_in_the_directory_is_not_added(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    let disabled = Person { disabled: true, ..person(0) };
    assert_eq!(world.written(&disabled).await.outcome, SingleOutcome::DisabledNotAdded);
    assert!(world.database.users().await.is_empty());
    assert_eq!(world.written(&person(0)).await.outcome, SingleOutcome::Added);
    assert_eq!(world.written(&disabled).await.outcome, SingleOutcome::DisabledInDirectory);
    let license = world.store.license(&world.database.tenant()).await.expect("a license");
    assert_eq!((license.used, license.by_source[1].used), (0, 0));
    assert_eq!(world.written(&person(0)).await.outcome, SingleOutcome::Reenabled);
}

async fn names_and_seats_are_refused_as_after_a_read_and_the_holder_is_named(engine: Engine) {
    let world = World::new(&engine, 2).await;
    world.database.sync(&people(0..1), Reading::plain()).await;
    let twin = Person { mail: Some(0), ..person(1) };
    let refused = world.written(&twin).await;
    assert_eq!(refused.outcome, SingleOutcome::DuplicateEmail);
    assert!(refused.message.expect("a sentence").contains("tenants/acme/users/1 of identity source hq"));
    let twin = Person { user_name: 0, ..person(1) };
    let refused = world.apply(world.observation(None), &twin).await;
    assert!(matches!(&refused, SingleWrite::Done(done) if done.outcome == SingleOutcome::DuplicateUserName));
    assert_eq!(world.written(&person(1)).await.outcome, SingleOutcome::Added);
    assert_eq!(world.written(&person(2)).await.outcome, SingleOutcome::LicenseLimit);
    // A known user who wants another's name stays as it is.
    let wants = Person { mail: Some(0), title: 7, ..person(1) };
    assert_eq!(world.written(&wants).await.outcome, SingleOutcome::DuplicateEmail);
    assert_eq!(world.database.users().await[&("hq".to_owned(), 1)].title, "title 0");
}

async fn tombstones_that_single_syncs_read_disable_up_to_what_the_guard_allows_a_day(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..8), Reading::plain()).await;
    let mut outcomes = Vec::new();
    for id in 0..6 {
        outcomes.push(world.absent(&person(id), Presence::Deleted).await);
    }
    use SingleOutcome::{DisabledOutOfScope as Gone, Held};
    assert_eq!(outcomes, [Gone, Gone, Gone, Gone, Gone, Held]);
    assert_eq!((world.marked().await.len(), world.due().await.is_some()), (1, true), "held, so not let in");
    let job = world.database.claimed().await;
    let fence = world.database.begin(&job).await.fence;
    let recent = world.store.recent_disables(fence, NOW).await.expect("an answer");
    assert_eq!((recent.all, recent.unexplained), (5, 0), "the guard of a job counts them along");
    let later = NOW.plus(Duration::from_secs(12));
    assert_eq!(world.store.recent_disables(fence, later).await.expect("an answer").all, 0);
    // Who takes no seat is no surprise.
    world.written(&Person { disabled: true, ..person(7) }).await;
    assert_eq!(world.absent(&person(7), Presence::Deleted).await, Gone);
}

/// Every presence but a tombstone.
const UNPROVED: [Presence; 4] =
    [Presence::OutOfScope, Presence::NotMatching, Presence::NotFound, Presence::NotVisible];

async fn an_absence_disables_nobody_and_is_marked_until_the_user_is_seen(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..4), Reading::plain()).await;
    let before = world.database.users().await;
    assert_eq!((world.marked().await, world.due().await), (Vec::new(), None));
    for (id, presence) in (0..4).zip(UNPROVED) {
        for _ in 0..2 {
            assert_eq!(world.absent(&person(id), presence).await, SingleOutcome::Absent, "{presence:?}");
        }
    }
    assert_eq!(world.database.users().await, before, "everybody stays as it was");
    assert_eq!((world.marked().await.len(), world.used().await), (4, 4));
    let since = world.due().await.expect("a sync is due");
    let trail = Trail::Tenant(world.database.tenant());
    let events = world.store.list_events(&trail, &AuditFilter::default(), None, 100).await.expect("events");
    let absent = events.iter().filter(|event| event.details.contains("ABSENT"));
    assert_eq!(absent.count(), 4, "one event each, however often it is tried");

    // Whatever sees the entry takes the mark off: a record that is as it was, one that changes the
    // user, one that cannot be applied, and one that cannot be used.
    assert_eq!(world.written(&person(0)).await.outcome, SingleOutcome::Unchanged);
    let changed = Person { title: 9, ..person(1) };
    assert_eq!(world.written(&changed).await.outcome, SingleOutcome::Updated);
    let contested = Person { mail: Some(0), ..person(2) };
    assert_eq!(world.written(&contested).await.outcome, SingleOutcome::DuplicateEmail);
    assert_eq!(world.rejected(&person(3), false).await, SingleOutcome::Unchanged);
    assert_eq!(world.marked().await, Vec::<i64>::new());
    assert_eq!(world.due().await, Some(since), "a sync is due all the same");

    // So does whatever disables the user.
    for id in 0..3 {
        assert_eq!(world.absent(&person(id), Presence::NotFound).await, SingleOutcome::Absent);
    }
    let disabled = Person { disabled: true, ..person(0) };
    assert_eq!(world.written(&disabled).await.outcome, SingleOutcome::DisabledInDirectory);
    assert_eq!(world.rejected(&changed, true).await, SingleOutcome::DisabledInDirectory);
    assert_eq!(world.absent(&person(2), Presence::Deleted).await, SingleOutcome::DisabledOutOfScope);
    assert_eq!((world.marked().await, world.used().await), (Vec::new(), 1));
    // A user that is disabled already is denied and not marked.
    assert_eq!(world.absent(&person(0), Presence::NotFound).await, SingleOutcome::Absent);
    assert_eq!(world.marked().await, Vec::<i64>::new());
}

async fn an_absence_is_no_observation_of_the_user_and_starts_no_clock(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..1), Reading::plain()).await;
    let whom = UserSelector::UserName(world.record(&person(0)).values.user_name);
    let before = world.store.last_observed(world.tenant, &whom).await.expect("an answer").expect("a user");
    world.absent(&person(0), Presence::NotFound).await;
    let (user, observed_at) =
        world.store.last_observed(world.tenant, &whom).await.expect("an answer").expect("a user");
    assert_eq!((observed_at, user.disabled_at, user.updated_at), (before.1, None, before.0.updated_at));
    assert!(user.absent_since.is_some());
    // An older answer that had the user does not take the mark off: the version is another.
    let version = world.version(&person(0)).await.expect("a user");
    let older = UserVersion { absent_since: None, ..version };
    let late = world.apply(world.observation(Some(older)), &person(0)).await;
    assert_eq!(late, SingleWrite::AskAgain(Some(version.user)));
}

async fn a_complete_sync_takes_marks_off_whom_it_saw_and_is_no_longer_due(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..3), Reading::plain()).await;
    for id in 0..3 {
        world.absent(&person(id), Presence::NotFound).await;
    }
    let job = world.database.claimed().await;
    let fence = world.database.begin(&job).await.fence;
    assert_eq!(world.store.marked_absent(fence, None, 2).await.expect("users").len(), 2);
    // One is asked for again while the job reads, after it was read, and is gone.
    world.read(fence, &[person(0), person(1)]).await;
    world.absent(&person(1), Presence::NotFound).await;
    let users = world.store.marked_absent(fence, None, 100).await.expect("users");
    assert_eq!(users.len(), 3, "a read by itself takes no mark off");
    world.store.begin_reconciling(fence).await.expect("reconciling");
    world.store.clear_absent_marks(fence, users[..2].to_vec(), true).await.expect("cleared");
    assert_eq!(world.marked().await, [users[1].0, users[2].0], "not found after the read had begun");
    let gone = vec![(users[2], Absence::Unexplained)];
    world.store.disable_absent(fence, gone, None, NOW).await.expect("disabled");
    world.database.finish(fence).await;
    assert_eq!((world.marked().await, world.used().await), (vec![users[1].0], 2));
    assert!(world.due().await.is_some(), "for whoever was not found meanwhile");
    world.database.sync(&people(0..2), Reading::plain()).await;
    assert_eq!((world.marked().await, world.due().await), (Vec::new(), None));
}

async fn only_a_record_that_shows_its_mark_adds_or_enables_a_user(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    let unproved = async |person: &Person| {
        let record = Record { mark_proved: false, ..world.record(person) };
        let observation = world.observation(world.version(person).await);
        match world.store.apply_observation(observation, record).await.expect("written") {
            SingleWrite::Done(written) => written.outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(unproved(&person(0)).await, SingleOutcome::MarkNotVisible);
    assert!(world.database.users().await.is_empty(), "a new person is not added");
    world.database.sync(&people(0..1), Reading::plain()).await;
    let changed = Person { title: 1, ..person(0) };
    assert_eq!(unproved(&person(0)).await, SingleOutcome::Unchanged, "who is enabled stays so");
    assert_eq!(unproved(&changed).await, SingleOutcome::Updated);
    world.written(&Person { disabled: true, ..changed.clone() }).await;
    assert_eq!(unproved(&changed).await, SingleOutcome::MarkNotVisible);
    assert_eq!(world.used().await, 0, "and who is disabled stays that");
    let gone = Person { title: 2, ..person(0) };
    assert_eq!(world.absent(&gone, Presence::Deleted).await, SingleOutcome::DisabledOutOfScope);
    let user = world.store.list_users(&world.database.tenant(), &UserFilter::default(), None, 1).await;
    let user = UserSelector::User(user.expect("users")[0].number);
    let version = world.store.look_up_user(world.tenant, &user).await.expect("an answer");
    let observation = world.observation(version.map(|user| user.version));
    let record = Record { mark_proved: false, ..world.record(&gone) };
    let back = world.store.apply_observation(observation, record).await.expect("written");
    assert!(matches!(back, SingleWrite::Done(done) if done.outcome == SingleOutcome::MarkNotVisible));
    assert_eq!(world.used().await, 0);
}

async fn the_mark_of_an_entry_that_cannot_be_used_disables_its_user(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..3), Reading::plain()).await;
    assert_eq!(world.rejected(&person(0), false).await, SingleOutcome::Unchanged);
    assert_eq!(world.used().await, 3);
    assert_eq!(world.rejected(&person(0), true).await, SingleOutcome::DisabledInDirectory);
    assert_eq!((world.rejected(&person(0), true).await, world.used().await), (SingleOutcome::Unchanged, 2));
    assert_eq!(world.rejected(&person(9), true).await, SingleOutcome::Unchanged, "nobody knows it");
    // A name that another user has keeps nobody enabled either.
    let contested = Person { mail: Some(2), disabled: true, ..person(1) };
    assert_eq!(world.written(&contested).await.outcome, SingleOutcome::DisabledInDirectory);
    assert_eq!(world.used().await, 1);
    // Found by a name that it is not known by: it is asked for by its id first.
    let id = world.record(&person(2)).id;
    let version = world.version(&person(2)).await.expect("a user");
    let again = world.store.observe_rejected(world.observation(None), &unusable(id, true)).await;
    let again = again.expect("an answer");
    assert_eq!(again, SingleWrite::AskAgain(Some(version.user)));
}

async fn a_job_neither_forgets_whom_it_counted_nor_counts_twice(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..2), Reading::plain()).await;
    let job = world.database.claimed().await;
    let fence = world.database.begin(&job).await.fence;
    let updated = Person { title: 1, ..person(0) };
    world.read(fence, &[updated.clone(), person(2)]).await;
    // Both are changed alone; so is one whom the job has not read yet, and one is new.
    for id in [0, 1, 2, 3] {
        world.written(&Person { title: 9, ..person(id) }).await;
    }
    // The read is lost; another one finds everybody as they are.
    let fence = world.database.begin(&job).await.fence;
    let now: Vec<_> = (0..4).map(|id| Person { title: 9, ..person(id) }).collect();
    world.read(fence, &now).await;
    let done = world.database.finish(fence).await;
    let counts = done.counts;
    assert_eq!((counts.added, counts.updated, counts.unchanged, counts.read()), (1, 1, 2, 4), "{counts:?}");
}

async fn whoever_was_fetched_alone_keeps_a_name_that_a_job_would_give_to_another(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..2), Reading::plain()).await;
    let job = world.database.claimed().await;
    let fence = world.database.begin(&job).await.fence;
    // One gives up an address that another, new one gets; that one signs in. The first has it back
    // by the end of the read, and waits.
    let gives_up = Person { mail: Some(7), ..person(0) };
    let gets = Person { mail: Some(0), ..person(5) };
    world.read(fence, &[gives_up, gets.clone()]).await;
    let signs_in = Person { title: 3, ..gets };
    let version = world.version(&signs_in).await;
    let write = world.apply(world.observation(version), &signs_in).await;
    assert!(
        matches!(&write, SingleWrite::Done(done) if done.confirm && done.outcome == SingleOutcome::Updated)
    );
    let wants = Person { mail: Some(0), ..person(1) };
    world.read(fence, &[wants]).await;
    world.store.resolve_names(fence, false, NOW).await.expect("settled");
    let done = world.database.finish(fence).await;
    assert_eq!((done.counts.read(), done.counts.not_synchronized), (3, 1), "{:?}", done.counts);
    let users = world.database.users().await;
    let kept = &users[&("hq".to_owned(), 5)];
    assert_eq!((&kept.mail, kept.title.as_str()), (&world.record(&signs_in).values.mail, "title 3"));
}

async fn the_license_holds_for_hundreds_of_single_syncs_beside_a_job(engine: Engine) {
    const SEATS: i64 = 60;
    let world = Arc::new(World::new(&engine, SEATS).await);
    let job = world.database.claimed().await;
    let fence = world.database.begin(&job).await.fence;
    let mut calls = JoinSet::new();
    for id in 0..200 {
        let world = Arc::clone(&world);
        calls.spawn(async move {
            if id % 10 == 0 {
                let batch: Vec<_> = (0..10).map(|at| person(id + at)).collect();
                world.read(fence, &batch).await;
            } else {
                world.apply(world.observation(None), &person(id)).await;
            }
            let license = world.store.license(&world.database.tenant()).await.expect("a license");
            assert!(license.used <= SEATS, "{license:?}");
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("a call");
    }
    let license = world.store.license(&world.database.tenant()).await.expect("a license");
    let users = world.database.users().await;
    let enabled = users.values().filter(|user| user.status == Status::Enabled).count();
    assert_eq!((license.used, i64::try_from(enabled)), (SEATS, Ok(SEATS)));
}

async fn the_last_observation_is_the_newest_complete_sync_that_used_the_record(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    let whom = |id| UserSelector::UserName(world.record(&person(id)).values.user_name);
    let last = async |id| {
        let found = world.store.last_observed(world.tenant, &whom(id)).await.expect("an answer");
        found.map(|(_, observed_at)| observed_at)
    };
    assert_eq!(last(0).await, None);
    world.written(&person(0)).await;
    let asked_at = world.observation(None).asked_at;
    assert_eq!(last(0).await, Some(asked_at), "asked for alone, later than any sync");
    world.database.sync(&people(0..3), Reading::plain()).await;
    assert_eq!((last(0).await, last(1).await), (Some(asked_at), Some(NOW)));

    // A sync that left somebody alone did not see everybody.
    let after = |seconds| NOW.plus(Duration::from_secs(seconds));
    let left_alone = Withheld { users: 1, message: "Left alone.".to_owned() };
    for (begun, withheld) in [(after(100), Some(left_alone)), (after(200), None)] {
        let job = world.database.claimed().await;
        let fence = world.database.begin_at(&job, begun).await.fence;
        // The record of one is not applied: somebody else has the address.
        world.read(fence, &[person(0), Person { mail: Some(0), ..person(1) }, person(2)]).await;
        world.store.resolve_names(fence, false, NOW).await.expect("settled");
        let outcome = store::Outcome::Succeeded { withheld, facts: None };
        world.store.finish_job(fence, outcome, NOW).await.expect("an end");
    }
    assert_eq!(
        (last(0).await, last(1).await, last(2).await),
        (Some(after(200)), Some(NOW), Some(after(200)))
    );

    // Once the list of whom a sync left out is thrown away, nobody knows whether it saw somebody.
    for _ in 0..6 {
        let job = world.database.claimed().await;
        let fence = world.database.begin_at(&job, after(300)).await.fence;
        world.read(fence, &[person(0), Person { mail: Some(0), ..person(1) }, person(2)]).await;
        world.store.resolve_names(fence, false, NOW).await.expect("settled");
        world.database.finish(fence).await;
    }
    assert_eq!((last(0).await, last(2).await), (Some(after(300)), Some(after(300))));
    assert!(last(1).await <= Some(NOW), "{:?}", last(1).await);
}

async fn a_user_that_only_looks_different_since_the_source_was_published_anew_is_unchanged(engine: Engine) {
    let world = World::new(&engine, PLENTY).await;
    world.database.sync(&people(0..2), Reading::plain()).await;
    let hq = SourceId::from("hq");
    world.store.publish_source(&world.database.tenant(), &hq, None, &admin(), NOW).await.expect("published");
    let before = world.version(&person(0)).await.expect("a user");
    let sign_in = async |title| {
        let known = world.version(&person(0)).await;
        let observation = Observation { revision: 2, ..world.observation(known) };
        let record = Record { digest: [9 + title; 16], ..world.record(&Person { title, ..person(0) }) };
        match world.store.apply_observation(observation, record).await.expect("written") {
            SingleWrite::Done(written) => written.outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(sign_in(0).await, SingleOutcome::Unchanged);
    let after = world.version(&person(0)).await.expect("a user");
    assert_eq!((after.digest, after.updated_at), ([9; 16], before.updated_at), "only its digest is another");
    assert_eq!(sign_in(1).await, SingleOutcome::Updated, "a change is a change");
}

/// Where they do, PostgreSQL ends one of them after a second, and counts it.
async fn single_syncs_and_a_job_never_wait_for_each_other_in_a_circle(engine: Engine) {
    let world = Arc::new(World::new(&engine, PLENTY).await);
    world.database.sync(&people(0..100), Reading::plain()).await;
    let job = world.database.claimed().await;
    let fence = world.database.begin(&job).await.fence;
    let mut work = JoinSet::new();
    for id in 0..60 {
        let world = Arc::clone(&world);
        work.spawn(async move {
            // Each takes a seat, or gives one back.
            match id % 3 {
                0 => {
                    let user = world.version(&person(id)).await.expect("a user").user;
                    let gone = vec![(user, Absence::Moved)];
                    world.store.disable_absent(fence, gone, None, NOW).await.expect("disabled");
                }
                1 => world.read(fence, &[Person { disabled: true, ..person(id) }]).await,
                _ => {
                    let changed = Person { disabled: true, ..person(id) };
                    assert_eq!(world.written(&changed).await.outcome, SingleOutcome::DisabledInDirectory);
                }
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.expect("no deadlock");
    }
    if let Engine::Postgres(server) = &engine {
        // Counts come to the statistics a little later.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let deadlocks =
            server.psql("postgres", "SELECT SUM(deadlocks) FROM pg_stat_database").expect("statistics");
        assert_eq!(deadlocks.trim(), "0");
    }
}
