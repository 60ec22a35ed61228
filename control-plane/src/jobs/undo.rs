//! Undoes a job: users get back the values of the journal, those that the job added are disabled,
//! then contested names and seats are settled as after a read. Needs no router.

use super::Inner;
use super::lease::Lease;
use super::reconcile_end::ReconcileEnd;
use super::settle::settle;
use crate::model::Fence;
use crate::store::{Outcome, StoreError};

/// Users of one transaction.
const USERS_PER_TRANSACTION: i64 = 500;

/// Undoes from the beginning; what an earlier try has done is done. Also says what the try may
/// write with.
pub(super) async fn undo(
    inner: &Inner,
    lease: &Lease,
) -> Result<(Fence, Result<ReconcileEnd, StoreError>), StoreError> {
    let fence = inner.store.begin_undo(lease.job, &lease.owner, inner.clock.now()).await?;
    Ok((fence, revert(inner, fence).await))
}

async fn revert(inner: &Inner, fence: Fence) -> Result<ReconcileEnd, StoreError> {
    let store = &inner.store;
    let mut after = None;
    while let Some(last) = store.undo_changes(fence, after, USERS_PER_TRANSACTION, inner.clock.now()).await? {
        after = Some(last);
    }
    store.begin_reconciling(fence).await?;
    let mut after = None;
    while let Some(last) = store.undo_adds(fence, after, USERS_PER_TRANSACTION, inner.clock.now()).await? {
        after = Some(last);
    }
    settle(inner, fence, false).await?;
    let mut after = None;
    while let Some(last) = store.undo_logins(fence, after, USERS_PER_TRANSACTION).await? {
        after = Some(last);
    }
    Ok(ReconcileEnd::Finish(Outcome::Succeeded { withheld: None, facts: None }))
}
