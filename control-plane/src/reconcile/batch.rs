//! What a batch of records does: add, update, let wait, or refuse.
//!
//! While the directory is read, whatever cannot be decided yet waits: a name that its holder may
//! still give up, a seat that a leaver may still free. After the read ([`Mode::Final`]) the same
//! rules decide for good, in a fixed order.

use std::collections::{HashMap, HashSet};

use crate::model::{
    Counts, ImmutableId, JobNo, KnownUser, NameKey, NameKind, NotSynchronizedReason, Record, Status, UserNo,
};

/// When a batch is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The read goes on: let wait what cannot be decided.
    Reading,
    /// The same, in a dry run: whatever would change waits, and nothing changes.
    Planning,
    /// The read is complete and leavers are disabled: decide.
    Final,
}

/// What the store knows when a batch is planned.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Users of the source with an id of the batch.
    pub known: HashMap<ImmutableId, KnownUser>,
    /// Who of the tenant holds a name of the batch.
    pub holders: HashMap<(NameKind, NameKey), UserNo>,
    /// Free seats of the license; negative if the limit was lowered below the use.
    pub seats: i64,
    /// Seats kept for users of the source who may return. Only returning users may take them.
    pub reserve: i64,
    /// New users that may still be added under the sync limit.
    pub quota: i64,
    /// Users numbered from here on are beyond the sync limit.
    pub beyond_limit: Option<UserNo>,
    /// Number of the read that the records are from; none for a record that was fetched alone.
    pub read: Option<i64>,
    /// Records that only look different: the user has their very values. After a source was
    /// published anew all digests are other ones.
    pub same: HashSet<ImmutableId>,
    /// Records of known users whose change may come from a lost right to read: see
    /// [`super::value_loss`].
    pub suspect: HashSet<ImmutableId>,
}

/// Where a record waits. Queues are settled in this order. The numbers are those of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum Queue {
    /// For a name.
    Name = 1,
    /// A user who returns, for a seat.
    Returning = 2,
    /// A new user, for a seat.
    New = 3,
    /// A known user whose change takes something away, for the counts of the read.
    SuspectChange = 4,
    /// The same, and the change is to other names.
    SuspectRename = 5,
}

/// A change of a known user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Position of the record.
    pub record: usize,
    /// The user as it is.
    pub before: KnownUser,
    /// The status that it gets.
    pub status: Status,
    /// Whether it gets nothing else: another user has a name that it wants, but the directory has
    /// disabled it.
    pub status_only: bool,
    /// Whether this is the user's first change by this job; only that is counted.
    pub first: bool,
}

/// A record that is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Position of the record.
    pub record: usize,
    /// Why.
    pub reason: NotSynchronizedReason,
    /// Who has the name, for duplicates.
    pub holder: Option<UserNo>,
}

/// What a batch does. Carry it out in this order: release the names of all updates, update, add,
/// write down the rest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BatchPlan {
    /// Positions of new users and the status that they get.
    pub adds: Vec<(usize, Status)>,
    /// Changes.
    pub updates: Vec<Update>,
    /// Positions of records of which only the digest is new, and their users.
    pub refreshed: Vec<(usize, UserNo)>,
    /// Positions of records that wait, and where.
    pub waits: Vec<(usize, Queue)>,
    /// Records that are not applied.
    pub refusals: Vec<Refusal>,
    /// Known users that occur.
    pub seen: Vec<UserNo>,
    /// What this adds to the job's counts.
    pub counts: Counts,
    /// What this adds to the tenant's enabled users.
    pub seats_taken: i64,
    /// What is left of the reserve.
    pub reserve: i64,
    /// What is left of the quota.
    pub quota: i64,
}

/// Plans a batch. Of several records with one id the first counts.
#[must_use]
pub fn plan(job: JobNo, mode: Mode, records: &[Record], view: &View) -> BatchPlan {
    let mut planner = Planner {
        job,
        mode,
        view,
        seats: view.seats,
        claimed: HashMap::new(),
        plan: BatchPlan { reserve: view.reserve, quota: view.quota, ..BatchPlan::default() },
    };
    let mut ids = HashSet::with_capacity(records.len());
    for (position, record) in records.iter().enumerate() {
        if ids.insert(&record.id) {
            match view.known.get(&record.id) {
                Some(user) => planner.known(position, record, user),
                None => planner.new_user(position, record),
            }
        }
    }
    planner.plan
}

/// Plans to disable users whom the directory disables and who do not get the names that they have
/// there.
#[must_use]
pub fn disable<'a>(job: JobNo, users: impl Iterator<Item = (usize, &'a KnownUser)>) -> BatchPlan {
    let mut planner = Planner {
        job,
        mode: Mode::Final,
        view: &View::default(),
        seats: 0,
        claimed: HashMap::new(),
        plan: BatchPlan::default(),
    };
    for (position, user) in users {
        planner.update(position, user, Status::DisabledInDirectory, true);
    }
    planner.plan
}

/// Who holds a name after what was planned so far in this batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Given up by its holder.
    Free,
    /// Taken by the record at this position.
    Record(usize),
}

struct Planner<'a> {
    job: JobNo,
    mode: Mode,
    view: &'a View,
    seats: i64,
    claimed: HashMap<(NameKind, NameKey), Claim>,
    plan: BatchPlan,
}

impl Planner<'_> {
    fn known(&mut self, position: usize, record: &Record, user: &KnownUser) {
        self.plan.seen.push(user.number);
        if self.view.beyond_limit.is_some_and(|first| user.number >= first) {
            return self.refuse_known(position, user, NotSynchronizedReason::SyncLimit, None);
        }
        if self.view.read.is_some_and(|read| user.fetched_during(self.job, read)) {
            // The directory was asked for this user alone since the read began: what the read has
            // may be older. The next sync sees.
            if !user.counted_by(self.job) {
                self.plan.counts.unchanged += 1;
            }
            return;
        }
        let status = record.status();
        if user.digest == record.digest && user.status == status {
            if !user.counted_by(self.job) {
                self.plan.counts.unchanged += 1;
            }
            return;
        }
        if self.view.same.contains(&record.id) {
            self.plan.counts.unchanged += i64::from(!user.counted_by(self.job));
            if self.mode != Mode::Planning {
                self.plan.refreshed.push((position, user.number));
            }
            return;
        }
        let renamed = !user.names().eq(record.names());
        if self.mode != Mode::Final && self.view.suspect.contains(&record.id) {
            return self.wait(position, if renamed { Queue::SuspectRename } else { Queue::SuspectChange });
        }
        if self.mode == Mode::Planning {
            return self.wait(position, Queue::Name);
        }
        if let Some((kind, holder)) = self.conflict(record, Some(user.number)) {
            return match self.mode {
                // No name keeps anyone enabled whom the directory has disabled.
                Mode::Final if record.disabled && user.status == Status::Enabled => {
                    self.update(position, user, status, true);
                }
                Mode::Final => self.refuse_known(position, user, duplicate(kind), holder),
                _ => self.wait(position, Queue::Name),
            };
        }
        let returns = user.status != Status::Enabled && status == Status::Enabled;
        if returns && self.seats < 1 {
            return match self.mode {
                Mode::Final => self.refuse_known(position, user, NotSynchronizedReason::LicenseLimit, None),
                _ => self.wait(position, Queue::Returning),
            };
        }
        if user.status != Status::Enabled {
            // the user is here: nothing to keep a seat for
            self.plan.reserve = (self.plan.reserve - 1).max(0);
        }
        self.claimed.extend(user.names().map(|name| (name, Claim::Free)));
        self.claim(position, record);
        self.update(position, user, status, false);
    }

    fn update(&mut self, position: usize, user: &KnownUser, status: Status, status_only: bool) {
        let (was, is) = (user.status == Status::Enabled, status == Status::Enabled);
        self.take_seats(i64::from(is) - i64::from(was));
        let first = !user.counted_by(self.job);
        if first {
            self.plan.counts.updated += 1;
            self.plan.counts.reenabled += i64::from(is && !was);
            self.plan.counts.disabled_in_directory += i64::from(was && !is);
        }
        let before = user.clone();
        self.plan.updates.push(Update { record: position, before, status, status_only, first });
    }

    fn new_user(&mut self, position: usize, record: &Record) {
        if self.mode == Mode::Planning {
            return self.wait(position, Queue::Name);
        }
        if let Some((kind, holder)) = self.conflict(record, None) {
            return match self.mode {
                Mode::Final => self.refuse(position, duplicate(kind), holder),
                _ => self.wait(position, Queue::Name),
            };
        }
        if self.plan.quota < 1 {
            return match self.mode {
                Mode::Final => self.refuse(position, NotSynchronizedReason::SyncLimit, None),
                _ => self.wait(position, Queue::New),
            };
        }
        let kept = match self.mode {
            Mode::Final => 0,
            _ => self.plan.reserve,
        };
        if !record.disabled && self.seats - kept < 1 {
            return match self.mode {
                Mode::Final => self.refuse(position, NotSynchronizedReason::LicenseLimit, None),
                _ => self.wait(position, Queue::New),
            };
        }
        self.plan.quota -= 1;
        self.take_seats(i64::from(!record.disabled));
        self.claim(position, record);
        self.plan.counts.added += 1;
        self.plan.counts.disabled_in_directory += i64::from(record.disabled);
        self.plan.adds.push((position, record.status()));
    }

    fn take_seats(&mut self, seats: i64) {
        self.seats -= seats;
        self.plan.seats_taken += seats;
    }

    fn claim(&mut self, position: usize, record: &Record) {
        for name in record.names() {
            self.claimed.insert(name, Claim::Record(position));
        }
    }

    /// The first name of the record that someone else holds, and who, where it is not a record of
    /// this batch.
    fn conflict(&self, record: &Record, own: Option<UserNo>) -> Option<(NameKind, Option<UserNo>)> {
        record.names().find_map(|name| match self.claimed.get(&name) {
            Some(Claim::Free) => None,
            Some(Claim::Record(_)) => Some((name.0, None)),
            None => self
                .view
                .holders
                .get(&name)
                .filter(|holder| Some(**holder) != own)
                .map(|holder| (name.0, Some(*holder))),
        })
    }

    fn wait(&mut self, position: usize, queue: Queue) {
        self.plan.counts.waiting += 1;
        self.plan.waits.push((position, queue));
    }

    /// A user that the job has counted as added or updated keeps that outcome: each record has
    /// exactly one.
    fn refuse_known(
        &mut self,
        position: usize,
        user: &KnownUser,
        reason: NotSynchronizedReason,
        holder: Option<UserNo>,
    ) {
        if !user.counted_by(self.job) {
            self.refuse(position, reason, holder);
        }
    }

    fn refuse(&mut self, record: usize, reason: NotSynchronizedReason, holder: Option<UserNo>) {
        self.plan.counts.not_synchronized += 1;
        self.plan.refusals.push(Refusal { record, reason, holder });
    }
}

/// The reason for a name of this kind that someone else has.
#[must_use]
pub fn duplicate(kind: NameKind) -> NotSynchronizedReason {
    match kind {
        NameKind::UserName => NotSynchronizedReason::DuplicateUserName,
        NameKind::Mail => NotSynchronizedReason::DuplicateEmail,
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!((update.status, update.status_only), (Status::DisabledInDirectory, true));
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
        assert_eq!(
            (refusal.reason, refusal.holder),
            (NotSynchronizedReason::DuplicateEmail, Some(UserNo(9)))
        );
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
}
