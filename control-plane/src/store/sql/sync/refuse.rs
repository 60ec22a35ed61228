//! Entries that could not become records: listed with their reasons. The user of one stays as it
//! was, except that the mark of a disabled account counts, whatever else is wrong with the entry.

use std::collections::BTreeMap;

use super::super::dialect::Connection;
use super::super::jobs::details::{self, EntryLine};
use super::super::locks::LockedJob;
use super::super::users::versions;
use super::{apply, apply_plan, deferred, revert};
use crate::model::{
    Category, Counts, Detail, Fence, JobKind, KnownUser, NotSynchronizedReason, Record, Rejected, Status,
    Timestamp, UserNo,
};
use crate::reconcile::batch::View;
use crate::store::Result;

/// Lists rejected entries and disables the users that they disable. An entry whose user is disabled
/// counts as an update, and is listed both as updated and as not synchronized.
pub(crate) async fn refuse(
    connection: &mut Connection,
    fence: Fence,
    job: &LockedJob,
    rejected: &[Rejected],
    view: &View,
    seen: &mut Vec<UserNo>,
    now: Timestamp,
) -> Result<Counts> {
    let user = |entry: &Rejected| entry.id.as_ref().and_then(|id| view.known.get(id));
    seen.extend(rejected.iter().filter_map(user).map(|user| user.number));
    let marked = rejected.iter().filter(|entry| entry.disabled);
    let mut disabled: Vec<(&KnownUser, NotSynchronizedReason)> = marked
        .filter_map(|entry| Some((user(entry)?, entry.reason)))
        .filter(|(user, _)| user.status == Status::Enabled && !user.fetched_during(fence.job, job.reads))
        .filter(|(user, _)| !view.older.contains(&user.id))
        .collect();
    disabled.sort_by_key(|(user, _)| user.number);
    disabled.dedup_by_key(|(user, _)| user.number);
    if job.kind() == JobKind::Plan {
        disabled = apply_plan::planned_marks(connection, fence, disabled).await?;
    }
    let mut counts = Counts::default();
    if !disabled.is_empty() {
        counts += match job.kind() {
            JobKind::DryRun => wait(connection, fence, &disabled).await?,
            _ => disable(connection, fence, &disabled, now).await?,
        };
        if job.kind() != JobKind::DryRun {
            for entry in rejected.iter().filter(|entry| entry.disabled) {
                let of = user(entry).filter(|user| disabled.iter().any(|(one, _)| one.number == user.number));
                if let Some(user) = of {
                    versions::keep(connection, fence.tenant, user.number, entry.version.as_ref(), now)
                        .await?;
                }
            }
        }
    }

    let disables = |user: &KnownUser| disabled.iter().any(|(disabled, _)| disabled.number == user.number);
    let mut lines = Vec::new();
    for entry in rejected {
        let user = user(entry);
        // Each is listed. What disables a user is counted as that, by this read or by one before;
        // whatever else the job has counted of a user stays its outcome.
        let counted = user.is_some_and(|user| user.counted_by(fence.job) || disables(user));
        counts.not_synchronized += i64::from(!counted);
        let detail = Detail {
            category: Category::NotSynchronized,
            user: user.map(|user| user.number),
            user_name: entry.user_name.clone(),
            mail: entry.mail.clone(),
            id: entry.id.clone(),
            reason: Some(entry.reason),
            message: entry.message.clone(),
        };
        lines.push(EntryLine { detail, key: entry.key() });
    }
    details::insert(connection, fence, lines).await?;
    Ok(counts)
}

/// Disables users whose entries could not become records.
async fn disable(
    connection: &mut Connection,
    fence: Fence,
    users: &[(&KnownUser, NotSynchronizedReason)],
    now: Timestamp,
) -> Result<Counts> {
    let numbers: Vec<i64> = users.iter().map(|(user, _)| user.number.0).collect();
    let shown = revert::displayed_values(connection, fence, &numbers).await?;
    let record = |user: &KnownUser| -> Record { revert::displayed_record(user, &shown) };
    let users = users.iter().map(|(user, reason)| (record(user), *user, *reason));
    apply::disable_only(connection, fence, users, now).await
}

/// In a dry run: lets users wait for the plan, which disables them.
async fn wait(
    connection: &mut Connection,
    fence: Fence,
    users: &[(&KnownUser, NotSynchronizedReason)],
) -> Result<Counts> {
    let mut by_reason: BTreeMap<NotSynchronizedReason, Vec<i64>> = BTreeMap::new();
    for (user, reason) in users {
        by_reason.entry(*reason).or_default().push(user.number.0);
    }
    let mut waiting = 0;
    for (reason, users) in by_reason {
        waiting += deferred::insert_marks(connection, fence, &users, reason).await?;
    }
    Ok(Counts { waiting, ..Counts::default() })
}
