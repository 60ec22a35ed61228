//! Takes the marks of sign-ins that did not find a user off the users that a complete read has
//! seen. A read that finds a user as it was writes nothing of it, so this comes once, at the end.

use super::{AbsentUsers, bit};
use crate::jobs::{Inner, Intake};
use crate::model::UserNo;
use crate::store::StoreError;

/// Marked users of one transaction.
const USERS_PER_TRANSACTION: i64 = 1_000;

/// Takes the marks off users that were in the read, or in scope when looked up again. `absent` is
/// who the look-ups left.
pub(in crate::jobs) async fn clear_marks(
    inner: &Inner,
    intake: &Intake,
    absent: &AbsentUsers,
) -> Result<(), StoreError> {
    let (store, fence) = (&inner.store, intake.fence());
    let was_seen = |user: &UserNo| intake.has_seen(*user) || absent.found_again.contains(bit(*user));
    let mut after = None;
    loop {
        let marked = store.marked_absent(fence, after, USERS_PER_TRANSACTION).await?;
        let Some(last) = marked.last() else { return Ok(()) };
        after = Some(*last);
        let seen: Vec<UserNo> = marked.into_iter().filter(was_seen).collect();
        if !seen.is_empty() {
            store.clear_absent_marks(fence, seen, true).await?;
        }
    }
}
