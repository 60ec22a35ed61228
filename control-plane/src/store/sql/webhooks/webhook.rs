//! Webhooks as rows: made, shown, changed, deleted.

use std::time::Duration;

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::statement::sql;
use super::super::{codec, locks, statement};
use crate::model::{
    Call, DeliveryFailure, Event, EventType, FailedAttempt, Receiver, SealedSecrets, TenantId, Timestamp,
    Trail, Webhook, WebhookId, WebhookNo, WebhookState, names,
};
use crate::store::{NewWebhook, Result, StoreError, WebhookChange};

const WEBHOOK: &str = "SELECT w.webhook_no, t.id AS tenant, w.id, w.uid, w.display_name, w.url, w.events, w.state, \
     w.version, w.secret, w.previous_secret, w.previous_until, w.pending, w.given_up, \
     w.blocked_until, w.succeeded_at, w.failed_at, w.failure, w.failure_status, w.created_at, \
     w.updated_at, (SELECT MIN(m.next_attempt_at) FROM webhook_messages m WHERE m.webhook_no = \
     w.webhook_no) AS next_attempt_at FROM webhooks w JOIN tenants t ON t.tenant_no = w.tenant_no";

#[derive(sqlx::FromRow)]
pub(crate) struct WebhookRow {
    webhook_no: i64,
    tenant: String,
    id: String,
    uid: Vec<u8>,
    display_name: String,
    url: String,
    events: String,
    state: i64,
    version: i64,
    secret: Vec<u8>,
    previous_secret: Option<Vec<u8>>,
    previous_until: Option<i64>,
    pending: i64,
    given_up: i64,
    blocked_until: i64,
    succeeded_at: Option<i64>,
    failed_at: Option<i64>,
    failure: Option<i64>,
    failure_status: Option<i64>,
    created_at: i64,
    updated_at: i64,
    next_attempt_at: Option<i64>,
}

impl TryFrom<WebhookRow> for Webhook {
    type Error = StoreError;

    fn try_from(row: WebhookRow) -> Result<Self> {
        let unknown = || StoreError::Broken("a webhook with an unknown state".into());
        let small = |number: i64| i16::try_from(number).unwrap_or_default();
        let failure = row.failure.and_then(|number| DeliveryFailure::from_number(small(number)));
        let failed = row.failed_at.zip(failure).map(|(at, failure)| FailedAttempt {
            at: Timestamp(at),
            failure,
            status: row.failure_status.and_then(|status| u16::try_from(status).ok()),
        });
        Ok(Self {
            receiver: Receiver {
                number: WebhookNo(row.webhook_no),
                uid: codec::webhook_uid(row.uid)?,
                tenant: TenantId(row.tenant),
                id: WebhookId(row.id),
                version: row.version,
                url: row.url,
                secrets: SealedSecrets {
                    present: row.secret,
                    previous: row.previous_secret.zip(row.previous_until.map(Timestamp)),
                },
            },
            display_name: row.display_name,
            events: codec::webhook_events(&row.events)?,
            state: WebhookState::from_number(small(row.state)).ok_or_else(unknown)?,
            pending: row.pending,
            given_up: row.given_up,
            succeeded_at: row.succeeded_at.map(Timestamp),
            failed,
            next_attempt_at: row.next_attempt_at.map(|at| Timestamp(at.max(row.blocked_until))),
            created_at: Timestamp(row.created_at),
            updated_at: Timestamp(row.updated_at),
        })
    }
}

pub(crate) async fn by_number(connection: &mut Connection, webhook: WebhookNo) -> Result<Webhook> {
    let query = statement::query_as(sql!("{WEBHOOK} WHERE w.webhook_no = $1")).bind(webhook.0);
    let row: Option<WebhookRow> = query.fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("webhook"))?.try_into()
}

pub(crate) async fn webhook(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &WebhookId,
) -> Result<Webhook> {
    let query = statement::query_as(sql!("{WEBHOOK} WHERE t.id = $1 AND w.id = $2"));
    let row: Option<WebhookRow> =
        query.bind(tenant.0.clone()).bind(id.0.clone()).fetch_optional(connection).await?;
    row.ok_or(StoreError::NotFound("webhook"))?.try_into()
}

/// The same with its row locked.
async fn locked(connection: &mut Connection, tenant: &TenantId, id: &WebhookId) -> Result<Webhook> {
    let number = webhook(connection, tenant, id).await?.receiver.number;
    locks::lock_webhook(connection, number).await?.ok_or(StoreError::NotFound("webhook"))?;
    by_number(connection, number).await
}

pub(crate) async fn list(
    connection: &mut Connection,
    tenant: &TenantId,
    after: Option<&WebhookId>,
    limit: i64,
) -> Result<Vec<Webhook>> {
    locks::tenant_number(connection, tenant).await?;
    let text = sql!("{WEBHOOK} WHERE t.id = $1 AND w.id > $2 ORDER BY w.id LIMIT $3");
    let query = statement::query_as(text).bind(tenant.0.clone());
    let query = query.bind(after.map_or("", WebhookId::as_str).to_owned()).bind(limit);
    let rows: Vec<WebhookRow> = query.fetch_all(connection).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(crate) async fn create(
    connection: &mut Connection,
    tenant: &TenantId,
    new: &NewWebhook,
    most: i64,
    call: &Call,
) -> Result<Webhook> {
    let tenant_no = locks::lock_tenant(connection, tenant).await?.number;
    let of_tenant = statement::query_as(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN id = $2 THEN 1 ELSE 0 END), 0) FROM webhooks \
         WHERE tenant_no = $1",
    );
    let (all, same): (i64, i64) =
        of_tenant.bind(tenant_no.0).bind(new.id.0.clone()).fetch_one(&mut *connection).await?;
    if same > 0 {
        return Err(StoreError::AlreadyExists("a webhook"));
    }
    if all >= most {
        return Err(StoreError::TooManyWebhooks(most));
    }
    let number = locks::next_number(connection, "webhook").await?;
    let state = if new.enabled { WebhookState::Active } else { WebhookState::Off };
    statement::query(
        "INSERT INTO webhooks (webhook_no, tenant_no, id, uid, display_name, url, events, state, \
         version, secret, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, \
         $10, $10)",
    )
    .bind(number)
    .bind(tenant_no.0)
    .bind(new.id.0.clone())
    .bind(new.uid.to_vec())
    .bind(new.display_name.clone())
    .bind(new.url.clone())
    .bind(codec::webhook_events_json(&new.events)?)
    .bind(i64::from(state.number()))
    .bind(new.secret.clone())
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    let made = by_number(connection, WebhookNo(number)).await?;
    let event = of(EventType::WebhookCreated, &made.receiver).with("enabled", new.enabled);
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    Ok(made)
}

/// Something that is done with a webhook.
pub(crate) fn of(kind: EventType, receiver: &Receiver) -> Event {
    Event::done(kind, names::webhook(&receiver.tenant, &receiver.id))
}

pub(crate) async fn update(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &WebhookId,
    change: &WebhookChange,
    call: &Call,
) -> Result<Webhook> {
    let before = locked(connection, tenant, id).await?;
    let number = before.receiver.number;
    if change.version.is_some_and(|version| version != before.receiver.version) {
        return Err(StoreError::VersionMismatch);
    }
    let after = Webhook {
        display_name: change.display_name.clone().unwrap_or_else(|| before.display_name.clone()),
        events: change.events.clone().unwrap_or_else(|| before.events.clone()),
        state: match change.enabled {
            Some(true) => WebhookState::Active,
            Some(false) => WebhookState::Off,
            None => before.state,
        },
        ..before.clone()
    };
    let url = change.url.clone().unwrap_or_else(|| before.receiver.url.clone());
    statement::query(
        "UPDATE webhooks SET display_name = $2, url = $3, events = $4, state = $5, version = \
         version + 1, updated_at = $6 WHERE webhook_no = $1",
    )
    .bind(number.0)
    .bind(after.display_name.clone())
    .bind(url.clone())
    .bind(codec::webhook_events_json(&after.events)?)
    .bind(i64::from(after.state.number()))
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    let moved = url != before.receiver.url;
    if after.state != WebhookState::Active {
        forget(connection, number).await?;
    } else if moved || before.state != WebhookState::Active {
        due_at_once(connection, number, call.now).await?;
    }
    let changed: Vec<_> = [
        ("display_name", after.display_name != before.display_name),
        ("url", moved),
        ("events", after.events != before.events),
        ("enabled", after.state != before.state),
    ]
    .into_iter()
    .filter_map(|(field, changed)| changed.then_some(field))
    .collect();
    let event = of(EventType::WebhookUpdated, &before.receiver).with("changed", changed.join(","));
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    by_number(connection, number).await
}

/// Forgets what waits.
pub(crate) async fn forget(connection: &mut Connection, webhook: WebhookNo) -> Result<()> {
    statement::query("DELETE FROM webhook_messages WHERE webhook_no = $1")
        .bind(webhook.0)
        .execute(&mut *connection)
        .await?;
    statement::query("UPDATE webhooks SET pending = 0, blocked_until = 0 WHERE webhook_no = $1")
        .bind(webhook.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// What waits need not wait for its next attempt: the receiver may well be there now.
pub(crate) async fn due_at_once(
    connection: &mut Connection,
    webhook: WebhookNo,
    now: Timestamp,
) -> Result<()> {
    statement::query("UPDATE webhooks SET blocked_until = 0 WHERE webhook_no = $1")
        .bind(webhook.0)
        .execute(&mut *connection)
        .await?;
    statement::query(
        "UPDATE webhook_messages SET next_attempt_at = $2 WHERE webhook_no = $1 AND \
         next_attempt_at > $2",
    )
    .bind(webhook.0)
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn delete(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &WebhookId,
    call: &Call,
) -> Result<()> {
    let before = locked(connection, tenant, id).await?;
    statement::query("DELETE FROM webhooks WHERE webhook_no = $1")
        .bind(before.receiver.number.0)
        .execute(&mut *connection)
        .await?;
    let event = of(EventType::WebhookDeleted, &before.receiver).with("pending", before.pending);
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await
}

pub(crate) async fn rotate(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &WebhookId,
    secret: &[u8],
    previous_until: Timestamp,
    call: &Call,
) -> Result<Webhook> {
    let before = locked(connection, tenant, id).await?;
    let number = before.receiver.number;
    let kept = (previous_until > call.now).then_some(previous_until);
    statement::query(
        "UPDATE webhooks SET previous_secret = $3, previous_until = $4, secret = $2, version = \
         version + 1, updated_at = $5 WHERE webhook_no = $1",
    )
    .bind(number.0)
    .bind(secret.to_vec())
    .bind(kept.map(|_| before.receiver.secrets.present.clone()))
    .bind(kept.map(|until| until.0))
    .bind(call.now.0)
    .execute(&mut *connection)
    .await?;
    let until = kept.and_then(|until| jiff::Timestamp::from_microsecond(until.0).ok());
    let event = of(EventType::WebhookSecretRotated, &before.receiver);
    let event = event.with("previous_until", until.map(|until| until.to_string()).unwrap_or_default());
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    by_number(connection, number).await
}

pub(crate) async fn begin_test(
    connection: &mut Connection,
    tenant: &TenantId,
    id: &WebhookId,
    pause: Duration,
    call: &Call,
) -> Result<Receiver> {
    let receiver = locked(connection, tenant, id).await?.receiver;
    let tested =
        statement::query("UPDATE webhooks SET tested_at = $2 WHERE webhook_no = $1 AND tested_at <= $3");
    let tested = tested.bind(receiver.number.0).bind(call.now.0).bind(call.now.minus(pause).0);
    if tested.execute(&mut *connection).await?.rows_affected() == 0 {
        return Err(StoreError::TestedJustNow);
    }
    let event = of(EventType::WebhookTested, &receiver);
    append::record(connection, &Trail::Tenant(tenant.clone()), call, event).await?;
    Ok(receiver)
}
