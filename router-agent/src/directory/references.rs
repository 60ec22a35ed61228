//! Which continuation references are harmless. A subtree search at an Active Directory domain's
//! root always carries references to its own partitions (configuration, DNS zones): they hold no
//! people, and are recorded and left alone. Any other means that a part of the scope lives
//! elsewhere. None is ever followed.

use crate::ldap_syntax::normalize;

/// Partitions of Active Directory that hold no people, by their first RDN.
const HARMLESS_PARTITIONS: &[&str] =
    &["cn=configuration", "cn=schema", "dc=domaindnszones", "dc=forestdnszones"];

/// What a reference points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// Nothing that the root covers.
    Harmless,
    /// A part of the scope, at this host.
    Referral(String),
}

/// Classifies one reference met while reading `root`.
pub(super) fn classify(url: &str, root: &str) -> Reference {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let referral = || Reference::Referral(host.chars().filter(|c| !c.is_control()).take(255).collect());
    let Some(target) = percent_decode(path.split('?').next().unwrap_or_default()) else { return referral() };
    if target.is_empty() {
        return referral();
    }
    let (Some(names), Some(root_names)) = (normalize(&target), normalize(root)) else {
        return referral();
    };
    // Neither below the root nor above it: another naming context.
    if !names.ends_with(&root_names) && !root_names.ends_with(&names) {
        return Reference::Harmless;
    }
    match names.first() {
        Some(first) if names.len() > root_names.len() && HARMLESS_PARTITIONS.contains(&first.as_str()) => {
            Reference::Harmless
        }
        _ => referral(),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(others.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &others[2..];
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "DC=lab,DC=test";

    #[test]
    fn active_directorys_own_partitions_are_harmless() {
        for url in [
            "ldaps://lab.test/CN=Configuration,DC=lab,DC=test",
            "ldap://DomainDnsZones.lab.test/DC=DomainDnsZones,DC=lab,DC=test",
            "ldap://ForestDnsZones.lab.test/DC=ForestDnsZones,DC=lab,DC=test??sub",
            "ldap://other.test/DC=other,DC=test",
        ] {
            assert_eq!(classify(url, DOMAIN), Reference::Harmless, "{url}");
        }
    }

    #[test]
    fn a_part_of_the_scope_elsewhere_is_not_harmless() {
        for url in [
            "ldap://child.lab.test/DC=child,DC=lab,DC=test",
            "ldap://dc2.lab.test/OU=people,DC=lab,DC=test??sub",
            "ldap://dc2.lab.test/DC=lab,DC=test",
            "ldap://dc2.lab.test",
            "ldap://dc2.lab.test/%zz",
        ] {
            assert!(matches!(classify(url, DOMAIN), Reference::Referral(_)), "{url}");
        }
        assert_eq!(
            classify("ldap://elsewhere.invalid/ou=x%2Cou=people,dc=lab,dc=test", "ou=people,dc=lab,dc=test"),
            Reference::Referral("elsewhere.invalid".to_owned())
        );
    }
}
