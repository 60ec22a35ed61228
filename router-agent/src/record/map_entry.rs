//! Maps a directory entry to a user record, or says why it cannot be one. A wrong entry is one
//! record that is not synchronized, never a failed read; it keeps its immutable id, so that nobody
//! takes its user for gone.
//!
//! A server may send the values of an attribute in another order at each read. So which of several
//! counts is decided by what they are; policy attributes keep all values, sorted, each once.

use bytes::Bytes;
use rollcall_proto::admin::v1::NotSynchronizedReason as Reason;
use rollcall_proto::limits::{DISTINGUISHED_NAME, MAIL, NAME, POLICY_BYTES, USER_NAME};
use rollcall_proto::router::v1::{PolicyAttribute, RejectedEntry, UserRecord};

use super::digest::digest;
use super::text::{TextError, is_mail, parse_text};
use super::{Entry, Mapping};
use crate::ldap_syntax::{is_named, naming_values};

/// What an administrator is told of an entry that is larger than the guard reads.
const TOO_LARGE_MESSAGE: &str = "The entry has more than 8 MiB in the mapped attributes, so only its name was read and nobody knows whose it is; no one \
    is disabled for absence meanwhile. Empty the value that is too large, or leave the entry out by the source's filter.";
const MAX_POLICY_VALUE_CHARS: usize = 1_024;
/// Values of one policy attribute.
const MAX_POLICY_VALUES: usize = 100;

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records")]
pub enum Mapped {
    /// A user record.
    Record(UserRecord),
    /// Not one.
    Rejected(RejectedEntry),
}

/// Maps an entry.
#[must_use]
pub fn map_entry(mapping: &Mapping, entry: &Entry) -> Mapped {
    match try_map(mapping, entry) {
        Ok(record) => Mapped::Record(record),
        Err((reason, message)) => {
            let shown = |attribute: &str, max_chars| match choose_value(entry, attribute, max_chars, |_| true)
            {
                _ if entry.is_too_large() => naming_value(entry, attribute, max_chars).unwrap_or_default(),
                Ok(Some(value)) => value.to_owned(),
                _ => String::new(),
            };
            Mapped::Rejected(RejectedEntry {
                immutable_id: mapping.immutable_id(entry).unwrap_or_default(),
                former_id: mapping.former_id(entry).unwrap_or_default(),
                reason: reason.into(),
                message,
                user_name: shown(&mapping.user_name, USER_NAME),
                mail: shown(&mapping.mail, MAIL),
                disabled: false,
                distinguished_name: String::new(),
            })
        }
    }
}

/// Why an entry is no record, for programs and for people.
type Rejection = (Reason, String);

fn try_map(mapping: &Mapping, entry: &Entry) -> Result<UserRecord, Rejection> {
    if entry.is_too_large() {
        return Err((Reason::EntryUnreadable, TOO_LARGE_MESSAGE.to_owned()));
    }
    let Some(immutable_id) = mapping.immutable_id(entry) else {
        return Err(missing_id(&mapping.id));
    };
    let former_id = mapping.former_id(entry);
    if let (Some((attribute, _)), None) = (&mapping.former, &former_id) {
        return Err(missing_id(attribute));
    }
    // In this order: of several reasons the first is given.
    let user_name = user_name(mapping, entry)?;
    let mail = mail(mapping, entry)?;
    let disabled = is_disabled(mapping, entry)?;
    let mut record = UserRecord {
        immutable_id,
        digest: Bytes::new(),
        user_name,
        mail,
        first_name: text_field(entry, &mapping.first_name, NAME)?,
        last_name: text_field(entry, &mapping.last_name, NAME)?,
        display_name: text_field(entry, &mapping.display_name, NAME)?,
        phone: text_field(entry, &mapping.phone, NAME)?,
        distinguished_name: parse_text(entry.dn(), DISTINGUISHED_NAME)
            .map_err(|error| invalid("the distinguished name", error))?
            .to_owned(),
        policy_attributes: policy_attributes(mapping, entry)?,
        disabled,
        former_id: former_id.unwrap_or_default(),
        mark_proved: true,
        warnings: Vec::new(),
        version: None,
    };
    record.digest = Bytes::copy_from_slice(&digest(&record, mapping.revision));
    Ok(record)
}

/// The value of a field that may be empty.
fn text_field(entry: &Entry, attribute: &str, max_chars: usize) -> Result<String, Rejection> {
    let value = choose_value(entry, attribute, max_chars, |_| true);
    value.map(|value| value.unwrap_or_default().to_owned()).map_err(|error| invalid(attribute, error))
}

fn user_name(mapping: &Mapping, entry: &Entry) -> Result<String, Rejection> {
    let user_name = text_field(entry, &mapping.user_name, USER_NAME)?;
    if user_name.is_empty() {
        let message = format!(
            "The entry has no {}. Fill it, or leave the entry out by the source's filter.",
            mapping.user_name
        );
        return Err((Reason::MissingUsername, message));
    }
    Ok(user_name)
}

fn mail(mapping: &Mapping, entry: &Entry) -> Result<String, Rejection> {
    let mail = match choose_value(entry, &mapping.mail, MAIL, is_mail) {
        Ok(mail) => mail.unwrap_or_default().to_owned(),
        Err(_) => return Err(invalid_mail(&mapping.mail)),
    };
    if mail.is_empty() && !mapping.mail_optional {
        let message = format!(
            "The entry has no {}. Fill it, or set mail_optional in the source's mapping.",
            mapping.mail
        );
        return Err((Reason::MissingEmail, message));
    }
    if !mail.is_empty() && !is_mail(&mail) {
        return Err(invalid_mail(&mapping.mail));
    }
    Ok(mail)
}

/// Whether the account is marked as disabled, or has expired.
fn is_disabled(mapping: &Mapping, entry: &Entry) -> Result<bool, Rejection> {
    let unreadable = |attribute: &str| {
        let message = format!("{attribute} cannot be read, so nobody knows whether the account is disabled.");
        (Reason::InvalidAttribute, message)
    };
    let marked = mapping
        .disabled
        .as_ref()
        .map_or(Ok(false), |rule| rule.is_disabled(entry).map_err(|()| unreadable(&rule.attribute)))?;
    let expired = mapping.expires.as_ref().map_or(Ok(false), |rule| {
        rule.is_expired(entry, mapping.now).map_err(|()| unreadable(&rule.attribute))
    })?;
    Ok(marked || expired)
}

fn missing_id(attribute: &str) -> Rejection {
    let message = format!(
        "The entry has no readable value of {attribute}, or several. Check the source's mapping, and that the bind account may read the attribute."
    );
    (Reason::MissingUniqueId, message)
}

/// The value of an attribute that an entry is named by, for one that has nothing but its name.
fn naming_value(entry: &Entry, attribute: &str, max_chars: usize) -> Option<String> {
    let value = naming_values(std::str::from_utf8(entry.dn()).ok()?, attribute).next()?;
    parse_text(value.as_bytes(), max_chars).ok().map(str::to_owned)
}

/// The value that counts: of those that are text, those of the right form if there are any; of
/// these the one that the entry is named by, else the smallest by its bytes. An error only if no
/// value can be used and one is not text.
fn choose_value<'e>(
    entry: &'e Entry,
    attribute: &str,
    max_chars: usize,
    form: impl Fn(&str) -> bool,
) -> Result<Option<&'e str>, TextError> {
    if attribute.is_empty() {
        return Ok(None);
    }
    let mut wrong: Option<TextError> = None;
    let mut best: Option<&str> = None;
    let dn = || std::str::from_utf8(entry.dn()).unwrap_or_default();
    // Most entries have one value; only between two something has to be decided.
    let rank = |value: &str| (!form(value), !is_named(dn(), attribute, value));
    for value in entry.values(attribute) {
        match parse_text(value, max_chars) {
            Ok("") => {}
            Ok(value) => {
                best = Some(match best {
                    Some(other) if (rank(other), other) <= (rank(value), value) => other,
                    _ => value,
                });
            }
            Err(error) => wrong = Some(wrong.map_or(error, |other| other.min(error))),
        }
    }
    match (best, wrong) {
        (None, Some(error)) => Err(error),
        (best, _) => Ok(best),
    }
}

fn policy_attributes(mapping: &Mapping, entry: &Entry) -> Result<Vec<PolicyAttribute>, Rejection> {
    let mut attributes = Vec::new();
    for name in &mapping.policy {
        // Counted before they are looked at, so that the reason is the same in any order.
        if entry.values(name).nth(MAX_POLICY_VALUES).is_some() || entry.has_range(name) {
            return Err((
                Reason::InvalidAttribute,
                format!("{name} has more than {MAX_POLICY_VALUES} values."),
            ));
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
            return Err(invalid(name, error));
        }
        values.sort();
        values.dedup();
        if !values.is_empty() {
            attributes.push(PolicyAttribute { name: name.clone(), values });
        }
    }
    // Many long values would make a record that no message has room for.
    if json_length(&attributes) > POLICY_BYTES {
        let max_kib = POLICY_BYTES >> 10;
        return Err((
            Reason::InvalidAttribute,
            format!(
                "The policy attributes together are longer than {max_kib} KiB. Map fewer, or shorten them."
            ),
        ));
    }
    Ok(attributes)
}

/// Length of the JSON that the control plane keeps of these attributes: an object of arrays of
/// strings.
fn json_length(attributes: &[PolicyAttribute]) -> usize {
    let string = |text: &str| text.len() + text.matches(['"', '\\']).count() + 2;
    let array = |values: &[String]| values.iter().map(|value| string(value) + 1).sum::<usize>() + 1;
    attributes
        .iter()
        .map(|attribute| string(&attribute.name) + 1 + array(&attribute.values) + 1)
        .sum::<usize>()
        + 1
}

fn invalid(attribute: &str, error: TextError) -> Rejection {
    let why = match error {
        TextError::NotText => "is not text".to_owned(),
        TextError::ControlCharacter => "has a control character".to_owned(),
        TextError::TooLong(max_chars) => format!("is longer than {max_chars} characters"),
    };
    (Reason::InvalidAttribute, format!("{attribute} {why}. Correct it in the directory."))
}

fn invalid_mail(attribute: &str) -> Rejection {
    (Reason::InvalidEmail, format!("{attribute} is not a mail address. Correct it in the directory."))
}

#[cfg(test)]
#[path = "map_entry_tests.rs"]
mod tests;
