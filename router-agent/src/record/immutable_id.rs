//! Immutable ids, from an attribute's value and back to what a filter asks for. One form for every
//! directory: a UUID is its 16 bytes, text is 0xFF and its UTF-8 bytes, with another 0xFF behind
//! where that makes 16. Pure.

use bytes::Bytes;
use rollcall_proto::admin::v1::attribute_mapping::ImmutableIdFormat;
use uuid::Uuid;

use super::text::parse_text;

/// Characters and bytes of an id that is text.
const MAX_TEXT_LENGTH: usize = 255;
/// In no UTF-8 text, so text and UUIDs cannot be taken for each other.
const TEXT_MARK: u8 = 0xFF;

/// The id in a value of the attribute.
pub(super) fn parse(format: ImmutableIdFormat, value: &[u8]) -> Option<Bytes> {
    match format {
        ImmutableIdFormat::Unspecified | ImmutableIdFormat::Uuid => {
            let text = std::str::from_utf8(value).ok()?;
            Some(Bytes::copy_from_slice(Uuid::try_parse(text.trim()).ok()?.as_bytes()))
        }
        ImmutableIdFormat::Guid => {
            let bytes: [u8; 16] = value.try_into().ok()?;
            Some(Bytes::copy_from_slice(Uuid::from_bytes_le(bytes).as_bytes()))
        }
        ImmutableIdFormat::Text => {
            let text = parse_text(value, MAX_TEXT_LENGTH)
                .ok()
                .filter(|text| !text.is_empty() && text.len() <= MAX_TEXT_LENGTH)?;
            let mut id = Vec::with_capacity(text.len() + 2);
            id.push(TEXT_MARK);
            id.extend_from_slice(text.as_bytes());
            if id.len() == 16 {
                id.push(TEXT_MARK);
            }
            Some(Bytes::from(id))
        }
    }
}

/// What a filter compares the attribute with to find this id, escaped (RFC 4515); none if no value
/// could be read as it.
pub(super) fn assertion(format: ImmutableIdFormat, id: &[u8]) -> Option<String> {
    let value = match format {
        ImmutableIdFormat::Unspecified | ImmutableIdFormat::Uuid => {
            return Some(Uuid::from_slice(id).ok()?.hyphenated().to_string());
        }
        ImmutableIdFormat::Guid => {
            // Every byte is escaped: as they are, they would be no UTF-8.
            let bytes = Uuid::from_slice(id).ok()?.to_bytes_le();
            return Some(bytes.iter().map(|byte| format!("\\{byte:02x}")).collect());
        }
        ImmutableIdFormat::Text => {
            let text = id.strip_prefix(&[TEXT_MARK])?;
            std::str::from_utf8(text.strip_suffix(&[TEXT_MARK]).unwrap_or(text)).ok()?
        }
    };
    // Only what would be read back as the same id: so nothing that is empty, too long, or has a
    // control character.
    let same = parse(format, value.as_bytes()).is_some_and(|parsed| parsed == id);
    same.then(|| ldap3::ldap_escape(value).into_owned())
}

/// What a filter compares the attribute with in every form that is read as this id: a directory
/// compares text as it stands, with the hyphens and the case that it was written with. The
/// attribute of RFC 4530 has one form.
pub(super) fn assertions(attribute: &str, format: ImmutableIdFormat, id: &[u8]) -> Option<Vec<String>> {
    let own = assertion(format, id)?;
    let is_text = matches!(format, ImmutableIdFormat::Unspecified | ImmutableIdFormat::Uuid)
        && !["entryUUID", "1.3.6.1.1.16.4"].iter().any(|name| name.eq_ignore_ascii_case(attribute));
    if !is_text {
        return Some(vec![own]);
    }
    let uuid = Uuid::from_slice(id).ok()?;
    let (hyphens, digits) = (uuid.hyphenated().to_string(), uuid.simple().to_string());
    let (upper, upper_digits) = (hyphens.to_uppercase(), digits.to_uppercase());
    let (braces, upper_braces) = (format!("{{{hyphens}}}"), format!("{{{upper}}}"));
    let mut forms = vec![own, digits, upper, upper_digits, braces, upper_braces];
    forms.push(format!("urn:uuid:{hyphens}"));
    // Where there are no letters, upper and lower case are one.
    let mut seen = std::collections::HashSet::new();
    forms.retain(|form| seen.insert(form.clone()));
    Some(forms)
}

#[cfg(test)]
mod tests {
    use ldap3::asn1::{PL, StructureTag, Tag};
    use ldap3::parse_filter;
    use proptest::prelude::*;

    use super::*;

    /// What a server is sent for this filter.
    fn sent(filter: &str) -> StructureTag {
        let tag = parse_filter(filter).expect("a filter");
        match tag {
            Tag::StructureTag(tag) => tag,
            other => ldap3::asn1::ASNTag::into_structure(other),
        }
    }

    /// The value in an equality match and nothing else.
    fn asserted(filter: StructureTag) -> Vec<u8> {
        // [3] AttributeValueAssertion: a description and a value.
        assert_eq!(filter.id, 3, "not an equality match");
        let PL::C(mut parts) = filter.payload else { panic!("no parts") };
        assert_eq!(parts.len(), 2);
        let PL::P(value) = parts.remove(1).payload else { panic!("no value") };
        value
    }

    fn formats() -> impl Strategy<Value = ImmutableIdFormat> {
        use ImmutableIdFormat::{Guid, Text, Uuid};
        prop_oneof![Just(Uuid), Just(Guid), Just(Text)]
    }

    #[test]
    fn an_id_that_no_value_could_have_has_no_assertion() {
        use ImmutableIdFormat::{Guid, Text, Uuid};
        let long = [&[TEXT_MARK][..], &[b'a'; 256]].concat();
        let cases: [(ImmutableIdFormat, &[u8]); 10] = [
            (Uuid, b""),
            (Uuid, &[1; 15]),
            (Guid, &[1; 17]),
            (Text, &[1; 16]),
            (Text, b"\xff"),
            (Text, b"\xff "),
            (Text, b"\xff\x80"),
            (Text, b"\xffa\0"),
            (Text, b"\xffanna\xff"),
            (Text, &long),
        ];
        for (format, id) in cases {
            assert_eq!(assertion(format, id), None, "{format:?} {}", id.escape_ascii());
        }
    }

    #[test]
    fn an_id_of_text_is_asked_for_in_every_form_and_all_are_read_as_the_same_id() {
        let id = parse(ImmutableIdFormat::Uuid, b"9D1C3F0A5B7E4A52B8D30C11AA22BB33").expect("an id");
        let forms = assertions("employeeNumber", ImmutableIdFormat::Uuid, &id).expect("forms");
        for form in [
            "9d1c3f0a-5b7e-4a52-b8d3-0c11aa22bb33",
            "9D1C3F0A5B7E4A52B8D30C11AA22BB33",
            "9d1c3f0a5b7e4a52b8d30c11aa22bb33",
            "{9D1C3F0A-5B7E-4A52-B8D3-0C11AA22BB33}",
        ] {
            assert!(forms.iter().any(|other| other == form), "{form} in {forms:?}");
        }
        for form in &forms {
            assert_eq!(parse(ImmutableIdFormat::Uuid, form.as_bytes()).as_ref(), Some(&id), "{form}");
        }
        let one = assertions("entryuuid", ImmutableIdFormat::Uuid, &id).expect("forms");
        assert_eq!(one, [forms[0].clone()], "RFC 4530 has one form");
    }

    proptest! {
        /// What is asked for is what was read: the server compares with the very bytes of a value
        /// that is read as this id.
        #[test]
        fn an_id_becomes_an_assertion_that_is_read_as_the_same_id(
            format in formats(), uuid in any::<[u8; 16]>(), text in "\\PC{1,40}",
        ) {
            let value = match format {
                ImmutableIdFormat::Guid => uuid.to_vec(),
                ImmutableIdFormat::Text => text.into_bytes(),
                _ => Uuid::from_bytes(uuid).to_string().into_bytes(),
            };
            let Some(id) = parse(format, &value) else { return Ok(()) };
            let assertion = assertion(format, &id).expect("an assertion");
            let asked = asserted(sent(&format!("(id={assertion})")));
            prop_assert_eq!(parse(format, &asked), Some(id));
        }

        /// Whatever bytes the id has: it is refused, or it stays one value of one comparison.
        #[test]
        fn a_hostile_id_cannot_widen_the_filter(
            format in formats(),
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..20),
                "[*()\\\\|&!=a-c\0 ]{0,20}".prop_map(|text| [&[TEXT_MARK][..], text.as_bytes()].concat()),
            ],
        ) {
            let Some(assertion) = assertion(format, &bytes) else { return Ok(()) };
            let filter = sent(&format!("(|(id={assertion})(id=other))"));
            prop_assert_eq!(filter.id, 1, "not an OR");
            let PL::C(parts) = filter.payload else { panic!("no parts") };
            prop_assert_eq!(parts.len(), 2);
            for (part, expected) in parts.into_iter().zip([Some(Bytes::from(bytes)), None]) {
                let value = asserted(part);
                match expected {
                    Some(id) => prop_assert_eq!(parse(format, &value), Some(id)),
                    None => prop_assert_eq!(value, b"other"),
                }
            }
        }
    }
}
