//! How recent a server's data is, as far as it says so: OpenLDAP by its change sequence numbers,
//! Active Directory and 389 Directory Server by their update sequence numbers. A sign counts only
//! from the vendor that it belongs to: others have attributes of the same name. Asked before the
//! first page, so that it never promises more than was read. A server that does not say it is not
//! wrong.

use std::time::Duration;

use super::connect::Connection;
use super::root_dse::Vendor;
use super::search::Interrupted;
use crate::ldap_syntax::normalize;

/// How recent a server's data is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// OpenLDAP: values of `contextCSN` at the naming context, one a provider, sorted. None if the
    /// roots lie in several contexts: nobody could tell afterwards which value is of which.
    pub context_csns: Vec<String>,
    /// Active Directory: which copy of the database the domain controller has.
    pub invocation_id: Option<[u8; 16]>,
    /// Active Directory: the number of its newest change; comparable only for the same copy.
    pub highest_committed_usn: Option<i64>,
    /// 389 Directory Server: the number of the newest change of its one backend.
    pub last_usn: Option<i64>,
}

impl Connection {
    /// Asks how recent the data below these roots is.
    pub(super) async fn freshness(
        &self,
        roots: &[String],
        timeout: Duration,
    ) -> Result<Freshness, Interrupted> {
        let root_dse = self.root_dse(timeout).await?;
        let mut freshness = Freshness::default();
        let mut contexts: Vec<_> = roots.iter().map(|root| root_dse.naming_context(root)).collect();
        contexts.dedup_by_key(|context| normalize(context));
        if root_dse.vendor == Vendor::OpenLdap
            && let [context] = contexts[..]
            && let Some(entry) = self.read_entry(context, &["contextCSN"], timeout).await?
        {
            let csns = entry.values("contextCSN").filter_map(|csn| std::str::from_utf8(csn).ok());
            freshness.context_csns = csns.map(str::to_owned).collect();
            freshness.context_csns.sort();
        }
        // Only together: a number without the copy that it is of compares with nothing.
        if let Some(usn) = root_dse.highest_committed_usn
            && let Some(id) = self.invocation_id(timeout).await?
        {
            freshness.invocation_id = Some(id);
            freshness.highest_committed_usn = Some(usn);
        }
        // Of several backends the root DSE does not say which one holds the roots.
        if let [(_, usn)] = root_dse.last_usns[..] {
            freshness.last_usn = Some(usn);
        }
        Ok(freshness)
    }

    /// Active Directory: which copy of the database this domain controller has. Asked once for each
    /// connection.
    pub(super) async fn invocation_id(&self, timeout: Duration) -> Result<Option<[u8; 16]>, Interrupted> {
        let Some(service) = &self.root_dse(timeout).await?.ds_service_name else { return Ok(None) };
        let ask = || async {
            let entry = self.read_entry(service, &["invocationId"], timeout).await?;
            let id = entry.as_ref().and_then(|entry| entry.values("invocationId").next());
            Ok(id.and_then(|id| <[u8; 16]>::try_from(id).ok()))
        };
        self.invocation_id.get_or_try_init(ask).await.copied()
    }
}
