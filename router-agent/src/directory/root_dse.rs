//! What a server says about itself (RFC 4512, 5.1): which naming contexts it has, and on Active
//! Directory how far its copy has come. It may say nothing of it; then there is nothing.

use std::time::Duration;

use ldap3::Scope;

use super::connect::Connection;
use super::search::{Interrupted, Search};
use crate::ldap_syntax::{is_within, normalize};
use crate::record::Entry;

/// What a server says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RootDse {
    pub(super) naming_contexts: Vec<String>,
    /// Active Directory: the number of its newest change.
    pub(super) highest_committed_usn: Option<i64>,
    /// Active Directory: the entry of this domain controller.
    pub(super) ds_service_name: Option<String>,
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

    fn from_entry(entry: &Entry) -> Self {
        let texts = |attribute| entry.values(attribute).filter_map(|value| std::str::from_utf8(value).ok());
        Self {
            naming_contexts: texts("namingContexts").map(str::to_owned).collect(),
            highest_committed_usn: texts("highestCommittedUSN").next().and_then(|usn| usn.parse().ok()),
            ds_service_name: texts("dsServiceName").next().map(str::to_owned),
        }
    }
}

impl Connection {
    /// Asks the server about itself. An answer without an entry, or with an error, is one that says
    /// nothing.
    pub(super) async fn root_dse(&self, timeout: Duration) -> Result<RootDse, Interrupted> {
        let attributes = ["namingContexts", "highestCommittedUSN", "dsServiceName"];
        Ok(self
            .read_entry("", &attributes, timeout)
            .await?
            .as_ref()
            .map(RootDse::from_entry)
            .unwrap_or_default())
    }

    /// One entry by its name, if the server shows it.
    pub(super) async fn read_entry(
        &self,
        name: &str,
        attributes: &[&str],
        timeout: Duration,
    ) -> Result<Option<Entry>, Interrupted> {
        let search = Search {
            base: name,
            scope: Scope::Base,
            filter: "(objectClass=*)",
            attributes,
            control: None,
            size_limit: 0,
            max_entries: 1,
            allow_large: false,
            protected_bases: &[],
            timeout,
        };
        let answer = self.search(search).await?;
        Ok(answer.entries.into_iter().next().filter(|_| answer.result.rc == 0))
    }
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
}
