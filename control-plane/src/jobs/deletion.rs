//! Deletes marked users whose time has come, and marks by itself whom the tenants' settings say.
//! Every replica looks, which costs a few reads; whoever finds something takes the tenant's lease
//! with its first transaction, and the others leave the tenant alone. All of it is in small
//! transactions: whatever dies in between, the next one goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Inner;
use crate::model::{DuePurge, Marking, TenantNo, UserNo, UserStanding};
use crate::reconcile::deletion;
use crate::store::{DeletionLease, StoreError};

/// How often to look for users whose time has come.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How often to look for automatic marks that do not hold any more.
const REVIEW_INTERVAL: Duration = Duration::from_secs(30);
/// How often to look for users who are to be marked: that reads all users of the tenants that want
/// it.
const MARK_INTERVAL: Duration = Duration::from_secs(600);
/// Sources, or tenants, looked at in one go.
const MAX_PER_POLL: i64 = 64;
/// Users a transaction.
const USERS_PER_TRANSACTION: usize = 200;
/// Users a page of those who are looked through.
const USERS_PER_PAGE: i64 = 2_000;

pub(super) async fn run(inner: Arc<Inner>) {
    let lease = DeletionLease { owner: Uuid::now_v7().to_string(), lease: inner.settings.lease };
    let deleter = Deleter { inner: &inner, lease };
    let (mut next_review, mut next_mark) = (Instant::now(), Instant::now());
    loop {
        deleter.purge().await;
        if next_review <= Instant::now() {
            let with_new_marks = next_mark <= Instant::now();
            deleter.review(with_new_marks).await;
            next_review = Instant::now() + REVIEW_INTERVAL;
            if with_new_marks {
                next_mark = Instant::now() + MARK_INTERVAL;
            }
        }
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

struct Deleter<'a> {
    inner: &'a Inner,
    lease: DeletionLease,
}

impl Deleter<'_> {
    fn is_running(&self) -> bool {
        !self.inner.shutdown.is_cancelled()
    }

    async fn purge(&self) {
        let due = match self.inner.store.due_purges(self.inner.clock.now(), MAX_PER_POLL).await {
            Ok(due) => due,
            Err(error) => return log_error(&error, "cannot look for users who are to be deleted"),
        };
        for due in due {
            // One at a time, and its trouble is nobody else's.
            if let Err(error) = self.purge_source(&due).await {
                tracing::warn!(tenant = %due.tenant, source = %due.source, error = &error as &dyn std::error::Error, "cannot delete users");
            }
        }
    }

    async fn purge_source(&self, due: &DuePurge) -> Result<(), StoreError> {
        let (limit, mut users) = (i64::try_from(USERS_PER_TRANSACTION).unwrap_or(i64::MAX), 0);
        while self.is_running() {
            let now = self.inner.clock.now();
            let Some(purged) = self.inner.store.purge(&self.lease, due, limit, now).await? else { break };
            users += purged.deleted;
            if purged.deleted + purged.lifted < USERS_PER_TRANSACTION {
                break;
            }
        }
        if users > 0 {
            tracing::info!(tenant = %due.tenant, source = %due.source, users, "marked users deleted");
        }
        Ok(())
    }

    async fn review(&self, with_new_marks: bool) {
        let mut after: Option<TenantNo> = None;
        loop {
            let tenants = match self.inner.store.markings(after, MAX_PER_POLL).await {
                Ok(tenants) => tenants,
                Err(error) => return log_error(&error, "cannot look for marks"),
            };
            let Some(last) = tenants.last() else { return };
            after = Some(last.number);
            for marking in tenants {
                if let Err(error) = self.review_tenant(&marking, with_new_marks).await {
                    tracing::warn!(tenant = %marking.tenant, error = &error as &dyn std::error::Error, "cannot look through the marks");
                }
            }
        }
    }

    async fn review_tenant(&self, marking: &Marking, with_new_marks: bool) -> Result<(), StoreError> {
        let store = &self.inner.store;
        let mut after = None;
        loop {
            let page = store.automatic_marks(marking, after, USERS_PER_PAGE).await?;
            let Some(last) = page.last().map(|user| user.user) else { break };
            after = Some(last);
            if !self.change_marks(marking, page.iter().filter(|user| !deletion::holds(user))).await? {
                return Ok(());
            }
        }
        let wants = marking.settings.disabled_for.is_some() || marking.settings.unused_for.is_some();
        if !with_new_marks || !wants {
            return Ok(());
        }
        let mut after = None;
        loop {
            let now = self.inner.clock.now();
            let page = store.mark_candidates(marking, after, USERS_PER_PAGE, now).await?;
            let Some(last) = page.last().map(|user| user.user) else { return Ok(()) };
            after = Some(last);
            let due = page.iter().filter(|user| deletion::due(&marking.settings, user, now).is_some());
            if !self.change_marks(marking, due).await? {
                return Ok(());
            }
        }
    }

    /// Puts marks on or takes them off. False if another replica does it, or there is no time left.
    async fn change_marks(
        &self,
        marking: &Marking,
        users: impl Iterator<Item = &UserStanding>,
    ) -> Result<bool, StoreError> {
        let users: Vec<UserNo> = users.map(|user| user.user).collect();
        for users in users.chunks(USERS_PER_TRANSACTION) {
            if !self.is_running() {
                return Ok(false);
            }
            let (store, now) = (&self.inner.store, self.inner.clock.now());
            match store.review_marks(&self.lease, &marking.tenant, users.to_vec(), now).await? {
                None => return Ok(false),
                Some(0) => {}
                Some(users) => tracing::info!(tenant = %marking.tenant, users, "marks changed by themselves"),
            }
        }
        Ok(true)
    }
}

fn log_error(error: &StoreError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}
