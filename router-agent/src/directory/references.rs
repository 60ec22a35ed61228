//! Which continuation references are harmless. A reference is a part of what was searched, whatever
//! name it carries (RFC 4511, 4.5.3; RFC 3296). Only Active Directory's own partitions, as its root
//! DSE names them, hold no people: a search at a domain's root always carries references to them.
//! None is ever followed.

use crate::ldap_syntax::normalize;

/// Which references hide a part of the scope.
#[derive(Clone, Copy)]
pub(super) enum ReferenceRule<'a> {
    /// All but those to these partitions, by their normalized names.
    AllBut(&'a [Vec<String>]),
    /// Of these only the ones to a name in or above a root. For searches beyond the scope, after
    /// the scope itself was searched.
    Within { roots: &'a [String], harmless: &'a [Vec<String>] },
}

/// Where a reference points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Referral {
    pub(super) host: String,
    /// Empty if the reference has none that can be read.
    pub(super) name: String,
}

impl Referral {
    /// Takes a reference apart.
    pub(super) fn parse(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(255).collect();
        let name = percent_decode(path.split('?').next().unwrap_or_default()).unwrap_or_default();
        Self { host: shown(host), name: shown(&name) }
    }

    /// Of a referral without a usable URL.
    pub(super) fn unknown() -> Self {
        Self { host: "another server".to_owned(), name: String::new() }
    }

    /// What the reference is for, for people.
    pub(super) fn what(&self) -> String {
        if self.name.is_empty() { "a part".to_owned() } else { self.name.clone() }
    }

    /// Whether it hides a part of the scope.
    pub(super) fn hides_scope(&self, rule: ReferenceRule<'_>) -> bool {
        let Some(names) = normalize(&self.name).filter(|names| !names.is_empty()) else { return true };
        match rule {
            ReferenceRule::AllBut(harmless) => !harmless.contains(&names),
            ReferenceRule::Within { harmless, .. } if harmless.contains(&names) => false,
            ReferenceRule::Within { roots, .. } => roots.iter().any(|root| {
                normalize(root).is_none_or(|root| names.ends_with(&root) || root.ends_with(&names))
            }),
        }
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

    fn hides(url: &str, harmless: &[&str]) -> bool {
        let harmless: Vec<_> = harmless.iter().filter_map(|name| normalize(name)).collect();
        Referral::parse(url).hides_scope(ReferenceRule::AllBut(&harmless))
    }

    #[test]
    fn only_the_partitions_that_active_directory_names_are_harmless() {
        let partitions = ["CN=Configuration,DC=lab,DC=test", "DC=DomainDnsZones,DC=lab,DC=test"];
        for url in [
            "ldaps://lab.test/CN=Configuration,DC=lab,DC=test",
            "ldap://DomainDnsZones.lab.test/DC=DomainDnsZones,dc=LAB,DC=test??sub",
        ] {
            assert!(!hides(url, &partitions), "{url}");
            assert!(hides(url, &[]), "{url}: another server names none");
        }
        for url in [
            "ldap://child.lab.test/DC=child,DC=lab,DC=test",
            "ldap://x.test/DC=DomainDnsZones,DC=child,DC=lab,DC=test",
            "ldap://other.example.com/ou=branch,dc=other",
            "ldap://dc2.lab.test/DC=lab,DC=test",
            "ldap://dc2.lab.test",
            "ldap://dc2.lab.test/%zz",
        ] {
            assert!(hides(url, &partitions), "{url}");
        }
    }

    #[test]
    fn beyond_the_scope_a_reference_counts_by_its_name() {
        let roots = ["ou=people,dc=lab,dc=test".to_owned()];
        let rule = ReferenceRule::Within { roots: &roots, harmless: &[] };
        let hides = |url| Referral::parse(url).hides_scope(rule);
        for url in ["ldap://x/ou=berlin,ou=people,dc=lab,dc=test", "ldap://x/dc=lab,dc=test", "ldap://x"] {
            assert!(hides(url), "{url}");
        }
        assert!(!hides("ldap://x/ou=partners,dc=lab,dc=test") && !hides("ldap://x/dc=other"));
    }

    #[test]
    fn beyond_a_whole_domain_its_own_partitions_are_harmless_and_child_domains_are_not() {
        let roots = ["DC=lab,DC=test".to_owned()];
        let harmless: Vec<_> = normalize("CN=Configuration,DC=lab,DC=test").into_iter().collect();
        let rule = ReferenceRule::Within { roots: &roots, harmless: &harmless };
        let hides = |url| Referral::parse(url).hides_scope(rule);
        assert!(!hides("ldaps://lab.test/CN=Configuration,DC=lab,DC=test"));
        assert!(hides("ldaps://child.lab.test/DC=child,DC=lab,DC=test"));
    }

    #[test]
    fn a_reference_says_where_it_points_to() {
        let parsed = Referral::parse("ldap://elsewhere.invalid/ou=x%2Cou=people,dc=lab?uid?sub");
        let expected =
            Referral { host: "elsewhere.invalid".to_owned(), name: "ou=x,ou=people,dc=lab".to_owned() };
        assert_eq!(parsed, expected);
    }
}
