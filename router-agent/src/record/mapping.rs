//! Which attribute of the directory becomes which field of a user record, checked before it is
//! used.

use bytes::Bytes;
use rollcall_proto::admin::v1::{AttributeMapping, attribute_mapping::ImmutableIdFormat};
use rollcall_proto::router::v1::FormerImmutableId;
use rollcall_proto::secrets::is_password_attribute;

use super::{Entry, UnseenMarks, disabled, expiry, immutable_id, is_always_present};

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
    pub(super) revision: i32,
    pub(super) id: String,
    id_format: ImmutableIdFormat,
    /// Attribute and format of the id by which people are known until the source is published anew.
    pub(super) former: Option<(String, ImmutableIdFormat)>,
    pub(super) user_name: String,
    pub(super) mail: String,
    pub(super) mail_optional: bool,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) display_name: String,
    pub(super) phone: String,
    pub(super) disabled: Option<disabled::Rule>,
    pub(super) expires: Option<expiry::Rule>,
    assume_absent_mark: bool,
    pub(super) now: i64,
    pub(super) policy: Vec<String>,
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
            assume_absent_mark,
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
            Some(rule) => Some(disabled::Rule::new(rule).ok_or(MappingError::DisabledRule)?),
        };
        let expires = match &expires {
            None => None,
            Some(rule) => Some(expiry::Rule::new(rule).ok_or(MappingError::ExpiryRule)?),
        };
        let id_format = known_format(mapping.immutable_id_format());
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
            assume_absent_mark,
            now,
            policy,
            attributes: Vec::new(),
        };
        mapping.attributes = mapping.all_attributes();
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
        self.former = Some((former.attribute.clone(), known_format(former.format())));
        self.attributes = self.all_attributes();
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

    /// The immutable id of an entry, as it travels. It must be one: a choice between several could
    /// fall on another when one is added, and that would be another person.
    #[must_use]
    pub fn immutable_id(&self, entry: &Entry) -> Option<Bytes> {
        single_id(entry, &self.id, self.id_format)
    }

    /// The id by which the entry was known before; none if the mapping reads none, or the entry has
    /// none.
    pub(super) fn former_id(&self, entry: &Entry) -> Option<Bytes> {
        let (attribute, format) = self.former.as_ref()?;
        single_id(entry, attribute, *format)
    }

    /// A filter for the entry with this immutable id, in every form in which a directory may have
    /// it; none if no value could be read as it.
    #[must_use]
    pub fn immutable_id_filter(&self, id: &[u8]) -> Option<String> {
        let forms = immutable_id::assertions(&self.id, self.id_format, id)?;
        let each: String = forms.iter().map(|form| format!("({}={form})", self.id)).collect();
        Some(if forms.len() == 1 { each } else { format!("(|{each})") })
    }

    /// Whether these rules need no proof: every rule was seen, or the source says that an attribute
    /// which is not shown is absent. An attribute that every account has never is.
    pub(super) fn shows_no_mark(&self, unseen: UnseenMarks) -> bool {
        let assumed = |attribute| self.assume_absent_mark && !is_always_present(attribute);
        self.unseen_attributes(unseen).all(assumed)
    }

    /// The attributes of these rules.
    pub fn unseen_attributes(&self, unseen: UnseenMarks) -> impl Iterator<Item = &str> {
        let disabled = self.disabled.as_ref().filter(|_| unseen.disabled).map(|rule| &*rule.attribute);
        let expires = self.expires.as_ref().filter(|_| unseen.expires).map(|rule| &*rule.attribute);
        disabled.into_iter().chain(expires)
    }

    /// All rules of the mapping.
    #[must_use]
    pub fn all_marks(&self) -> UnseenMarks {
        UnseenMarks { disabled: self.disabled.is_some(), expires: self.expires.is_some() }
    }

    /// Whether the source says that an attribute which is not shown is absent.
    #[must_use]
    pub fn assumes_absent_mark(&self) -> bool {
        self.assume_absent_mark
    }

    /// The groups whose members are disabled, if the rule for disabled accounts is about groups and
    /// names them.
    #[must_use]
    pub fn mark_groups(&self) -> Option<&[String]> {
        self.disabled.as_ref()?.groups()
    }

    fn all_attributes(&self) -> Vec<String> {
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
        let disabled = self.disabled.as_ref().map(|rule| &rule.attribute);
        let expires = self.expires.as_ref().map(|rule| &rule.attribute);
        let mut attributes: Vec<String> = Vec::new();
        for attribute in fields
            .into_iter()
            .chain(former)
            .chain(disabled)
            .chain(expires)
            .chain(&self.policy)
            .filter(|name| !name.is_empty())
        {
            if !attributes.iter().any(|other| other.eq_ignore_ascii_case(attribute)) {
                attributes.push(attribute.clone());
            }
        }
        attributes
    }
}

/// The id in the one value of an attribute.
fn single_id(entry: &Entry, attribute: &str, format: ImmutableIdFormat) -> Option<Bytes> {
    let mut values = entry.values(attribute);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    immutable_id::parse(format, value)
}

fn known_format(format: ImmutableIdFormat) -> ImmutableIdFormat {
    match format {
        ImmutableIdFormat::Unspecified => ImmutableIdFormat::Uuid,
        format => format,
    }
}
