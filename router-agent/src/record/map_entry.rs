//! Maps a directory entry to a user record, or says why it cannot be one. A wrong entry is one
//! record that is not synchronized, never a failed read. It keeps its immutable id, so that its
//! user does not count as gone, and its mark, so that its user is disabled whatever else is wrong.
//! An optional value that cannot be used is left out with a warning.
//!
//! A server may send the values of an attribute in another order at each read. So which of several
//! counts is decided by what they are; policy attributes keep all values, sorted, each once.

use bytes::Bytes;
use rollcall_proto::admin::v1::NotSynchronizedReason as Reason;
use rollcall_proto::limits::{DISTINGUISHED_NAME, MAIL, USER_NAME};
use rollcall_proto::router::v1::{RejectedEntry, UserRecord};

use super::digest::digest;
use super::mark::MarkSight;
use super::optional::OptionalValues;
use super::text::{TextError, choose_value, is_mail, parse_text};
use super::{Entry, Mapping, UnseenMarks};
use crate::ldap_syntax::naming_values;

/// What an administrator is told of an entry that is larger than the guard reads.
const TOO_LARGE_MESSAGE: &str = "The entry has more than 8 MiB in the mapped attributes, so only its name was read and nobody knows whose it is; no one \
    is disabled for absence meanwhile. Empty the value that is too large, or leave the entry out by the source's filter.";

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq)]
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
            let immutable_id = mapping.immutable_id(entry).unwrap_or_default();
            Mapped::Rejected(RejectedEntry {
                distinguished_name: if immutable_id.is_empty() { shown_name(entry) } else { String::new() },
                immutable_id,
                former_id: mapping.former_id(entry).unwrap_or_default(),
                reason: reason.into(),
                message,
                user_name: shown(&mapping.user_name, USER_NAME),
                mail: shown(&mapping.mail, MAIL),
                disabled: MarkSights::of(mapping, entry).is_marked(),
                version: None,
            })
        }
    }
}

/// Which rules of the mapping the entry does not show: a record of it enables a user only if their
/// absence is proved.
#[must_use]
pub fn unseen_marks(mapping: &Mapping, entry: &Entry) -> UnseenMarks {
    MarkSights::of(mapping, entry).unseen()
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
    let mut optional = OptionalValues::default();
    let mail = mail(mapping, entry, &mut optional)?;
    let sights = MarkSights::of(mapping, entry);
    let disabled = sights.is_disabled(mapping)?;
    let distinguished_name = parse_text(entry.dn(), DISTINGUISHED_NAME)
        .map_err(|error| invalid("the distinguished name", error))?
        .to_owned();
    let mut record = UserRecord {
        immutable_id,
        digest: Bytes::new(),
        user_name,
        mail,
        first_name: optional.text(entry, &mapping.first_name),
        last_name: optional.text(entry, &mapping.last_name),
        display_name: optional.text(entry, &mapping.display_name),
        phone: optional.text(entry, &mapping.phone),
        distinguished_name,
        policy_attributes: optional.policy_attributes(entry, &mapping.policy),
        disabled,
        former_id: former_id.unwrap_or_default(),
        mark_proved: mapping.shows_no_mark(sights.unseen()),
        warnings: optional.warnings(),
        version: None,
    };
    record.digest = Bytes::copy_from_slice(&digest(&record, mapping.revision));
    Ok(record)
}

fn user_name(mapping: &Mapping, entry: &Entry) -> Result<String, Rejection> {
    let user_name = choose_value(entry, &mapping.user_name, USER_NAME, |_| true)
        .map_err(|error| invalid(&mapping.user_name, error))?
        .unwrap_or_default();
    if user_name.is_empty() {
        let message = format!(
            "The entry has no {}. Fill it, or leave the entry out by the source's filter.",
            mapping.user_name
        );
        return Err((Reason::MissingUsername, message));
    }
    Ok(user_name.to_owned())
}

/// The mail address. Where it is optional, one that cannot be used is left out.
fn mail(mapping: &Mapping, entry: &Entry, optional: &mut OptionalValues) -> Result<String, Rejection> {
    let value = choose_value(entry, &mapping.mail, MAIL, is_mail).map(Option::unwrap_or_default);
    match value {
        Ok("") if mapping.mail_optional => Ok(String::new()),
        Ok("") => {
            let message = format!(
                "The entry has no {}. Fill it, or set mail_optional in the source's mapping.",
                mapping.mail
            );
            Err((Reason::MissingEmail, message))
        }
        Ok(mail) if is_mail(mail) => Ok(mail.to_owned()),
        _ if mapping.mail_optional => {
            optional.warn(&mapping.mail, "is not a mail address");
            Ok(String::new())
        }
        _ => Err((
            Reason::InvalidEmail,
            format!("{} is not a mail address. Correct it in the directory.", mapping.mail),
        )),
    }
}

/// What an entry shows of each rule of the mapping; none where there is no such rule.
struct MarkSights {
    disabled: Option<Result<MarkSight, ()>>,
    expires: Option<Result<MarkSight, ()>>,
}

impl MarkSights {
    fn of(mapping: &Mapping, entry: &Entry) -> Self {
        // Of an entry that is too large nothing was read but the name.
        let read = !entry.is_too_large();
        let (disabled, expires) = (mapping.disabled.as_ref(), mapping.expires.as_ref());
        Self {
            disabled: disabled.filter(|_| read).map(|rule| rule.sight(entry)),
            expires: expires.filter(|_| read).map(|rule| rule.sight(entry, mapping.now)),
        }
    }

    /// Whether a rule that can be read says that the account is disabled.
    fn is_marked(&self) -> bool {
        [self.disabled, self.expires].contains(&Some(Ok(MarkSight::Marked)))
    }

    /// The same, if each rule can be read.
    fn is_disabled(&self, mapping: &Mapping) -> Result<bool, Rejection> {
        let disabled = mapping.disabled.as_ref().map(|rule| (self.disabled, &rule.attribute));
        let expires = mapping.expires.as_ref().map(|rule| (self.expires, &rule.attribute));
        for (sight, attribute) in disabled.into_iter().chain(expires) {
            if sight == Some(Err(())) {
                let message =
                    format!("{attribute} cannot be read, so nobody knows whether the account is disabled.");
                return Err((Reason::InvalidAttribute, message));
            }
        }
        Ok(self.is_marked())
    }

    fn unseen(&self) -> UnseenMarks {
        let is_unseen = |sight| matches!(sight, Some(Ok(MarkSight::Absent) | Err(())));
        UnseenMarks { disabled: is_unseen(self.disabled), expires: is_unseen(self.expires) }
    }
}

fn missing_id(attribute: &str) -> Rejection {
    let message = format!(
        "The entry has no readable value of {attribute}, or several. Check the source's mapping, and that the bind account may read the attribute."
    );
    (Reason::MissingUniqueId, message)
}

/// The name of an entry that has no id, as far as it can be shown.
fn shown_name(entry: &Entry) -> String {
    let name = String::from_utf8_lossy(entry.dn());
    name.chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .take(DISTINGUISHED_NAME)
        .collect()
}

/// The value of an attribute that an entry is named by, for one that has nothing but its name.
fn naming_value(entry: &Entry, attribute: &str, max_chars: usize) -> Option<String> {
    let value = naming_values(std::str::from_utf8(entry.dn()).ok()?, attribute).next()?;
    parse_text(value.as_bytes(), max_chars).ok().map(str::to_owned)
}

fn invalid(attribute: &str, error: TextError) -> Rejection {
    (Reason::InvalidAttribute, format!("{attribute} {error}. Correct it in the directory."))
}

#[cfg(test)]
#[path = "map_entry_tests.rs"]
mod tests;
