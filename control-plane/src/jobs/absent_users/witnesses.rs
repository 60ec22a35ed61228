//! Finds another user of each container of absent users: a router that sees it there sees the
//! container's people.

use super::find::for_each_name;
use crate::jobs::Inner;
use crate::model::{Fence, Status, UserNo};
use crate::reconcile::containers::Witnesses;
use crate::store::StoreError;

/// For each container of an absent user another user that is enabled and not absent.
pub(in crate::jobs) async fn find_witnesses(
    inner: &Inner,
    fence: Fence,
    is_absent: impl Fn(UserNo) -> bool + Send + Sync,
) -> Result<Witnesses, StoreError> {
    let mut witnesses = Witnesses::default();
    for_each_name(inner, fence, |user, _, name| {
        if is_absent(user) {
            witnesses.absent(name);
        }
    })
    .await?;
    if witnesses.is_incomplete() {
        for_each_name(inner, fence, |user, status, name| {
            if status == Status::Enabled && !is_absent(user) {
                witnesses.present(name, user);
            }
        })
        .await?;
    }
    Ok(witnesses)
}
