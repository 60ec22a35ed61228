//! Webhooks, and the messages that wait to be delivered to them.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::model::{
    Actor, Attempted, Delivery, FailedAttempt, Receiver, TenantId, Timestamp, Webhook, WebhookEvent,
    WebhookId, WebhookNo,
};

/// A webhook to be made.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Its id.
    pub id: WebhookId,
    /// Sixteen random bytes of its own, for which its secret is sealed.
    pub uid: [u8; 16],
    /// Its secret, sealed.
    pub secret: Vec<u8>,
    /// Name for people.
    pub display_name: String,
    /// The address.
    pub url: String,
    /// Which events; none means all.
    pub events: Vec<WebhookEvent>,
    /// Whether it sends.
    pub enabled: bool,
}

/// What of a webhook is to be changed.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// The version that it is made of; none for whichever is there.
    pub version: Option<i64>,
    /// Name for people.
    pub display_name: Option<String>,
    /// The address.
    pub url: Option<String>,
    /// Which events.
    pub events: Option<Vec<WebhookEvent>>,
    /// Whether it sends.
    pub enabled: Option<bool>,
}

/// What is kept of webhooks. Messages are written by whatever they tell of, in its transaction.
#[async_trait]
pub trait WebhookStore {
    /// Makes a webhook, at most `most` a tenant.
    async fn create_webhook(
        &self,
        tenant: &TenantId,
        new: NewWebhook,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Webhook>;
    /// A webhook.
    async fn webhook(&self, tenant: &TenantId, webhook: &WebhookId) -> Result<Webhook>;
    /// Webhooks by id, after `after`.
    async fn list_webhooks(
        &self,
        tenant: &TenantId,
        after: Option<&WebhookId>,
        limit: i64,
    ) -> Result<Vec<Webhook>>;
    /// Changes a webhook. What waits is due at once at a new address, or once it is switched on again; one that is off forgets it.
    async fn update_webhook(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        change: WebhookChange,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Webhook>;
    /// Deletes a webhook with what waits for it.
    async fn delete_webhook(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()>;
    /// Gives a webhook another secret, sealed; the one of before counts until then, too.
    async fn rotate_webhook_secret(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        secret: Vec<u8>,
        previous_until: Timestamp,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Webhook>;
    /// Notes that a webhook is tested. Refused with [`super::StoreError::TestedJustNow`] if it was within `pause`.
    async fn begin_webhook_test(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        pause: Duration,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Receiver>;
    /// Notes what came of a test. After a good one what waits is due at once.
    async fn end_webhook_test(
        &self,
        webhook: WebhookNo,
        failed: Option<FailedAttempt>,
        now: Timestamp,
    ) -> Result<()>;
    /// Webhooks with a message that is due, the one that waited longest first. Those of suspended tenants wait.
    async fn due_webhooks(&self, now: Timestamp, limit: i64) -> Result<Vec<WebhookNo>>;
    /// Takes the oldest message of a webhook that is due; the webhook is the owner's for so long. None if someone else has it, or
    /// others have `most_of_tenant` webhooks of the tenant.
    async fn claim_delivery(
        &self,
        webhook: WebhookNo,
        owner: &str,
        lease: Duration,
        most_of_tenant: i64,
        now: Timestamp,
    ) -> Result<Option<Delivery>>;
    /// Writes down what came of a delivery, and gives the webhook back.
    async fn delivery_attempted(
        &self,
        delivery: &Delivery,
        owner: &str,
        attempted: Attempted,
        now: Timestamp,
    ) -> Result<()>;
}
