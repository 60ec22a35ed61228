//! Deliveries of messages: found due, taken by a replica, written down. A replica has a webhook,
//! not a message, so that messages of one webhook go one after the other.

use std::time::Duration;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::statement::sql;
use super::super::words::WEBHOOK_ACTIVE;
use super::super::{locks, statement};
use super::webhook;
use crate::model::{
    AttemptOutcome, Call, Delivery, DeliveryFailure, EventType, FailedAttempt, Timestamp, Trail,
    WebhookEvent, WebhookNo, WebhookState, spelled,
};
use crate::store::{Result, StoreError};

/// Between two deliveries to a webhook: ten a second for a tenant, since two have a place at a
/// time.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) async fn due(connection: &mut Connection, now: Timestamp, limit: i64) -> Result<Vec<WebhookNo>> {
    let due = statement::query_scalar(sql!(
        "SELECT w.webhook_no FROM webhooks w JOIN tenants t ON t.tenant_no = w.tenant_no WHERE \
         w.pending > 0 AND w.state = {WEBHOOK_ACTIVE} AND w.lease_expires_at <= $1 AND \
         w.blocked_until <= $1 AND t.suspended_at IS NULL AND EXISTS (SELECT 1 FROM \
         webhook_messages m WHERE m.webhook_no = w.webhook_no AND m.next_attempt_at <= $1) ORDER \
         BY w.lease_expires_at, w.webhook_no LIMIT $2"
    ));
    let due: Vec<i64> = due.bind(now.0).bind(limit).fetch_all(connection).await?;
    Ok(due.into_iter().map(WebhookNo).collect())
}

type MessageRow = (i64, String, i64, String, i64, i64);

pub(crate) async fn claim(
    connection: &mut Connection,
    webhook: WebhookNo,
    owner: &str,
    lease: Duration,
    most_of_tenant: i64,
    now: Timestamp,
) -> Result<Option<Delivery>> {
    let claimed = statement::query(sql!(
        "UPDATE webhooks SET lease_owner = $2, lease_expires_at = $3 WHERE webhook_no = $1 AND \
             pending > 0 AND state = {WEBHOOK_ACTIVE} AND lease_expires_at <= $4 AND blocked_until \
             <= $4 AND (SELECT COUNT(*) FROM webhooks o WHERE o.tenant_no = webhooks.tenant_no AND \
             o.lease_expires_at > $4) < $5 AND NOT EXISTS (SELECT 1 FROM tenants t WHERE \
             t.tenant_no = webhooks.tenant_no AND t.suspended_at IS NOT NULL)"
    ))
    .bind(webhook.0)
    .bind(owner.to_owned())
    .bind(now.plus(lease).0)
    .bind(now.0)
    .bind(most_of_tenant)
    .execute(&mut *connection)
    .await?;
    if claimed.rows_affected() == 0 {
        return Ok(None);
    }
    let message = statement::query_as(
        "SELECT number, id, event, body, created_at, attempts FROM webhook_messages WHERE \
         webhook_no = $1 AND next_attempt_at <= $2 ORDER BY number LIMIT 1",
    );
    let message: Option<MessageRow> =
        message.bind(webhook.0).bind(now.0).fetch_optional(&mut *connection).await?;
    let Some((number, id, event, body, created_at, attempts)) = message else {
        give_back(connection, webhook, owner, now).await?;
        return Ok(None);
    };
    let event = i16::try_from(event).ok().and_then(WebhookEvent::from_number);
    Ok(Some(Delivery {
        receiver: webhook::by_number(connection, webhook).await?.receiver,
        number,
        id,
        event: event.ok_or_else(|| StoreError::Broken("a message of an unknown kind".into()))?,
        body,
        created_at: Timestamp(created_at),
        attempts,
    }))
}

/// The webhook is free again in a moment. Its place among those that are due is behind those that
/// were not served since.
async fn give_back(
    connection: &mut Connection,
    webhook: WebhookNo,
    owner: &str,
    now: Timestamp,
) -> Result<()> {
    statement::query(
        "UPDATE webhooks SET lease_owner = '', lease_expires_at = $3 WHERE webhook_no = $1 AND \
         lease_owner = $2",
    )
    .bind(webhook.0)
    .bind(owner.to_owned())
    .bind(now.plus(PAUSE).0)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn attempted(
    connection: &mut Connection,
    delivery: &Delivery,
    owner: &str,
    attempted: AttemptOutcome,
    now: Timestamp,
) -> Result<()> {
    let webhook = delivery.receiver.number;
    let row = locks::lock_webhook(connection, webhook).await?;
    // It was deleted meanwhile, and its messages with it.
    let Some((version, state)) = row else { return Ok(()) };
    give_back(connection, webhook, owner, now).await?;
    let failed = |failure, status| FailedAttempt { at: now, failure, status };
    match attempted {
        AttemptOutcome::Delivered => {
            done(connection, delivery, false).await?;
            succeeded(connection, webhook, now).await
        }
        AttemptOutcome::Again { at, blocks, failure, status } => {
            statement::query(
                "UPDATE webhook_messages SET attempts = attempts + 1, next_attempt_at = $3 WHERE \
                 webhook_no = $1 AND number = $2",
            )
            .bind(webhook.0)
            .bind(delivery.number)
            .bind(at.0)
            .execute(&mut *connection)
            .await?;
            // What was changed meanwhile may be mended.
            if blocks && version == delivery.receiver.version {
                let block = statement::query("UPDATE webhooks SET blocked_until = $2 WHERE webhook_no = $1");
                block.bind(webhook.0).bind(at.0).execute(&mut *connection).await?;
            }
            note_failure(connection, webhook, failed(failure, status)).await
        }
        AttemptOutcome::GivenUp { failure, status } => {
            note_failure(connection, webhook, failed(failure, status)).await?;
            if !done(connection, delivery, true).await? {
                return Ok(());
            }
            let event = webhook::of(EventType::WebhookMessageGivenUp, &delivery.receiver)
                .with("type", delivery.event.name())
                .with("id", &delivery.id)
                .with("attempts", delivery.attempts + 1)
                .with("reason", spelled(failure));
            let trail = Trail::Tenant(delivery.receiver.tenant.clone());
            append::record(connection, &trail, &Call::system(now), event).await
        }
        // Another receiver than the one that was asked may be meant by now.
        AttemptOutcome::Gone if version != delivery.receiver.version => Ok(()),
        AttemptOutcome::Gone => {
            note_failure(connection, webhook, failed(DeliveryFailure::HttpStatus, Some(410))).await?;
            if state != i64::from(WebhookState::Active.number()) {
                return Ok(());
            }
            let pending = webhook::by_number(connection, webhook).await?.pending;
            webhook::forget(connection, webhook).await?;
            statement::query(
                "UPDATE webhooks SET state = $2, given_up = given_up + $3, version = version + 1, \
                 updated_at = $4 WHERE webhook_no = $1",
            )
            .bind(webhook.0)
            .bind(i64::from(WebhookState::Gone.number()))
            .bind(pending)
            .bind(now.0)
            .execute(&mut *connection)
            .await?;
            let event = webhook::of(EventType::WebhookGone, &delivery.receiver).with("pending", pending);
            let trail = Trail::Tenant(delivery.receiver.tenant.clone());
            append::record(connection, &trail, &Call::system(now), event).await
        }
    }
}

/// Takes a message off those that wait. False if it was not there any more.
async fn done(connection: &mut Connection, delivery: &Delivery, given_up: bool) -> Result<bool> {
    let webhook = delivery.receiver.number;
    let gone = statement::query("DELETE FROM webhook_messages WHERE webhook_no = $1 AND number = $2");
    let gone = gone.bind(webhook.0).bind(delivery.number).execute(&mut *connection).await?;
    if gone.rows_affected() == 0 {
        return Ok(false);
    }
    statement::query(
        "UPDATE webhooks SET pending = pending - 1, given_up = given_up + $2, blocked_until = 0 \
         WHERE webhook_no = $1",
    )
    .bind(webhook.0)
    .bind(i64::from(given_up))
    .execute(connection)
    .await?;
    Ok(true)
}

async fn succeeded(connection: &mut Connection, webhook: WebhookNo, now: Timestamp) -> Result<()> {
    statement::query("UPDATE webhooks SET succeeded_at = $2, blocked_until = 0 WHERE webhook_no = $1")
        .bind(webhook.0)
        .bind(now.0)
        .execute(connection)
        .await?;
    Ok(())
}

async fn note_failure(connection: &mut Connection, webhook: WebhookNo, failed: FailedAttempt) -> Result<()> {
    statement::query(
        "UPDATE webhooks SET failed_at = $2, failure = $3, failure_status = $4 WHERE webhook_no = \
         $1",
    )
    .bind(webhook.0)
    .bind(failed.at.0)
    .bind(i64::from(failed.failure.number()))
    .bind(failed.status.map(i64::from))
    .execute(connection)
    .await?;
    Ok(())
}

/// What came of a test: it counts for what waits, too.
pub(crate) async fn tested(
    connection: &mut Connection,
    webhook: WebhookNo,
    failed: Option<FailedAttempt>,
    now: Timestamp,
) -> Result<()> {
    match failed {
        Some(failed) => note_failure(connection, webhook, failed).await,
        None => {
            succeeded(connection, webhook, now).await?;
            webhook::due_at_once(connection, webhook, now).await
        }
    }
}
