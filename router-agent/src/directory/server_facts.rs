//! Asks a server about itself and about single entries. What it says of itself is kept for as long
//! as the connection.

use std::time::Duration;

use ldap3::Scope;

use super::connect::Connection;
use super::entry_version::VersionSource;
use super::references::ReferenceRule;
use super::root_dse::{self, RootDse, is_entry_of};
use super::search::{Interrupted, Search};
use crate::record::Entry;

impl Connection {
    /// Asks the server about itself, once for each connection. An answer without an entry, or with
    /// an error, is one that says nothing.
    pub(super) async fn root_dse(&self, timeout: Duration) -> Result<&RootDse, Interrupted> {
        let ask = || async {
            let attributes: Vec<_> = root_dse::ATTRIBUTES.into_iter().chain(["lastusn"]).collect();
            let entry = self.read_entry("", &attributes, timeout).await?;
            Ok(entry.as_ref().map(RootDse::from_entry).unwrap_or_default())
        };
        self.root_dse.get_or_try_init(ask).await
    }

    /// One entry by its name, if the server shows it.
    pub(super) async fn read_entry(
        &self,
        name: &str,
        attributes: &[&str],
        timeout: Duration,
    ) -> Result<Option<Entry>, Interrupted> {
        self.read_matching(name, "(objectClass=*)", attributes, timeout).await
    }

    /// The same if it matches a filter. An entry of another name breaks the protocol.
    pub(super) async fn read_matching(
        &self,
        name: &str,
        filter: &str,
        attributes: &[&str],
        timeout: Duration,
    ) -> Result<Option<Entry>, Interrupted> {
        let search = Search {
            base: name,
            scope: Scope::Base,
            filter,
            attributes,
            control: None,
            size_limit: 0,
            max_entries: 1,
            allow_large: false,
            references: ReferenceRule::AllBut(&[]),
            timeout,
        };
        let answer = self.search(search).await?;
        let entry = answer.entries.into_iter().next();
        if entry.as_ref().is_some_and(|entry| !is_entry_of(entry, name)) {
            return Err(Interrupted::Protocol(format!("it answered with another entry than {name}")));
        }
        Ok(entry.filter(|_| answer.result.rc == 0 && answer.referral.is_none()))
    }

    /// Where this server's entries have their version. Asked once for each connection.
    pub(super) async fn version_source(&self, timeout: Duration) -> Result<&VersionSource, Interrupted> {
        let ask = || async {
            let invocation_id = self.invocation_id(timeout).await?;
            Ok(VersionSource::new(self.root_dse(timeout).await?, invocation_id))
        };
        self.version_source.get_or_try_init(ask).await
    }
}
