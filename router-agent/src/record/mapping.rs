//! Maps a directory entry to a user record, or says why it cannot be one. A wrong entry is one record that is not synchronized, never a
//! failed read; it keeps its immutable id, so that nobody takes its user for gone.
//!
//! Of several values the first counts, as the directory sent it; policy attributes keep all values, sorted, each once.

use bytes::Bytes;
use rollcall_proto::admin::v1::{
    AttributeMapping, NotSynchronizedReason as Reason, attribute_mapping::ImmutableIdFormat,
};
use rollcall_proto::router::v1::{PolicyAttribute, RejectedEntry, UserRecord};
use uuid::Uuid;

use super::disabled::Rule;
use super::text::{TextError, is_mail, text};
use super::{Entry, digest::digest, is_password_attribute};

const USER_NAME: usize = 256;
const MAIL: usize = 254;
const NAME: usize = 512;
const DN: usize = 4_096;
const POLICY_VALUE: usize = 1_024;
const POLICY_VALUES: usize = 100;
const TEXT_ID: usize = 255;

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
    user_name: String,
    mail: String,
    mail_optional: bool,
    first_name: String,
    last_name: String,
    display_name: String,
    phone: String,
    disabled: Option<Rule>,
    policy: Vec<String>,
    attributes: Vec<String>,
}

impl Mapping {
    /// Checks a mapping.
    ///
    /// # Errors
    /// If a required attribute is missing or one holds secrets.
    pub fn new(mapping: &AttributeMapping, revision: i32) -> Result<Self, MappingError> {
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
        let id_format = match mapping.immutable_id_format() {
            ImmutableIdFormat::Unspecified => ImmutableIdFormat::Uuid,
            format => format,
        };
        let mut policy = policy_attributes;
        policy.sort();
        policy.dedup();
        let mut mapping = Self {
            revision,
            id: immutable_id,
            id_format,
            user_name,
            mail,
            mail_optional,
            first_name,
            last_name,
            display_name,
            phone,
            disabled: rule,
            policy,
            attributes: Vec::new(),
        };
        mapping.attributes = mapping.named();
        match mapping.attributes.iter().find(|attribute| is_password_attribute(attribute)) {
            Some(secret) => Err(MappingError::Password(secret.clone())),
            None => Ok(mapping),
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
        let rule = self.disabled.as_ref().map(|rule| &rule.attribute);
        let mut named: Vec<String> = Vec::new();
        for attribute in fields.into_iter().chain(rule).chain(&self.policy).filter(|name| !name.is_empty()) {
            if !named.iter().any(|other| other.eq_ignore_ascii_case(attribute)) {
                named.push(attribute.clone());
            }
        }
        named
    }
}

/// Maps an entry.
#[must_use]
pub fn map_entry(mapping: &Mapping, entry: &Entry) -> Mapped {
    match try_map(mapping, entry) {
        Ok(record) => Mapped::Record(record),
        Err((reason, message)) => {
            let shown = |attribute: &str, most| match first(entry, attribute, most) {
                Ok(Some(value)) => value.to_owned(),
                _ => String::new(),
            };
            Mapped::Rejected(RejectedEntry {
                immutable_id: immutable_id(mapping, entry).unwrap_or_default(),
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
    let Some(immutable_id) = immutable_id(mapping, entry) else {
        return Err((
            Reason::MissingUniqueId,
            format!(
                "The entry has no readable value of {}. Check the source's mapping, and that the bind account may read the attribute.",
                mapping.id
            ),
        ));
    };
    let field = |attribute: &str, most| {
        first(entry, attribute, most)
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
    let mail = match first(entry, &mapping.mail, MAIL) {
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
    let disabled = match &mapping.disabled {
        None => false,
        Some(rule) => rule.disabled(entry).map_err(|()| {
            (
                Reason::InvalidAttribute,
                format!(
                    "{} cannot be read, so nobody knows whether the account is disabled.",
                    rule.attribute
                ),
            )
        })?,
    };
    let mut record = UserRecord {
        immutable_id,
        digest: Bytes::new(),
        user_name,
        mail,
        first_name: field(&mapping.first_name, NAME)?,
        last_name: field(&mapping.last_name, NAME)?,
        display_name: field(&mapping.display_name, NAME)?,
        phone: field(&mapping.phone, NAME)?,
        distinguished_name: text(entry.dn(), DN)
            .map_err(|error| invalid("the distinguished name", error))?
            .to_owned(),
        policy_attributes: policy_attributes(mapping, entry)?,
        disabled,
    };
    record.digest = Bytes::copy_from_slice(&digest(&record, mapping.revision));
    Ok(record)
}

/// The first value that is not empty.
fn first<'e>(entry: &'e Entry, attribute: &str, most: usize) -> Result<Option<&'e str>, TextError> {
    if attribute.is_empty() {
        return Ok(None);
    }
    for value in entry.values(attribute) {
        let value = text(value, most)?;
        if !value.is_empty() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn policy_attributes(mapping: &Mapping, entry: &Entry) -> Result<Vec<PolicyAttribute>, Refusal> {
    let mut attributes = Vec::new();
    for name in &mapping.policy {
        let mut values = Vec::new();
        for (at, value) in entry.values(name).enumerate() {
            if at == POLICY_VALUES {
                return Err((
                    Reason::InvalidAttribute,
                    format!("{name} has more than {POLICY_VALUES} values."),
                ));
            }
            let value = text(value, POLICY_VALUE).map_err(|error| invalid(name, error))?;
            if !value.is_empty() {
                values.push(value.to_owned());
            }
        }
        values.sort();
        values.dedup();
        if !values.is_empty() {
            attributes.push(PolicyAttribute { name: name.clone(), values });
        }
    }
    Ok(attributes)
}

fn immutable_id(mapping: &Mapping, entry: &Entry) -> Option<Bytes> {
    let value = entry.values(&mapping.id).next()?;
    match mapping.id_format {
        ImmutableIdFormat::Unspecified | ImmutableIdFormat::Uuid => {
            let text = std::str::from_utf8(value).ok()?;
            Some(Bytes::copy_from_slice(Uuid::try_parse(text.trim()).ok()?.as_bytes()))
        }
        ImmutableIdFormat::Guid => {
            let bytes: [u8; 16] = value.try_into().ok()?;
            Some(Bytes::copy_from_slice(Uuid::from_bytes_le(bytes).as_bytes()))
        }
        ImmutableIdFormat::Text => {
            let text = text(value, TEXT_ID).ok().filter(|text| !text.is_empty() && text.len() <= TEXT_ID)?;
            // 0xFF is in no UTF-8 text, so text and UUIDs cannot be taken for each other.
            let mut id = Vec::with_capacity(text.len() + 2);
            id.push(0xFF);
            id.extend_from_slice(text.as_bytes());
            if id.len() == 16 {
                id.push(0xFF);
            }
            Some(Bytes::from(id))
        }
    }
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
