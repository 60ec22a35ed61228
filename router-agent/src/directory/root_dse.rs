//! What a server says about itself (RFC 4512, 5.1): of which kind it is, which naming contexts it
//! has, and how far its copy has come. It may say nothing of it; then there is nothing.

use super::references::ReferenceRule;
use crate::ldap_syntax::{is_same_name, is_within, normalize};
use crate::record::Entry;

/// Among the capabilities of every Active Directory.
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";
pub(super) const ATTRIBUTES: [&str; 14] = [
    "objectClass",
    "structuralObjectClass",
    "vendorName",
    "vendorVersion",
    "namingContexts",
    "defaultNamingContext",
    "rootDomainNamingContext",
    "configurationNamingContext",
    "schemaNamingContext",
    "supportedCapabilities",
    "isGlobalCatalogReady",
    "highestCommittedUSN",
    "dsServiceName",
    "netscapemdsuffix",
];

/// What kind of server it is, as far as it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Vendor {
    /// It does not say.
    #[default]
    Unknown,
    OpenLdap,
    ActiveDirectory,
    /// 389 Directory Server, or one of its family.
    DirectoryServer389,
}

/// What a server says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RootDse {
    pub(super) vendor: Vendor,
    pub(super) naming_contexts: Vec<String>,
    /// Active Directory: its partitions that hold no people, by their normalized names.
    pub(super) harmless_partitions: Vec<Vec<String>>,
    /// Active Directory: where its attributes are described.
    pub(super) schema: Option<String>,
    /// Active Directory: the number of its newest change.
    pub(super) highest_committed_usn: Option<i64>,
    /// Active Directory: the entry of this domain controller.
    pub(super) ds_service_name: Option<String>,
    /// 389 Directory Server: the number of the newest change, by backend.
    pub(super) last_usns: Vec<(String, i64)>,
    /// 389 Directory Server: what identifies the server.
    pub(super) instance: Option<String>,
}

impl RootDse {
    /// The naming context that holds a name, or the name itself where the server names none: then
    /// nothing beyond it is known.
    pub(super) fn naming_context<'a>(&'a self, name: &'a str) -> &'a str {
        let holding = self.naming_contexts.iter().filter(|context| is_within(name, context));
        // The longest: a context may lie in another. The empty one is no place to search from.
        let depth = |context: &str| normalize(context).map_or(0, |names| names.len());
        let longest = holding.filter(|context| depth(context) > 0).max_by_key(|context| depth(context));
        longest.map_or(name, String::as_str)
    }

    /// Which references are a part of the scope on this server.
    pub(super) fn references(&self) -> ReferenceRule<'_> {
        ReferenceRule::AllBut(&self.harmless_partitions)
    }

    /// The same for a search beyond these roots, which were searched before.
    pub(super) fn references_beyond<'a>(&'a self, roots: &'a [String]) -> ReferenceRule<'a> {
        ReferenceRule::Within { roots, harmless: &self.harmless_partitions }
    }

    pub(super) fn from_entry(entry: &Entry) -> Self {
        let texts = |attribute| entry.values(attribute).filter_map(|value| std::str::from_utf8(value).ok());
        let text = |attribute| texts(attribute).next().map(str::to_owned);
        let has = |attribute, wanted: &str| texts(attribute).any(|value| value.eq_ignore_ascii_case(wanted));
        let vendor_name = text("vendorName").unwrap_or_default().to_ascii_lowercase();
        let vendor = if has("supportedCapabilities", ACTIVE_DIRECTORY)
            || text("isGlobalCatalogReady").is_some()
            || text("dsServiceName").is_some()
        {
            Vendor::ActiveDirectory
        } else if has("objectClass", "OpenLDAProotDSE") || has("structuralObjectClass", "OpenLDAProotDSE") {
            Vendor::OpenLdap
        } else if vendor_name.starts_with("389") || text("netscapemdsuffix").is_some() {
            Vendor::DirectoryServer389
        } else {
            Vendor::Unknown
        };
        let is_ad = vendor == Vendor::ActiveDirectory;
        let below = |rdn: &str, context| text(context).map(|context| format!("{rdn},{context}"));
        let partitions = [
            text("configurationNamingContext"),
            text("schemaNamingContext"),
            below("DC=DomainDnsZones", "defaultNamingContext"),
            below("DC=ForestDnsZones", "rootDomainNamingContext"),
        ];
        let names = partitions.into_iter().flatten().filter_map(|name| normalize(&name));
        let last_usns = entry.values_with_options("lastusn").filter_map(|(backend, usn)| {
            let backend = std::str::from_utf8(backend).ok()?.to_ascii_lowercase();
            Some((backend, std::str::from_utf8(usn).ok()?.parse().ok()?))
        });
        // What all servers of a build say tells none of them apart.
        let instance = text("netscapemdsuffix");
        Self {
            vendor,
            naming_contexts: texts("namingContexts").map(str::to_owned).collect(),
            harmless_partitions: names.filter(|name| is_ad && !name.is_empty()).collect(),
            schema: text("schemaNamingContext").filter(|_| is_ad),
            highest_committed_usn: texts("highestCommittedUSN").next().and_then(|usn| usn.parse().ok()),
            ds_service_name: text("dsServiceName"),
            last_usns: if vendor == Vendor::DirectoryServer389 { last_usns.collect() } else { Vec::new() },
            instance: instance.filter(|_| vendor == Vendor::DirectoryServer389),
        }
    }
}

/// Whether an entry has this name.
pub(super) fn is_entry_of(entry: &Entry, name: &str) -> bool {
    std::str::from_utf8(entry.dn()).is_ok_and(|own| is_same_name(own, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naming_context_of_a_root_is_the_longest_that_holds_it() {
        let contexts = ["", "DC=lab,DC=test", "CN=Configuration,DC=lab,DC=test", "DC=east,DC=lab,DC=test"];
        let root_dse =
            RootDse { naming_contexts: contexts.map(str::to_owned).to_vec(), ..RootDse::default() };
        for (root, context) in [
            ("ou=people,dc=LAB,dc=test", "DC=lab,DC=test"),
            ("ou=people,dc=east,dc=lab,dc=test", "DC=east,DC=lab,DC=test"),
            ("dc=lab,dc=test", "DC=lab,DC=test"),
            ("ou=people,dc=elsewhere", "ou=people,dc=elsewhere"),
        ] {
            assert_eq!(root_dse.naming_context(root), context);
        }
    }

    fn of(attributes: &[(&str, &[&[u8]])]) -> RootDse {
        RootDse::from_entry(&Entry::from_parts("", attributes))
    }

    #[test]
    fn the_vendor_is_who_says_so_and_only_active_directory_has_harmless_partitions() {
        let contexts: [(&str, &[&[u8]]); 4] = [
            ("configurationNamingContext", &[b"CN=Configuration,DC=lab,DC=test"]),
            ("schemaNamingContext", &[b"CN=Schema,CN=Configuration,DC=lab,DC=test"]),
            ("defaultNamingContext", &[b"DC=east,DC=lab,DC=test"]),
            ("rootDomainNamingContext", &[b"DC=lab,DC=test"]),
        ];
        for own in [
            ("supportedCapabilities", ACTIVE_DIRECTORY.as_bytes()),
            ("isGlobalCatalogReady", b"FALSE"),
            ("dsServiceName", b"CN=NTDS Settings"),
        ] {
            let value: &[&[u8]] = &[own.1];
            let known = of(&[&contexts[..], &[(own.0, value)]].concat());
            assert_eq!(known.vendor, Vendor::ActiveDirectory);
            let expected = [
                "CN=Configuration,DC=lab,DC=test",
                "CN=Schema,CN=Configuration,DC=lab,DC=test",
                "DC=DomainDnsZones,DC=east,DC=lab,DC=test",
                "DC=ForestDnsZones,DC=lab,DC=test",
            ];
            let expected: Vec<_> = expected.iter().filter_map(|name| normalize(name)).collect();
            assert_eq!(known.harmless_partitions, expected);
        }
        assert_eq!(of(&contexts), RootDse::default());
        assert_eq!(of(&[("objectClass", &[b"top", b"OpenLDAProotDSE"])]).vendor, Vendor::OpenLdap);
        let server = of(&[("vendorName", &[b"389 Project"]), ("lastusn;userroot", &[b"41"])]);
        assert_eq!(server.vendor, Vendor::DirectoryServer389);
        assert_eq!(server.last_usns, [("userroot".to_owned(), 41)]);
    }
}
