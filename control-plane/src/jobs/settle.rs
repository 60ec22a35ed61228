//! Settles what a read left waiting, in small transactions: contested names, seats, and changes
//! that take values away.

use super::Inner;
use crate::model::{Fence, NotSynchronizedReason};
use crate::store::StoreError;

/// Waiting records settled in one transaction.
const RECORDS_PER_TRANSACTION: i64 = 500;

/// Refuses what waits for the end of the read and is not to be believed: the changes that take
/// values away, and where the server is behind (`is_current` is false) also the records that would
/// enable a user again.
pub(super) async fn refuse_suspect_changes(
    inner: &Inner,
    fence: Fence,
    is_current: bool,
) -> Result<(), StoreError> {
    let reason = match is_current {
        true => NotSynchronizedReason::AttributeLoss,
        false => NotSynchronizedReason::OlderServer,
    };
    let next =
        || inner.store.refuse_suspect_changes(fence, reason, RECORDS_PER_TRANSACTION, inner.clock.now());
    while next().await? {}
    inner.store.accept_returns(fence).await
}

/// Leaves users disabled that would be enabled again, and keeps their records for an approval.
pub(super) async fn refuse_reenables(inner: &Inner, fence: Fence) -> Result<(), StoreError> {
    while inner.store.refuse_reenables(fence, RECORDS_PER_TRANSACTION, inner.clock.now()).await? {}
    Ok(())
}

/// Decides contested names, then gives free seats to the records that wait for one. `held` says
/// that the job waits for an administrator.
pub(super) async fn settle(inner: &Inner, fence: Fence, held: bool) -> Result<(), StoreError> {
    inner.store.resolve_names(fence, held, inner.clock.now()).await?;
    while inner.store.assign_seats(fence, RECORDS_PER_TRANSACTION, held, inner.clock.now()).await? {}
    Ok(())
}
