//! Checks LDAP messages before anything parses them: size, depth, and the outer shape (RFC 4511,
//! 4.1.1). Without recursion, without allocation, and without trust: what passes cannot overflow a
//! stack, fill the memory, or be something that no one asked for.

use std::ops::Range;

/// Longest name of an entry that is too large to be read, in bytes.
const MAX_NAME: usize = 64 << 10;
/// Deepest nesting. A search result entry needs 5.
const MAX_DEPTH: usize = 32;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;
const SEARCH: u8 = 0x63;
const ENTRY: u8 = 0x64;

/// What kind of response a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SearchResultEntry.
    Entry,
    /// SearchResultReference.
    Reference,
    /// SearchResultDone.
    Done,
    /// Another response that a client may be sent.
    Other,
}

/// Length of the message at the start of these bytes, if they have enough of it to tell.
pub(super) fn message_length(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    match bytes.first() {
        None => return Ok(None),
        Some(&SEQUENCE) => {}
        Some(_) => return Err("a message that is not a SEQUENCE"),
    }
    Ok(header(bytes)?.map(|(header, content)| header + content))
}

/// Message id of an entry, and where its name is, at the start of a message of which the rest may
/// not have come; none if there is not enough of it to tell.
pub(super) fn start_of_entry(
    bytes: &[u8],
    length: usize,
) -> Result<Option<(u32, Range<usize>)>, &'static str> {
    // Each must lie within the one around it, whether it has come or not.
    let element = |at: usize, end: usize| match header(bytes.get(at..).unwrap_or_default())? {
        Some((header, content)) if header + content <= end - at => {
            Ok(Some((bytes[at], at + header..at + header + content)))
        }
        Some(_) => Err("an element that is longer than what it is in"),
        None => Ok(None),
    };
    let Some((_, message)) = element(0, length)? else { return Ok(None) };
    let Some((tag, id)) = element(message.start, message.end)? else { return Ok(None) };
    if tag != INTEGER || !(1..=4).contains(&id.len()) {
        return Err("a message without a message id");
    }
    let Some((tag, operation)) = element(id.end, message.end)? else { return Ok(None) };
    if tag != ENTRY {
        return Err("a message that is too large and not an entry");
    }
    let Some((tag, name)) = element(operation.start, operation.end)? else { return Ok(None) };
    if tag != OCTET_STRING || name.len() > MAX_NAME {
        return Err("an entry without name, or with one of more than 64 KiB");
    }
    Ok((name.end <= bytes.len()).then(|| (number(&bytes[id]), name)))
}

/// Checks a whole message; returns its id and what it is.
pub(super) fn check(message: &[u8]) -> Result<(u32, Kind), &'static str> {
    depth(message)?;
    let (id, rest) = split(content(message, SEQUENCE)?)?;
    if id.first() != Some(&INTEGER) || !(3..=6).contains(&id.len()) {
        return Err("a message without a message id");
    }
    let id = number(inside(id)?);
    let (operation, controls) = split(rest)?;
    let kind = match operation.first() {
        Some(&ENTRY) => {
            let (name, attributes) = split(inside(operation)?)?;
            if name.first() != Some(&0x04) || attributes.first() != Some(&SEQUENCE) {
                return Err("an entry without name or attributes");
            }
            Kind::Entry
        }
        Some(0x73) => Kind::Reference,
        Some(0x65) => {
            result(operation)?;
            Kind::Done
        }
        Some(0x61 | 0x78) => {
            result(operation)?;
            Kind::Other
        }
        Some(0x79) => Kind::Other,
        _ => return Err("a response that nobody asked for"),
    };
    if !controls.is_empty() {
        let (list, rest) = split(controls)?;
        if list.first() != Some(&0xA0) || !rest.is_empty() {
            return Err("a message with something behind its controls");
        }
        let mut list = inside(list)?;
        while !list.is_empty() {
            let (control, others) = split(list)?;
            let (oid, _) = split(content(control, SEQUENCE)?)?;
            if oid.first() != Some(&0x04) || std::str::from_utf8(inside(oid)?).is_err() {
                return Err("a control without a name");
            }
            list = others;
        }
    }
    Ok((id, kind))
}

/// The message id of a search among the messages that a client sends; none if it is something else.
pub(super) fn search_request(message: &[u8]) -> Result<Option<u32>, &'static str> {
    let (id, rest) = split(content(message, SEQUENCE)?)?;
    let (operation, _) = split(rest)?;
    Ok(if operation.first() == Some(&SEARCH) { Some(number(inside(id)?)) } else { None })
}

/// Checks a whole message; returns the result code of an ExtendedResponse, none if it is something
/// else.
pub(super) fn extended_result(message: &[u8]) -> Result<Option<u32>, &'static str> {
    check(message)?;
    let (_, rest) = split(content(message, SEQUENCE)?)?;
    let (operation, _) = split(rest)?;
    if operation.first() != Some(&0x78) {
        return Ok(None);
    }
    let (code, _) = split(inside(operation)?)?;
    Ok(Some(number(inside(code)?)))
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Where the content of a message's operation is.
pub(super) fn operation(message: &[u8]) -> Result<Range<usize>, &'static str> {
    let (_, content) = split_at(message, 0..message.len())?;
    let (_, id) = split_at(message, content.clone())?;
    Ok(split_at(message, id.end..content.end)?.1)
}

/// The tag of the first element in a part of the bytes, and where its content is.
pub(super) fn split_at(bytes: &[u8], part: Range<usize>) -> Result<(u8, Range<usize>), &'static str> {
    let element = bytes.get(part.clone()).unwrap_or_default();
    match header(element)? {
        Some((header, content)) if header + content <= element.len() => {
            let start = part.start + header;
            Ok((element[0], start..start + content))
        }
        _ => Err("a message that ends too early"),
    }
}

/// An LDAPResult: code, matched DN, message.
fn result(operation: &[u8]) -> Result<(), &'static str> {
    let (code, rest) = split(inside(operation)?)?;
    let (matched, rest) = split(rest)?;
    let (message, mut rest) = split(rest)?;
    let text = |part: &[u8]| {
        part.first() == Some(&0x04) && inside(part).is_ok_and(|text| std::str::from_utf8(text).is_ok())
    };
    if code.first() != Some(&0x0A) || !(3..=6).contains(&code.len()) || !text(matched) || !text(message) {
        return Err("a result without code, name and message");
    }
    // What may follow, by the number in its tag as the crate looks at it: referral, SASL
    // credentials, name and value of an answer.
    while !rest.is_empty() {
        let (part, others) = split(rest)?;
        let primitive = part[0] & CONSTRUCTED == 0;
        let fine = match part[0] & 0x1F {
            3 => !primitive && urls(inside(part)?),
            7 | 11 => primitive,
            10 => primitive && std::str::from_utf8(inside(part)?).is_ok(),
            _ => true,
        };
        if !fine {
            return Err("a result with something in it that does not belong there");
        }
        rest = others;
    }
    Ok(())
}

/// Whether these are octet strings of UTF-8 and nothing else.
fn urls(mut list: &[u8]) -> bool {
    while !list.is_empty() {
        let Ok((url, others)) = split(list) else { return false };
        if url[0] != 0x04 || !inside(url).is_ok_and(|url| std::str::from_utf8(url).is_ok()) {
            return false;
        }
        list = others;
    }
    true
}

/// Walks all elements; only constructed ones can nest.
fn depth(message: &[u8]) -> Result<(), &'static str> {
    let mut ends = [0usize; MAX_DEPTH];
    let mut level = 0;
    let mut at = 0;
    ends[0] = message.len();
    while at < message.len() {
        while at == ends[level] && level > 0 {
            level -= 1;
        }
        let end = ends[level];
        let Some((header, content)) = header(&message[at..end])? else { return Err("a truncated element") };
        if header + content > end - at {
            return Err("an element that is longer than what it is in");
        }
        if message[at] & CONSTRUCTED == 0 {
            at += header + content;
        } else {
            if level + 1 == MAX_DEPTH {
                return Err("a message that is nested too deeply");
            }
            level += 1;
            ends[level] = at + header + content;
            at += header;
        }
    }
    Ok(())
}

/// Lengths of the header and of the content of the element at the start; none if the header is not
/// there as a whole.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let (Some(tag), Some(first)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    if tag & 0x1F == 0x1F {
        return Err("a tag of more than one byte");
    }
    match first {
        0x80 => Err("an element of indefinite length"),
        length if *length < 0x80 => Ok(Some((2, usize::from(*length)))),
        count => {
            let count = usize::from(count & 0x7F);
            if count > 4 {
                return Err("an element of more than 4 GiB");
            }
            let Some(digits) = bytes.get(2..2 + count) else { return Ok(None) };
            let length = digits.iter().fold(0usize, |length, digit| length << 8 | usize::from(*digit));
            Ok(Some((2 + count, length)))
        }
    }
}

/// The first element and what is behind it.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    match header(bytes)? {
        Some((header, content)) if header + content <= bytes.len() => Ok(bytes.split_at(header + content)),
        _ => Err("a message that ends too early"),
    }
}

/// The content of an element.
fn inside(element: &[u8]) -> Result<&[u8], &'static str> {
    match header(element)? {
        Some((header, content)) if header + content == element.len() => Ok(&element[header..]),
        _ => Err("a message that ends too early"),
    }
}

fn content(element: &[u8], tag: u8) -> Result<&[u8], &'static str> {
    if element.first() != Some(&tag) {
        return Err("an element of another kind than expected");
    }
    inside(element)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DONE: &[u8] = &[0x30, 0x0c, 0x02, 0x01, 0x02, 0x65, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00];

    #[test]
    fn a_regular_result_passes() {
        assert_eq!(message_length(DONE), Ok(Some(DONE.len())));
        assert_eq!(check(DONE), Ok((2, Kind::Done)));
    }

    #[test]
    fn what_follows_a_result_is_of_the_kind_that_the_crate_expects() {
        let with = |part: &[u8]| {
            let operation = [&[0x0a, 1, 0, 0x04, 0, 0x04, 0][..], part].concat();
            let length = |content: &[u8]| u8::try_from(content.len()).expect("small");
            let operation = [&[0x78, length(&operation)][..], &operation].concat();
            [&[0x30, length(&operation) + 3, 0x02, 1, 2][..], &operation].concat()
        };
        for fine in [&[][..], &[0xa3, 3, 0x04, 1, b'u'], &[0x8a, 1, b'n', 0x8b, 1, 0xff], &[0x8b, 0]] {
            assert_eq!(check(&with(fine)), Ok((2, Kind::Other)), "{fine:?}");
        }
        let wrong: [&[u8]; 6] = [
            &[0x83, 1, b'u'],
            &[0xa3, 3, 0x04, 1, 0xff],
            &[0xa3, 2, 0x30, 0],
            &[0x8a, 1, 0xff],
            &[0xab, 0],
            &[0xa7, 0],
        ];
        for wrong in wrong {
            assert!(check(&with(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn twenty_thousand_levels_are_refused_without_recursion() {
        let mut deep = vec![0x05, 0x00];
        for _ in 0..20_000 {
            let length = u32::try_from(deep.len()).expect("small").to_be_bytes();
            deep = [&[0x30, 0x84][..], &length, &deep].concat();
        }
        assert_eq!(check(&deep), Err("a message that is nested too deeply"));
    }

    #[test]
    fn the_name_of_an_entry_is_known_before_the_entry_has_come() {
        // 16 MiB, id 2, and a name of three bytes.
        let bytes = [0x30, 0x84, 1, 0, 0, 0, 0x02, 1, 2, 0x64, 0x83, 0xf0, 0, 0, 0x04, 3, b'c', b'n', b'='];
        let length = message_length(&bytes).expect("BER").expect("a whole header");
        assert_eq!(length, (16 << 20) + 6);
        assert_eq!(start_of_entry(&bytes, length), Ok(Some((2, 16..19))));
        for end in 0..bytes.len() {
            assert_eq!(start_of_entry(&bytes[..end], length), Ok(None), "{end}");
        }
        let changed = |at: usize, byte: u8| {
            let mut bytes = bytes;
            bytes[at] = byte;
            start_of_entry(&bytes, length)
        };
        assert!(changed(9, 0x65).is_err(), "a result");
        assert!(changed(10, 0x84).is_err(), "longer than the message");
        assert!(changed(14, 0x30).is_err(), "no name");
        assert!(start_of_entry(&[&bytes[..15], &[0x83, 1, 0, 1]].concat(), length).is_err(), "a long name");
    }

    #[test]
    fn what_is_no_response_is_refused() {
        assert!(check(&[0x30, 0x00]).is_err(), "an empty SEQUENCE");
        assert!(check(&[0x30, 0x05, 0x02, 0x01, 0x02, 0x7e, 0x00]).is_err(), "an unknown operation");
        assert!(message_length(&[0x31, 0x00]).is_err(), "not a SEQUENCE");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = message_length(&bytes);
            let _ = check(&bytes);
            let _ = start_of_entry(&bytes, bytes.len() * 2);
        }

        #[test]
        fn no_change_of_a_byte_makes_the_check_panic(at in 0..DONE.len(), byte in any::<u8>()) {
            let mut message = DONE.to_vec();
            message[at] = byte;
            let _ = message_length(&message);
            let _ = check(&message);
        }
    }
}
