//! What the searches of a connection may find, and what they have found: by message id, each within its own share and all within one bound.
//! `guard` fills it, `search` takes out of it. Also how the server broke the protocol, if it did, and in which search.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::record::Entry;

/// References a page may carry beside its entries.
const REFERENCES: i64 = 10_000;
/// Most bytes of a page, or of all searches that are under way on one connection. An entry of mapped attributes has one or two thousand.
const PAGE_BYTES: i64 = 64 << 20;
/// Most bytes of a page that may be thrown away.
const DISCARDED: i64 = 256 << 20;

/// What a search found.
#[derive(Debug)]
pub(crate) enum Found {
    Entry(Entry),
    /// URLs of elsewhere.
    Reference(Vec<String>),
}

/// What may be found by a search.
#[derive(Clone, Copy, Debug, Default)]
struct Allowed {
    entries: u32,
    large: bool,
}

/// A search that was asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) found: Vec<Found>,
    entries: i64,
    references: i64,
    /// Bytes that may still be thrown away.
    pub(super) discarded: i64,
    bytes: i64,
    /// Its result has come: nothing more may.
    pub(super) over: bool,
}

#[derive(Debug, Default)]
pub(super) struct Searches {
    next: Allowed,
    pub(super) asked: HashMap<u32, Asked>,
    /// Bytes of what was found and not taken yet.
    pub(super) bytes: i64,
}

/// How the server broke the protocol, and in which search, if it was in one.
#[derive(Clone, Debug)]
struct Violation {
    why: String,
    search: Option<u32>,
}

/// What the searches of a connection have found, and what they may.
#[derive(Debug, Default)]
pub(super) struct Watch {
    searches: Mutex<Searches>,
    violation: Mutex<Option<Violation>>,
}

impl Watch {
    /// Says what the search that is asked next may find: so many entries; some that are too large, if it is asked for what the people are and
    /// not for who is there.
    pub(super) fn expect(&self, entries: u32, large: bool) {
        self.searches().next = Allowed { entries, large };
    }

    /// What a search found; nothing more of it is kept.
    pub(super) fn take(&self, search: u32) -> Vec<Found> {
        let mut searches = self.searches();
        let Some(asked) = searches.asked.remove(&search) else { return Vec::new() };
        searches.bytes -= asked.bytes;
        asked.found
    }

    /// How the server broke the protocol, if it did.
    pub(super) fn violation(&self) -> Option<String> {
        self.violated_by().map(|violation| violation.why)
    }

    /// The same, if it was in this search or in none.
    pub(super) fn violation_in(&self, search: Option<u32>) -> Option<String> {
        let violation = self.violated_by()?;
        let elsewhere = violation.search.zip(search).is_some_and(|(in_search, own)| in_search != own);
        (!elsewhere).then_some(violation.why)
    }

    fn violated_by(&self) -> Option<Violation> {
        self.violation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn violated(&self, Wrong { why, search }: Wrong) {
        let violation = Violation { why: why.to_owned(), search };
        self.violation.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(violation);
    }

    pub(super) fn searches(&self) -> MutexGuard<'_, Searches> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A search is on its way to the server.
    pub(super) fn asked(&self, search: u32) {
        let mut searches = self.searches();
        let Allowed { entries, large } = searches.next;
        let asked = Asked {
            found: Vec::new(),
            entries: i64::from(entries),
            references: REFERENCES,
            discarded: if large { DISCARDED } else { 0 },
            bytes: 0,
            over: false,
        };
        searches.asked.insert(search, asked);
    }
}

impl Searches {
    /// A search that was asked and is not over.
    pub(super) fn of(&mut self, search: u32) -> Result<&mut Asked, Wrong> {
        let asked = self.asked.get_mut(&search).filter(|asked| !asked.over);
        asked.ok_or(Wrong::from("an answer to a search that was not asked"))
    }

    pub(super) fn add(&mut self, search: u32, found: Found, bytes: usize) -> Result<(), Wrong> {
        let wrong = Wrong::of(search);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let all = self.bytes.saturating_add(bytes);
        let asked = self.of(search)?;
        let left = match found {
            Found::Entry(_) => &mut asked.entries,
            Found::Reference(_) => &mut asked.references,
        };
        *left -= 1;
        if *left < 0 {
            return Err(wrong("more entries than were asked for in one page"));
        }
        if all > PAGE_BYTES {
            return Err(wrong("a page of more than 64 MiB; set a smaller page_size in the source"));
        }
        asked.bytes += bytes;
        asked.found.push(found);
        self.bytes = all;
        Ok(())
    }
}

/// How the server broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) why: &'static str,
    pub(super) search: Option<u32>,
}

impl From<&'static str> for Wrong {
    fn from(why: &'static str) -> Self {
        Self { why, search: None }
    }
}

impl Wrong {
    pub(super) fn of(search: u32) -> impl Fn(&'static str) -> Self {
        move |why| Self { why, search: Some(search) }
    }
}
