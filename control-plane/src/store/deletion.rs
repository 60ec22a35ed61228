//! Marks for deletion, and the deletion of users after a waiting time.

use super::operations::operations;
use super::{DeletionLease, Purged};
use crate::model::{
    Actor, DeletionSettings, DuePurge, Marking, TenantId, TenantNo, Timestamp, User, UserNo, UserStanding,
};

operations! {
    /// A tenant's settings.
    read fn deletion_settings(tenant: &TenantId) -> DeletionSettings = deletion::settings::get;
    /// Sets them. Users who are marked keep their time.
    write fn set_deletion_settings(
        tenant: &TenantId,
        settings: move DeletionSettings,
        by: &Actor,
        now: Timestamp,
    ) -> () = deletion::settings::set;
    /// Marks all of these users, or with [`crate::store::StoreError::NoSuchUsers`] none.
    /// A user that an administrator has marked already stays as it is.
    write fn mark_users(
        tenant: &TenantId,
        users: move Vec<UserNo>,
        by: &Actor,
        now: Timestamp,
    ) -> Vec<User> = deletion::marks::mark;
    /// Takes the marks off all of these users, or of none.
    write fn undelete_users(
        tenant: &TenantId,
        users: move Vec<UserNo>,
        by: &Actor,
        now: Timestamp,
    ) -> Vec<User> = deletion::marks::undelete;
    /// Deletes a user that is not enabled, with all that is kept of it but the audit trail.
    write fn delete_user(
        tenant: &TenantId,
        user: UserNo,
        by: &Actor,
        now: Timestamp,
    ) -> () = deletion::purge::delete_now;
    /// Notes that users were let in, but of those of whom that was noted within the hour.
    write fn record_sign_ins(
        tenant: TenantNo,
        users: move Vec<UserNo>,
        now: Timestamp,
    ) -> () = deletion::sign_ins::note_sign_ins;
    /// Sources with marked users whose time has come. Those of suspended tenants wait.
    read fn due_purges(now: Timestamp, limit: i64) -> Vec<DuePurge> = deletion::purge::due;
    /// Deletes the next of those users, at most `limit`, in one transaction. None if another
    /// replica has the lease.
    write fn purge(
        lease: &DeletionLease,
        due: &DuePurge,
        limit: i64,
        now: Timestamp,
    ) -> Option<Purged> = deletion::purge::purge;
    /// Tenants that mark by themselves, or have such marks, by number, after `after`. None that is
    /// suspended.
    read fn markings(
        after: Option<TenantNo>,
        limit: i64,
    ) -> Vec<Marking> = deletion::marks::markings;
    /// Users without a mark who may be due for one by these settings, by number, after `after`.
    read fn mark_candidates(
        marking: &Marking,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Vec<UserStanding> = deletion::marks::candidates;
    /// Users with automatic marks, by number, after `after`.
    read fn automatic_marks(
        marking: &Marking,
        after: Option<UserNo>,
        limit: i64,
    ) -> Vec<UserStanding> = deletion::marks::automatic;
    /// Marks those of these users who are due, and takes automatic marks off those who came back,
    /// as [`crate::reconcile::deletion`] decides, in one transaction. How many; none if another
    /// replica has the lease.
    write fn review_marks(
        lease: &DeletionLease,
        tenant: &TenantId,
        users: move Vec<UserNo>,
        now: Timestamp,
    ) -> Option<usize> = deletion::marks::review;
}
