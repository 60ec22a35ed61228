//! Undoes a job: users get back what the journal has of them, those whom it added are disabled, then contested names and seats are given out
//! as after a read. Needs no router.

use super::Inner;
use super::lease::Lease;
use super::leavers::{self, End};
use crate::model::Fence;
use crate::store::{Outcome, StoreError};

/// Users of one transaction.
const USERS: i64 = 500;

/// Undoes from the beginning; what an earlier try has done is done. Also says what the try may write with.
pub(super) async fn undo(
    inner: &Inner,
    lease: &Lease,
) -> Result<(Fence, Result<End, StoreError>), StoreError> {
    let fence = inner.store.begin_undo(lease.job, &lease.owner, inner.clock.now()).await?;
    Ok((fence, all(inner, fence).await))
}

async fn all(inner: &Inner, fence: Fence) -> Result<End, StoreError> {
    let store = &inner.store;
    let mut after = None;
    while let Some(last) = store.undo_changes(fence, after, USERS, inner.clock.now()).await? {
        after = Some(last);
    }
    store.begin_reconciling(fence).await?;
    let mut after = None;
    while let Some(last) = store.undo_adds(fence, after, USERS, inner.clock.now()).await? {
        after = Some(last);
    }
    leavers::settle(inner, fence, false).await?;
    Ok(End::Finish(Outcome::Succeeded { withheld: None, facts: None }))
}
