//! Sorts the messages of a server: what a search found, and what is for the ldap3 crate.
//!
//! Everything is bounded: no more is found than was asked for, nothing by a search that was not
//! asked, and an entry that is too large is thrown away as it comes, but for its name.

use bytes::{Buf, Bytes, BytesMut};

use super::ber::{self, Kind};
use super::decode;
use super::search_budget::{SearchBudgets, SearchItem, Violation};
use crate::record::Entry;

/// Largest message that is read. Of a larger entry only the name is kept.
const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// What a search, with message id 2, found and what is for the crate, out of bytes that come in
/// these pieces. What has more bytes than `largest` is large.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn sort_pieces<'b>(
    pieces: impl Iterator<Item = &'b [u8]>,
    entries: u32,
    largest: usize,
) -> Result<(Vec<SearchItem>, Vec<u8>), &'static str> {
    let budgets = SearchBudgets::default();
    budgets.set_next(entries, true);
    budgets.start(2);
    let (mut buffer, mut sorter) = (BytesMut::new(), ResponseSorter { largest, ..ResponseSorter::default() });
    for piece in pieces {
        buffer.extend_from_slice(piece);
        sorter.sort(&mut buffer, &budgets).map_err(|wrong| wrong.why)?;
    }
    Ok((budgets.take(2), sorter.others))
}

/// Tells what a search found from everything else.
pub(super) struct ResponseSorter {
    /// Messages for the crate.
    pub(super) others: Vec<u8>,
    /// Most bytes of a message that is read as a whole.
    largest: usize,
    /// Bytes of a larger one that are still to be thrown away as they come.
    skip: usize,
}

impl Default for ResponseSorter {
    fn default() -> Self {
        Self { others: Vec::new(), largest: MAX_MESSAGE_BYTES, skip: 0 }
    }
}

impl ResponseSorter {
    /// Takes the whole messages out of the buffer.
    pub(super) fn sort(&mut self, buffer: &mut BytesMut, budgets: &SearchBudgets) -> Result<(), Violation> {
        loop {
            let gone = self.skip.min(buffer.len());
            buffer.advance(gone);
            self.skip -= gone;
            match ber::message_length(buffer)? {
                Some(length) if length > self.largest => {
                    if !self.skip_large_entry(buffer, length, budgets)? {
                        return Ok(());
                    }
                }
                Some(length) if length <= buffer.len() => {
                    self.sort_message(buffer.split_to(length).freeze(), budgets)?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Takes the name of an entry that is too large and leaves the rest of it; not yet, if the name
    /// has not come.
    fn skip_large_entry(
        &mut self,
        start: &[u8],
        length: usize,
        budgets: &SearchBudgets,
    ) -> Result<bool, Violation> {
        let bytes = i64::try_from(length).unwrap_or(i64::MAX);
        let Some((search, name)) = ber::start_of_entry(start, length)? else { return Ok(false) };
        let wrong = Violation::in_search(search);
        let mut searches = budgets.lock();
        let running = searches.running(search)?;
        match running.discardable {
            0 => return Err(wrong("a message of more than 8 MiB")),
            left if left < bytes => return Err(wrong("entries of more than 256 MiB in a page")),
            left => running.discardable = left - bytes,
        }
        let entry = Entry::too_large(&start[name.clone()]);
        tracing::debug!(dn = ?String::from_utf8_lossy(entry.dn()), bytes, "an entry is too large to be read");
        searches.add(search, SearchItem::Entry(entry), name.len())?;
        self.skip = length;
        Ok(true)
    }

    fn sort_message(&mut self, message: Bytes, budgets: &SearchBudgets) -> Result<(), Violation> {
        let (id, kind) = ber::check(&message)?;
        let wrong = Violation::in_search(id);
        let bytes = message.len();
        match kind {
            Kind::Entry => {
                let found = SearchItem::Entry(decode::entry(message).map_err(wrong)?);
                budgets.lock().add(id, found, bytes)?;
            }
            Kind::Reference => {
                let found = SearchItem::Reference(decode::references(&message).map_err(wrong)?);
                budgets.lock().add(id, found, bytes)?;
            }
            Kind::Done => {
                budgets.lock().running(id)?.is_done = true;
                self.others.extend_from_slice(&message);
            }
            Kind::Other => self.others.extend_from_slice(&message),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: &[u8] =
        b"\x30\x1a\x02\x01\x02\x64\x15\x04\x05uid=a\x30\x0c\x30\x0a\x04\x03uid\x31\x03\x04\x01a";
    const DONE: &[u8] = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";

    /// An entry of 128 bytes, which is large where these tests look.
    fn large() -> Vec<u8> {
        [b"\x30\x7e\x02\x01\x02\x64\x79\x04\x05uid=b\x30\x70".as_slice(), &[0xff; 112]].concat()
    }

    fn pieces<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        pieces
    }

    #[test]
    fn an_entry_is_found_and_a_result_passed_on() {
        let (found, others) = sort_pieces([ENTRY, DONE].into_iter(), 1, 64).expect("regular messages");
        let Some(SearchItem::Entry(entry)) = found.first() else { panic!("{found:?}") };
        assert_eq!((entry.dn(), entry.values("UID").next()), (&b"uid=a"[..], Some(&b"a"[..])));
        assert_eq!(others, DONE);
        assert!(sort_pieces([ENTRY, ENTRY].into_iter(), 1, 64).is_err(), "more than were asked for");
    }

    #[test]
    fn of_an_entry_that_is_too_large_only_the_name_is_kept_and_what_follows_is_found() {
        let bytes = [ENTRY, &large(), ENTRY, DONE].concat();
        let (found, others) = sort_pieces(std::iter::once(&bytes[..]), 3, 64).expect("regular messages");
        let [SearchItem::Entry(first), SearchItem::Entry(large), SearchItem::Entry(last)] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(!first.is_too_large() && large.is_too_large() && !last.is_too_large());
        assert_eq!((large.dn(), large.values("uid").count()), (&b"uid=b"[..], 0));
        assert_eq!(others, DONE);
        assert!(sort_pieces(std::iter::once(&bytes[..]), 2, 64).is_err(), "more than were asked for");
    }

    #[test]
    fn nothing_but_entries_may_be_too_large_and_not_without_end_and_not_where_none_is_expected() {
        let sort = |bytes: &[u8], large| {
            let budgets = SearchBudgets::default();
            budgets.set_next(3, large);
            budgets.start(2);
            let sorted = ResponseSorter { largest: 64, ..ResponseSorter::default() }
                .sort(&mut BytesMut::from(bytes), &budgets);
            sorted.map_err(|wrong| wrong.why)
        };
        assert_eq!(sort(&large(), true), Ok(()));
        assert_eq!(sort(&large(), false), Err("a message of more than 8 MiB"));
        let result = [b"\x30\x7e\x02\x01\x02\x65\x79".as_slice(), &[0; 121]].concat();
        assert_eq!(sort(&result, true), Err("a message that is too large and not an entry"));
        // 200 MiB, of which all that has come is the name; and the same again.
        let start = b"\x30\x84\x0c\x80\x00\x00\x02\x01\x02\x64\x84\x0c\x00\x00\x00\x04\x05uid=c";
        let budgets = SearchBudgets::default();
        budgets.set_next(3, true);
        budgets.start(2);
        let mut sorter = ResponseSorter::default();
        assert_eq!(sorter.sort(&mut BytesMut::from(&start[..]), &budgets), Ok(()));
        assert_eq!((budgets.lock().running[&2].found.len(), sorter.skip), (1, (200 << 20) + 6 - start.len()));
        sorter.skip = 0;
        let again = sorter.sort(&mut BytesMut::from(&start[..]), &budgets).map_err(|wrong| wrong.why);
        assert_eq!(again, Err("entries of more than 256 MiB in a page"));
    }

    /// The same message with another id.
    fn with_id(id: u8, message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        message[4] = id;
        message
    }

    #[test]
    fn what_several_searches_find_at_the_same_time_is_told_apart_and_none_takes_anothers_share() {
        let budgets = SearchBudgets::default();
        budgets.set_next(2, true);
        (2..=3).for_each(|id| budgets.start(id));
        budgets.set_next(1, false);
        budgets.start(4);
        let mut sorter = ResponseSorter::default();
        let mut sort = |bytes: &[u8]| sorter.sort(&mut BytesMut::from(bytes), &budgets);
        let mixed = [
            with_id(2, ENTRY),
            with_id(3, ENTRY),
            with_id(4, ENTRY),
            with_id(3, DONE),
            with_id(2, ENTRY),
            with_id(2, DONE),
        ];
        assert_eq!(sort(&mixed.concat()), Ok(()));
        assert_eq!((budgets.take(3).len(), budgets.take(2).len(), budgets.take(2).len()), (1, 2, 0));
        assert_eq!(
            budgets.lock().bytes,
            i64::try_from(ENTRY.len()).expect("small"),
            "of the one that is left"
        );
        let wrong = sort(&with_id(4, ENTRY)).expect_err("one was asked for");
        assert_eq!((wrong.why, wrong.search), ("more entries than were asked for in one page", Some(4)));
        budgets.record_violation(wrong);
        assert!(budgets.violation_in(Some(4)).is_some() && budgets.violation_in(None).is_some());
        assert_eq!(budgets.violation_in(Some(5)), None, "it is not the fault of the others");
    }

    #[test]
    fn nothing_is_an_answer_to_a_search_that_nobody_asked_or_that_is_over() {
        let not_asked = Err("an answer to a search that was not asked");
        let sort = |bytes: &[u8]| {
            let budgets = SearchBudgets::default();
            budgets.set_next(9, true);
            budgets.start(2);
            let sorted = ResponseSorter { largest: 64, ..ResponseSorter::default() }
                .sort(&mut BytesMut::from(bytes), &budgets);
            sorted.map_err(|wrong| wrong.why)
        };
        for message in [ENTRY, DONE, &large()] {
            assert_eq!(sort(&with_id(3, message)), not_asked);
            assert_eq!(sort(&[DONE, message].concat()), not_asked);
            assert_eq!(sort(message), Ok(()));
        }
    }

    proptest! {
        /// How the network cuts the bytes changes nothing, whatever one of them became on the way.
        #[test]
        fn the_cuts_of_the_network_change_nothing(
            entries in 0usize..4, larges in 0usize..2, cuts in proptest::collection::vec(0usize..80, 0..12), at in any::<prop::sample::Index>(),
            byte in any::<Option<u8>>(),
        ) {
            let mut bytes = [ENTRY.repeat(entries), large().repeat(larges), DONE.to_vec()].concat();
            if let Some(byte) = byte {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let whole = sort_pieces(std::iter::once(&bytes[..]), 3, 64);
            let cut = sort_pieces(pieces(&bytes, &cuts).into_iter(), 3, 64);
            prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
        }

        #[test]
        fn no_bytes_make_the_guard_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let _ = sort_pieces(pieces(&bytes, &[cut]).into_iter(), 3, 64);
        }
    }
}
