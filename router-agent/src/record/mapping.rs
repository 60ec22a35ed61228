//! Maps a directory entry to a user record, or says why it cannot be one. A wrong entry is one record that is not synchronized, never a
//! failed read; it keeps its immutable id, so that nobody takes its user for gone.
//!
//! A server may send the values of an attribute in another order at each read. So which of several counts is decided by what they
//! are; policy attributes keep all values, sorted, each once.

use bytes::Bytes;
use rollcall_proto::admin::v1::{
    AttributeMapping, NotSynchronizedReason as Reason, attribute_mapping::ImmutableIdFormat,
};
use rollcall_proto::limits::{DISTINGUISHED_NAME, MAIL, NAME, POLICY_BYTES, USER_NAME};
use rollcall_proto::router::v1::{FormerImmutableId, PolicyAttribute, RejectedEntry, UserRecord};
use rollcall_proto::secrets::is_password_attribute;

use super::disabled::Rule;
use super::expiry;
use super::text::{TextError, is_mail, text};
use super::{Entry, digest::digest, immutable_id};
use crate::ldap_syntax::{is_named, naming_values};

/// What an administrator is told of an entry that is larger than the guard reads.
const TOO_LARGE: &str = "The entry has more than 8 MiB in the mapped attributes, so only its name was read and nobody knows whose it is; no one \
    is disabled for absence meanwhile. Empty the value that is too large, or leave the entry out by the source's filter.";
const POLICY_VALUE: usize = 1_024;
const POLICY_VALUES: usize = 100;

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Mapped {
    /// A user record.
    Record(UserRecord),
    /// Not one.
    Rejected(RejectedEntry),
}

/// Why a mapping cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// A required attribute is not mapped.
    #[error("the source's mapping has no {0}; fill it and publish the source")]
    Missing(&'static str),
    /// An attribute holds secrets.
    #[error("{0} holds secrets and never leaves the premises; take it out of the source's mapping")]
    Password(String),
    /// The expiry rule has no format.
    #[error(
        "the source's rule for expired accounts has no attribute or no format; fill both and publish the source"
    )]
    ExpiryRule,
    /// The disabled rule has no test.
    #[error(
        "the source's rule for disabled accounts has no attribute or no test; fill both and publish the source"
    )]
    DisabledRule,
}

/// Which directory attribute becomes which field.
#[derive(Clone, Debug)]
pub struct Mapping {
    revision: i32,
    id: String,
    id_format: ImmutableIdFormat,
    /// Attribute and format of the id by which people are known until the source is published anew.
    former: Option<(String, ImmutableIdFormat)>,
    pub(super) user_name: String,
    pub(super) mail: String,
    mail_optional: bool,
    first_name: String,
    last_name: String,
    display_name: String,
    phone: String,
    disabled: Option<Rule>,
    expires: Option<expiry::Rule>,
    now: i64,
    policy: Vec<String>,
    attributes: Vec<String>,
}

impl Mapping {
    /// Checks a mapping. Which accounts have expired is judged at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// If a required attribute is missing or one holds secrets.
    pub fn new(mapping: &AttributeMapping, revision: i32, now: i64) -> Result<Self, MappingError> {
        let AttributeMapping {
            immutable_id,
            immutable_id_format: _,
            user_name,
            mail,
            mail_optional,
            first_name,
            last_name,
            display_name,
            phone,
            disabled,
            expires,
            policy_attributes,
        } = mapping.clone();
        for (attribute, name) in [(&immutable_id, "immutable_id"), (&user_name, "user_name")] {
            if attribute.is_empty() {
                return Err(MappingError::Missing(name));
            }
        }
        if mail.is_empty() && !mail_optional {
            return Err(MappingError::Missing("mail"));
        }
        let rule = match &disabled {
            None => None,
            Some(rule) if rule.attribute.is_empty() => return Err(MappingError::DisabledRule),
            Some(rule) => Some(Rule::new(rule).ok_or(MappingError::DisabledRule)?),
        };
        let expires = match &expires {
            None => None,
            Some(rule) => Some(expiry::Rule::new(rule).ok_or(MappingError::ExpiryRule)?),
        };
        let id_format = usual(mapping.immutable_id_format());
        let mut policy = policy_attributes;
        policy.sort();
        policy.dedup();
        let mut mapping = Self {
            revision,
            id: immutable_id,
            id_format,
            former: None,
            user_name,
            mail,
            mail_optional,
            first_name,
            last_name,
            display_name,
            phone,
            disabled: rule,
            expires,
            now,
            policy,
            attributes: Vec::new(),
        };
        mapping.attributes = mapping.named();
        mapping.without_secrets()
    }

    /// The same, reading the former immutable id of each entry as well.
    ///
    /// # Errors
    /// If there is no attribute, or it holds secrets.
    pub fn with_former(mut self, former: &FormerImmutableId) -> Result<Self, MappingError> {
        if former.attribute.is_empty() {
            return Err(MappingError::Missing("former immutable_id"));
        }
        self.former = Some((former.attribute.clone(), usual(former.format())));
        self.attributes = self.named();
        self.without_secrets()
    }

    fn without_secrets(self) -> Result<Self, MappingError> {
        match self.attributes.iter().find(|attribute| is_password_attribute(attribute)) {
            Some(secret) => Err(MappingError::Password(secret.clone())),
            None => Ok(self),
        }
    }

    /// The attributes to ask the directory for, each once.
    #[must_use]
    pub fn attributes(&self) -> &[String] {
        &self.attributes
    }

    /// The attribute with the immutable id.
    #[must_use]
    pub fn immutable_id_attribute(&self) -> &str {
        &self.id
    }

    /// The immutable id of an entry, as it travels. It must be one: a choice between several could fall on another when one is added,
    /// and that would be another person.
    #[must_use]
    pub fn immutable_id(&self, entry: &Entry) -> Option<Bytes> {
        only_id(entry, &self.id, self.id_format)
    }

    /// The id by which the entry was known before; none if the mapping reads none, or the entry has none.
    fn former_id(&self, entry: &Entry) -> Option<Bytes> {
        let (attribute, format) = self.former.as_ref()?;
        only_id(entry, attribute, *format)
    }

    /// A filter for the entry with this immutable id; none if no value could be read as it.
    #[must_use]
    pub fn immutable_id_filter(&self, id: &[u8]) -> Option<String> {
        Some(format!("({}={})", self.id, immutable_id::assertion(self.id_format, id)?))
    }

    fn named(&self) -> Vec<String> {
        let fields = [
            &self.id,
            &self.user_name,
            &self.mail,
            &self.first_name,
            &self.last_name,
            &self.display_name,
            &self.phone,
        ];
        let former = self.former.as_ref().map(|(attribute, _)| attribute);
        let rule = self.disabled.as_ref().map(|rule| &rule.attribute);
        let expiry = self.expires.as_ref().map(|rule| &rule.attribute);
        let mut named: Vec<String> = Vec::new();
        for attribute in fields
            .into_iter()
            .chain(former)
            .chain(rule)
            .chain(expiry)
            .chain(&self.policy)
            .filter(|name| !name.is_empty())
        {
            if !named.iter().any(|other| other.eq_ignore_ascii_case(attribute)) {
                named.push(attribute.clone());
            }
        }
        named
    }
}

/// The id in the one value of an attribute.
fn only_id(entry: &Entry, attribute: &str, format: ImmutableIdFormat) -> Option<Bytes> {
    let mut values = entry.values(attribute);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    immutable_id::read(format, value)
}

fn usual(format: ImmutableIdFormat) -> ImmutableIdFormat {
    match format {
        ImmutableIdFormat::Unspecified => ImmutableIdFormat::Uuid,
        format => format,
    }
}

/// Maps an entry.
#[must_use]
pub fn map_entry(mapping: &Mapping, entry: &Entry) -> Mapped {
    match try_map(mapping, entry) {
        Ok(record) => Mapped::Record(record),
        Err((reason, message)) => {
            let shown = |attribute: &str, most| match chosen(entry, attribute, most, |_| true) {
                _ if entry.is_too_large() => named(entry, attribute, most).unwrap_or_default(),
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
            })
        }
    }
}

type Refusal = (Reason, String);

fn try_map(mapping: &Mapping, entry: &Entry) -> Result<UserRecord, Refusal> {
    if entry.is_too_large() {
        return Err((Reason::EntryUnreadable, TOO_LARGE.to_owned()));
    }
    let Some(immutable_id) = mapping.immutable_id(entry) else {
        return Err(no_id(&mapping.id));
    };
    let former_id = mapping.former_id(entry);
    if let (Some((attribute, _)), None) = (&mapping.former, &former_id) {
        return Err(no_id(attribute));
    }
    let field = |attribute: &str, most| {
        chosen(entry, attribute, most, |_| true)
            .map(Option::unwrap_or_default)
            .map(str::to_owned)
            .map_err(|e| invalid(attribute, e))
    };
    let user_name = field(&mapping.user_name, USER_NAME)?;
    if user_name.is_empty() {
        let message = format!(
            "The entry has no {}. Fill it, or leave the entry out by the source's filter.",
            mapping.user_name
        );
        return Err((Reason::MissingUsername, message));
    }
    let mail = match chosen(entry, &mapping.mail, MAIL, is_mail) {
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
    let unreadable = |attribute: &str| {
        let message = format!("{attribute} cannot be read, so nobody knows whether the account is disabled.");
        (Reason::InvalidAttribute, message)
    };
    let marked = mapping
        .disabled
        .as_ref()
        .map_or(Ok(false), |rule| rule.disabled(entry).map_err(|()| unreadable(&rule.attribute)))?;
    let expired = mapping.expires.as_ref().map_or(Ok(false), |rule| {
        rule.expired(entry, mapping.now).map_err(|()| unreadable(&rule.attribute))
    })?;
    let disabled = marked || expired;
    let mut record = UserRecord {
        immutable_id,
        digest: Bytes::new(),
        user_name,
        mail,
        first_name: field(&mapping.first_name, NAME)?,
        last_name: field(&mapping.last_name, NAME)?,
        display_name: field(&mapping.display_name, NAME)?,
        phone: field(&mapping.phone, NAME)?,
        distinguished_name: text(entry.dn(), DISTINGUISHED_NAME)
            .map_err(|error| invalid("the distinguished name", error))?
            .to_owned(),
        policy_attributes: policy_attributes(mapping, entry)?,
        disabled,
        former_id: former_id.unwrap_or_default(),
    };
    record.digest = Bytes::copy_from_slice(&digest(&record, mapping.revision));
    Ok(record)
}

fn no_id(attribute: &str) -> Refusal {
    let message = format!(
        "The entry has no readable value of {attribute}, or several. Check the source's mapping, and that the bind account may read the attribute."
    );
    (Reason::MissingUniqueId, message)
}

/// The value of an attribute that an entry is named by, for one that has nothing but its name.
fn named(entry: &Entry, attribute: &str, most: usize) -> Option<String> {
    let value = naming_values(std::str::from_utf8(entry.dn()).ok()?, attribute).next()?;
    text(value.as_bytes(), most).ok().map(str::to_owned)
}

/// The value that counts: of those that are text, those of the right form if there are any; of these the one that the entry is named
/// by, else the smallest by its bytes. An error only if no value can be used and one is not text.
fn chosen<'e>(
    entry: &'e Entry,
    attribute: &str,
    most: usize,
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
        match text(value, most) {
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

fn policy_attributes(mapping: &Mapping, entry: &Entry) -> Result<Vec<PolicyAttribute>, Refusal> {
    let mut attributes = Vec::new();
    for name in &mapping.policy {
        // Counted before they are looked at, so that the reason is the same in any order.
        if entry.values(name).nth(POLICY_VALUES).is_some() || entry.has_range(name) {
            return Err((Reason::InvalidAttribute, format!("{name} has more than {POLICY_VALUES} values.")));
        }
        let mut values = Vec::new();
        let mut wrong: Option<TextError> = None;
        for value in entry.values(name) {
            match text(value, POLICY_VALUE) {
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
        let most = POLICY_BYTES >> 10;
        return Err((
            Reason::InvalidAttribute,
            format!("The policy attributes together are longer than {most} KiB. Map fewer, or shorten them."),
        ));
    }
    Ok(attributes)
}

/// Length of the JSON that the control plane keeps of these attributes: an object of arrays of strings.
fn json_length(attributes: &[PolicyAttribute]) -> usize {
    let string = |text: &str| text.len() + text.matches(['"', '\\']).count() + 2;
    let array = |values: &[String]| values.iter().map(|value| string(value) + 1).sum::<usize>() + 1;
    attributes
        .iter()
        .map(|attribute| string(&attribute.name) + 1 + array(&attribute.values) + 1)
        .sum::<usize>()
        + 1
}

fn invalid(attribute: &str, error: TextError) -> Refusal {
    let why = match error {
        TextError::NotText => "is not text".to_owned(),
        TextError::ControlCharacter => "has a control character".to_owned(),
        TextError::TooLong(most) => format!("is longer than {most} characters"),
    };
    (Reason::InvalidAttribute, format!("{attribute} {why}. Correct it in the directory."))
}

fn invalid_mail(attribute: &str) -> Refusal {
    (Reason::InvalidEmail, format!("{attribute} is not a mail address. Correct it in the directory."))
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
