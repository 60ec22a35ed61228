//! Distinguished names, compared as directories do (RFC 4514, RFC 4517): escapes decoded, case of types and values and white space
//! around them ignored, parts of a multi-valued RDN in any order. Servers answer another spelling than they were asked with.

/// The RDNs of a name in one spelling, from the entry upwards; none if the text is not a distinguished name.
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

fn rdn(text: &str) -> Option<String> {
    let mut parts = split(text, '+').into_iter().map(part).collect::<Option<Vec<_>>>()?;
    parts.sort();
    Some(parts.join("+"))
}

fn part(text: &str) -> Option<String> {
    let (kind, value) = text.split_once('=')?;
    let kind = kind.trim().to_ascii_lowercase();
    if kind.is_empty()
        || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
    {
        return None;
    }
    let value = String::from_utf8(unescape(value)?).ok()?.to_lowercase();
    // Inner white space counts as one space. What separates parts is escaped again, so that names stay apart.
    let value =
        value.split_whitespace().collect::<Vec<_>>().join(" ").replace('\\', "\\\\").replace('+', "\\+");
    Some(format!("{kind}={value}"))
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
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
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
    use super::*;

    #[test]
    fn spellings_of_one_name_are_equal() {
        for (one, other) in [
            ("ou=Sales\\, EMEA,dc=lab", "OU=sales\\2C emea, DC=LAB"),
            ("cn=a+uid=b,dc=x", "uid=B+cn=A,dc=x"),
            ("cn=M\\C3\\BCller,dc=x", "cn=müller,dc=x"),
            ("cn=a  b,dc=x", "cn=a b,dc=x"),
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
    fn what_is_no_name_is_none() {
        assert_eq!(normalize("people"), None);
        assert_eq!(normalize("=x"), None);
        assert_eq!(normalize("cn=x\\"), None);
    }
}
