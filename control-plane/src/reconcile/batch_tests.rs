//! Tests of what a batch does.

use bytes::Bytes;

use super::*;
use crate::model::{TenantNo, UserValues};
use crate::reconcile::names;

const JOB: JobNo = JobNo(7);

fn id(n: u8) -> ImmutableId {
    ImmutableId(Bytes::from(vec![n; 16]))
}

fn mail(name: &str) -> NameKey {
    names::key(TenantNo(1), NameKind::Mail, name)
}

fn record(n: u8, name: &str) -> Record {
    Record {
        id: id(n),
        digest: [n; 16],
        values: UserValues::default(),
        disabled: false,
        mark_proved: true,
        warnings: Vec::new(),
        version: None,
        user_name_key: names::key(TenantNo(1), NameKind::UserName, &format!("user {n}")),
        mail_key: Some(mail(name)),
    }
}

fn known(n: u8, name: &str, status: Status) -> (ImmutableId, KnownUser) {
    let in_scope = status != Status::OutOfScope;
    let user = KnownUser {
        number: UserNo(i64::from(n)),
        id: id(n),
        digest: [0; 16],
        status,
        user_name_key: in_scope.then(|| record(n, name).user_name_key),
        mail_key: in_scope.then(|| mail(name)),
        added_job: JobNo(1),
        changed_job: JobNo(0),
        fetched: (JobNo(0), 0),
    };
    (id(n), user)
}

fn view(seats: i64) -> View {
    View { seats, quota: 1_000, ..View::default() }
}

#[test]
fn new_users_take_seats_until_there_are_none_and_then_wait() {
    let plan = plan(JOB, Mode::Reading, &[record(1, "a"), record(2, "b"), record(3, "c")], &view(2));
    assert_eq!(plan.adds.len(), 2);
    assert_eq!(plan.waits, [(2, Queue::New)]);
    assert_eq!(plan.seats_taken, 2);
}

#[test]
fn no_name_keeps_anyone_enabled_whom_the_directory_has_disabled() {
    let holders = HashMap::from([((NameKind::Mail, mail("x")), UserNo(8))]);
    let known = HashMap::from([known(9, "z", Status::Enabled)]);
    let view = View { known, holders, ..view(0) };
    let leaves = |mail| Record { disabled: true, ..record(9, mail) };
    let renamed = plan(JOB, Mode::Reading, &[leaves("y"), record(1, "a")], &view);
    assert_eq!((renamed.updates.len(), renamed.adds.len()), (1, 1), "its seat is free at once");
    let contested = plan(JOB, Mode::Reading, &[leaves("x")], &view);
    assert_eq!(contested.waits, [(0, Queue::Name)]);
    let at_last = plan(JOB, Mode::Final, &[leaves("x"), record(1, "a")], &view);
    let update = &at_last.updates[0];
    let taken = Some(NotSynchronizedReason::DuplicateEmail);
    assert_eq!((update.status, update.status_only), (Status::DisabledInDirectory, taken));
    assert_eq!((at_last.counts.disabled_in_directory, at_last.adds.len()), (1, 1));
}

#[test]
fn after_the_read_whoever_finds_no_seat_is_not_synchronized() {
    let plan = plan(JOB, Mode::Final, &[record(1, "a")], &view(0));
    assert_eq!(plan.refusals[0].reason, NotSynchronizedReason::LicenseLimit);
    assert_eq!(plan.counts.not_synchronized, 1);
}

#[test]
fn seats_kept_for_users_who_may_return_are_not_given_to_new_ones() {
    let view = View { reserve: 1, known: HashMap::from([known(9, "z", Status::OutOfScope)]), ..view(1) };
    let newcomer = plan(JOB, Mode::Reading, &[record(1, "a")], &view);
    assert_eq!(newcomer.waits, [(0, Queue::New)]);
    let both = plan(JOB, Mode::Reading, &[record(1, "a"), record(9, "z")], &view);
    assert_eq!((both.adds.len(), both.updates.len(), both.reserve), (0, 1, 0));
    assert_eq!(both.counts.reenabled, 1);
}

#[test]
fn a_name_that_its_holder_may_still_give_up_is_waited_for() {
    let view = View { holders: HashMap::from([((NameKind::Mail, mail("z")), UserNo(9))]), ..view(10) };
    assert_eq!(plan(JOB, Mode::Reading, &[record(1, "z")], &view).waits, [(0, Queue::Name)]);
    let refusal = &plan(JOB, Mode::Final, &[record(1, "z")], &view).refusals[0];
    assert_eq!((refusal.reason, refusal.holder), (NotSynchronizedReason::DuplicateEmail, Some(UserNo(9))));
}

#[test]
fn a_name_that_is_given_up_in_a_batch_is_free_in_the_rest_of_it() {
    let view = View {
        known: HashMap::from([known(9, "z", Status::Enabled)]),
        holders: HashMap::from([((NameKind::Mail, mail("z")), UserNo(9))]),
        ..view(10)
    };
    let plan = plan(JOB, Mode::Reading, &[record(9, "y"), record(1, "z")], &view);
    assert_eq!((plan.updates.len(), plan.adds.len(), plan.waits.len()), (1, 1, 0));
}

#[test]
fn whoever_was_fetched_alone_since_the_read_began_stays_as_it_is_and_counts_as_unchanged() {
    let fetched = |job, stage| {
        let (id, user) = known(9, "z", Status::Enabled);
        let known = HashMap::from([(id, KnownUser { fetched: (job, stage), ..user })]);
        plan(JOB, Mode::Reading, &[record(9, "y")], &View { known, read: Some(3), ..view(10) })
    };
    for stage in [6, 7] {
        let left = fetched(JOB, stage);
        assert_eq!((left.updates.len(), left.counts.unchanged, left.seen.len()), (0, 1, 1), "{stage}");
    }
    assert_eq!(fetched(JOB, 5).updates.len(), 1, "before this read");
    assert_eq!(fetched(JobNo(8), 6).updates.len(), 1, "during another job");
}

#[test]
fn a_user_disabled_in_the_directory_gives_its_seat_to_the_next() {
    let view = View { known: HashMap::from([known(9, "z", Status::Enabled)]), ..view(0) };
    let disabled = Record { disabled: true, ..record(9, "z") };
    let plan = plan(JOB, Mode::Reading, &[disabled, record(1, "a")], &view);
    assert_eq!((plan.counts.disabled_in_directory, plan.adds.len(), plan.seats_taken), (1, 1, 0));
}

#[test]
fn a_license_below_the_use_stops_adds_and_lets_updates_pass() {
    let view = View { known: HashMap::from([known(9, "z", Status::Enabled)]), ..view(-3) };
    let plan = plan(JOB, Mode::Final, &[record(9, "y"), record(1, "a")], &view);
    assert_eq!((plan.updates.len(), plan.adds.len()), (1, 0));
    assert_eq!(plan.refusals[0].reason, NotSynchronizedReason::LicenseLimit);
}

fn statuses() -> [Status; 3] {
    [Status::Enabled, Status::DisabledInDirectory, Status::OutOfScope]
}

#[test]
fn a_record_that_does_not_show_the_mark_enables_no_user_and_updates_an_enabled_one() {
    for mode in [Mode::Reading, Mode::Final] {
        let unproved = |n, name| Record { mark_proved: false, ..record(n, name) };
        let new = plan(JOB, mode, &[unproved(1, "a")], &view(10));
        assert_eq!(new.refusals[0].reason, NotSynchronizedReason::MarkNotVisible, "{mode:?}");
        assert_eq!((new.adds.len(), new.seats_taken, new.counts.not_synchronized), (0, 0, 1));
        for status in statuses() {
            let view = View { known: HashMap::from([known(9, "z", status)]), ..view(10) };
            let known = plan(JOB, mode, &[unproved(9, "y")], &view);
            if status == Status::Enabled {
                assert_eq!((known.updates.len(), known.refusals.len()), (1, 0), "{mode:?}");
                assert_eq!(known.updates[0].status, Status::Enabled);
            } else {
                assert_eq!(known.refusals[0].reason, NotSynchronizedReason::MarkNotVisible, "{status:?}");
                assert_eq!((known.updates.len(), known.waits.len(), known.seen.len()), (0, 0, 1));
            }
        }
    }
}

#[test]
fn a_record_with_the_mark_needs_no_proof() {
    for status in statuses() {
        let known = HashMap::from([known(9, "z", status)]);
        let marked = Record { disabled: true, mark_proved: false, ..record(9, "y") };
        let plan = plan(JOB, Mode::Reading, &[marked], &View { known, ..view(10) });
        assert_eq!(plan.updates[0].status, Status::DisabledInDirectory, "{status:?}");
    }
    let marked = Record { disabled: true, mark_proved: false, ..record(1, "a") };
    assert_eq!(plan(JOB, Mode::Reading, &[marked], &view(0)).adds, [(0, Status::DisabledInDirectory)]);
}

#[test]
fn users_that_the_directory_had_disabled_wait_for_their_number() {
    let queue = |name, status| {
        let known = HashMap::from([known(9, "z", status)]);
        let view = View { known, reenables_wait: true, ..view(10) };
        plan(JOB, Mode::Reading, &[record(9, name)], &view).waits
    };
    assert_eq!(queue("z", Status::DisabledInDirectory), [(0, Queue::Reenable)]);
    assert_eq!(queue("y", Status::DisabledInDirectory), [(0, Queue::ReenableRename)]);
    assert_eq!(queue("y", Status::OutOfScope), [], "one that left the scope is not one of them");
}

#[test]
fn the_mark_counts_beyond_the_sync_limit() {
    let beyond = |status, disabled, mode| {
        let known = HashMap::from([known(9, "z", status)]);
        let view = View { known, beyond_limit: Some(UserNo(9)), ..view(10) };
        plan(JOB, mode, &[Record { disabled, ..record(9, "y") }], &view)
    };
    let marked = beyond(Status::Enabled, true, Mode::Reading);
    let reason = Some(NotSynchronizedReason::SyncLimit);
    assert_eq!(marked.updates[0].status_only, reason);
    assert_eq!((marked.counts.disabled_in_directory, marked.seats_taken), (1, -1));
    assert_eq!(
        (marked.disabled_only.len(), marked.counts.not_synchronized),
        (1, 0),
        "listed, and counted once"
    );
    assert_eq!(beyond(Status::Enabled, true, Mode::Planning).waits.len(), 1);
    for (status, disabled) in
        [(Status::Enabled, false), (Status::DisabledInDirectory, false), (Status::DisabledInDirectory, true)]
    {
        let other = beyond(status, disabled, Mode::Reading);
        assert_eq!((other.updates.len(), other.counts.not_synchronized), (0, 1), "{status:?} {disabled}");
    }
}

#[test]
fn a_returning_user_needs_a_place_under_the_sync_limit() {
    let returning = |mode, quota| {
        let known = HashMap::from([known(9, "z", Status::OutOfScope)]);
        plan(JOB, mode, &[record(9, "z")], &View { known, quota, ..view(10) })
    };
    assert_eq!(returning(Mode::Reading, 0).updates.len(), 1, "all known users have a place");
    assert_eq!(returning(Mode::Reading, -1).waits, [(0, Queue::Name)]);
    assert_eq!(returning(Mode::Final, 0).refusals[0].reason, NotSynchronizedReason::SyncLimit);
    let placed = returning(Mode::Final, 1);
    assert_eq!((placed.updates.len(), placed.quota), (1, 0));
}

#[test]
fn a_user_that_the_job_has_counted_keeps_that_outcome() {
    let (id, mut user) = known(9, "z", Status::Enabled);
    user.changed_job = JOB;
    let view = View {
        known: HashMap::from([(id, user)]),
        holders: HashMap::from([((NameKind::Mail, mail("y")), UserNo(8))]),
        ..view(10)
    };
    let plan = plan(JOB, Mode::Final, &[record(9, "y")], &view);
    assert_eq!((plan.counts, plan.refusals.len()), (Counts::default(), 0));
}

#[test]
fn users_who_return_wait_while_the_read_is_compared_and_are_settled_at_its_end() {
    let known = HashMap::from([known(1, "a", Status::OutOfScope), known(2, "b", Status::OutOfScope)]);
    let records = [record(1, "a"), Record { disabled: true, ..record(2, "b") }];
    let compared = View { known, returns_wait: true, ..view(5) };
    let reading = plan(JOB, Mode::Reading, &records, &compared);
    assert_eq!(reading.waits, [(0, Queue::Return)], "who is disabled in the directory takes no seat");
    assert_eq!((reading.updates.len(), reading.seats_taken), (1, 0));
    let settled = plan(JOB, Mode::Final, &records, &compared);
    assert_eq!((settled.updates.len(), settled.seats_taken), (2, 1));
    let first = View { returns_wait: false, ..compared };
    assert_eq!(plan(JOB, Mode::Reading, &records, &first).seats_taken, 1, "nothing to compare with");
}
