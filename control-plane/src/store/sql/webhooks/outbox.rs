//! Writes messages for webhooks, in the transaction that does what they tell. Comes after
//! everything but the audit trail: webhooks are locked in the order of their numbers, then the
//! trail's head.

use super::super::dialect::Connection;
use super::super::locks::LockedWebhook;
use super::super::{codec, locks, statement};
use crate::model::{TenantNo, Timestamp, WebhookEvent, webhook_message as message};
use crate::store::Result;

/// Messages that may wait for one webhook. Beyond these new ones are given up, so that nobody fills
/// the database with them.
const MAX_PENDING_MESSAGES: i64 = 10_000;

/// Writes a message for each webhook of the tenant that wants it.
pub(crate) async fn enqueue(
    connection: &mut Connection,
    tenant: TenantNo,
    event: WebhookEvent,
    data: &serde_json::Value,
    now: Timestamp,
) -> Result<()> {
    for webhook in locks::lock_webhooks(connection, tenant).await? {
        let LockedWebhook { webhook_no: webhook, uid, events: wanted, pending, last_message: last } = webhook;
        let wanted = codec::webhook_events(&wanted)?;
        if !wanted.is_empty() && !wanted.contains(&event) {
            continue;
        }
        if pending >= MAX_PENDING_MESSAGES {
            let full = statement::query("UPDATE webhooks SET given_up = given_up + 1 WHERE webhook_no = $1");
            full.bind(webhook).execute(&mut *connection).await?;
            continue;
        }
        statement::query(
            "UPDATE webhooks SET pending = pending + 1, last_message = $2 WHERE webhook_no = $1",
        )
        .bind(webhook)
        .bind(last + 1)
        .execute(&mut *connection)
        .await?;
        statement::query(
            "INSERT INTO webhook_messages (webhook_no, number, id, event, body, created_at, \
             next_attempt_at) VALUES ($1, $2, $3, $4, $5, $6, $6)",
        )
        .bind(webhook)
        .bind(last + 1)
        .bind(message::id(codec::webhook_uid(uid)?, last + 1, now))
        .bind(i64::from(event.number()))
        .bind(message::body(event.name(), now, data))
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
