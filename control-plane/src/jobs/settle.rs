//! Settles what a read left waiting, in small transactions: contested names, seats, and changes
//! that take values away.

use super::Inner;
use crate::model::Fence;
use crate::store::StoreError;

/// Waiting records settled in one transaction.
const RECORDS_PER_TRANSACTION: i64 = 500;

/// Refuses the changes that take values away and wait for the end of the read.
pub(super) async fn refuse_suspect_changes(inner: &Inner, fence: Fence) -> Result<(), StoreError> {
    while inner.store.refuse_suspect_changes(fence, RECORDS_PER_TRANSACTION, inner.clock.now()).await? {}
    Ok(())
}

/// Decides contested names, then gives free seats to the records that wait for one. `held` says
/// that the job waits for an administrator.
pub(super) async fn settle(inner: &Inner, fence: Fence, held: bool) -> Result<(), StoreError> {
    inner.store.resolve_names(fence, held, inner.clock.now()).await?;
    while inner.store.assign_seats(fence, RECORDS_PER_TRANSACTION, held, inner.clock.now()).await? {}
    Ok(())
}
