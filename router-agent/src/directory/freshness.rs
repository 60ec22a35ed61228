//! How recent a server's data is, as far as it says so: OpenLDAP by its change sequence numbers,
//! Active Directory by its update sequence number. Asked before the first page, so that it never
//! promises more than was read. A server that does not say it is not wrong.

use std::time::Duration;

use super::connect::Connection;
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
        if let [context] = contexts[..]
            && let Some(entry) = self.read_entry(context, &["contextCSN"], timeout).await?
        {
            let csns = entry.values("contextCSN").filter_map(|csn| std::str::from_utf8(csn).ok());
            freshness.context_csns = csns.map(str::to_owned).collect();
            freshness.context_csns.sort();
        }
        if let (Some(usn), Some(service)) = (root_dse.highest_committed_usn, &root_dse.ds_service_name)
            && let Some(entry) = self.read_entry(service, &["invocationId"], timeout).await?
            && let Some(id) = entry.values("invocationId").next().and_then(|id| <[u8; 16]>::try_from(id).ok())
        {
            // Only together: a number without the copy that it is of compares with nothing.
            freshness.invocation_id = Some(id);
            freshness.highest_committed_usn = Some(usn);
        }
        Ok(freshness)
    }
}
