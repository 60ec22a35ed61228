//! Deletion: marks, and what becomes of them.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::model::{
    Actor, DeletionSettings, DuePurge, Marking, TenantId, TenantNo, Timestamp, User, UserNo, UserStanding,
};

/// The right to delete and to mark by itself in a tenant, for a while. It is taken, or taken over once it is over, in the transaction
/// that makes use of it.
#[derive(Clone, Debug)]
pub struct DeletionLease {
    /// Who.
    pub owner: String,
    /// For how long.
    pub lease: Duration,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Users that are gone.
    pub deleted: usize,
    /// Users whose automatic marks were taken off instead, since they came back.
    pub lifted: usize,
}

/// What is kept of marks, and the deletions.
#[async_trait]
pub trait DeletionStore {
    /// A tenant's settings.
    async fn deletion_settings(&self, tenant: &TenantId) -> Result<DeletionSettings>;
    /// Sets them. Users who are marked keep their time.
    async fn set_deletion_settings(
        &self,
        tenant: &TenantId,
        settings: DeletionSettings,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()>;
    /// Marks all of these users, or with [`super::StoreError::NoSuchUsers`] none. Whom an administrator has marked already stays as it is.
    async fn mark_users(
        &self,
        tenant: &TenantId,
        users: Vec<UserNo>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<User>>;
    /// Takes the marks off all of these users, or of none.
    async fn undelete_users(
        &self,
        tenant: &TenantId,
        users: Vec<UserNo>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<User>>;
    /// Deletes a user that is not enabled, with all that is kept of it but the audit trail.
    async fn delete_user(&self, tenant: &TenantId, user: UserNo, by: &Actor, now: Timestamp) -> Result<()>;
    /// Notes that users were let in, but of those of whom that was noted within the hour.
    async fn note_sign_ins(&self, tenant: TenantNo, users: Vec<UserNo>, now: Timestamp) -> Result<()>;

    // --- what happens by itself ---

    /// Sources with marked users whose time has come. Those of suspended tenants wait.
    async fn due_purges(&self, now: Timestamp, limit: i64) -> Result<Vec<DuePurge>>;
    /// Deletes the next of those users, at most `limit`, in one transaction. None if another replica has the lease.
    async fn purge(
        &self,
        lease: &DeletionLease,
        due: &DuePurge,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<Purged>>;
    /// Tenants that mark by themselves, or have such marks, by number, after `after`. None that is suspended.
    async fn markings(&self, after: Option<TenantNo>, limit: i64) -> Result<Vec<Marking>>;
    /// Users without a mark who may be due for one by these settings, by number, after `after`.
    async fn mark_candidates(
        &self,
        marking: &Marking,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<UserStanding>>;
    /// Users with automatic marks, by number, after `after`.
    async fn automatic_marks(
        &self,
        marking: &Marking,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<UserStanding>>;
    /// Marks those of these users who are due, and takes automatic marks off those who came back, as [`crate::reconcile::deletion`]
    /// decides, in one transaction. How many; none if another replica has the lease.
    async fn review_marks(
        &self,
        lease: &DeletionLease,
        tenant: &TenantId,
        users: Vec<UserNo>,
        now: Timestamp,
    ) -> Result<Option<usize>>;
}
