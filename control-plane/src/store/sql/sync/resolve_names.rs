//! Carries out who gets contested names, once all records are known: `contested` says who takes
//! part, `reconcile::name_contests` who wins.

use std::collections::{HashMap, HashSet};

use super::super::dialect::{Connection, IN_BLOBS_3};
use super::super::jobs::{counts, details};
use super::super::statement::sql;
use super::super::users::rows::RecordRow;
use super::super::users::{lookup, write};
use super::super::words::{Change, QUEUE_NAME};
use super::super::{dialect, locks, statement};
use super::deferred::DEFERRED;
use super::name_claims::NameClaims;
use super::{apply, deferred, name_claims, revert};
use crate::model::{
    Category, Counts, Detail, Fence, ImmutableId, NotSynchronizedReason, Record, Status, Timestamp,
    UserValues,
};
use crate::reconcile::batch;
use crate::reconcile::batch::{Mode, Queue, Refusal, View, duplicate};
use crate::reconcile::enabling::may_enable;
use crate::reconcile::name_contests::{ClaimOutcome, NameHolder, resolve};
use crate::store::Result;

/// Positions of claims, by what becomes of them.
#[derive(Default)]
struct Sorted {
    /// Was applied by this job, and does not get its names: what the job did is taken back.
    revert: Vec<usize>,
    /// A user in scope that gets its names.
    apply: Vec<usize>,
    /// Waits, and does not get its names.
    refused: Vec<usize>,
    /// Gets its names, and waits for a seat in this queue.
    moves: Vec<(usize, Queue)>,
}

impl Sorted {
    fn by(contested: &NameClaims, verdicts: &[ClaimOutcome]) -> Self {
        let mut sorted = Self::default();
        for (position, verdict) in verdicts.iter().enumerate() {
            match (&contested.records[position], verdict) {
                (None, ClaimOutcome::Granted) => {}
                (None, ClaimOutcome::Refused { .. }) => sorted.revert.push(position),
                (_, ClaimOutcome::Refused { .. } | ClaimOutcome::Stuck) => sorted.refused.push(position),
                (Some(_), ClaimOutcome::Granted) => match &contested.users[position] {
                    Some(user) if user.status != Status::OutOfScope => sorted.apply.push(position),
                    Some(_) => sorted.moves.push((position, Queue::Returning)),
                    None => sorted.moves.push((position, Queue::New)),
                },
            }
        }
        sorted
    }

    /// Those who do not get their names.
    fn without(&self) -> impl Iterator<Item = usize> {
        self.revert.iter().chain(&self.refused).copied()
    }
}

/// Decides who gets contested names and carries that out. With `held`, what is not synchronized is
/// kept for another try.
pub(crate) async fn resolve_names(
    connection: &mut Connection,
    fence: Fence,
    held: bool,
    now: Timestamp,
) -> Result<Counts> {
    let job = locks::lock_job(connection, fence).await?;
    let text = sql!("{DEFERRED} AND queue = {QUEUE_NAME} ORDER BY immutable_id");
    let waiting: Vec<RecordRow> =
        statement::query_as(text).bind(fence.job.0).fetch_all(&mut *connection).await?;
    if waiting.is_empty() {
        return Ok(Counts::default());
    }
    locks::lock_revision(connection, fence.source).await?;
    let free = locks::lock_seats(connection, fence.tenant).await?;
    let records = waiting.into_iter().map(Record::try_from).collect::<Result<Vec<_>>>()?;
    let (records, mut counts) = without_fetched(connection, fence, job.reads, records).await?;
    let mut contested = name_claims::gather(connection, fence, records).await?;
    let needing = contested.give_seats(free);
    let verdicts = resolve(&contested.claims, &contested.held);
    let sorted = Sorted::by(&contested, &verdicts);

    let shown = revert::displayed_values(connection, fence, &contested.numbers(&sorted.revert)).await?;
    counts += release_and_revert(connection, fence, &contested, &sorted, held).await?;
    // All names that change hands are free before anyone takes one.
    let changed: Vec<Record> = sorted.apply.iter().filter_map(|at| contested.records[*at].clone()).collect();
    let users = sorted.apply.iter().filter_map(|at| contested.users[*at].clone());
    let known = users.map(|user| (user.id.clone(), user)).collect();
    let view = View { known, seats: needing, ..View::default() };
    let plan = batch::plan(fence.job, Mode::Final, &changed, &view);
    let taken = apply::carry_out(connection, fence, &changed, &plan, now).await?.taken;
    counts += plan.counts;
    let disabled_only = sorted.refused.iter().filter_map(|at| {
        let (record, user) = contested.to_disable(*at)?;
        Some((record.clone(), user, NotSynchronizedReason::DuplicateUserName))
    });
    counts += apply::disable_only(connection, fence, disabled_only, now).await?;

    let Explained { lines, uncounted, not_synchronized } =
        explain(connection, fence, &contested, &sorted, &verdicts, &shown).await?;
    details::insert(connection, fence, lines).await?;
    counts.not_synchronized += not_synchronized;
    requeue(connection, fence, &contested, &sorted.moves).await?;
    counts.waiting -= i64::try_from(sorted.apply.len() + sorted.refused.len()).unwrap_or_default();
    let id = |position: &usize| contested.claims[*position].id.clone();
    let mut settled: Vec<_> = sorted.apply.iter().map(id).collect();
    if held {
        let (uncounted, counted): (Vec<usize>, Vec<usize>) =
            sorted.refused.iter().copied().partition(|position| uncounted.contains(position));
        for (kept, counted) in [(counted, true), (uncounted, false)] {
            let kept = kept.iter().map(|position| &contested.claims[*position].id);
            deferred::retain(connection, fence, kept, counted).await?;
        }
    } else {
        settled.extend(sorted.refused.iter().map(id));
    }
    deferred::forget(connection, fence, &settled).await?;
    counts::count(connection, fence, counts, None, now).await?;
    taken.publish(connection, now).await?;
    Ok(counts)
}

/// Frees all names that change hands, and takes back what this job did to those who do not get
/// theirs.
async fn release_and_revert(
    connection: &mut Connection,
    fence: Fence,
    contested: &NameClaims,
    sorted: &Sorted,
    held: bool,
) -> Result<Counts> {
    let Sorted { revert, apply, .. } = sorted;
    if held {
        let (uncounted, counted): (Vec<usize>, Vec<usize>) =
            revert.iter().copied().partition(|position| contested.stays_disabled(*position));
        for (positions, counted) in [(counted, true), (uncounted, false)] {
            deferred::retain_applied(connection, fence, &contested.numbers(&positions), counted).await?;
        }
    }
    // The journal must have the names that users held before the job.
    let first = apply.iter().filter_map(|position| contested.users[*position].as_ref());
    let first = first.filter(|user| !user.counted_by(fence.job)).map(|user| user.number.0);
    write::journal(connection, fence, &first.collect::<Vec<_>>(), Change::Updated).await?;
    let given_up = apply.iter().filter_map(|position| {
        let (user, record) = (&contested.users[*position], &contested.records[*position]);
        Some(write::names_given_up(user.as_ref()?, record.as_ref()?))
    });
    // Who is reverted gets back from the journal what it held before.
    let reverted = revert.iter().filter_map(|position| contested.users[*position].as_ref());
    let held = reverted.flat_map(|user| user.names().map(|(kind, _)| (user.number, kind)));
    let released: Vec<_> = given_up.flatten().chain(held).collect();
    write::release_names(connection, fence.tenant, &released).await?;
    let mut counts = Counts::default();
    for position in revert {
        if let Some(user) = &contested.users[*position] {
            counts +=
                revert::revert_user(connection, fence, user, contested.stays_disabled(*position)).await?;
        }
    }
    Ok(counts)
}

/// What is said of those who do not get their names.
struct Explained {
    lines: Vec<Detail>,
    /// Positions of those whose outcome the job has counted already.
    uncounted: HashSet<usize>,
    not_synchronized: i64,
}

async fn explain(
    connection: &mut Connection,
    fence: Fence,
    contested: &NameClaims,
    sorted: &Sorted,
    verdicts: &[ClaimOutcome],
    shown: &HashMap<i64, UserValues>,
) -> Result<Explained> {
    let (mut records, mut refused, mut lines, mut uncounted) =
        (Vec::new(), Vec::new(), Vec::new(), HashSet::new());
    let mut not_synchronized = 0;
    for position in sorted.without() {
        let (record, user) = (contested.records[position].as_ref(), contested.users[position].as_ref());
        if contested.to_disable(position).is_some() {
            uncounted.insert(position);
            continue;
        }
        if let (None, Some(user), true) = (record, user, contested.stays_disabled(position)) {
            let number = Some(user.number);
            lines.push(apply::line(
                Category::Updated,
                number,
                &revert::displayed_record(user, shown),
                &apply::disabled_only(NotSynchronizedReason::DuplicateUserName),
            ));
            continue;
        }
        let (reason, holder) = match verdicts[position] {
            ClaimOutcome::Granted => continue,
            ClaimOutcome::Stuck if record.is_some_and(|record| !may_enable(record)) => {
                (NotSynchronizedReason::MarkNotVisible, None)
            }
            ClaimOutcome::Stuck => (NotSynchronizedReason::LicenseLimit, None),
            ClaimOutcome::Refused { kind, holder: NameHolder::User(user) } => (duplicate(kind), Some(user)),
            ClaimOutcome::Refused { kind, holder: NameHolder::Claim(other) } => {
                (duplicate(kind), contested.users[other].as_ref().map(|user| user.number))
            }
        };
        // A user that the job has counted already keeps that outcome; a change that was taken back
        // is no longer counted.
        if record.is_some() && user.is_some_and(|user| user.counted_by(fence.job)) {
            uncounted.insert(position);
            continue;
        }
        not_synchronized += 1;
        if let Some(record) =
            record.cloned().or_else(|| user.map(|user| revert::displayed_record(user, shown)))
        {
            refused.push(Refusal { record: records.len(), reason, holder });
            records.push(record);
        }
    }
    lines.extend(apply::refusals(connection, fence, &records, &refused).await?);
    Ok(Explained { lines, uncounted, not_synchronized })
}

/// Lets records wait for a seat instead.
async fn requeue(
    connection: &mut Connection,
    fence: Fence,
    contested: &NameClaims,
    moves: &[(usize, Queue)],
) -> Result<()> {
    for queue in [Queue::Returning, Queue::New] {
        let ids = moves
            .iter()
            .filter(|(_, to)| *to == queue)
            .map(|(position, _)| &contested.claims[*position].id.0[..]);
        let text = sql!(
            "UPDATE deferred_records SET queue = $2 WHERE job_no = $1 AND immutable_id \
                 {IN_BLOBS_3}"
        );
        let query = statement::query(text).bind(fence.job.0).bind(i64::from(queue as i16));
        dialect::blobs(query, ids).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Records but those of users who were fetched alone since the read began: those stay as they are.
async fn without_fetched(
    connection: &mut Connection,
    fence: Fence,
    read: i64,
    mut records: Vec<Record>,
) -> Result<(Vec<Record>, Counts)> {
    let known =
        lookup::known_by_id(connection, fence.source, records.iter().map(|record| &record.id)).await?;
    let fetched = known.into_iter().filter(|user| user.fetched_during(fence.job, read));
    let fetched: HashMap<ImmutableId, bool> =
        fetched.map(|user| (user.id.clone(), user.counted_by(fence.job))).collect();
    records.retain(|record| !fetched.contains_key(&record.id));
    deferred::forget(connection, fence, &fetched.keys().cloned().collect::<Vec<_>>()).await?;
    let uncounted = fetched.values().filter(|counted| !**counted).count();
    let counts = Counts {
        unchanged: i64::try_from(uncounted).unwrap_or_default(),
        waiting: -i64::try_from(fetched.len()).unwrap_or_default(),
        ..Counts::default()
    };
    Ok((records, counts))
}
