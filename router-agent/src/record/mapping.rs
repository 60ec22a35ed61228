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

use super::disabled::Rule;
use super::expiry;
use super::text::{TextError, is_mail, text};
use super::{Entry, digest::digest, immutable_id, is_password_attribute};
use crate::directory::{is_named, naming_values};

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
mod tests {
    use proptest::prelude::*;
    use rollcall_proto::admin::v1::{DisabledRule, disabled_rule};

    use super::*;

    const UUID: &[u8] = b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

    fn settings() -> AttributeMapping {
        AttributeMapping {
            immutable_id: "entryUUID".to_owned(),
            user_name: "uid".to_owned(),
            mail: "mail".to_owned(),
            first_name: "givenName".to_owned(),
            disabled: Some(DisabledRule {
                attribute: "userAccountControl".to_owned(),
                test: Some(disabled_rule::Test::BitsSet(2)),
            }),
            policy_attributes: vec!["memberOf".to_owned()],
            ..AttributeMapping::default()
        }
    }

    fn mapping() -> Mapping {
        Mapping::new(&settings(), 1, 0).expect("a mapping")
    }

    /// Anna, but for these attributes.
    fn anna(changed: &[(&str, &[&[u8]])]) -> Entry {
        let mut attributes: Vec<(&str, &[&[u8]])> =
            vec![("entryUUID", &[UUID]), ("uid", &[b"anna"]), ("mail", &[b"anna@lab.test"])];
        attributes.retain(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        attributes.extend(changed);
        Entry::of("uid=anna,dc=lab,dc=test", &attributes)
    }

    fn record(entry: &Entry) -> UserRecord {
        match map_entry(&mapping(), entry) {
            Mapped::Record(record) => record,
            Mapped::Rejected(rejected) => panic!("{rejected:?}"),
        }
    }

    fn reason(entry: &Entry) -> (Reason, bool) {
        match map_entry(&mapping(), entry) {
            Mapped::Record(record) => panic!("{record:?}"),
            Mapped::Rejected(rejected) => {
                assert!(!rejected.message.is_empty(), "a reason without a sentence");
                (rejected.reason(), !rejected.immutable_id.is_empty())
            }
        }
    }

    #[test]
    fn both_ids_are_read_and_the_former_one_changes_no_digest() {
        let former = FormerImmutableId {
            attribute: "employeeNumber".to_owned(),
            format: ImmutableIdFormat::Text.into(),
        };
        let both = mapping().with_former(&former).expect("a mapping");
        assert!(both.attributes().iter().any(|attribute| attribute == "employeeNumber"));
        let entry = anna(&[("employeeNumber", &[b"17"])]);
        let (Mapped::Record(with), Mapped::Record(without)) =
            (map_entry(&both, &entry), map_entry(&mapping(), &entry))
        else {
            panic!("records")
        };
        assert_eq!(with.former_id, Bytes::from_static(b"\xFF17"));
        assert_eq!((with.digest, without.former_id), (without.digest, Bytes::new()));
        // An entry without the former id is nobody's, and says by which id it is known from now on.
        let Mapped::Rejected(nobody) = map_entry(&both, &anna(&[])) else { panic!("a record") };
        assert_eq!(nobody.reason(), Reason::MissingUniqueId);
        assert!(nobody.message.contains("employeeNumber") && nobody.former_id.is_empty());
        assert_eq!(nobody.immutable_id, without.immutable_id);
        let secret = FormerImmutableId { attribute: "userPassword".to_owned(), format: 0 };
        assert!(mapping().with_former(&secret).is_err());
    }

    #[test]
    fn what_an_entry_lacks_is_its_reason_and_its_id_stays_known() {
        let identified = true;
        let cases: &[(&str, &[&[u8]], Reason, bool)] = &[
            ("entryUUID", &[], Reason::MissingUniqueId, !identified),
            ("entryUUID", &[b"not a UUID"], Reason::MissingUniqueId, !identified),
            ("uid", &[], Reason::MissingUsername, identified),
            ("uid", &[b"  "], Reason::MissingUsername, identified),
            ("uid", &[b"an\0na"], Reason::InvalidAttribute, identified),
            ("uid", &[b"\xff\xfe"], Reason::InvalidAttribute, identified),
            ("mail", &[b""], Reason::MissingEmail, identified),
            ("mail", &[b"anna at lab.test"], Reason::InvalidEmail, identified),
            ("mail", &[&[b'a'; 1 << 20]], Reason::InvalidEmail, identified),
            ("givenName", &[&[b'a'; 1 << 20]], Reason::InvalidAttribute, identified),
            ("userAccountControl", &[b"disabled"], Reason::InvalidAttribute, identified),
            ("memberOf", &[b"\x80"], Reason::InvalidAttribute, identified),
            ("memberOf", &[b"g" as &[u8]; 101], Reason::InvalidAttribute, identified),
        ];
        for (attribute, values, expected, identified) in cases {
            let shown = values.first().map(|value| value.escape_ascii().to_string());
            assert_eq!(
                reason(&anna(&[(attribute, values)])),
                (*expected, *identified),
                "{attribute} {shown:?}"
            );
        }
    }

    #[test]
    fn names_in_every_script_pass_as_they_are() {
        for name in ["Þórdís", "李小龍", "עברית", "नमस्ते", "e\u{301}", "O'Brien, Jr.", "\u{1f600}"]
        {
            assert_eq!(record(&anna(&[("givenName", &[name.as_bytes()])])).first_name, name);
        }
    }

    #[test]
    fn of_several_values_the_one_that_names_the_entry_counts_else_the_smallest_that_is_usable() {
        let entry = anna(&[
            ("uid", &[b"aaron", b"Anna", b"\xff", b"zoe"]),
            ("mail", &[b" ", b"b@lab.test", b"a at lab.test", b"a@lab.test"]),
            ("givenName", &[b"Beth", b"an\0na", b"Anna"]),
            ("memberOf", &[b"y", b"x", b"y"]),
        ]);
        let record = record(&entry);
        assert_eq!([&*record.user_name, &record.mail, &record.first_name], ["Anna", "a@lab.test", "Anna"]);
        assert_eq!(record.policy_attributes[0].values, ["x", "y"]);
    }

    #[test]
    fn an_entry_with_two_immutable_ids_has_none() {
        let other = b"f81d4fae-7dec-11d0-a765-00a0c91e6bf7";
        assert_eq!(reason(&anna(&[("entryUUID", &[UUID, other])])), (Reason::MissingUniqueId, false));
    }

    #[test]
    fn a_range_of_the_values_is_not_taken_for_all_or_for_none() {
        let entry = anna(&[("memberOf", &[]), ("memberOf;range=0-1499", &[b"x"])]);
        assert_eq!(reason(&entry), (Reason::InvalidAttribute, true));
    }

    #[test]
    fn an_entry_that_was_too_large_has_no_id_and_the_user_name_that_it_is_named_by() {
        for (dn, user_name) in [("uid=anna\\2C b,dc=lab", "anna, b"), ("cn=anna,dc=lab", "")] {
            let entry = Entry::too_large(dn.as_bytes());
            assert_eq!(reason(&entry), (Reason::EntryUnreadable, false));
            let Mapped::Rejected(rejected) = map_entry(&mapping(), &entry) else { panic!("{dn}") };
            assert_eq!(rejected.user_name, user_name);
        }
    }

    #[test]
    fn policy_attributes_fit_into_what_the_control_plane_keeps_or_are_one_rejection() {
        // 64 values of 1,020 bytes; with quotes and commas they are 65,486, and 64 KiB are 50 more.
        let long: Vec<_> = (0..64).map(|number| format!("{number:02}{}", "x".repeat(1_018))).collect();
        let mapped = |values: &[String]| {
            let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
            map_entry(&mapping(), &anna(&[("memberOf", &values)]))
        };
        let Mapped::Record(fits) = mapped(&long) else { panic!("too long") };
        assert_eq!(json_length(&fits.policy_attributes), 65_486);
        let quoted: Vec<_> = long.iter().map(|value| value.replace("xx", "x\"")).collect();
        let Mapped::Rejected(rejected) = mapped(&quoted) else { panic!("it fits") };
        assert_eq!(rejected.reason(), Reason::InvalidAttribute);
    }

    #[test]
    fn active_directorys_disabled_bit_disables_and_its_guid_is_read_as_such() {
        assert!(record(&anna(&[("userAccountControl", &[b"514"])])).disabled);
        assert!(!record(&anna(&[("userAccountControl", &[b"512"])])).disabled);
        let guid = AttributeMapping {
            immutable_id: "objectGUID".to_owned(),
            immutable_id_format: ImmutableIdFormat::Guid.into(),
            ..settings()
        };
        let bytes = b"\xae\x4f\x1d\xf8\xec\x7d\xd0\x11\xa7\x65\x00\xa0\xc9\x1e\x6b\xf6";
        let mapped =
            map_entry(&Mapping::new(&guid, 1, 0).expect("a mapping"), &anna(&[("objectGUID", &[bytes])]));
        let Mapped::Record(mapped) = mapped else { panic!("{mapped:?}") };
        assert_eq!(mapped.immutable_id, record(&anna(&[])).immutable_id);
    }

    #[test]
    fn attributes_that_hold_secrets_cannot_be_mapped() {
        for secret in ["userPassword", "UNICODEPWD", "userpassword;x-a"] {
            let settings = AttributeMapping { phone: secret.to_owned(), ..settings() };
            assert_eq!(Mapping::new(&settings, 1, 0).err(), Some(MappingError::Password(secret.to_owned())));
        }
    }

    proptest! {
        /// The same values in another order, and the attributes too, are the same record or the same rejection.
        #[test]
        fn the_servers_order_changes_nothing(
            values in proptest::collection::vec((0usize..6, prop_oneof![
                Just(b"anna".to_vec()), Just(b"ANNA".to_vec()), Just(b"b@lab.test".to_vec()), Just(b"a@lab.test".to_vec()),
                Just(b"514".to_vec()), Just(b"512".to_vec()), Just(vec![0xff]), Just(vec![b'a', 0]), Just(Vec::new()),
                Just(vec![b'x'; 2_000]),
            ]), 0..12).prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
        ) {
            let (one, other) = values;
            let names = ["uid", "mail", "givenName", "userAccountControl", "memberOf", "MAIL"];
            let entry = |values: &[(usize, Vec<u8>)]| {
                let mut given: Vec<(&str, Vec<&[u8]>)> = vec![("entryUUID", vec![UUID])];
                given.extend(values.iter().map(|(name, value)| (names[*name], vec![&value[..]])));
                let given: Vec<(&str, &[&[u8]])> = given.iter().map(|(name, values)| (*name, &values[..])).collect();
                Entry::of("uid=anna,dc=lab,dc=test", &given)
            };
            prop_assert_eq!(map_entry(&mapping(), &entry(&one)), map_entry(&mapping(), &entry(&other)));
        }

        /// Whatever bytes an entry has, it ends as a record within the limits or as one rejected entry with a sentence.
        #[test]
        fn any_entry_is_a_record_or_a_rejection(
            values in proptest::collection::vec(
                (0usize..6, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        ) {
            let names = ["entryUUID", "uid", "mail", "givenName", "userAccountControl", "memberOf"];
            let of = |name: usize| values.iter().filter(|(n, _)| *n == name).map(|(_, v)| &v[..]).collect::<Vec<_>>();
            let given: Vec<Vec<&[u8]>> = (0..names.len()).map(of).collect();
            let changed: Vec<(&str, &[&[u8]])> = names.iter().zip(&given).filter(|(_, values)| !values.is_empty())
                .map(|(name, values)| (*name, &values[..])).collect();
            match map_entry(&mapping(), &anna(&changed)) {
                Mapped::Record(record) => {
                    prop_assert_eq!(record.digest.len(), 16);
                    prop_assert!(!record.user_name.is_empty() && is_mail(&record.mail));
                }
                Mapped::Rejected(rejected) => prop_assert!(!rejected.message.is_empty()),
            }
        }
    }
}
