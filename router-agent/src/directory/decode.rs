//! From the bytes of a checked message to what is in it: an entry, the URLs of a reference, the
//! cookie of a page.

use bytes::Bytes;

use super::ber::{self, split_at};
use crate::record::Entry;

type Range = std::ops::Range<usize>;

/// The entry in a message with a SearchResultEntry (RFC 4511, 4.5.2). Where things are is noted,
/// nothing is copied.
pub(super) fn entry(message: Bytes) -> Result<Entry, &'static str> {
    let operation = ber::operation(&message)?;
    let mut parts = Elements { bytes: &message, rest: operation };
    let (Some((0x04, dn)), Some((0x30, attributes))) = (parts.next()?, parts.next()?) else {
        return Err("an entry without name or attributes");
    };
    let mut entry = Entry::new(message.clone(), dn);
    let mut attributes = Elements { bytes: &message, rest: attributes };
    while let Some((_, attribute)) = attributes.next()? {
        let mut parts = Elements { bytes: &message, rest: attribute };
        let (Some((0x04, name)), Some((0x31, values))) = (parts.next()?, parts.next()?) else {
            return Err("an attribute without name or values");
        };
        entry.push_attribute(name);
        let mut values = Elements { bytes: &message, rest: values };
        while let Some((tag, value)) = values.next()? {
            if tag != 0x04 {
                return Err("a list where a value belongs");
            }
            entry.push_value(value);
        }
    }
    Ok(entry)
}

/// The URLs in a message with a SearchResultReference.
pub(super) fn references(message: &[u8]) -> Result<Vec<String>, &'static str> {
    let mut urls = Vec::new();
    let mut parts = Elements { bytes: message, rest: ber::operation(message)? };
    while let Some((_, url)) = parts.next()? {
        let url = std::str::from_utf8(&message[url]).map_err(|_| "a reference that is not UTF-8")?;
        urls.push(url.to_owned());
    }
    Ok(urls)
}

/// The cookie in the value of a paged results response control: a SEQUENCE of a size and a cookie
/// (RFC 2696).
pub(super) fn cookie(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    const UNREADABLE: &str = "a paged results control that cannot be read";
    let mut outer = Elements { bytes: value, rest: 0..value.len() };
    let (Some((0x30, inner)), None) = (outer.next()?, outer.next()?) else { return Err(UNREADABLE) };
    let mut parts = Elements { bytes: value, rest: inner };
    match (parts.next()?, parts.next()?, parts.next()?) {
        (Some((0x02, _)), Some((0x04, cookie)), None) => Ok(value[cookie].to_vec()),
        _ => Err(UNREADABLE),
    }
}

/// The elements in a part of the bytes, one behind the other: tag, and where the content is.
struct Elements<'b> {
    bytes: &'b [u8],
    rest: Range,
}

impl Elements<'_> {
    fn next(&mut self) -> Result<Option<(u8, Range)>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (tag, content) = split_at(self.bytes, self.rest.clone())?;
        self.rest.start = content.end;
        Ok(Some((tag, content)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cookie_is_read_and_nothing_that_only_resembles_one() {
        assert_eq!(cookie(&[0x30, 7, 2, 1, 0, 4, 2, 1, 2]), Ok(vec![1, 2]));
        assert_eq!(cookie(&[0x30, 5, 2, 1, 0, 4, 0]), Ok(vec![]));
        for wrong in
            [&[][..], &[0x30, 0], &[0x30, 5, 2, 1, 0, 4, 0, 0], &[0x30, 5, 2, 1, 0, 2, 0], &[4, 1, 0]]
        {
            assert!(cookie(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = entry(Bytes::copy_from_slice(&bytes));
            let _ = references(&bytes);
            let _ = cookie(&bytes);
        }
    }
}
