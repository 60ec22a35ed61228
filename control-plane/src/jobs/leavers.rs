//! Ends a complete read: disables users who are gone from scope, if that is proved and not suspiciously many, then settles
//! the records that waited.

use roaring::RoaringTreemap;

use super::{Completed, Inner, Intake};
use crate::model::{DisableGuard, Failure, FailureReason, Fence, Status, UserNo, Withheld};
use crate::reconcile::guard;
use crate::store::{Outcome, StoreError};

/// Users a page of the look-up of leavers.
const PAGE: i64 = 5_000;
/// Leavers disabled in one transaction.
const DISABLE: usize = 1_000;
/// Waiting records settled in one transaction.
const SETTLE: i64 = 500;

/// Reconciles after a complete read and says how the job ends.
pub(super) async fn reconcile(
    inner: &Inner,
    intake: &Intake,
    completed: &Completed,
    disable_guard: DisableGuard,
) -> Result<Outcome, StoreError> {
    let fence = intake.fence();
    inner.store.begin_reconciling(fence).await?;
    let leavers = find(inner, intake).await?;
    let verdict = judge(intake, completed, disable_guard, &leavers);
    if matches!(verdict, Ok(None)) {
        disable(inner, fence, &leavers.all).await?;
    }
    inner.store.settle_names(fence, inner.clock.now()).await?;
    while inner.store.settle_seats(fence, SETTLE, inner.clock.now()).await? {}
    Ok(match verdict {
        Err(failure) => Outcome::Failed(failure),
        Ok(withheld) => Outcome::Succeeded {
            withheld,
            base_fingerprints: completed.roots.iter().map(|root| root.base_fingerprint).collect(),
        },
    })
}

#[derive(Default)]
struct Leavers {
    all: RoaringTreemap,
    enabled: i64,
}

async fn find(inner: &Inner, intake: &Intake) -> Result<Leavers, StoreError> {
    let mut leavers = Leavers::default();
    let mut after = None;
    loop {
        let page = inner.store.users_in_scope(intake.fence(), after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(leavers) };
        after = Some(*last);
        for (user, status) in page {
            if !intake.has_seen(user) {
                leavers.all.insert(user.0.unsigned_abs());
                leavers.enabled += i64::from(status == Status::Enabled);
            }
        }
    }
}

/// Whether the leavers may be disabled: `Ok(None)` yes; `Ok(Some)` not, and the job succeeds without; `Err` not, and it fails.
fn judge(
    intake: &Intake,
    completed: &Completed,
    disable_guard: DisableGuard,
    leavers: &Leavers,
) -> Result<Option<Withheld>, Failure> {
    if leavers.all.is_empty() {
        return Ok(None);
    }
    let start = intake.start();
    let fingerprints = completed.roots.iter().map(|root| root.base_fingerprint);
    if !start.base_fingerprints.is_empty() && !fingerprints.eq(start.base_fingerprints.iter().copied()) {
        return Err(Failure::of(FailureReason::RootChanged));
    }
    let entries = i64::try_from(intake.entries()).unwrap_or(i64::MAX);
    guard::check(disable_guard, start.enabled, entries, leavers.enabled)?;
    // Entries that could not be identified may be the very users that seem to be gone.
    if intake.unidentified() > 0 {
        return Ok(Some(Withheld {
            message: format!(
                "{} entries have no readable immutable id, so {} users who seem to be gone from scope were left alone. Correct the entries or the mapping, then synchronize again.",
                intake.unidentified(),
                leavers.enabled
            ),
            users: leavers.enabled,
        }));
    }
    Ok(None)
}

async fn disable(inner: &Inner, fence: Fence, leavers: &RoaringTreemap) -> Result<(), StoreError> {
    let mut leavers = leavers.iter().map(|number| UserNo(i64::try_from(number).unwrap_or(i64::MAX)));
    loop {
        let chunk: Vec<UserNo> = leavers.by_ref().take(DISABLE).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        inner.store.disable_absent(fence, chunk, inner.clock.now()).await?;
    }
}
