//! Takes in the records of one read: answers offers, applies records, counts, and remembers the
//! users that it has seen, one bit each. A router that breaks the protocol loses its upload.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roaring::RoaringTreemap;
use tokio::sync::oneshot;

use super::arrivals::{Completed, PairedRecord};
use super::met_ids::MetIds;
use crate::clock::Clock;
use crate::model::{
    Failure, FailureReason, Fence, ImmutableId, KnownUser, NotSynchronizedReason, Offered, ReadStart, Record,
    Rejected, UserNo,
};
use crate::reconcile::entry_version;
use crate::reconcile::offer::{self, OfferPlan};
use crate::reconcile::rekey::{self, Occurrence};
use crate::store::{Repeats, Store, StoreError};

/// How long unchanged users may go uncounted in the store: they cost no write of their own.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// Unfinished batches that a router may have: while those of one transaction are committed, those
/// of the next arrive.
pub const MAX_UNFINISHED_BATCHES: usize = 16;

/// Most records of a batch.
const MAX_BATCH_RECORDS: usize = 2_000;

/// Records that are enough for a transaction. Batches that have arrived together are committed
/// together: a commit waits for the disk, and the more rows it has, the fewer times each page of an
/// index is written.
const RECORDS_PER_TRANSACTION: usize = 8_000;

/// Why an upload ends before its read does.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The router broke the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// The store's reason; [`StoreError::Fenced`] means that the job has ended or is read anew.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not take records in; the run has its reason.
    #[error("the store could not take records in")]
    Interrupted,
}

/// The records of an offer that are to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Their positions in the offer.
    pub positions: Vec<u32>,
    /// Of those, the positions of records that would enable a user.
    pub prove_mark: Vec<u32>,
}

/// How a read ended.
pub enum ReadEnd {
    /// The router says that it is complete, and its numbers are right.
    Complete(Box<Intake>, Completed),
    /// It failed, for the reason that the router gives.
    Failed(Failure),
    /// The directory broke off in the middle, and may be back soon.
    BrokenOff(Failure),
    /// The store could not take records in.
    Interrupted(StoreError),
}

/// The state of one read.
pub struct Intake {
    store: Arc<Store>,
    clock: Clock,
    start: ReadStart,
    /// What was ordered: these roots, each to its end.
    roots: Vec<String>,
    records_only: bool,
    seen: RoaringTreemap,
    met: MetIds,
    /// Ids that came before and whose records were asked for all the same: only their values tell
    /// whether they are the same entries.
    again: HashSet<ImmutableId>,
    /// Offers whose records were asked for and have not come.
    open: BTreeMap<u64, HashSet<ImmutableId>>,
    /// Ids that were asked for and are not committed yet, with their digests: an entry on two pages
    /// is asked for once.
    asked: HashMap<ImmutableId, [u8; 16]>,
    /// Records that are not applied yet, and the numbers of their batches.
    gathered: Gathered,
    batches: u64,
    records: u64,
    rejected: u64,
    /// Entries that could not even be identified: any user might be one of them.
    unidentified: u64,
    unchanged: i64,
    flushed: Instant,
    end: Option<oneshot::Sender<ReadEnd>>,
}

#[derive(Default)]
struct Gathered {
    batches: Vec<u64>,
    records: Vec<Record>,
    rejected: Vec<Rejected>,
    paired: Vec<PairedRecord>,
}

impl Intake {
    pub(super) fn new(
        store: Arc<Store>,
        clock: Clock,
        start: ReadStart,
        roots: Vec<String>,
        records_only: bool,
        end: oneshot::Sender<ReadEnd>,
    ) -> Self {
        Self {
            store,
            clock,
            start,
            roots,
            records_only,
            seen: RoaringTreemap::new(),
            met: MetIds::default(),
            again: HashSet::new(),
            open: BTreeMap::new(),
            asked: HashMap::new(),
            gathered: Gathered::default(),
            batches: 0,
            records: 0,
            rejected: 0,
            unidentified: 0,
            unchanged: 0,
            flushed: Instant::now(),
            end: Some(end),
        }
    }

    /// What the read may write with, and what it started from.
    pub(super) fn start(&self) -> &ReadStart {
        &self.start
    }

    /// The right to write.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.start.fence
    }

    /// Whether the read has seen a user.
    pub(super) fn has_seen(&self, user: UserNo) -> bool {
        self.seen.contains(user.0.unsigned_abs())
    }

    /// Entries read so far, usable or not.
    pub(super) fn entries(&self) -> u64 {
        self.records + self.rejected
    }

    pub(super) fn unidentified(&self) -> u64 {
        self.unidentified
    }

    /// Answers an offer with the positions of the records to send.
    ///
    /// # Errors
    /// If the router broke the protocol, or the store refused.
    pub async fn offer(
        &mut self,
        sequence: u64,
        offered: Vec<Offered>,
        rejected: Vec<Rejected>,
    ) -> Result<Wanted, IntakeError> {
        if self.records_only {
            return Err(IntakeError::Protocol("an offer where records were ordered"));
        }
        if self.open.len() >= MAX_UNFINISHED_BATCHES {
            return Err(IntakeError::Protocol("more unfinished batches than the window allows"));
        }
        self.count_batch(sequence, offered.len(), &rejected)?;
        let ids = offered.iter().map(|offer| offer.id.clone()).collect();
        let known = self.store.known_users(self.start.fence, ids).await;
        let known = self.report_failure(known)?;
        let earlier = Earlier { seen: &self.seen, asked: &self.asked };
        let mut plan = offer::plan(self.start.fence.job, &offered, &known, self.start.beyond_limit, &earlier);
        self.mark_seen(&plan.seen);
        self.ask_again(&offered, &known, &mut plan);
        self.unchanged += plan.unchanged;
        let at = |position: &u32| usize::try_from(*position).unwrap_or(usize::MAX);
        self.asked.extend(plan.want.iter().map(|position| {
            let Offered { id, digest } = &offered[at(position)];
            (id.clone(), *digest)
        }));
        if !plan.want.is_empty() {
            let wanted = plan.want.iter().map(|position| offered[at(position)].id.clone()).collect();
            self.open.insert(sequence, wanted);
        }
        self.met.add(offered.iter().map(|offer| &offer.id));
        let repeats = Repeats {
            ids: self.met.meet(rejected.iter().filter_map(|rejected| rejected.id.as_ref())),
            offered: plan.repeats.iter().map(|position| offered[at(position)].clone()).collect(),
            ..Repeats::default()
        };
        let mut refused = rejected;
        refused.extend(plan.beyond_limit.iter().map(|position| {
            let Offered { id, digest } = &offered[at(position)];
            let reason = NotSynchronizedReason::SyncLimit;
            Rejected { digest: Some(*digest), ..Rejected::of(Some(id.clone()), reason) }
        }));
        if !refused.is_empty() || !repeats.offered.is_empty() || self.flushed.elapsed() > FLUSH_INTERVAL {
            let ids = repeats.ids.iter().chain(repeats.offered.iter().map(|offered| &offered.id));
            let in_flight = ids.filter(|id| self.asked.contains_key(*id)).cloned().collect();
            self.apply(Vec::new(), refused, Repeats { in_flight, ..repeats }).await?;
        }
        Ok(Wanted { positions: plan.want, prove_mark: plan.prove_mark })
    }

    /// Asks for the records of other entries with the id of a user that the read has had: both are
    /// listed by their names. Also, a dry run does not note the digest of a record that only looks
    /// different, so there a repeat can only be told by the values of its record.
    fn ask_again(&mut self, offered: &[Offered], known: &[Option<KnownUser>], plan: &mut OfferPlan) {
        let at = |position: &u32| usize::try_from(*position).unwrap_or(usize::MAX);
        let (again, repeats) = std::mem::take(&mut plan.repeats).into_iter().partition(|position| {
            let Offered { id, digest } = &offered[at(position)];
            let differs = known[at(position)].as_ref().is_some_and(|user| user.digest != *digest);
            differs && !self.asked.contains_key(id)
        });
        plan.repeats = repeats;
        let again: Vec<u32> = again;
        self.again.extend(again.iter().map(|position| offered[at(position)].id.clone()));
        plan.prove_mark.extend(&again);
        plan.prove_mark.sort_unstable();
        plan.want.extend(again);
        plan.want.sort_unstable();
    }

    /// Takes records, to be applied by [`Self::commit`].
    ///
    /// # Errors
    /// If the router broke the protocol.
    pub fn records(
        &mut self,
        sequence: u64,
        mut records: Vec<Record>,
        rejected: Vec<Rejected>,
    ) -> Result<(), IntakeError> {
        let now = self.clock.now();
        records.iter_mut().for_each(|record| entry_version::forget_unkept(record, now));
        if self.records_only {
            self.count_batch(sequence, records.len(), &rejected)?;
        } else {
            let wanted = self
                .open
                .remove(&sequence)
                .ok_or(IntakeError::Protocol("records of a batch that was not asked for"))?;
            let ids =
                records.iter().map(|record| &record.id).chain(rejected.iter().filter_map(|r| r.id.as_ref()));
            let mut count = 0;
            for id in ids {
                if !wanted.contains(id) {
                    return Err(IntakeError::Protocol("a record that was not asked for"));
                }
                count += 1;
            }
            if count != wanted.len() {
                return Err(IntakeError::Protocol("fewer records than were asked for"));
            }
        }
        self.gathered.batches.push(sequence);
        self.gathered.records.extend(records);
        self.gathered.rejected.extend(rejected);
        Ok(())
    }

    /// Whether each entry is read with the former id, too.
    #[must_use]
    pub fn reads_both_ids(&self) -> bool {
        self.start.former.is_some()
    }

    /// Takes what a read of both ids has, to be applied by [`Self::commit`].
    ///
    /// # Errors
    /// If the router broke the protocol.
    pub fn paired(&mut self, sequence: u64, paired: Vec<PairedRecord>) -> Result<(), IntakeError> {
        let rejected: Vec<_> = paired.iter().filter_map(|one| one.found.as_ref().err()).cloned().collect();
        self.count_batch(sequence, paired.len() - rejected.len(), &rejected)?;
        self.gathered.batches.push(sequence);
        self.gathered.paired.extend(paired);
        Ok(())
    }

    /// Keeps the pairs, and sorts what they come with: an entry on two pages counts once, and of
    /// two that share an id the second is refused.
    async fn sort_pairs(
        &mut self,
        paired: Vec<PairedRecord>,
    ) -> Result<(Vec<Record>, Vec<Rejected>), IntakeError> {
        if paired.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let pairs = paired.iter().map(|one| (one.ids.clone(), one.found.is_ok())).collect();
        let occurrences = self.store.record_id_pairs(self.start.fence, pairs).await;
        let occurrences = self.report_failure(occurrences)?;
        let (mut records, mut rejected) = (Vec::new(), Vec::new());
        for (PairedRecord { ids, found }, occurrence) in paired.into_iter().zip(occurrences) {
            match (found, occurrence) {
                (Ok(record), Occurrence::First) => records.push(record),
                (Ok(record), Occurrence::Clash) => rejected.push(rekey::clash(ids.former, &record.values)),
                (Err(refused), Occurrence::First | Occurrence::Clash) => rejected.push(refused),
                (_, Occurrence::Again) => {}
            }
        }
        Ok((records, rejected))
    }

    /// Whether there are records to commit.
    #[must_use]
    pub fn has_gathered(&self) -> bool {
        !self.gathered.batches.is_empty()
    }

    /// Whether they are enough for a transaction.
    #[must_use]
    pub fn has_enough(&self) -> bool {
        self.gathered.records.len() + self.gathered.rejected.len() + self.gathered.paired.len()
            >= RECORDS_PER_TRANSACTION
    }

    /// Applies what was gathered; returns the numbers of the batches that are committed now.
    ///
    /// # Errors
    /// If the store refused.
    pub async fn commit(&mut self) -> Result<Vec<u64>, IntakeError> {
        let Gathered { batches, mut records, mut rejected, paired } = std::mem::take(&mut self.gathered);
        let (of_pairs, refused) = self.sort_pairs(paired).await?;
        records.extend(of_pairs);
        rejected.extend(refused);
        let refused = rejected.iter().filter_map(|rejected| rejected.id.clone());
        let ids: Vec<_> = records.iter().map(|record| record.id.clone()).chain(refused).collect();
        let mut repeats = Repeats { ids: std::mem::take(&mut self.again), ..Repeats::default() };
        if self.records_only {
            repeats.ids = self.met.meet(ids.iter());
        }
        self.apply(records, rejected, repeats).await?;
        for id in &ids {
            self.asked.remove(id);
        }
        Ok(batches)
    }

    /// Ends a complete read: checks the router's numbers and hands the read to the job.
    ///
    /// # Errors
    /// If the router broke the protocol, or the store refused.
    pub async fn complete(mut self, completed: Completed) -> Result<(), IntakeError> {
        if !self.open.is_empty() || self.has_gathered() {
            return Err(IntakeError::Protocol("Complete before all batches were finished"));
        }
        if !self.matches(&completed) {
            self.failed(Failure::of(FailureReason::CountMismatch));
            return Ok(());
        }
        self.apply(Vec::new(), Vec::new(), Repeats::default()).await?;
        if let Some(end) = self.end.take() {
            let _ = end.send(ReadEnd::Complete(Box::new(self), completed));
        }
        Ok(())
    }

    /// Whether the router read every root that was ordered, and all that it found in them has
    /// arrived.
    fn matches(&self, completed: &Completed) -> bool {
        let Completed { batches, records, rejected, facts } = completed;
        // Summed: a record that the door refused arrived as a record and counts here as an entry
        // that could not become one.
        let sent = records.checked_add(*rejected);
        let found = facts.roots.iter().try_fold(0, |sum: u64, root| sum.checked_add(root.entries));
        *batches == self.batches
            && sent == Some(self.entries())
            && found == sent
            && facts.roots.iter().map(|read| &read.root).eq(&self.roots)
            && facts.roots.iter().all(|read| !read.missing || read.entries == 0)
            && facts.roots.iter().any(|read| !read.missing)
    }

    /// Ends a read that failed.
    pub fn failed(self, failure: Failure) {
        self.end_with(ReadEnd::Failed(failure));
    }

    /// Ends a read that the directory broke off.
    pub fn broken_off(self, failure: Failure) {
        self.end_with(ReadEnd::BrokenOff(failure));
    }

    fn end_with(mut self, ended: ReadEnd) {
        if let Some(end) = self.end.take() {
            let _ = end.send(ended);
        }
    }

    /// Checks a new batch's number and counts what it brings.
    fn count_batch(
        &mut self,
        sequence: u64,
        records: usize,
        rejected: &[Rejected],
    ) -> Result<(), IntakeError> {
        if sequence != self.batches + 1 {
            return Err(IntakeError::Protocol("a gap in the numbers of the batches"));
        }
        if records + rejected.len() > MAX_BATCH_RECORDS {
            return Err(IntakeError::Protocol("a batch of more than 2,000 records"));
        }
        self.batches = sequence;
        self.records += records as u64;
        self.rejected += rejected.len() as u64;
        self.unidentified += rejected.iter().filter(|rejected| rejected.id.is_none()).count() as u64;
        Ok(())
    }

    async fn apply(
        &mut self,
        records: Vec<Record>,
        rejected: Vec<Rejected>,
        mut repeats: Repeats,
    ) -> Result<(), IntakeError> {
        if records.is_empty() && rejected.is_empty() && repeats.offered.is_empty() && self.unchanged == 0 {
            return Ok(());
        }
        if !repeats.ids.is_empty() || !repeats.offered.is_empty() {
            repeats.seen = Arc::new(self.seen.clone());
        }
        let unchanged = std::mem::take(&mut self.unchanged);
        let (fence, now) = (self.start.fence, self.clock.now());
        let applied =
            self.store.apply_after(fence, Arc::new(records), rejected, repeats, unchanged, now).await;
        let applied = self.report_failure(applied)?;
        self.mark_seen(&applied.seen);
        self.flushed = Instant::now();
        Ok(())
    }

    /// Reports a failure of the store to the run: another router could not help, so none is asked
    /// to read again at once.
    fn report_failure<T>(&mut self, answer: Result<T, StoreError>) -> Result<T, IntakeError> {
        answer.map_err(|error| {
            let end = if matches!(error, StoreError::Fenced) { None } else { self.end.take() };
            match end {
                None => IntakeError::Store(error),
                Some(end) => {
                    let reason = IntakeError::Interrupted;
                    let _ = end.send(ReadEnd::Interrupted(error));
                    reason
                }
            }
        })
    }

    fn mark_seen(&mut self, users: &[UserNo]) {
        self.seen.extend(users.iter().map(|user| user.0.unsigned_abs()));
    }
}

struct Earlier<'a> {
    seen: &'a RoaringTreemap,
    asked: &'a HashMap<ImmutableId, [u8; 16]>,
}

impl offer::Earlier for Earlier<'_> {
    fn has_seen(&self, user: UserNo) -> bool {
        self.seen.contains(user.0.unsigned_abs())
    }

    fn asked(&self, id: &ImmutableId) -> Option<[u8; 16]> {
        self.asked.get(id).copied()
    }
}
