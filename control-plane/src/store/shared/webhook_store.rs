//! [`WebhookStore`] over the statements of `webhooks` and `deliveries`.

use std::time::Duration;

use async_trait::async_trait;

use super::{Engine, deliveries, webhooks};
use crate::model::{
    Actor, Attempted, Delivery, FailedAttempt, Receiver, TenantId, Timestamp, Webhook, WebhookId, WebhookNo,
};
use crate::store::{NewWebhook, Result, WebhookChange, WebhookStore};

#[async_trait]
impl WebhookStore for Engine {
    async fn create_webhook(
        &self,
        tenant: &TenantId,
        new: NewWebhook,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Webhook> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, new, by) = (tenant.clone(), new.clone(), by.clone());
            Box::pin(async move { webhooks::create(c, &tenant, &new, most, &by, now).await })
        })
        .await
    }

    async fn webhook(&self, tenant: &TenantId, webhook: &WebhookId) -> Result<Webhook> {
        let (tenant, webhook) = (tenant.clone(), webhook.clone());
        self.read(move |c| Box::pin(async move { webhooks::webhook(c, &tenant, &webhook).await })).await
    }

    async fn list_webhooks(
        &self,
        tenant: &TenantId,
        after: Option<&WebhookId>,
        limit: i64,
    ) -> Result<Vec<Webhook>> {
        let (tenant, after) = (tenant.clone(), after.cloned());
        self.read(move |c| Box::pin(async move { webhooks::list(c, &tenant, after.as_ref(), limit).await }))
            .await
    }

    async fn update_webhook(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        change: WebhookChange,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Webhook> {
        let (tenant, webhook, by) = (tenant.clone(), webhook.clone(), by.clone());
        self.write(move |c| {
            let (tenant, webhook) = (tenant.clone(), webhook.clone());
            let (change, by) = (change.clone(), by.clone());
            Box::pin(async move { webhooks::update(c, (&tenant, &webhook), &change, &by, now).await })
        })
        .await
    }

    async fn delete_webhook(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        let (tenant, webhook, by) = (tenant.clone(), webhook.clone(), by.clone());
        self.write(move |c| {
            let (tenant, webhook, by) = (tenant.clone(), webhook.clone(), by.clone());
            Box::pin(async move { webhooks::delete(c, (&tenant, &webhook), &by, now).await })
        })
        .await
    }

    async fn rotate_webhook_secret(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        secret: Vec<u8>,
        previous_until: Timestamp,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Webhook> {
        let (tenant, webhook, by) = (tenant.clone(), webhook.clone(), by.clone());
        self.write(move |c| {
            let (tenant, webhook) = (tenant.clone(), webhook.clone());
            let (secret, by) = (secret.clone(), by.clone());
            Box::pin(async move {
                webhooks::rotate(c, (&tenant, &webhook), &secret, previous_until, &by, now).await
            })
        })
        .await
    }

    async fn begin_webhook_test(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        pause: Duration,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Receiver> {
        let (tenant, webhook, by) = (tenant.clone(), webhook.clone(), by.clone());
        self.write(move |c| {
            let (tenant, webhook, by) = (tenant.clone(), webhook.clone(), by.clone());
            Box::pin(async move { webhooks::begin_test(c, (&tenant, &webhook), pause, &by, now).await })
        })
        .await
    }

    async fn end_webhook_test(
        &self,
        webhook: WebhookNo,
        failed: Option<FailedAttempt>,
        now: Timestamp,
    ) -> Result<()> {
        self.write(move |c| Box::pin(async move { deliveries::tested(c, webhook, failed, now).await })).await
    }

    async fn due_webhooks(&self, now: Timestamp, limit: i64) -> Result<Vec<WebhookNo>> {
        self.read(move |c| Box::pin(async move { deliveries::due(c, now, limit).await })).await
    }

    async fn claim_delivery(
        &self,
        webhook: WebhookNo,
        owner: &str,
        lease: Duration,
        most_of_tenant: i64,
        now: Timestamp,
    ) -> Result<Option<Delivery>> {
        let owner = owner.to_owned();
        self.write(move |c| {
            let owner = owner.clone();
            Box::pin(async move { deliveries::claim(c, webhook, &owner, lease, most_of_tenant, now).await })
        })
        .await
    }

    async fn delivery_attempted(
        &self,
        delivery: &Delivery,
        owner: &str,
        attempted: Attempted,
        now: Timestamp,
    ) -> Result<()> {
        let (delivery, owner) = (delivery.clone(), owner.to_owned());
        self.write(move |c| {
            let (delivery, owner) = (delivery.clone(), owner.clone());
            Box::pin(async move { deliveries::attempted(c, &delivery, &owner, attempted, now).await })
        })
        .await
    }
}
