//! Writes absent users to the store: on the job's list, disabled, or left alone.

use super::AbsentUsers;
use crate::jobs::Inner;
use crate::model::{Absence, Fence, Timestamp, UserNo};
use crate::store::StoreError;

/// Users of one transaction.
const USERS_PER_TRANSACTION: usize = 1_000;

/// Records absent users on the job's list.
pub(in crate::jobs) async fn record_absent(
    inner: &Inner,
    fence: Fence,
    absent: &AbsentUsers,
) -> Result<(), StoreError> {
    let mut users = absent.users();
    loop {
        let chunk: Vec<_> = users.by_ref().take(USERS_PER_TRANSACTION).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        inner.store.record_absent(fence, chunk).await?;
    }
}

/// Disables absent users; those that changed after `unchanged_since` are left alone.
pub(in crate::jobs) async fn disable_absent(
    inner: &Inner,
    fence: Fence,
    mut users: impl Iterator<Item = (UserNo, Absence)>,
    unchanged_since: Option<Timestamp>,
) -> Result<(), StoreError> {
    loop {
        let chunk: Vec<_> = users.by_ref().take(USERS_PER_TRANSACTION).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        inner.store.disable_absent(fence, chunk, unchanged_since, inner.clock.now()).await?;
    }
}

/// Counts and lists the users that the directory does not show to be gone.
pub(in crate::jobs) async fn leave_alone(
    inner: &Inner,
    fence: Fence,
    absent: &AbsentUsers,
) -> Result<(), StoreError> {
    let mut users = absent.users_not_visible();
    loop {
        let chunk: Vec<UserNo> = users.by_ref().take(USERS_PER_TRANSACTION).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        inner.store.leave_alone(fence, chunk, inner.clock.now()).await?;
    }
}
