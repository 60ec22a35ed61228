//! [`AuditStore`] over the statements of `audit` and `audit_read`.

use async_trait::async_trait;

use super::audit_read::{self, Part};
use super::{Engine, audit};
use crate::model::{Actor, AuditEvent, AuditFilter, AuditHead, Event, TenantNo, Timestamp, Trail};
use crate::store::{AuditStore, Result, StoredTrail};

#[async_trait]
impl AuditStore for Engine {
    async fn record(&self, trail: &Trail, by: &Actor, event: Event, now: Timestamp) -> Result<()> {
        let (trail, by) = (trail.clone(), by.clone());
        self.write(move |c| {
            let (trail, by, event) = (trail.clone(), by.clone(), event.clone());
            Box::pin(async move { audit::record(c, &trail, &by, event, now).await })
        })
        .await
    }

    async fn list_events(
        &self,
        trail: &Trail,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditEvent>> {
        let (trail, filter) = (trail.clone(), filter.clone());
        let part = Part::Before(before.unwrap_or(i64::MAX));
        self.read(move |c| Box::pin(async move { audit_read::events(c, &trail, &filter, part, limit).await }))
            .await
    }

    async fn events_from(
        &self,
        trail: &Trail,
        filter: &AuditFilter,
        from: i64,
        limit: i64,
    ) -> Result<Vec<AuditEvent>> {
        let (trail, filter) = (trail.clone(), filter.clone());
        self.read(move |c| {
            Box::pin(async move { audit_read::events(c, &trail, &filter, Part::From(from), limit).await })
        })
        .await
    }

    async fn audit_head(&self, trail: &Trail) -> Result<AuditHead> {
        let trail = trail.clone();
        self.read(move |c| {
            Box::pin(async move {
                let number = audit::number(c, &trail).await?;
                audit::head(c, number, "").await
            })
        })
        .await
    }

    async fn audit_hash(&self, trail: &Trail, sequence: i64) -> Result<Option<[u8; 32]>> {
        let trail = trail.clone();
        self.read(move |c| Box::pin(async move { audit_read::hash(c, &trail, sequence).await })).await
    }

    async fn trail_is_open(&self, trail: &Trail) -> Result<bool> {
        let trail = trail.clone();
        self.read(move |c| Box::pin(async move { audit_read::is_open(c, &trail).await })).await
    }

    async fn next_trail(&self, after: Option<TenantNo>) -> Result<Option<StoredTrail>> {
        self.read(move |c| Box::pin(async move { audit_read::next_trail(c, after).await })).await
    }

    async fn stored_events(
        &self,
        trail: TenantNo,
        after: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Option<AuditEvent>>> {
        self.read(move |c| Box::pin(async move { audit_read::stored_events(c, trail, after, limit).await }))
            .await
    }

    async fn stored_head(&self, trail: TenantNo) -> Result<Option<AuditHead>> {
        self.read(move |c| Box::pin(async move { audit_read::stored_head(c, trail).await })).await
    }
}
