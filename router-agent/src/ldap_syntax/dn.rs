//! Distinguished names, compared as directories do (RFC 4514, RFC 4517): escapes decoded, case of
//! types and values and white space around them ignored, parts of a multi-valued RDN in any order.
//! Servers answer another spelling than they were asked with.

use unicode_normalization::UnicodeNormalization;

/// Types of RFC 4514, section 3, with their other names.
const SHORT_NAMES: &[(&str, &[&str])] = &[
    ("cn", &["commonname", "2.5.4.3"]),
    ("c", &["countryname", "2.5.4.6"]),
    ("l", &["localityname", "2.5.4.7"]),
    ("st", &["stateorprovincename", "2.5.4.8"]),
    ("street", &["streetaddress", "2.5.4.9"]),
    ("o", &["organizationname", "2.5.4.10"]),
    ("ou", &["organizationalunitname", "2.5.4.11"]),
    ("dc", &["domaincomponent", "0.9.2342.19200300.100.1.25"]),
    ("uid", &["userid", "0.9.2342.19200300.100.1.1"]),
];

/// The RDNs of a name in one spelling, from the entry upwards; none if the text is not a
/// distinguished name.
#[must_use]
pub fn normalize(dn: &str) -> Option<Vec<String>> {
    if dn.trim().is_empty() {
        return Some(Vec::new());
    }
    split(dn, ',').into_iter().map(rdn).collect()
}

/// Whether a name is `base` or below it.
#[must_use]
pub fn is_within(dn: &str, base: &str) -> bool {
    match (normalize(dn), normalize(base)) {
        (Some(dn), Some(base)) => dn.ends_with(&base),
        _ => false,
    }
}

/// The name of the entry above, as the text has it; none for a name of one part or less.
#[must_use]
pub fn parent(dn: &str) -> Option<&str> {
    let own = split(dn, ',')[0];
    dn.get(own.len() + 1..).map(str::trim_start).filter(|rest| !rest.is_empty())
}

/// Whether two texts are one name; a text that is no name equals none.
#[must_use]
pub fn is_same_name(one: &str, other: &str) -> bool {
    normalize(one).is_some_and(|rdns| Some(rdns) == normalize(other))
}

/// Whether a value is what the entry is named by: `uid=anna,dc=lab` by the `uid` `Anna`.
#[must_use]
pub fn is_named(dn: &str, attribute: &str, value: &str) -> bool {
    naming_values(dn, attribute).any(|named| plain(&named) == plain(value))
}

/// The values of an attribute that the entry is named by; mostly one or none.
pub fn naming_values(dn: &str, attribute: &str) -> impl Iterator<Item = String> {
    let own = split(dn, ',')[0];
    split(own, '+').into_iter().filter_map(move |part| {
        let (kind, named) = part.split_once('=')?;
        if !kind.trim().eq_ignore_ascii_case(attribute) {
            return None;
        }
        String::from_utf8(unescape(named)?).ok()
    })
}

fn rdn(text: &str) -> Option<String> {
    let mut parts = split(text, '+').into_iter().map(part).collect::<Option<Vec<_>>>()?;
    parts.sort();
    Some(parts.join("+"))
}

fn part(text: &str) -> Option<String> {
    let (kind, value) = text.split_once('=')?;
    let kind = kind.trim().to_ascii_lowercase();
    let kind =
        SHORT_NAMES.iter().find(|(_, names)| names.contains(&&*kind)).map_or(&*kind, |(short, _)| *short);
    if kind.is_empty()
        || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
    {
        return None;
    }
    let value = String::from_utf8(unescape(value)?).ok()?;
    // What separates parts is escaped again, so that names stay apart.
    let value = plain(&value).replace('\\', "\\\\").replace('+', "\\+");
    Some(format!("{kind}={value}"))
}

/// A value without regard to case; inner white space counts as one space. A letter with its accent
/// is one whether it came as one character or as two (RFC 4518, 2.3).
fn plain(value: &str) -> String {
    let value: std::borrow::Cow<'_, str> = match value.is_ascii() {
        true => value.into(),
        false => value.nfkc().collect::<String>().into(),
    };
    value.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unescape(value: &str) -> Option<Vec<u8>> {
    let bytes = value.as_bytes();
    let start = bytes.iter().position(|byte| *byte != b' ').unwrap_or(bytes.len());
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = start;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            plain.push(bytes[at]);
            at += 1;
            continue;
        }
        // Digit by digit: from_str_radix takes `+1`, which is an escaped plus and a one, for a
        // number.
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match digit(at + 1).zip(digit(at + 2)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(*bytes.get(at + 1)?);
                at += 2;
            }
        }
    }
    Some(plain)
}

/// Splits at a character that is not escaped.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (position, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == at => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_name_are_equal() {
        for (one, other) in [
            ("ou=Sales\\, EMEA,dc=lab", "OU=sales\\2C emea, DC=LAB"),
            ("cn=a+uid=b,dc=x", "uid=B+cn=A,dc=x"),
            ("cn=M\\C3\\BCller,dc=x", "cn=müller,dc=x"),
            ("cn=a  b,dc=x", "cn=a b,dc=x"),
            ("ou=Mu\u{308}nchen,dc=x", "ou=m\u{fc}nchen,dc=x"),
            ("organizationalUnitName=people,dc=x", "2.5.4.11=People,domainComponent=X"),
        ] {
            assert_eq!(normalize(one), normalize(other), "{one} and {other}");
        }
    }

    #[test]
    fn a_name_is_within_its_base_and_not_within_one_that_merely_ends_alike() {
        assert!(is_within("uid=a,ou=people,dc=lab", "OU=People,DC=lab"));
        assert!(is_within("ou=people,dc=lab", "ou=people,dc=lab"));
        assert!(!is_within("uid=a,ou=xpeople,dc=lab", "ou=people,dc=lab"));
        assert!(!is_within("cn=x\\,ou=people,dc=lab", "ou=people,dc=lab"));
        assert!(!is_within("dc=lab", "ou=people,dc=lab"));
    }

    #[test]
    fn an_escaped_plus_before_a_digit_is_a_plus() {
        assert_eq!(normalize("cn=a\\+1,dc=x"), normalize("cn=a\\2B1,dc=x"));
        assert_ne!(normalize("cn=a\\+1,dc=x"), normalize("cn=a\\01,dc=x"));
    }

    #[test]
    fn an_entry_is_named_by_each_value_of_its_own_rdn_and_by_no_other() {
        let dn = "cn=Smith\\, Anna+UID=anna,ou=cn\\=x,dc=lab";
        assert!(is_named(dn, "cn", "smith,  anna") && is_named(dn, "uid", "ANNA"));
        assert!(!is_named(dn, "uid", "ann") && !is_named(dn, "dc", "lab") && !is_named("", "cn", ""));
    }

    proptest! {
        #[test]
        fn any_value_escaped_is_the_value_again(value in "\\PC{0,20}") {
            let escaped: String = value.bytes().map(|byte| format!("\\{byte:02x}")).collect();
            let (base, below) = (format!("cn={escaped},dc=x"), format!("uid=a,cn={escaped},dc=x"));
            prop_assert!(is_named(&base, "CN", &value) && is_within(&below, &base));
            prop_assert_eq!(normalize(&base).map(|rdns| rdns.len()), Some(2));
        }

        #[test]
        fn no_text_makes_it_panic_and_every_name_is_within_itself(dn in any::<String>(), attribute in any::<String>()) {
            let _ = is_named(&dn, &attribute, &dn);
            prop_assert_eq!(is_within(&dn, &dn), normalize(&dn).is_some());
        }
    }

    #[test]
    fn the_parent_of_a_name_begins_behind_its_first_part() {
        assert_eq!(parent("cn=Smith\\, Anna, ou=people,dc=x"), Some("ou=people,dc=x"));
        assert_eq!((parent("dc=x"), parent("")), (None, None));
        assert!(is_same_name("OU=people, DC=x", "ou=People,dc=x") && !is_same_name("people", "people"));
    }

    #[test]
    fn what_is_no_name_is_none() {
        assert_eq!(normalize("people"), None);
        assert_eq!(normalize("=x"), None);
        assert_eq!(normalize("cn=x\\"), None);
    }
}
