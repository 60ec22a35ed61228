//! Writes a trail as JSON, one line an event, in the form that grpcurl prints for
//! StreamAuditEvents.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::model::{AuditEvent, AuditFilter, AuditOutcome, EventType, Timestamp, Trail, hex, spelled};
use crate::store::Store;

/// Events that are read at once.
const EVENTS_PER_PAGE: i64 = 1_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportedEvent {
    // 64 bits are text in the JSON of protobuf.
    sequence: String,
    event_time: String,
    r#type: String,
    outcome: String,
    actor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    via: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
    subject: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<String, String>,
    hash: String,
}

impl From<AuditEvent> for ExportedEvent {
    fn from(event: AuditEvent) -> Self {
        Self {
            sequence: event.sequence.to_string(),
            event_time: rfc3339(event.time),
            r#type: EventType::from_number(event.kind).map_or_else(|| event.kind.to_string(), spelled),
            outcome: AuditOutcome::from_number(event.outcome)
                .map_or_else(|| event.outcome.to_string(), spelled),
            actor: event.actor.name,
            via: event.actor.via,
            address: event.actor.address,
            subject: event.subject,
            details: serde_json::from_str(&event.details).unwrap_or_default(),
            hash: hex(&event.hash),
        }
    }
}

/// With none, three or six digits behind the point, as protobuf has it.
fn rfc3339(time: Timestamp) -> String {
    let second = OffsetDateTime::from_unix_timestamp(time.0.div_euclid(1_000_000)).ok();
    let second = second.and_then(|second| second.format(&Rfc3339).ok()).unwrap_or_default();
    let fraction = match time.0.rem_euclid(1_000_000) {
        0 => return second,
        micros if micros % 1_000 == 0 => format!(".{:03}Z", micros / 1_000),
        micros => format!(".{micros:06}Z"),
    };
    second.replace('Z', &fraction)
}

/// Writes the events of a trail from a sequence number on. How many.
///
/// # Errors
/// If the trail cannot be read, or the lines cannot be written.
pub async fn export(store: &Store, trail: &Trail, from: i64, to: &mut (dyn Write + Send)) -> Result<u64> {
    let (mut next, mut written) = (from, 0);
    loop {
        let events = store.events_from(trail, &AuditFilter::default(), next, EVENTS_PER_PAGE).await?;
        let Some(last) = events.last() else {
            to.flush()?;
            return Ok(written);
        };
        next = last.sequence + 1;
        for event in events {
            serde_json::to_writer(&mut *to, &ExportedEvent::from(event))?;
            to.write_all(b"\n")?;
            written += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Actor;

    #[test]
    fn a_line_is_what_grpcurl_prints() {
        let event = AuditEvent {
            sequence: 7,
            time: Timestamp(1_700_000_000_250_000),
            actor: Actor {
                name: "admins/alice".to_owned(),
                via: String::new(),
                address: "192.0.2.7".to_owned(),
            },
            kind: EventType::SourcePublished.number(),
            outcome: AuditOutcome::Done.number(),
            subject: "tenants/acme/identitySources/hq".to_owned(),
            details: r#"{"revision":"3"}"#.to_owned(),
            hash: [0xab; 32],
        };
        let line = serde_json::to_string(&ExportedEvent::from(event)).expect("a line");
        let hash = "ab".repeat(32);
        assert_eq!(
            line,
            format!(
                r#"{{"sequence":"7","eventTime":"2023-11-14T22:13:20.250Z","type":"SOURCE_PUBLISHED","outcome":"DONE","actor":"admins/alice","address":"192.0.2.7","subject":"tenants/acme/identitySources/hq","details":{{"revision":"3"}},"hash":"{hash}"}}"#
            )
        );
    }
}
