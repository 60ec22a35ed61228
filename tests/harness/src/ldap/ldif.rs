//! Writes LDIF (RFC 2849) and escapes names (RFC 4514).
//! Does not read LDIF, and does not fold long lines: no reader needs that.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};

/// Writes one `key: value` line, in base64 where the value needs it.
pub fn line(out: &mut impl Write, key: &str, value: &str) -> io::Result<()> {
    if is_safe(value) { writeln!(out, "{key}: {value}") } else { binary(out, key, value.as_bytes()) }
}

/// Writes one `key:: value` line in base64.
pub fn binary(out: &mut impl Write, key: &str, value: &[u8]) -> io::Result<()> {
    writeln!(out, "{key}:: {}", STANDARD.encode(value))
}

fn is_safe(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
        && !matches!(bytes.first(), None | Some(b' ' | b':' | b'<'))
        && bytes.last() != Some(&b' ')
}

/// Escapes a value for use in a DN.
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len() + 2);
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let special = matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=');
        if special || (at == 0 && matches!(c, '#' | ' ')) || (at == last && c == ' ') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &str) -> String {
        let mut out = Vec::new();
        line(&mut out, "cn", value).expect("a vector takes every byte");
        String::from_utf8(out).expect("LDIF is ASCII")
    }

    #[test]
    fn values_that_plain_ldif_cannot_carry_are_base64() {
        assert_eq!(written("Anna"), "cn: Anna\n");
        assert_eq!(written("Zoë"), "cn:: Wm/Dqw==\n");
        assert_eq!(written(" Anna"), "cn:: IEFubmE=\n");
        assert_eq!(written("Anna "), "cn:: QW5uYSA=\n");
        assert_eq!(written(":a"), "cn:: OmE=\n");
        assert_eq!(written(""), "cn:: \n");
    }

    #[test]
    fn names_are_escaped_as_rfc_4514_wants() {
        assert_eq!(escape("Sales, EMEA"), "Sales\\, EMEA");
        assert_eq!(escape("#1 \"x\" + \\ "), "\\#1 \\\"x\\\" \\+ \\\\\\ ");
        assert_eq!(escape("a # b"), "a # b");
    }
}
