//! What a batch of records does: add, update, let wait, or refuse.
//!
//! While the directory is read, whatever cannot be decided yet waits: a name that its holder may
//! still give up, a seat that a leaver may still free. After the read ([`Mode::Final`]) the same
//! rules decide for good, in a fixed order.

use std::collections::{HashMap, HashSet};

use super::enabling::may_enable;
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
    /// New users that may still be added under the sync limit. After the read, and while there are
    /// more known users than the limit (then it is negative), returning users need a place, too.
    pub quota: i64,
    /// Users in scope numbered from here on are beyond the sync limit.
    pub beyond_limit: Option<UserNo>,
    /// Number of the read that the records are from; none for a record that was fetched alone.
    pub read: Option<i64>,
    /// Records that only look different: the user has their very values. After a source was
    /// published anew all digests are other ones.
    pub same: HashSet<ImmutableId>,
    /// Records of known users whose change may come from a lost right to read: see
    /// [`super::value_loss`].
    pub suspect: HashSet<ImmutableId>,
    /// Those of them, and entries that cannot be used, that are older than what their users have.
    pub older: HashSet<ImmutableId>,
    /// Whether users that the directory had disabled are enabled again only after the read, when it
    /// is known how many they are.
    pub reenables_wait: bool,
    /// Whether users who return to the scope wait for the end of the read, since it is compared
    /// with an earlier one.
    pub returns_wait: bool,
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
    /// A user that the directory had disabled and no longer does, for the number of those.
    Reenable = 6,
    /// The same, and the change is to other names.
    ReenableRename = 7,
    /// A user out of scope who returns, for the end of the read: whether the server is behind.
    Return = 8,
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
    /// Why it gets nothing else, if so: the directory has disabled it, whatever else stands in the
    /// way of its record.
    pub status_only: Option<NotSynchronizedReason>,
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
    /// Records that only disable their users, to be listed as not applied. Their outcome is counted
    /// as an update.
    pub disabled_only: Vec<Refusal>,
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

/// Plans to disable users that the directory disables, and why their records give them nothing
/// else.
#[must_use]
pub fn disable<'a>(
    job: JobNo,
    users: impl Iterator<Item = (usize, &'a KnownUser, NotSynchronizedReason)>,
) -> BatchPlan {
    let mut planner = Planner {
        job,
        mode: Mode::Final,
        view: &View::default(),
        seats: 0,
        claimed: HashMap::new(),
        plan: BatchPlan::default(),
    };
    for (position, user, reason) in users {
        planner.update(position, user, Status::DisabledInDirectory, Some(reason));
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
        let fetched = self.view.read.is_some_and(|read| user.fetched_during(self.job, read));
        let out_of_scope = user.status == Status::OutOfScope;
        if !out_of_scope && self.view.beyond_limit.is_some_and(|first| user.number >= first) {
            return self.beyond_limit(position, record, user, fetched);
        }
        if fetched {
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
        let returns = user.status != Status::Enabled && status == Status::Enabled;
        if returns && self.mode != Mode::Planning && !may_enable(record) {
            return self.refuse_known(position, user, NotSynchronizedReason::MarkNotVisible, None);
        }
        if returns && !out_of_scope && self.mode != Mode::Final && self.view.reenables_wait {
            return self.wait(position, if renamed { Queue::ReenableRename } else { Queue::Reenable });
        }
        if self.mode != Mode::Final && self.view.suspect.contains(&record.id) {
            return self.wait(position, if renamed { Queue::SuspectRename } else { Queue::SuspectChange });
        }
        if self.mode == Mode::Planning {
            return self.wait(position, Queue::Name);
        }
        if self.mode == Mode::Reading
            && self.view.returns_wait
            && user.status == Status::OutOfScope
            && status == Status::Enabled
        {
            return self.wait(position, Queue::Return);
        }
        if out_of_scope && self.mode == Mode::Reading && self.plan.quota < 0 {
            // Not all known users have a place: who returns gets one after the read, before new
            // ones do.
            return self.wait(position, Queue::Name);
        }
        if let Some((kind, holder)) = self.conflict(record, Some(user.number)) {
            return match self.mode {
                // No name keeps a user enabled that the directory has disabled.
                Mode::Final if record.disabled && user.status == Status::Enabled => {
                    self.update(position, user, status, Some(duplicate(kind)));
                }
                Mode::Final => self.refuse_known(position, user, duplicate(kind), holder),
                _ => self.wait(position, Queue::Name),
            };
        }
        if out_of_scope && self.mode == Mode::Final && self.plan.quota < 1 {
            return self.refuse_known(position, user, NotSynchronizedReason::SyncLimit, None);
        }
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
        if out_of_scope && self.mode == Mode::Final {
            self.plan.quota -= 1;
        }
        self.update(position, user, status, None);
    }

    /// A user beyond the sync limit is not synchronized. The limit does not keep it enabled when
    /// the directory has disabled it.
    fn beyond_limit(&mut self, position: usize, record: &Record, user: &KnownUser, fetched: bool) {
        let reason = NotSynchronizedReason::SyncLimit;
        let fetched = fetched || self.view.older.contains(&record.id);
        if !record.disabled || fetched || (user.status != Status::Enabled && !user.counted_by(self.job)) {
            return self.refuse_known(position, user, reason, None);
        }
        if self.mode == Mode::Planning {
            return self.wait(position, Queue::Name);
        }
        if user.status == Status::Enabled {
            self.update(position, user, record.status(), Some(reason));
        }
        self.plan.disabled_only.push(Refusal { record: position, reason, holder: None });
    }

    fn update(
        &mut self,
        position: usize,
        user: &KnownUser,
        status: Status,
        status_only: Option<NotSynchronizedReason>,
    ) {
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
        if !record.disabled && !may_enable(record) {
            return self.refuse(position, NotSynchronizedReason::MarkNotVisible, None);
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
#[path = "batch_tests.rs"]
mod tests;
