//! Finds the users that a read did not have, and the containers that they emptied.

use super::AbsentUsers;
use crate::jobs::{Inner, Intake};
use crate::model::{Absence, Fence, Status, UserNo};
use crate::reconcile::containers::{Containers, EmptiedContainer, MANY};
use crate::store::StoreError;

/// Users read at a time.
pub(super) const USERS_PER_PAGE: i64 = 5_000;

/// Users in scope that the read has not seen, and which of them are enabled. None is looked up yet.
pub(in crate::jobs) async fn find(inner: &Inner, intake: &Intake) -> Result<AbsentUsers, StoreError> {
    let mut absent = AbsentUsers::default();
    let mut after = None;
    loop {
        let page = inner.store.users_in_scope(intake.fence(), after, USERS_PER_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(absent) };
        after = Some(*last);
        for (user, status) in page {
            if !intake.has_seen(user) {
                absent.add(user, status, Absence::NotLookedUp);
            }
        }
    }
}

/// Calls `note` with each user in scope: its number, status and distinguished name.
pub(super) async fn for_each_name(
    inner: &Inner,
    fence: Fence,
    mut note: impl FnMut(UserNo, Status, &str) + Send,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = inner.store.distinguished_names(fence, after, USERS_PER_PAGE).await?;
        let Some((last, ..)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (user, status, name) in &page {
            note(*user, *status, name);
        }
    }
}

/// Containers that had many users and have none any more. Users whose absence the directory
/// explains have left them, and neither empty a container nor fill it.
pub(in crate::jobs) async fn emptied(
    inner: &Inner,
    fence: Fence,
    absent: &AbsentUsers,
) -> Result<Vec<EmptiedContainer>, StoreError> {
    if absent.enabled.len() < MANY {
        return Ok(Vec::new());
    }
    let mut containers = Containers::default();
    for_each_name(inner, fence, |user, _, name| {
        if absent.is_unexplained(user) {
            containers.absent(name);
        }
    })
    .await?;
    if containers.suspicious() {
        for_each_name(inner, fence, |user, _, name| {
            if !absent.contains(user) {
                containers.present(name);
            }
        })
        .await?;
    }
    Ok(containers.emptied())
}
