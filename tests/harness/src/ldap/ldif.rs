//! Writes and reads LDIF (RFC 2849) and escapes names (RFC 4514).
//! Does not fold long lines and does not unfold them: no reader needs the one, and the tools are
//! told not to do the other.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::{Context, Result, ensure};

use base64::{Engine, engine::general_purpose::STANDARD};

/// Writes one `key: value` line, in base64 where the value needs it.
pub fn line(out: &mut impl Write, key: &str, value: &str) -> io::Result<()> {
    if is_safe(value) { writeln!(out, "{key}: {value}") } else { binary(out, key, value.as_bytes()) }
}

/// Writes one `key:: value` line in base64.
pub fn binary(out: &mut impl Write, key: &str, value: &[u8]) -> io::Result<()> {
    writeln!(out, "{key}:: {}", STANDARD.encode(value))
}

/// A change record of these lines.
pub fn change(dn: &str, lines: &[(&str, &str)]) -> Result<String> {
    let mut record = Vec::new();
    line(&mut record, "dn", dn)?;
    for (key, value) in lines {
        match *key {
            "-" => record.write_all(b"-\n")?,
            key => line(&mut record, key, value)?,
        }
    }
    Ok(String::from_utf8(record)?)
}

/// A change record that sets the values of one attribute; none removes it.
pub fn replace(dn: &str, attribute: &str, values: &[&str]) -> Result<String> {
    let mut lines = vec![("changetype", "modify"), ("replace", attribute)];
    lines.extend(values.iter().map(|value| (attribute, *value)));
    change(dn, &lines)
}

/// A change record that renames an entry, or moves it where `new_parent` is given. `new_rdn` such
/// as `uid=anna` comes escaped.
pub fn rename(dn: &str, new_rdn: &str, new_parent: Option<&str>) -> Result<String> {
    let mut lines = vec![("changetype", "modrdn"), ("newrdn", new_rdn), ("deleteoldrdn", "1")];
    lines.extend(new_parent.map(|parent| ("newsuperior", parent)));
    change(dn, &lines)
}

/// An entry as a search answered it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl Entry {
    /// The first value of an attribute.
    pub fn first(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute)?.first().map(String::as_str)
    }
}

/// Reads what [`super::Slapd::search`] answers. Values must be text.
pub fn entries(ldif: &str) -> Result<Vec<Entry>> {
    let blocks = ldif.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    blocks.map(entry).collect()
}

fn entry(block: &str) -> Result<Entry> {
    let mut entry = Entry::default();
    for line in block.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.split_once(':').with_context(|| format!("not LDIF: {line}"))?;
        let value = match value.strip_prefix(':') {
            Some(encoded) => String::from_utf8(STANDARD.decode(encoded.trim())?)?,
            None => value.trim_start().to_owned(),
        };
        if key == "dn" {
            entry.dn = value;
        } else {
            entry.attributes.entry(key.to_owned()).or_default().push(value);
        }
    }
    ensure!(!entry.dn.is_empty(), "an entry without a name: {block}");
    Ok(entry)
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
    fn what_was_written_is_read_again() {
        let mut out = b"dn: uid=anna,dc=x\n".to_vec();
        for value in ["Anna", "Zo\u{eb}", " Anna", ":a", ""] {
            line(&mut out, "cn", value).expect("a vector takes every byte");
        }
        out.extend(b"\ndn: uid=ben,dc=x\ncn: Ben\n");
        let read = entries(std::str::from_utf8(&out).expect("LDIF is ASCII")).expect("it is LDIF");
        assert_eq!(read[0].attributes["cn"], ["Anna", "Zo\u{eb}", " Anna", ":a", ""]);
        assert_eq!((read[0].first("cn"), read[1].dn.as_str()), (Some("Anna"), "uid=ben,dc=x"));
    }

    #[test]
    fn names_are_escaped_as_rfc_4514_wants() {
        assert_eq!(escape("Sales, EMEA"), "Sales\\, EMEA");
        assert_eq!(escape("#1 \"x\" + \\ "), "\\#1 \\\"x\\\" \\+ \\\\\\ ");
        assert_eq!(escape("a # b"), "a # b");
    }
}
