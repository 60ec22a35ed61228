//! Finds the users that a read did not have, those that an earlier job recorded, and the containers
//! that they emptied.

use roaring::RoaringTreemap;

use super::{AbsentUsers, bit};
use crate::jobs::{Inner, Intake};
use crate::model::{Absence, Fence, JobNo, UserNo};
use crate::reconcile::containers::{Containers, MANY};
use crate::store::StoreError;

/// Users read at a time.
const USERS_PER_PAGE: i64 = 5_000;
/// Users in scope that the read has not seen, and which of them are enabled. None is explained yet.
pub(in crate::jobs) async fn find(inner: &Inner, intake: &Intake) -> Result<AbsentUsers, StoreError> {
    let mut absent = AbsentUsers::default();
    let mut after = None;
    loop {
        let page = inner.store.users_in_scope(intake.fence(), after, USERS_PER_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(absent) };
        after = Some(*last);
        for (user, status) in page {
            if !intake.has_seen(user) {
                absent.add(user, status, Absence::Unexplained);
            }
        }
    }
}

/// Containers that had many users and have none any more.
pub(in crate::jobs) async fn emptied(
    inner: &Inner,
    fence: Fence,
    absent: &AbsentUsers,
) -> Result<Vec<String>, StoreError> {
    if absent.enabled.len() < MANY {
        return Ok(Vec::new());
    }
    let gone = |user: UserNo| {
        [&absent.moved, &absent.deleted, &absent.unexplained].iter().any(|bits| bits.contains(bit(user)))
    };
    let mut containers = Containers::default();
    for pass in [true, false] {
        let mut after = None;
        loop {
            let page = inner.store.distinguished_names(fence, after, USERS_PER_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (user, name) in &page {
                match (pass, gone(*user)) {
                    (true, true) => containers.absent(name),
                    (false, false) => containers.present(name),
                    _ => {}
                }
            }
        }
        if !containers.suspicious() {
            break;
        }
    }
    Ok(containers.emptied())
}

/// Users that an earlier job of the source recorded as absent.
pub(in crate::jobs) async fn recorded(
    inner: &Inner,
    fence: Fence,
    job: JobNo,
) -> Result<RoaringTreemap, StoreError> {
    let mut bits = RoaringTreemap::new();
    let mut after = None;
    loop {
        let page = inner.store.recorded_absent(fence, job, after, USERS_PER_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(bits) };
        after = Some(*last);
        bits.extend(page.iter().map(|(user, _)| bit(*user)));
    }
}
