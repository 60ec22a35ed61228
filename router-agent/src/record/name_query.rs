//! One person by name: what a directory is asked, and whether an entry that it answers has the
//! name. Directories find more than was asked for: some take `muller` for `müller`, and one may
//! lie. Who signs in is only who has the name by the control plane's own rule. Pure.

use caseless::Caseless;
use rollcall_proto::limits::{MAIL, USER_NAME};
use unicode_normalization::UnicodeNormalization;

use super::text::parse_text;
use super::{Entry, Mapping, MappingError};

/// A name that a person goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'n> {
    /// In the attribute that is mapped to the user name.
    User(&'n str),
    /// In the attribute that is mapped to the mail address.
    Mail(&'n str),
    /// In either.
    Login(&'n str),
}

/// A name that a person may have, and where it may stand.
#[derive(Clone, Debug)]
pub struct NameQuery<'m> {
    attributes: Vec<&'m str>,
    max_chars: usize,
    name: String,
    folded: String,
}

impl<'m> NameQuery<'m> {
    /// None if no record could have this name: then nobody need be asked.
    ///
    /// # Errors
    /// If the mapping has no attribute for it.
    pub fn new(mapping: &'m Mapping, name: Name<'_>) -> Result<Option<Self>, MappingError> {
        let (user, mail) = (mapping.user_name.as_str(), mapping.mail.as_str());
        let (name, max_chars, mut attributes) = match name {
            Name::User(name) => (name, USER_NAME, vec![user]),
            Name::Mail(name) => (name, MAIL, vec![mail]),
            Name::Login(name) => (name, USER_NAME, vec![user, mail]),
        };
        attributes.retain(|attribute| !attribute.is_empty());
        attributes.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
        if attributes.is_empty() {
            return Err(MappingError::Missing("mail"));
        }
        let Ok(name) = parse_text(name.as_bytes(), max_chars) else { return Ok(None) };
        let query = Self { attributes, max_chars, name: name.to_owned(), folded: fold(name) };
        Ok((!name.is_empty()).then_some(query))
    }

    /// A filter for whoever may have the name, escaped (RFC 4515).
    #[must_use]
    pub fn filter(&self) -> String {
        let value = ldap3::ldap_escape(self.name.as_str());
        let each: String = self.attributes.iter().map(|attribute| format!("({attribute}={value})")).collect();
        if self.attributes.len() == 1 { each } else { format!("(|{each})") }
    }

    /// Whether an entry has the name. Of one that was too large to be read nobody knows; then the
    /// directory's word counts.
    #[must_use]
    pub fn matches_entry(&self, entry: &Entry) -> bool {
        let mut values = self.attributes.iter().flat_map(|attribute| entry.values(attribute));
        entry.is_too_large()
            || values
                .any(|value| parse_text(value, self.max_chars).is_ok_and(|value| fold(value) == self.folded))
    }

    /// Whether one of these is the name.
    #[must_use]
    pub fn matches_any(&self, names: [&str; 2]) -> bool {
        names.iter().any(|name| !name.is_empty() && fold(name) == self.folded)
    }
}

/// The one text that all equal names become, as in the control plane: NFC and full case folding.
fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Folding can denormalize, hence NFC twice.
    name.nfc().default_case_fold().nfc().collect()
}

#[cfg(test)]
mod tests {
    use ldap3::asn1::{ASNTag, PL, StructureTag, Tag};
    use proptest::prelude::*;
    use rollcall_proto::admin::v1::AttributeMapping;

    use super::*;

    fn mapping(mail: &str) -> Mapping {
        let settings = AttributeMapping {
            immutable_id: "entryUUID".to_owned(),
            user_name: "uid".to_owned(),
            mail: mail.to_owned(),
            mail_optional: true,
            ..AttributeMapping::default()
        };
        Mapping::new(&settings, 1, 0).expect("a mapping")
    }

    fn is_found(name: &str, value: &str) -> bool {
        let entry = Entry::from_parts("cn=a", &[("UID", &[b"other", value.as_bytes()])]);
        let mapping = mapping("mail");
        let asked = NameQuery::new(&mapping, Name::User(name)).expect("mapped");
        asked.is_some_and(|asked| asked.matches_entry(&entry))
    }

    /// The equality matches that a server is sent for this filter.
    fn sent(filter: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        fn matches(tag: StructureTag) -> Vec<(Vec<u8>, Vec<u8>)> {
            let PL::C(parts) = tag.payload else { panic!("no parts") };
            match tag.id {
                0 | 1 => parts.into_iter().flat_map(matches).collect(),
                3 => match parts.into_iter().map(|part| part.payload).collect::<Vec<_>>().as_slice() {
                    [PL::P(attribute), PL::P(value)] => vec![(attribute.clone(), value.clone())],
                    _ => panic!("not a name and a value"),
                },
                other => panic!("not an equality match: {other}"),
            }
        }
        match ldap3::parse_filter(filter).expect("a filter") {
            Tag::StructureTag(tag) => matches(tag),
            other => matches(other.into_structure()),
        }
    }

    #[test]
    fn names_are_equal_as_they_are_in_the_control_plane() {
        for (name, value) in [
            ("anna", "Anna"),
            (" anna", "anna "),
            ("mu\u{308}ller", "MÜLLER"),
            ("STRASSE", "straße"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ] {
            assert!(is_found(name, value), "{name} and {value}");
        }
        for (name, value) in
            [("muller", "müller"), ("\u{430}nna", "anna"), ("an na", "an  na"), ("admin", "adm\u{131}n")]
        {
            assert!(!is_found(name, value), "{name} and {value}");
        }
    }

    #[test]
    fn a_name_that_no_record_can_have_is_not_asked_for() {
        for name in ["", "  ", "an\0na", "a\nb", &"a".repeat(10_000)] {
            assert!(
                NameQuery::new(&mapping("mail"), Name::Login(name)).expect("mapped").is_none(),
                "{name:?}"
            );
        }
        let address = "a".repeat(255);
        assert!(NameQuery::new(&mapping("mail"), Name::Mail(&address)).expect("mapped").is_none());
        assert!(NameQuery::new(&mapping("mail"), Name::User(&address)).expect("mapped").is_some());
    }

    #[test]
    fn a_login_is_looked_for_in_both_attributes_and_only_in_those_that_are_mapped() {
        let filter =
            |mail: &str, name| NameQuery::new(&mapping(mail), name).map(|asked| asked.map(|a| a.filter()));
        let is = |filter: &str| Ok(Some(filter.to_owned()));
        assert_eq!(filter("mail", Name::Login("a*")), is("(|(uid=a\\2a)(mail=a\\2a))"));
        assert_eq!(filter("UID", Name::Login("a")), is("(uid=a)"));
        assert_eq!(filter("", Name::Login("a")), is("(uid=a)"));
        assert_eq!(filter("mail", Name::Mail("a@b")), is("(mail=a@b)"));
        assert_eq!(filter("", Name::Mail("a@b")), Err(MappingError::Missing("mail")));
    }

    proptest! {
        /// Whatever is typed: the filter is an equality match of each attribute with exactly that,
        /// or nobody is asked.
        #[test]
        fn what_is_typed_cannot_widen_the_filter(
            name in prop_oneof!["\\PC{0,20}", "[*()\\\\|&!=a-c\0 ]{0,20}", "[a-z]{0,3}\\\\2a[a-z]{0,3}"],
        ) {
            let mapping = mapping("mail");
            let Some(asked) = NameQuery::new(&mapping, Name::Login(&name)).expect("mapped") else { return Ok(()) };
            let value = name.trim().as_bytes().to_vec();
            let expected = vec![(b"uid".to_vec(), value.clone()), (b"mail".to_vec(), value)];
            prop_assert_eq!(sent(&asked.filter()), expected);
        }

        #[test]
        fn who_is_found_by_a_name_has_it(name in "\\PC{1,20}", other in "\\PC{1,20}") {
            prop_assert!(name.trim().is_empty() || is_found(&name, &name));
            prop_assert!(!is_found(&name, &other) || fold(name.trim()) == fold(other.trim()));
        }
    }
}
