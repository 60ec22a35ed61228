//! Values that an entry may lack. One that cannot be used never keeps the user out: it is left out,
//! and a warning says so without the value.

use rollcall_proto::limits::{NAME, POLICY_BYTES};
use rollcall_proto::router::v1::{PolicyAttribute, Warning};

use super::Entry;
use super::text::{TextError, choose_value, parse_text};

/// Warnings of one record.
const MAX_WARNINGS: usize = 30;
const MAX_POLICY_VALUE_CHARS: usize = 1_024;
/// Values of one policy attribute.
const MAX_POLICY_VALUES: usize = 100;

/// Reads optional values, and keeps what was left out.
#[derive(Debug, Default)]
pub(super) struct OptionalValues {
    warnings: Vec<Warning>,
}

impl OptionalValues {
    /// The value of a field that may be empty.
    pub(super) fn text(&mut self, entry: &Entry, attribute: &str) -> String {
        match choose_value(entry, attribute, NAME, |_| true) {
            Ok(value) => value.unwrap_or_default().to_owned(),
            Err(error) => {
                self.warn(attribute, &error.to_string());
                String::new()
            }
        }
    }

    /// The attributes for access policies. A part of an attribute's values would look whole, so an
    /// attribute with a value that cannot be used is left out as a whole.
    pub(super) fn policy_attributes(&mut self, entry: &Entry, names: &[String]) -> Vec<PolicyAttribute> {
        let mut attributes = Vec::new();
        for name in names {
            match policy_values(entry, name) {
                Ok(values) if values.is_empty() => {}
                Ok(values) => attributes.push(PolicyAttribute { name: name.clone(), values }),
                Err(why) => self.warn(name, &why),
            }
        }
        // Many long values would make a record that no message has room for. The longest goes
        // first; of equal ones the later name.
        while json_length(&attributes) > POLICY_BYTES {
            let length = |at: &usize| json_length(&attributes[*at..=*at]);
            let Some(longest) = (0..attributes.len()).max_by_key(length) else { break };
            let name = attributes.remove(longest).name;
            let max_kib = POLICY_BYTES >> 10;
            self.warn(&name, &format!("makes the policy attributes longer than {max_kib} KiB together"));
        }
        attributes
    }

    /// Says that an attribute was left out; once for each attribute.
    pub(super) fn warn(&mut self, attribute: &str, why: &str) {
        let is_known = |other: &Warning| other.attribute.eq_ignore_ascii_case(attribute);
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.iter().any(is_known) {
            let message = format!("{attribute} {why}, so it was left out. Correct it in the directory.");
            self.warnings.push(Warning { attribute: attribute.to_owned(), message });
        }
    }

    pub(super) fn warnings(self) -> Vec<Warning> {
        self.warnings
    }
}

/// The values of one attribute, sorted, each once; or why they cannot be used.
fn policy_values(entry: &Entry, name: &str) -> Result<Vec<String>, String> {
    // Counted before they are looked at, so that the reason is the same in any order.
    if entry.values(name).nth(MAX_POLICY_VALUES).is_some() || entry.has_range(name) {
        return Err(format!("has more than {MAX_POLICY_VALUES} values"));
    }
    let mut values = Vec::new();
    let mut wrong: Option<TextError> = None;
    for value in entry.values(name) {
        match parse_text(value, MAX_POLICY_VALUE_CHARS) {
            Ok("") => {}
            Ok(value) => values.push(value.to_owned()),
            Err(error) => wrong = Some(wrong.map_or(error, |other| other.min(error))),
        }
    }
    if let Some(error) = wrong {
        return Err(format!("has a value that {error}"));
    }
    values.sort();
    values.dedup();
    Ok(values)
}

/// Length of the JSON that the control plane keeps of these attributes: an object of arrays of
/// strings.
pub(super) fn json_length(attributes: &[PolicyAttribute]) -> usize {
    let string = |text: &str| text.len() + text.matches(['"', '\\']).count() + 2;
    let array = |values: &[String]| values.iter().map(|value| string(value) + 1).sum::<usize>() + 1;
    attributes
        .iter()
        .map(|attribute| string(&attribute.name) + 1 + array(&attribute.values) + 1)
        .sum::<usize>()
        + 1
}
