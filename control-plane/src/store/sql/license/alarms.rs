//! Tells when a license is nearly used up. Whatever takes seats, gives them back or sets the limit
//! ends with this, in its transaction: what is told is what was committed, and none of it is
//! missed.

use super::super::audit::append;
use super::super::dialect::Connection;
use super::super::locks::LicenseUse;
use super::super::webhooks::outbox;
use super::super::{codec, locks, statement};
use crate::model::{
    Call, Event, EventType, LicenseLevel, TenantId, TenantNo, Timestamp, Trail, WebhookEvent, names,
    webhook_message as message,
};
use crate::store::Result;

/// That seats were taken or given back, and whether that is to be told has not been looked at yet.
#[must_use = "whether the license is nearly used up must be told at the end of the transaction"]
#[derive(Clone, Copy)]
pub(crate) struct Taken(TenantNo);

impl Taken {
    pub(crate) fn of(tenant: TenantNo) -> Self {
        Self(tenant)
    }

    /// Tells it if the use has come to another level. Belongs to the end of the transaction: it
    /// locks webhooks and the trail's head.
    pub(crate) async fn publish(self, connection: &mut Connection, now: Timestamp) -> Result<()> {
        self.enqueue_messages(connection, now).await?.record(connection, now).await
    }

    /// The first half of it: what is left is for the trail, perhaps behind another event.
    pub(crate) async fn enqueue_messages(self, connection: &mut Connection, now: Timestamp) -> Result<Alarm> {
        check_level(connection, self.0, now).await
    }
}

/// What the trail is to be told yet.
#[must_use = "belongs into the audit trail"]
pub(crate) struct Alarm {
    tenant: TenantId,
    events: Vec<Event>,
}

impl Alarm {
    pub(crate) async fn record(self, connection: &mut Connection, now: Timestamp) -> Result<()> {
        let trail = Trail::Tenant(self.tenant);
        for event in self.events {
            append::record(connection, &trail, &Call::system(now), event).await?;
        }
        Ok(())
    }
}

async fn check_level(connection: &mut Connection, number: TenantNo, now: Timestamp) -> Result<Alarm> {
    let LicenseUse { id, enabled_users: used, license_limit: limit, license_level } =
        locks::lock_license(connection, number).await?;
    let (tenant, before) = (TenantId(id), codec::license_level(license_level)?);
    let next = before.next(used, limit);
    let mut alarm = Alarm { tenant, events: Vec::new() };
    if next == before {
        return Ok(alarm);
    }
    statement::query("UPDATE tenants SET license_level = $2 WHERE tenant_no = $1")
        .bind(number.0)
        .bind(i64::from(next.number()))
        .execute(&mut *connection)
        .await?;
    let data = message::of_license(&alarm.tenant, used, limit);
    for (kind, event) in crossed(before, next) {
        outbox::enqueue(connection, number, event, &data, now).await?;
        let license = names::license(&alarm.tenant);
        alarm.events.push(Event::done(kind, license).with("used", used).with("limit", limit));
    }
    Ok(alarm)
}

/// What is crossed on the way, in order.
fn crossed(before: LicenseLevel, next: LicenseLevel) -> Vec<(EventType, WebhookEvent)> {
    let up = [
        (LicenseLevel::Above85, EventType::LicenseAbove85, WebhookEvent::LicenseAbove85),
        (LicenseLevel::Above95, EventType::LicenseAbove95, WebhookEvent::LicenseAbove95),
    ];
    let down = [
        (LicenseLevel::Above95, EventType::LicenseBelow95, WebhookEvent::LicenseBelow95),
        (LicenseLevel::Above85, EventType::LicenseBelow85, WebhookEvent::LicenseBelow85),
    ];
    let up = up.into_iter().filter(|(level, ..)| before < *level && *level <= next);
    let down = down.into_iter().filter(|(level, ..)| next < *level && *level <= before);
    up.chain(down).map(|(_, kind, event)| (kind, event)).collect()
}
