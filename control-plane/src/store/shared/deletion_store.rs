//! [`DeletionStore`] over the statements of `deletion_settings`, `marks` and `purge`.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;

use super::engine::{self, Connection};
use super::{Engine, deletion_settings, marks, purge};
use crate::model::{
    Actor, DeletionSettings, DuePurge, Marking, TenantId, TenantNo, Timestamp, User, UserNo, UserStanding,
};
use crate::reconcile::deletion::SIGN_IN_PRECISION;
use crate::store::{DeletionLease, DeletionStore, Purged, Result};

#[async_trait]
impl DeletionStore for Engine {
    async fn deletion_settings(&self, tenant: &TenantId) -> Result<DeletionSettings> {
        let tenant = tenant.clone();
        self.read(move |c| Box::pin(async move { deletion_settings::get(c, &tenant).await })).await
    }

    async fn set_deletion_settings(
        &self,
        tenant: &TenantId,
        settings: DeletionSettings,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, by) = (tenant.clone(), by.clone());
            Box::pin(async move { deletion_settings::set(c, &tenant, &settings, &by, now).await })
        })
        .await
    }

    async fn mark_users(
        &self,
        tenant: &TenantId,
        users: Vec<UserNo>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<User>> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, users, by) = (tenant.clone(), users.clone(), by.clone());
            Box::pin(async move { marks::mark(c, &tenant, &users, &by, now).await })
        })
        .await
    }

    async fn undelete_users(
        &self,
        tenant: &TenantId,
        users: Vec<UserNo>,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Vec<User>> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, users, by) = (tenant.clone(), users.clone(), by.clone());
            Box::pin(async move { marks::undelete(c, &tenant, &users, &by, now).await })
        })
        .await
    }

    async fn delete_user(&self, tenant: &TenantId, user: UserNo, by: &Actor, now: Timestamp) -> Result<()> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, by) = (tenant.clone(), by.clone());
            Box::pin(async move { purge::delete_now(c, &tenant, user, &by, now).await })
        })
        .await
    }

    async fn note_sign_ins(&self, tenant: TenantNo, users: Vec<UserNo>, now: Timestamp) -> Result<()> {
        self.write(move |c| {
            let users = users.clone();
            Box::pin(async move { note_sign_ins(c, tenant, &users, now).await })
        })
        .await
    }

    async fn due_purges(&self, now: Timestamp, limit: i64) -> Result<Vec<DuePurge>> {
        self.read(move |c| Box::pin(async move { purge::due(c, now, limit).await })).await
    }

    async fn purge(
        &self,
        lease: &DeletionLease,
        due: &DuePurge,
        limit: i64,
        now: Timestamp,
    ) -> Result<Option<Purged>> {
        let (lease, due) = (lease.clone(), due.clone());
        self.write(move |c| {
            let (lease, due) = (lease.clone(), due.clone());
            Box::pin(async move { purge::purge(c, &lease, &due, limit, now).await })
        })
        .await
    }

    async fn markings(&self, after: Option<TenantNo>, limit: i64) -> Result<Vec<Marking>> {
        self.read(move |c| Box::pin(async move { marks::markings(c, after, limit).await })).await
    }

    async fn mark_candidates(
        &self,
        marking: &Marking,
        after: Option<UserNo>,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<UserStanding>> {
        let marking = marking.clone();
        self.read(move |c| Box::pin(async move { marks::candidates(c, &marking, after, limit, now).await }))
            .await
    }

    async fn automatic_marks(
        &self,
        marking: &Marking,
        after: Option<UserNo>,
        limit: i64,
    ) -> Result<Vec<UserStanding>> {
        let marking = marking.clone();
        self.read(move |c| Box::pin(async move { marks::automatic(c, &marking, after, limit).await })).await
    }

    async fn review_marks(
        &self,
        lease: &DeletionLease,
        tenant: &TenantId,
        users: Vec<UserNo>,
        now: Timestamp,
    ) -> Result<Option<usize>> {
        let (lease, tenant) = (lease.clone(), tenant.clone());
        self.write(move |c| {
            let (lease, tenant, users) = (lease.clone(), tenant.clone(), users.clone());
            Box::pin(async move { marks::review(c, &lease, &tenant, &users, now).await })
        })
        .await
    }
}

async fn note_sign_ins(
    connection: &mut Connection,
    tenant: TenantNo,
    users: &[UserNo],
    now: Timestamp,
) -> Result<()> {
    let text = format!(
        "UPDATE users SET last_sign_in_at = $2 WHERE tenant_no = $1 AND (last_sign_in_at IS NULL OR last_sign_in_at <= $3) AND user_no {}",
        engine::in_ints(4)
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(tenant.0).bind(now.0);
    // In one order, so that two replicas do not wait for each other.
    let mut numbers: Vec<i64> = users.iter().map(|user| user.0).collect();
    numbers.sort_unstable();
    let query = query.bind(now.minus(SIGN_IN_PRECISION).0);
    engine::ints(query, &numbers).execute(connection).await?;
    Ok(())
}
