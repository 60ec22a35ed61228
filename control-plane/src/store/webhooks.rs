//! Webhooks and their deliveries.

use std::time::Duration;

use super::operations::operations;
use super::{NewWebhook, WebhookChange};
use crate::model::{
    Actor, AttemptOutcome, Delivery, FailedAttempt, Receiver, TenantId, Timestamp, Webhook, WebhookId,
    WebhookNo,
};

operations! {
    /// Makes a webhook, at most `most` a tenant.
    write fn create_webhook(
        tenant: &TenantId,
        new: move NewWebhook,
        most: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Webhook = webhooks::webhook::create;
    /// A webhook.
    read fn webhook(tenant: &TenantId, webhook: &WebhookId) -> Webhook = webhooks::webhook::webhook;
    /// Webhooks by id, after `after`.
    read fn list_webhooks(
        tenant: &TenantId,
        after: Option<&WebhookId>,
        limit: i64,
    ) -> Vec<Webhook> = webhooks::webhook::list;
    /// Changes a webhook. What waits is due at once at a new address, or once it is switched on
    /// again; one that is off forgets it.
    write fn update_webhook(
        tenant: &TenantId,
        webhook: &WebhookId,
        change: move WebhookChange,
        by: &Actor,
        now: Timestamp,
    ) -> Webhook = webhooks::webhook::update;
    /// Deletes a webhook with what waits for it.
    write fn delete_webhook(
        tenant: &TenantId,
        webhook: &WebhookId,
        by: &Actor,
        now: Timestamp,
    ) -> () = webhooks::webhook::delete;
    /// Gives a webhook another secret, sealed; the one of before counts until then, too.
    write fn rotate_webhook_secret(
        tenant: &TenantId,
        webhook: &WebhookId,
        secret: move Vec<u8>,
        previous_until: Timestamp,
        by: &Actor,
        now: Timestamp,
    ) -> Webhook = webhooks::webhook::rotate;
    /// Notes that a webhook is tested. Refused with [`crate::store::StoreError::TestedJustNow`] if
    /// it was within `pause`.
    write fn begin_webhook_test(
        tenant: &TenantId,
        webhook: &WebhookId,
        pause: Duration,
        by: &Actor,
        now: Timestamp,
    ) -> Receiver = webhooks::webhook::begin_test;
    /// Notes what came of a test. After a good one what waits is due at once.
    write fn end_webhook_test(
        webhook: WebhookNo,
        failed: Option<FailedAttempt>,
        now: Timestamp,
    ) -> () = webhooks::deliveries::tested;
    /// Webhooks with a message that is due, the one that waited longest first. Those of suspended
    /// tenants wait.
    read fn due_webhooks(now: Timestamp, limit: i64) -> Vec<WebhookNo> = webhooks::deliveries::due;
    /// Takes the oldest message of a webhook that is due; the webhook is the owner's for so long.
    /// None if someone else has it, or others have `most_of_tenant` webhooks of the tenant.
    write fn claim_delivery(
        webhook: WebhookNo,
        owner: &str,
        lease: Duration,
        most_of_tenant: i64,
        now: Timestamp,
    ) -> Option<Delivery> = webhooks::deliveries::claim;
    /// Writes down what came of a delivery, and gives the webhook back.
    write fn record_attempt(
        delivery: &Delivery,
        owner: &str,
        attempted: AttemptOutcome,
        now: Timestamp,
    ) -> () = webhooks::deliveries::attempted;
}
