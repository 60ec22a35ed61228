//! Writes messages for webhooks, in the transaction that does what they tell. Comes after everything but the audit trail: webhooks are
//! locked in the order of their numbers, then the trail's head.

use sqlx::AssertSqlSafe;

use super::engine::{Connection, LOCK};
use super::webhooks::{events, sixteen_of};
use crate::model::webhook_message as message;
use crate::model::{TenantNo, Timestamp, WebhookEvent};
use crate::store::Result;

/// Messages that may wait for one webhook. Beyond these new ones are given up, so that nobody fills the database with them.
const MOST: i64 = 10_000;

/// Writes a message for each webhook of the tenant that wants it.
pub(super) async fn put(
    connection: &mut Connection,
    tenant: TenantNo,
    event: WebhookEvent,
    data: &serde_json::Value,
    now: Timestamp,
) -> Result<()> {
    let text = format!(
        "SELECT webhook_no, uid, events, pending, last_message FROM webhooks WHERE tenant_no = $1 AND state = 1 \
         ORDER BY webhook_no{LOCK}"
    );
    let webhooks: Vec<(i64, Vec<u8>, String, i64, i64)> =
        sqlx::query_as(AssertSqlSafe(text)).bind(tenant.0).fetch_all(&mut *connection).await?;
    for (webhook, uid, wanted, pending, last) in webhooks {
        let wanted = events(&wanted)?;
        if !wanted.is_empty() && !wanted.contains(&event) {
            continue;
        }
        if pending >= MOST {
            let full = sqlx::query("UPDATE webhooks SET given_up = given_up + 1 WHERE webhook_no = $1");
            full.bind(webhook).execute(&mut *connection).await?;
            continue;
        }
        sqlx::query("UPDATE webhooks SET pending = pending + 1, last_message = $2 WHERE webhook_no = $1")
            .bind(webhook)
            .bind(last + 1)
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "INSERT INTO webhook_messages (webhook_no, number, id, event, body, created_at, next_attempt_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6)",
        )
        .bind(webhook)
        .bind(last + 1)
        .bind(message::id(sixteen_of(uid)?, last + 1, now))
        .bind(i64::from(event.number()))
        .bind(message::body(event.name(), now, data))
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
