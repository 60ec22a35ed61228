//! Converts events of the audit trail to messages, and filters from messages.

use prost_types::Timestamp as ProtoTimestamp;
use rollcall_proto::admin::v1 as proto;

use crate::api::common::convert::timestamp_to_proto;
use crate::model::{AuditEvent, AuditFilter, AuditOutcome, EventType, Timestamp, hex};

/// Longest name or subject that a filter takes.
const MAX_NAME_BYTES: usize = 500;

/// An event.
pub(super) fn event_to_proto(event: AuditEvent) -> proto::AuditEvent {
    proto::AuditEvent {
        sequence: event.sequence,
        event_time: Some(timestamp_to_proto(event.time)),
        r#type: event.kind.into(),
        outcome: event.outcome.into(),
        actor: event.actor.name,
        via: event.actor.via,
        address: event.actor.address,
        subject: event.subject,
        details: serde_json::from_str(&event.details).unwrap_or_default(),
        hash: hex(&event.hash),
    }
}

/// Checks a filter.
pub(super) fn filter_from_proto(
    filter: Option<proto::AuditFilter>,
) -> Result<AuditFilter, Vec<(String, String)>> {
    let filter = filter.unwrap_or_default();
    let mut wrong = Vec::new();
    let mut violation = |field: &str, why: String| wrong.push((format!("filter.{field}"), why));
    let mut kinds = Vec::new();
    for number in filter.types {
        match i16::try_from(number).ok().and_then(EventType::from_number) {
            Some(kind) => kinds.push(kind.number()),
            None => violation("types", format!("has {number}, which is not a type of events")),
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    let outcome = match i16::try_from(filter.outcome) {
        Ok(0) => None,
        number => {
            let outcome = number.ok().and_then(AuditOutcome::from_number);
            if outcome.is_none() {
                violation("outcome", "must be DONE or REFUSED, or not set".to_owned());
            }
            outcome
        }
    };
    if !filter.actor.is_empty() && !is_actor(&filter.actor) {
        let why = "must be admins/{name}, operators/{name}, consoles/{name}, identityRouters/{router}, system or unknown";
        violation("actor", why.to_owned());
    }
    if !filter.subject.is_empty() && !is_subject(&filter.subject) {
        let why = "must be a resource name, such as tenants/acme/identitySources/hq, or a method";
        violation("subject", why.to_owned());
    }
    let mut time = |field, time: Option<ProtoTimestamp>| {
        let valid = time.map(|time| timestamp_from_proto(time).ok_or(()));
        if valid == Some(Err(())) {
            violation(field, "must be a point in time from year 1 to 9999".to_owned());
        }
        valid.and_then(Result::ok)
    };
    let (from, until) = (time("start_time", filter.start_time), time("end_time", filter.end_time));
    if from.zip(until).is_some_and(|(from, until)| from >= until) {
        violation("end_time", "must be after start_time".to_owned());
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(AuditFilter { kinds, actor: text(filter.actor), subject: text(filter.subject), outcome, from, until })
}

fn is_actor(name: &str) -> bool {
    let collections = ["admins", "operators", "consoles", "identityRouters"];
    match name.split_once('/') {
        Some((collection, name)) => collections.contains(&collection) && !name.is_empty() && is_text(name),
        None => ["system", "unknown"].contains(&name),
    }
}

/// Path segments; a method begins with a slash. The borders of the segments are what a filter
/// compares at.
fn is_subject(name: &str) -> bool {
    let path = name.strip_prefix('/').unwrap_or(name);
    is_text(name) && path.split('/').all(|segment| !segment.is_empty())
}

fn is_text(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control)
}

fn timestamp_from_proto(time: ProtoTimestamp) -> Option<Timestamp> {
    let years = -62_135_596_800..=253_402_300_799;
    let valid = years.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    // Rounded up: nothing from before a start with nanoseconds.
    valid.then(|| Timestamp(time.seconds * 1_000_000 + i64::from((time.nanos + 999) / 1_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FailureReason, HoldReason, spelled};

    #[test]
    fn the_words_of_the_trail_are_those_of_the_api() {
        use proto::audit_event::{Outcome, Type};
        for kind in EventType::ALL {
            let name = Type::try_from(i32::from(kind.number())).expect("a type").as_str_name();
            assert_eq!(name, spelled(kind));
        }
        for outcome in AuditOutcome::ALL {
            let name = Outcome::try_from(i32::from(outcome.number())).expect("an outcome").as_str_name();
            assert_eq!(name, spelled(outcome));
        }
        for reason in FailureReason::ALL {
            let number = i32::from(reason.number());
            let name = proto::FailureReason::try_from(number).expect("a reason").as_str_name();
            assert_eq!(name, format!("FAILURE_REASON_{}", spelled(reason)));
        }
        for reason in HoldReason::ALL {
            let number = i32::from(reason.number());
            let name = proto::hold::Reason::try_from(number).expect("a reason").as_str_name();
            assert_eq!(name, spelled(reason));
        }
    }

    #[test]
    fn a_filter_that_could_only_find_nothing_is_refused_with_each_of_its_mistakes() {
        let filter = proto::AuditFilter {
            types: vec![300, 7],
            actor: "alice".to_owned(),
            subject: "tenants/acme/".to_owned(),
            outcome: 3,
            start_time: Some(ProtoTimestamp { seconds: 10, nanos: 0 }),
            end_time: Some(ProtoTimestamp { seconds: 10, nanos: 0 }),
        };
        let wrong = filter_from_proto(Some(filter.clone())).expect_err("refused");
        let fields: Vec<_> = wrong.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            fields,
            ["filter.types", "filter.outcome", "filter.actor", "filter.subject", "filter.end_time"]
        );
        let nowhere = ProtoTimestamp { seconds: i64::MAX, nanos: 0 };
        let wrong =
            filter_from_proto(Some(proto::AuditFilter { start_time: Some(nowhere), ..Default::default() }));
        assert_eq!(wrong.expect_err("refused")[0].0, "filter.start_time");
    }

    #[test]
    fn subjects_are_resource_names_and_methods() {
        for subject in ["tenants/acme", "/rollcall.admin.v1.SyncJobService/StartSync", "unknown method"] {
            assert!(is_subject(subject), "{subject}");
        }
        for subject in ["tenants/acme/", "tenants//acme", "/", "tenants/a\n"] {
            assert!(!is_subject(subject), "{subject}");
        }
    }
}
