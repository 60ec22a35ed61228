//! What the searches of a connection may find, and what they have found: by message id, each within
//! its own share and all within one bound. `response_sorter` fills it, `search` takes out of it.
//! Also how the server broke the protocol, if it did, and in which search.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::record::Entry;

/// References a page may carry beside its entries.
const MAX_REFERENCES: i64 = 10_000;
/// Most bytes of a page, or of all searches that are under way on one connection. An entry of
/// mapped attributes has one or two thousand.
const MAX_PAGE_BYTES: i64 = 64 << 20;
/// Most bytes of a page that may be thrown away.
const MAX_DISCARDED_BYTES: i64 = 256 << 20;

/// What a search found.
#[derive(Debug)]
pub(crate) enum SearchItem {
    Entry(Entry),
    /// URLs of elsewhere.
    Reference(Vec<String>),
}

/// What may be found by a search.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    entries: u32,
    large: bool,
}

/// A search that was asked.
#[derive(Debug)]
pub(super) struct RunningSearch {
    pub(super) found: Vec<SearchItem>,
    entries: i64,
    references: i64,
    /// Bytes that may still be thrown away.
    pub(super) discardable: i64,
    bytes: i64,
    /// Its result has come: nothing more may.
    pub(super) is_done: bool,
}

#[derive(Debug, Default)]
pub(super) struct Searches {
    next: Budget,
    pub(super) running: HashMap<u32, RunningSearch>,
    /// Bytes of what was found and not taken yet.
    pub(super) bytes: i64,
}

/// What the searches of a connection have found, and what they may.
#[derive(Debug, Default)]
pub(super) struct SearchBudgets {
    searches: Mutex<Searches>,
    violation: Mutex<Option<Violation>>,
}

impl SearchBudgets {
    /// Says what the search that is asked next may find: so many entries; some that are too large,
    /// if it is asked for what the people are and not for who is there.
    pub(super) fn set_next(&self, entries: u32, large: bool) {
        self.lock().next = Budget { entries, large };
    }

    /// What a search found; nothing more of it is kept.
    pub(super) fn take(&self, search: u32) -> Vec<SearchItem> {
        let mut searches = self.lock();
        let Some(running) = searches.running.remove(&search) else { return Vec::new() };
        searches.bytes -= running.bytes;
        running.found
    }

    /// How the server broke the protocol, if it did.
    pub(super) fn violation(&self) -> Option<String> {
        self.first_violation().map(|violation| violation.why.to_owned())
    }

    /// The same, if it was in this search or in none.
    pub(super) fn violation_in(&self, search: Option<u32>) -> Option<String> {
        let violation = self.first_violation()?;
        let elsewhere = violation.search.zip(search).is_some_and(|(in_search, own)| in_search != own);
        (!elsewhere).then(|| violation.why.to_owned())
    }

    fn first_violation(&self) -> Option<Violation> {
        *self.violation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first violation.
    pub(super) fn record_violation(&self, violation: Violation) {
        self.violation.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(violation);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Searches> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A search is on its way to the server.
    pub(super) fn start(&self, search: u32) {
        let mut searches = self.lock();
        let Budget { entries, large } = searches.next;
        let running = RunningSearch {
            found: Vec::new(),
            entries: i64::from(entries),
            references: MAX_REFERENCES,
            discardable: if large { MAX_DISCARDED_BYTES } else { 0 },
            bytes: 0,
            is_done: false,
        };
        searches.running.insert(search, running);
    }
}

impl Searches {
    /// A search that was asked and is not over.
    pub(super) fn running(&mut self, search: u32) -> Result<&mut RunningSearch, Violation> {
        let running = self.running.get_mut(&search).filter(|running| !running.is_done);
        running.ok_or(Violation::from("an answer to a search that was not asked"))
    }

    pub(super) fn add(&mut self, search: u32, found: SearchItem, bytes: usize) -> Result<(), Violation> {
        let wrong = Violation::in_search(search);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let all = self.bytes.saturating_add(bytes);
        let running = self.running(search)?;
        let left = match found {
            SearchItem::Entry(_) => &mut running.entries,
            SearchItem::Reference(_) => &mut running.references,
        };
        *left -= 1;
        if *left < 0 {
            return Err(wrong("more entries than were asked for in one page"));
        }
        if all > MAX_PAGE_BYTES {
            return Err(wrong("a page of more than 64 MiB; set a smaller page_size in the source"));
        }
        running.bytes += bytes;
        running.found.push(found);
        self.bytes = all;
        Ok(())
    }
}

/// How the server broke the protocol, and in which search, if it was in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) why: &'static str,
    pub(super) search: Option<u32>,
}

impl From<&'static str> for Violation {
    fn from(why: &'static str) -> Self {
        Self { why, search: None }
    }
}

impl Violation {
    /// A violation in this search.
    pub(super) fn in_search(search: u32) -> impl Fn(&'static str) -> Self {
        move |why| Self { why, search: Some(search) }
    }
}
