//! Two entries with one immutable id, and one entry below two roots.
//!
//! An entry that comes twice in a read counts once. Of two entries with one immutable id neither
//! is applied, whichever came first: both are listed, and the user stays as it was before the job.
//! What the first one did is taken back from the journal. Entries are told apart by the digests of
//! their records, or by what is told of an entry that is none.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use sqlx::FromRow;

use super::super::dialect::{Connection, IN_BLOBS_2};
use super::super::jobs::details::{self, EntryLine};
use super::super::locks::LockedJob;
use super::super::statement::sql;
use super::super::users::lookup;
use super::super::users::rows::RecordRow;
use super::super::words::{CATEGORY_NOT_SYNCHRONIZED, REASON_DUPLICATE_UNIQUE_ID};
use super::super::{codec, dialect, locks, statement};
use super::deferred::DEFERRED;
use super::{deferred, name_claims, revert};
use crate::model::{
    Category, Counts, Detail, Fence, ImmutableId, JobKind, KnownUser, NotSynchronizedReason, Record,
    Rejected, Status, UserNo,
};
use crate::store::{Repeats, Result};

/// What is left of a batch.
pub(crate) struct Once<'a> {
    pub(crate) records: Cow<'a, [Record]>,
    pub(crate) rejected: Cow<'a, [Rejected]>,
    pub(crate) counts: Counts,
    /// Users of entries that are left out.
    pub(crate) seen: Vec<UserNo>,
}

type Key = [u8; 16];

/// An entry of the batch with an immutable id.
struct Entry {
    key: Key,
    user_name: String,
    mail: String,
}

/// What the read had of an id before the batch.
#[derive(Default)]
struct Before {
    user: Option<KnownUser>,
    /// Keys of entries that are listed as not synchronized, and whether they are listed for their
    /// shared id.
    listed: BTreeSet<Key>,
    is_shared: bool,
    /// A record that waits.
    waiting: Option<Record>,
}

impl Before {
    /// The digest of the record that was applied, or of the user that was right already.
    fn applied(&self, came_before: bool, in_flight: bool, fence: Fence, reads: i64) -> Option<Key> {
        let nothing_else = self.listed.is_empty() && self.waiting.is_none();
        let user = self.user.as_ref().filter(|_| came_before && !in_flight && nothing_else)?;
        (!user.fetched_during(fence.job, reads)).then_some(user.digest)
    }
}

/// Leaves out what the read had before, and refuses entries that share an id.
pub(crate) async fn sort<'a>(
    connection: &mut Connection,
    fence: Fence,
    job: &LockedJob,
    (records, rejected): (&'a [Record], &'a [Rejected]),
    repeats: &Repeats,
) -> Result<Once<'a>> {
    let whole = Once {
        records: Cow::Borrowed(records),
        rejected: Cow::Borrowed(rejected),
        counts: Counts::default(),
        seen: Vec::new(),
    };
    // Pairs of ids are sorted where they are kept, and the journal has each user once.
    if job.reads_both_ids() || job.kind() == JobKind::Undo {
        return Ok(whole);
    }
    let mut ids = candidates(records, rejected, repeats);
    if may_be_listed(job) {
        let all = records.iter().map(|record| &record.id);
        let all = all.chain(rejected.iter().filter_map(|entry| entry.id.as_ref()));
        ids.extend(listed(connection, fence, all).await?.into_iter().map(|(id, ..)| id));
    }
    let nameless = listed_keys(connection, fence, rejected).await?;
    if ids.is_empty() && nameless.is_none() {
        return Ok(whole);
    }
    let before = before(connection, fence, &ids).await?;
    let known: Vec<i64> =
        before.values().filter_map(|before| before.user.as_ref()).map(|user| user.number.0).collect();
    let values = lookup::values(connection, fence.tenant, &known).await?;
    let looks_the_same = |record: &Record, user: &KnownUser| {
        job.kind() == JobKind::DryRun
            && user.status == record.status()
            && values.get(&user.number.0) == Some(&record.values)
    };

    let mut sorted = Sorted::new(job, fence, repeats);
    for record in records.iter().filter(|record| ids.contains(&record.id)) {
        // A dry run does not note the digest of a record that only looks different.
        let user = before.get(&record.id).and_then(|before| before.user.as_ref());
        let same = user.filter(|user| looks_the_same(record, user));
        let key = same.filter(|_| repeats.ids.contains(&record.id)).map_or(record.digest, |user| user.digest);
        sorted.entry(&record.id, key, &record.values.user_name, &record.values.mail);
    }
    for entry in rejected {
        if let (Some(id), Some(key)) = (&entry.id, entry.key())
            && ids.contains(id)
        {
            sorted.entry(id, key, &entry.user_name, &entry.mail);
        }
    }
    for offered in &repeats.offered {
        // The record was not asked for. If it is what the user has, its names are known.
        let user = before.get(&offered.id).and_then(|before| before.user.as_ref());
        let user = user.filter(|user| user.digest == offered.digest);
        let values = user.and_then(|user| values.get(&user.number.0));
        let names = values.map_or(("", ""), |values| (&*values.user_name, &*values.mail));
        sorted.entry(&offered.id, offered.digest, names.0, names.1);
    }
    let fate = sorted.decide(&before);
    let refused = refuse(connection, fence, &fate.shared, &before).await?;

    let mut taken: HashSet<&ImmutableId> = HashSet::new();
    let mut keep =
        |id: &'a ImmutableId| !ids.contains(id) || (!fate.left_out.contains(id) && taken.insert(id));
    let records: Vec<Record> = records.iter().filter(|record| keep(&record.id)).cloned().collect();
    let mut nameless = nameless.unwrap_or_default();
    let mut is_new = |entry: &Rejected| entry.key().is_none_or(|key| nameless.insert(key));
    let rejected: Vec<Rejected> = rejected
        .iter()
        .filter(|entry| entry.id.as_ref().map_or_else(|| is_new(entry), &mut keep))
        .cloned()
        .collect();
    let seen = before.values().filter_map(|before| before.user.as_ref()).map(|user| user.number).collect();
    Ok(Once { records: Cow::Owned(records), rejected: Cow::Owned(rejected), counts: refused, seen })
}

/// Whether any entry of the read with an id can be listed as not synchronized by now.
fn may_be_listed(job: &LockedJob) -> bool {
    let counts = job.counts();
    let marked = counts.disabled_in_directory > 0 || (job.kind() == JobKind::DryRun && counts.waiting > 0);
    counts.not_synchronized > 0 || marked || job.reads > 1
}

/// Ids of which something may have come before, in the read or in the batch.
fn candidates(records: &[Record], rejected: &[Rejected], repeats: &Repeats) -> HashSet<ImmutableId> {
    let ids = || {
        records.iter().map(|record| &record.id).chain(rejected.iter().filter_map(|entry| entry.id.as_ref()))
    };
    let mut met = HashSet::new();
    let mut candidates: HashSet<ImmutableId> =
        ids().filter(|id| !met.insert(*id) || repeats.ids.contains(*id)).cloned().collect();
    candidates.extend(repeats.offered.iter().map(|offered| offered.id.clone()));
    candidates
}

/// Keys of entries without id that are listed already; none if the batch has no such entry.
async fn listed_keys(
    connection: &mut Connection,
    fence: Fence,
    rejected: &[Rejected],
) -> Result<Option<HashSet<Key>>> {
    let keys: Vec<Key> =
        rejected.iter().filter(|entry| entry.id.is_none()).filter_map(Rejected::key).collect();
    if keys.is_empty() {
        return Ok(None);
    }
    let text = sql!(
        "SELECT entry_key FROM job_details WHERE job_no = $1 AND category = \
         {CATEGORY_NOT_SYNCHRONIZED} AND immutable_id IS NULL AND entry_key {IN_BLOBS_2}"
    );
    let query = dialect::blobs(statement::query(text).bind(fence.job.0), keys.iter().map(|key| &key[..]));
    let rows = query.fetch_all(connection).await?;
    let key = |row| -> Result<Key> { codec::digest_bytes(<(Vec<u8>,)>::from_row(row)?.0) };
    rows.iter().map(key).collect::<Result<HashSet<_>>>().map(Some)
}

/// What the read had of these ids.
async fn before(
    connection: &mut Connection,
    fence: Fence,
    ids: &HashSet<ImmutableId>,
) -> Result<HashMap<ImmutableId, Before>> {
    let mut all: HashMap<ImmutableId, Before> =
        ids.iter().map(|id| (id.clone(), Before::default())).collect();
    for user in lookup::known_by_id(connection, fence.source, ids.iter()).await? {
        if let Some(before) = all.get_mut(&user.id) {
            before.user = Some(user);
        }
    }
    let text = sql!("{DEFERRED} AND immutable_id {IN_BLOBS_2}");
    let query = dialect::blobs(statement::query(text).bind(fence.job.0), ids.iter().map(|id| &id.0[..]));
    for row in query.fetch_all(&mut *connection).await? {
        let record = Record::try_from(RecordRow::from_row(&row)?)?;
        if let Some(before) = all.get_mut(&record.id) {
            before.waiting = Some(record);
        }
    }
    for (id, key, is_shared) in listed(connection, fence, ids.iter()).await? {
        if let Some(before) = all.get_mut(&id) {
            before.is_shared |= is_shared;
            before.listed.extend(key);
        }
    }
    Ok(all)
}

/// Entries with these ids that are listed as not synchronized: their keys, and whether they are
/// listed for their shared id.
async fn listed<'a>(
    connection: &mut Connection,
    fence: Fence,
    ids: impl Iterator<Item = &'a ImmutableId>,
) -> Result<Vec<(ImmutableId, Option<Key>, bool)>> {
    let text = sql!(
        "SELECT immutable_id, entry_key, reason FROM job_details WHERE job_no = $1 AND category = \
         {CATEGORY_NOT_SYNCHRONIZED} AND immutable_id IS NOT NULL AND immutable_id {IN_BLOBS_2}"
    );
    let query = dialect::blobs(statement::query(text).bind(fence.job.0), ids.map(|id| &id.0[..]));
    let rows = query.fetch_all(connection).await?;
    let line = |row| -> Result<(ImmutableId, Option<Key>, bool)> {
        let (id, key, reason): (Vec<u8>, Option<Vec<u8>>, Option<i64>) = FromRow::from_row(row)?;
        let is_shared = reason == Some(i64::from(REASON_DUPLICATE_UNIQUE_ID));
        Ok((ImmutableId(Bytes::from(id)), key.map(codec::digest_bytes).transpose()?, is_shared))
    };
    rows.iter().map(line).collect()
}

/// The entries of a batch, by id.
struct Sorted<'a> {
    job: &'a LockedJob,
    fence: Fence,
    repeats: &'a Repeats,
    entries: BTreeMap<ImmutableId, Vec<Entry>>,
}

/// What becomes of ids.
#[derive(Default)]
struct Fate {
    /// Ids of which nothing of the batch is applied.
    left_out: HashSet<ImmutableId>,
    /// Ids of several entries, the entries that are to be listed, and the digest of the one that
    /// was applied.
    shared: Vec<(ImmutableId, Vec<Entry>, Option<Key>)>,
}

impl<'a> Sorted<'a> {
    fn new(job: &'a LockedJob, fence: Fence, repeats: &'a Repeats) -> Self {
        Self { job, fence, repeats, entries: BTreeMap::new() }
    }

    fn entry(&mut self, id: &ImmutableId, key: Key, user_name: &str, mail: &str) {
        let entries = self.entries.entry(id.clone()).or_default();
        if entries.iter().all(|entry| entry.key != key) {
            entries.push(Entry { key, user_name: user_name.to_owned(), mail: mail.to_owned() });
        }
    }

    fn decide(self, before: &HashMap<ImmutableId, Before>) -> Fate {
        let (repeats, mut fate, nothing) = (self.repeats, Fate::default(), Before::default());
        for (id, mut entries) in self.entries {
            let before = before.get(&id).unwrap_or(&nothing);
            let offered = repeats.offered.iter().any(|offered| offered.id == id);
            let in_flight = repeats.in_flight.contains(&id);
            let seen = |user: &KnownUser| repeats.seen.contains(user.number.0.unsigned_abs());
            let came_before =
                (offered || repeats.ids.contains(&id)) && before.user.as_ref().is_some_and(seen);
            let applied = before.applied(came_before, in_flight, self.fence, self.job.reads);
            // Not of a record, but of an entry that is listed.
            let waiting = before.waiting.as_ref().map(|record| record.digest).filter(|key| *key != [0; 16]);
            let earlier: HashSet<Key> = before.listed.iter().copied().chain(waiting).chain(applied).collect();
            let came = entries.len();
            entries.retain(|entry| !earlier.contains(&entry.key));
            let several = earlier.len() + entries.len() + usize::from(in_flight) > 1;
            if several && (!entries.is_empty() || !before.is_shared) {
                fate.left_out.insert(id.clone());
                fate.shared.push((id, entries, applied));
            } else if entries.is_empty() && came > 0 {
                fate.left_out.insert(id);
            }
        }
        fate
    }
}

/// Lists the entries of ids that several have, and takes back what the read did with the first
/// ones.
async fn refuse(
    connection: &mut Connection,
    fence: Fence,
    shared: &[(ImmutableId, Vec<Entry>, Option<Key>)],
    before: &HashMap<ImmutableId, Before>,
) -> Result<Counts> {
    let mut counts = Counts::default();
    if shared.is_empty() {
        return Ok(counts);
    }
    locks::lock_revision(connection, fence.source).await?;
    let (mut lines, mut waited, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    for (id, entries, applied) in shared {
        let Some(before) = before.get(id) else { continue };
        let user = before.user.as_ref();
        let line = |user_name: &str, mail: &str, key: Key| EntryLine {
            detail: Detail {
                category: Category::NotSynchronized,
                user: user.filter(|user| user.added_job != fence.job).map(|user| user.number),
                user_name: user_name.to_owned(),
                mail: mail.to_owned(),
                id: Some(id.clone()),
                reason: Some(NotSynchronizedReason::DuplicateUniqueId),
                message: format!(
                    "Immutable id {}: {}",
                    id.text(),
                    NotSynchronizedReason::DuplicateUniqueId.text()
                ),
            },
            key: Some(key),
        };
        if !before.is_shared {
            if let Some(record) = &before.waiting {
                counts.waiting -= 1;
                waited.push(id.clone());
                if record.digest != [0; 16] {
                    lines.push(line(&record.values.user_name, &record.values.mail, record.digest));
                }
            }
            if let (Some(user), Some(key)) = (user, applied) {
                let shown = revert::displayed_values(connection, fence, &[user.number.0]).await?;
                let shown = shown.get(&user.number.0).cloned().unwrap_or_default();
                lines.push(line(&shown.user_name, &shown.mail, *key));
                counts.unchanged -= i64::from(!user.counted_by(fence.job));
            }
            if let Some(user) = user {
                match take_back(connection, fence, user).await? {
                    // What was listed beside an update is listed alone now.
                    Some(taken_back) => {
                        counts += taken_back;
                        counts.not_synchronized += i64::try_from(before.listed.len()).unwrap_or_default();
                    }
                    // The first entry keeps its outcome.
                    None if user.counted_by(fence.job) && applied.is_some() => counts.not_synchronized -= 1,
                    None => {}
                }
            }
            listed.push(id.clone());
        }
        lines.extend(entries.iter().map(|entry| line(&entry.user_name, &entry.mail, entry.key)));
    }
    counts.not_synchronized += i64::try_from(lines.len()).unwrap_or_default();
    deferred::forget(connection, fence, &waited).await?;
    // Those that were listed for another reason.
    let text = sql!(
        "UPDATE job_details SET reason = {REASON_DUPLICATE_UNIQUE_ID}, message = '' WHERE job_no = $1 \
         AND category = {CATEGORY_NOT_SYNCHRONIZED} AND immutable_id IS NOT NULL AND immutable_id \
         {IN_BLOBS_2}"
    );
    let query = statement::query(text).bind(fence.job.0);
    dialect::blobs(query, listed.iter().map(|id| &id.0[..])).execute(&mut *connection).await?;
    details::insert(connection, fence, lines).await?;
    Ok(counts)
}

/// Gives a user back what it was before the job. One whose former names others have by now, or that
/// was fetched alone meanwhile, keeps what it has. None if nothing is taken back.
async fn take_back(connection: &mut Connection, fence: Fence, user: &KnownUser) -> Result<Option<Counts>> {
    let none = Ok(None);
    if !user.counted_by(fence.job) || user.fetched.0 == fence.job {
        return none;
    }
    let before = name_claims::journal(connection, fence, &[user.number.0]).await?.remove(&user.number.0);
    let (mut stays_disabled, mut reenabled) = (false, false);
    match &before {
        None if user.added_job != fence.job => return none,
        None => {}
        Some(before) => {
            let holders = lookup::known_by_name(connection, fence.tenant, before.names()).await?;
            if holders.iter().any(|holder| holder.number != user.number) {
                return none;
            }
            if before.status == Status::Enabled && user.status != Status::Enabled {
                stays_disabled = locks::lock_seats(connection, fence.tenant).await? < 1;
                reenabled = !stays_disabled;
            }
        }
    }
    let mut counts = revert::revert_user(connection, fence, user, stays_disabled).await?;
    counts.disabled_in_directory -= i64::from(reenabled);
    Ok(Some(counts))
}
