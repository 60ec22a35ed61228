//! Parts of what a router says of an entry: its version, warnings, texts and policy attributes.

use std::collections::BTreeMap;

use rollcall_proto::limits;
use rollcall_proto::router::v1 as proto;

use crate::model::{EntryVersion, VersionKind};

/// A version that can be compared; what cannot be read is none.
pub(super) fn version_from_proto(version: proto::EntryVersion) -> Option<EntryVersion> {
    let kind = VersionKind::from_number(i16::try_from(version.kind).ok()?)?;
    let proto::EntryVersion { value, origin, .. } = version;
    let is_fine = (1..=EntryVersion::MAX_VALUE).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_graphic())
        && origin.len() <= EntryVersion::MAX_ORIGIN;
    is_fine.then(|| EntryVersion { kind, value, origin: origin.to_vec() })
}

/// Most warnings that are kept of a user.
pub(super) const MAX_WARNINGS: usize = 20;

/// A sentence for people.
pub(super) fn warning_from_proto(warning: proto::Warning) -> String {
    let proto::Warning { attribute, message } = warning;
    let (attribute, message) = (truncate(attribute, 100), truncate(message, 400));
    if message.contains(&attribute) { message } else { format!("{attribute}: {message}") }
}

/// What is wrong with a text, if it cannot be kept.
pub(super) fn check_text(name: &str, text: &str, most: usize) -> Option<String> {
    if limits::is_longer(text, most) {
        return Some(format!("{name} is longer than {most} characters"));
    }
    text.contains(char::is_control).then(|| format!("{name} has a control character"))
}

/// A JSON object of arrays, sorted; empty if there are none. JSON escapes what a table could not
/// hold.
pub(super) fn policy_json(attributes: Vec<proto::PolicyAttribute>) -> String {
    if attributes.is_empty() {
        return String::new();
    }
    let attributes: BTreeMap<String, Vec<String>> =
        attributes.into_iter().map(|proto::PolicyAttribute { name, values }| (name, values)).collect();
    serde_json::to_string(&attributes).unwrap_or_default()
}

/// At most so many characters of a text, without control characters.
pub(super) fn truncate(text: String, most: usize) -> String {
    if text.len() <= most && !text.contains(char::is_control) {
        return text;
    }
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}
