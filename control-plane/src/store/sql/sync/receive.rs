//! Takes a batch of a read: loads the view, asks `reconcile::batch` for a plan, carries it out,
//! counts it. One transaction.

use super::super::dialect::Connection;
use super::super::jobs::counts;
use super::super::locks;
use super::super::users::versions::{self, Seen};
use super::{apply, apply_plan, refuse, shared_ids};
use crate::model::{Counts, Fence, JobKind, NotSynchronizedReason, Record, Rejected, Status, Timestamp};
use crate::reconcile::batch::{self, Mode};
use crate::store::{Applied, Repeats, Result};

/// Takes records, and entries that could not become records.
pub(crate) async fn receive(
    connection: &mut Connection,
    fence: Fence,
    records: &[Record],
    rejected: &[Rejected],
    unchanged: i64,
    now: Timestamp,
) -> Result<Applied> {
    receive_after(connection, fence, records, rejected, &Repeats::default(), unchanged, now).await
}

/// The same where some of it came before in the read, perhaps.
pub(crate) async fn receive_after(
    connection: &mut Connection,
    fence: Fence,
    records: &[Record],
    rejected: &[Rejected],
    repeats: &Repeats,
    unchanged: i64,
    now: Timestamp,
) -> Result<Applied> {
    let job = locks::lock_job(connection, fence).await?;
    let mut applied = Applied { counts: job.counts(), ..Applied::default() };
    let mut counts = Counts { unchanged, ..Counts::default() };
    let (mut left, mut taken) = (None, None);
    if !records.is_empty() || !rejected.is_empty() || !repeats.offered.is_empty() {
        let once = shared_ids::sort(connection, fence, &job, (records, rejected), repeats).await?;
        counts += once.counts;
        applied.seen.extend(&once.seen);
        let (records, rejected) = (&once.records[..], &once.rejected[..]);
        let mut view = apply::view(connection, fence, records, rejected).await?;
        (view.reserve, view.quota, view.beyond_limit) = (job.reserve, job.quota, job.beyond_limit());
        view.read = Some(job.reads);
        let values = apply::changed_values(connection, fence, records, &view).await?;
        view.same = apply::same(records, &view, &values);
        if job.doubts != 0 {
            view.suspect = apply::suspect(records, &view, &values);
            view.returns_wait = true;
        }
        let read = Some((fence.job, job.reads));
        let seen = records.iter().filter_map(|record| Seen::of_record(record, &view.known, read));
        let marks = rejected.iter().filter_map(|entry| Seen::of_rejected(entry, &view.known, read));
        view.older = versions::compare(connection, fence.tenant, seen.chain(marks).collect()).await?.older;
        if !view.older.is_empty() {
            versions::record_older(connection, fence, view.older.len()).await?;
            view.suspect.extend(view.older.iter().cloned());
        }
        // An undo gives back what it is ordered to.
        view.reenables_wait = job.kind() != JobKind::Undo;
        let mut planned;
        let (records, rejected) = if job.kind() == JobKind::Plan {
            planned = apply_plan::filter(connection, fence, records, &view).await?;
            planned.left_out.extend_from_slice(rejected);
            let disabled = planned.disabled.iter();
            let of = |(record, reason): &'_ (Record, NotSynchronizedReason)| {
                Some((record.clone(), view.known.get(&record.id)?, *reason))
            };
            let users: Vec<_> = disabled.filter_map(of).collect();
            applied.seen.extend(users.iter().map(|(_, user, _)| user.number));
            let enabled = users.into_iter().filter(|(_, user, _)| user.status == Status::Enabled);
            let enabled = enabled.filter(|(record, ..)| !view.older.contains(&record.id));
            counts += apply::disable_only(connection, fence, enabled, now).await?;
            (&planned.records[..], &planned.left_out[..])
        } else {
            (records, rejected)
        };
        counts += refuse::refuse(connection, fence, &job, rejected, &view, &mut applied.seen, now).await?;
        let mode = if job.kind() == JobKind::DryRun { Mode::Planning } else { Mode::Reading };
        let plan = batch::plan(fence.job, mode, records, &view);
        counts += plan.counts;
        left = Some((plan.reserve, plan.quota));
        applied.seen.extend(&plan.seen);
        let done = apply::carry_out(connection, fence, records, &plan, now).await?;
        counts.waiting += done.waits - i64::try_from(plan.waits.len()).unwrap_or_default();
        applied.seen.extend(done.added);
        taken = Some(done.taken);
    }
    counts::count(connection, fence, counts, left, now).await?;
    if let Some(taken) = taken {
        taken.publish(connection, now).await?;
    }
    applied.counts += counts;
    Ok(applied)
}
