//! Finds messages that are due, and delivers them. Every replica looks; a lease in the store says
//! which of them delivers to a webhook, so that a message is not sent twice.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::address::Networks;
use super::retry::{self, AttemptError};
use super::secret;
use super::send::Sender;
use crate::clock::Clock;
use crate::model::{
    Actor, AttemptOutcome, Delivery, FailedAttempt, Receiver, TenantId, Timestamp, WebhookId, WebhookNo,
    webhook_message as message,
};
use crate::store::{Store, StoreError};

/// How often to look for what is due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Deliveries of a replica at a time.
const MAX_DELIVERIES: usize = 64;
/// Deliveries of one tenant at a time, on all replicas.
const MAX_DELIVERIES_PER_TENANT: i64 = 2;
/// How long a delivery may take before another replica may repeat it: more than any attempt takes.
const DELIVERY_LEASE: Duration = Duration::from_secs(30);
/// When to look for the next message of a webhook that had one.
const DELIVERY_PAUSE: Duration = Duration::from_millis(250);
/// How often a webhook may be tested.
const TEST_INTERVAL: Duration = Duration::from_secs(5);

struct Inner {
    store: Arc<Store>,
    clock: Clock,
    sender: Sender,
    /// This replica, as leases have it.
    owner: String,
    slots: Arc<Semaphore>,
    /// A delivery has ended: there may be a next one.
    wake: Notify,
}

/// The deliveries of this replica. Clones share everything.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

impl Webhooks {
    /// Starts delivering, until `shutdown`.
    #[must_use]
    pub fn start(store: Arc<Store>, sender: Sender, clock: Clock, shutdown: CancellationToken) -> Self {
        let inner = Arc::new(Inner {
            store,
            clock,
            sender,
            owner: Uuid::now_v7().to_string(),
            slots: Arc::new(Semaphore::new(MAX_DELIVERIES)),
            wake: Notify::new(),
        });
        tokio::spawn(run(Arc::clone(&inner), shutdown));
        Self(inner)
    }

    /// What seals secrets.
    #[must_use]
    pub fn sealer(&self) -> &secret::Sealer {
        &self.0.sender.sealer
    }

    /// Where messages may go.
    #[must_use]
    pub fn networks(&self) -> &Networks {
        &self.0.sender.networks
    }

    /// Sends a ping, and returns why it failed.
    ///
    /// # Errors
    /// If there is no such webhook, or it was tested just now.
    pub async fn test(
        &self,
        tenant: &TenantId,
        webhook: &WebhookId,
        by: &Actor,
    ) -> Result<Option<FailedAttempt>, StoreError> {
        let inner = &self.0;
        let now = inner.clock.now();
        let receiver = inner.store.begin_webhook_test(tenant, webhook, TEST_INTERVAL, by, now).await?;
        let id = message::id(receiver.uid, 0, now);
        let body = message::body("ping", now, &message::of_ping(tenant, webhook));
        let outcome = inner.sender.send(&receiver, &id, &body, now).await;
        let at = inner.clock.now();
        let failed =
            outcome.err().map(|AttemptError { failure, status }| FailedAttempt { at, failure, status });
        inner.store.end_webhook_test(receiver.number, failed, at).await?;
        inner.wake.notify_one();
        Ok(failed)
    }
}

async fn run(inner: Arc<Inner>, shutdown: CancellationToken) {
    loop {
        if let Err(error) = start_due_deliveries(&inner).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot look for messages that are due");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

/// Begins a delivery for each webhook that has one due, as far as there is room.
async fn start_due_deliveries(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let free = inner.slots.available_permits();
    if free == 0 {
        return Ok(());
    }
    // More than there is room for: those of busy tenants are passed over.
    let limit = i64::try_from(free * 4).unwrap_or(i64::MAX);
    for webhook in inner.store.due_webhooks(inner.clock.now(), limit).await? {
        let Ok(slot) = Arc::clone(&inner.slots).try_acquire_owned() else { return Ok(()) };
        if let Some(delivery) = claim(inner, webhook).await? {
            tokio::spawn(deliver(Arc::clone(inner), delivery, slot));
        }
    }
    Ok(())
}

async fn claim(inner: &Inner, webhook: WebhookNo) -> Result<Option<Delivery>, StoreError> {
    let now = inner.clock.now();
    inner.store.claim_delivery(webhook, &inner.owner, DELIVERY_LEASE, MAX_DELIVERIES_PER_TENANT, now).await
}

async fn deliver(inner: Arc<Inner>, delivery: Delivery, slot: OwnedSemaphorePermit) {
    let Delivery { receiver, id, body, event, .. } = &delivery;
    let outcome = inner.sender.send(receiver, id, body, inner.clock.now()).await;
    let now = inner.clock.now();
    let attempted = retry::after_attempt(outcome, delivery.attempts, delivery.created_at, now, random());
    log_attempt(receiver, event.name(), delivery.attempts, &attempted);
    // If this cannot be written, the message is delivered once more when the lease is over.
    if let Err(error) = inner.store.record_attempt(&delivery, &inner.owner, attempted, now).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(tenant = %receiver.tenant, webhook = %receiver.id, error, "cannot write down a delivery");
    }
    drop(slot);
    tokio::time::sleep(DELIVERY_PAUSE).await;
    inner.wake.notify_one();
}

fn log_attempt(receiver: &Receiver, event: &str, attempts: i64, attempted: &AttemptOutcome) {
    let Receiver { tenant, id: webhook, .. } = receiver;
    match attempted {
        AttemptOutcome::Delivered => tracing::info!(%tenant, %webhook, event, attempts, "message delivered"),
        AttemptOutcome::Gone => {
            tracing::warn!(%tenant, %webhook, event, "the receiver is gone, webhook switched off")
        }
        AttemptOutcome::Again { at: Timestamp(_), failure, status, .. } => {
            tracing::info!(%tenant, %webhook, event, attempts, ?failure, ?status, "message not delivered");
        }
        AttemptOutcome::GivenUp { failure, status } => {
            tracing::warn!(%tenant, %webhook, event, attempts, ?failure, ?status, "message given up");
        }
    }
}

/// A random number. Without one, messages are sent again at the same time, which is no reason to
/// stop.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
