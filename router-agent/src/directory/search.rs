//! One search on a guarded connection, to its result. The crate asks and reads the result; what is
//! found comes past it (`ldap_guard`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ldap3::controls::RawControl;
use ldap3::{LdapError, LdapResult, Scope, SearchOptions};

use super::connect::Connection;
use super::references::{ReferenceRule, Referral};
use super::search_budget::SearchItem;
use crate::record::Entry;

/// What to ask.
pub(super) struct Search<'a, A> {
    pub(super) base: &'a str,
    pub(super) scope: Scope,
    pub(super) filter: &'a str,
    pub(super) attributes: &'a [A],
    pub(super) control: Option<RawControl>,
    /// How many entries the server is asked to leave it at; 0 for all.
    pub(super) size_limit: i32,
    /// More entries than this break the protocol.
    pub(super) max_entries: u32,
    /// Whether entries may be too large to be read. Where an entry's absence says something, they
    /// may not.
    pub(super) allow_large: bool,
    /// Which references hide a part of what is searched.
    pub(super) references: ReferenceRule<'a>,
    /// For all of it.
    pub(super) timeout: Duration,
}

/// What came before the result, and the result.
pub(super) struct Answer {
    pub(super) entries: Vec<Entry>,
    /// References that are no part of the scope.
    pub(super) ignored_references: u64,
    /// The first reference that hides a part of the scope.
    pub(super) referral: Option<Referral>,
    pub(super) result: LdapResult,
}

/// Why there is no result.
pub(super) enum Interrupted {
    /// The server broke the protocol.
    Protocol(String),
    /// The connection ended, or the time was over.
    Broken(String),
}

impl Connection {
    /// Searches. Others may be under way on the connection.
    pub(super) async fn search<A>(&self, search: Search<'_, A>) -> Result<Answer, Interrupted>
    where
        A: AsRef<str> + Send + Sync,
    {
        let Search {
            base,
            scope,
            filter,
            attributes,
            control,
            size_limit,
            max_entries,
            allow_large,
            references,
            timeout,
        } = search;
        let id = AtomicU32::new(0);
        let result = tokio::time::timeout(timeout, async {
            let mut ldap = self.ldap.clone();
            ldap.with_timeout(timeout);
            ldap.with_search_options(SearchOptions::new().sizelimit(size_limit));
            if let Some(control) = control {
                ldap.with_controls(control);
            }
            let mut search = {
                let _sending = self.send_lock.lock().await;
                self.budgets.set_next(max_entries, allow_large);
                // It is on its way once this returns.
                ldap.streaming_search(base, scope, filter, attributes).await?
            };
            id.store(u32::try_from(search.ldap_handle().last_id()).unwrap_or_default(), Ordering::Relaxed);
            // Only intermediate responses, which mean nothing here.
            while search.next().await?.is_some() {}
            Ok(search.finish().await)
        })
        .await;
        let id = Some(id.into_inner()).filter(|id| *id != 0);
        match result {
            Ok(Ok(result)) => {
                let mut collected = Collected::new(references);
                collected.add(id.map(|id| self.budgets.take(id)).unwrap_or_default());
                Ok(Answer {
                    entries: collected.entries,
                    ignored_references: collected.ignored_references,
                    referral: collected.referral,
                    result,
                })
            }
            Ok(Err(error)) => Err(self.interruption(&error, id)),
            Err(_) => Err(Interrupted::Broken("no whole answer in time".to_owned())),
        }
    }

    fn interruption(&self, error: &LdapError, search: Option<u32>) -> Interrupted {
        match self.budgets.violation_in(search) {
            Some(why) => Interrupted::Protocol(why),
            None => Interrupted::Broken(self.describe(error)),
        }
    }
}

/// What a search found, taken apart.
struct Collected<'a> {
    rule: ReferenceRule<'a>,
    entries: Vec<Entry>,
    ignored_references: u64,
    referral: Option<Referral>,
}

impl<'a> Collected<'a> {
    fn new(rule: ReferenceRule<'a>) -> Self {
        Self { rule, entries: Vec::new(), ignored_references: 0, referral: None }
    }

    fn add(&mut self, items: Vec<SearchItem>) {
        for found in items {
            match found {
                SearchItem::Entry(entry) => self.entries.push(entry),
                SearchItem::Reference(urls) => {
                    self.ignored_references += 1;
                    // The URLs of one reference are alternatives for the same thing.
                    let mut referrals = urls.iter().map(|url| Referral::parse(url));
                    let hiding = referrals.find(|referral| referral.hides_scope(self.rule));
                    let nameless = urls.is_empty().then(Referral::unknown);
                    if let Some(referral) = hiding.or(nameless) {
                        self.referral.get_or_insert(referral);
                    }
                }
            }
        }
    }
}
