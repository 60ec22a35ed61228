//! A directory entry as it was read: attribute names and raw values, nothing interpreted. It keeps
//! the bytes of the message that brought it and knows where in them everything is, so that reading
//! an entry copies nothing.

use std::ops::Range;

use bytes::Bytes;

/// A directory entry.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    bytes: Bytes,
    dn: Span,
    /// Each attribute's name, and behind it its values.
    parts: Vec<Part>,
    too_large: bool,
}

/// Where in the bytes something is. Four bytes each are enough: a message has 8 MiB at most.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Name(Span),
    Value(Span),
}

impl Entry {
    /// An entry without attributes, in these bytes.
    pub(crate) fn new(bytes: Bytes, dn: Range<usize>) -> Self {
        Self { bytes, dn: span(dn), parts: Vec::with_capacity(32), too_large: false }
    }

    /// An entry of which nothing but the name was read.
    pub(crate) fn too_large(dn: &[u8]) -> Self {
        let bytes = Bytes::copy_from_slice(dn);
        Self { dn: span(0..bytes.len()), bytes, parts: Vec::new(), too_large: true }
    }

    /// Whether the entry was too large to be read: then it has a name and no attributes, whatever
    /// it has in the directory.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// Adds an attribute without values.
    pub(crate) fn push_attribute(&mut self, name: Range<usize>) {
        self.parts.push(Part::Name(span(name)));
    }

    /// Adds a value to the attribute that was added last.
    pub(crate) fn push_value(&mut self, value: Range<usize>) {
        self.parts.push(Part::Value(span(value)));
    }

    /// The distinguished name as the server wrote it.
    #[must_use]
    pub fn dn(&self) -> &[u8] {
        self.at(self.dn)
    }

    /// The values of an attribute, in the server's order; names are compared without regard to case
    /// (RFC 4512, 2.5). `mail;lang-de` is not `mail`: options name a subtype that a mapping has to
    /// name itself. An attribute that comes twice has the values of both.
    pub fn values(&self, attribute: &str) -> impl Iterator<Item = &[u8]> {
        let mut named = false;
        self.parts.iter().filter_map(move |part| match part {
            Part::Name(name) => {
                named = self.at(*name).eq_ignore_ascii_case(attribute.as_bytes());
                None
            }
            Part::Value(value) => named.then(|| self.at(*value)),
        })
    }

    /// Whether the server sent only a part of an attribute's values, as Active Directory does with
    /// very many of them: under the name `memberOf;range=0-1499`, and none under `memberOf`.
    #[must_use]
    pub fn has_range(&self, attribute: &str) -> bool {
        self.ranges(attribute).next().is_some()
    }

    /// The ranges in which an attribute's values came, such as `0-1499`, or `1500-*` at the end.
    pub(crate) fn ranges(&self, attribute: &str) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().filter_map(move |part| match part {
            Part::Name(name) => range_of(self.at(*name), attribute),
            Part::Value(_) => None,
        })
    }

    /// The values that came in ranges.
    pub(crate) fn range_values(&self, attribute: &str) -> impl Iterator<Item = &[u8]> {
        let mut named = false;
        self.parts.iter().filter_map(move |part| match part {
            Part::Name(name) => {
                named = range_of(self.at(*name), attribute).is_some();
                None
            }
            Part::Value(value) => named.then(|| self.at(*value)),
        })
    }

    /// The values of an attribute that has options, each with the options: `lastusn;userroot`.
    pub(crate) fn values_with_options(&self, attribute: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut options: Option<&[u8]> = None;
        self.parts.iter().filter_map(move |part| match part {
            Part::Name(name) => {
                options = options_of(self.at(*name), attribute);
                None
            }
            Part::Value(value) => Some((options?, self.at(*value))),
        })
    }

    /// The names of all attributes that have a value, in the server's order.
    pub(super) fn attributes_with_values(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.windows(2).filter_map(|pair| match pair {
            [Part::Name(name), Part::Value(_)] => Some(self.at(*name)),
            _ => None,
        })
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// An entry made of its parts.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn from_parts(dn: impl AsRef<[u8]>, attributes: &[(&str, &[&[u8]])]) -> Self {
        let mut bytes = Vec::new();
        let mut add = |part: &[u8]| {
            bytes.extend_from_slice(part);
            bytes.len() - part.len()..bytes.len()
        };
        let mut entry = Self::new(Bytes::new(), add(dn.as_ref()));
        for (name, values) in attributes {
            entry.push_attribute(add(name.as_bytes()));
            values.iter().for_each(|value| entry.push_value(add(value)));
        }
        entry.bytes = Bytes::from(bytes);
        entry
    }
}

/// The options behind an attribute's name; none if it is another attribute, or has no options.
fn options_of<'n>(name: &'n [u8], attribute: &str) -> Option<&'n [u8]> {
    let (own, options) = name.split_at_checked(attribute.len())?;
    options.strip_prefix(b";").filter(|_| own.eq_ignore_ascii_case(attribute.as_bytes()))
}

fn range_of<'n>(name: &'n [u8], attribute: &str) -> Option<&'n [u8]> {
    let (key, range) = options_of(name, attribute)?.split_at_checked(b"range=".len())?;
    (key.eq_ignore_ascii_case(b"range=") && !range.is_empty()).then_some(range)
}

fn span(range: Range<usize>) -> Span {
    let position = |at| u32::try_from(at).unwrap_or(u32::MAX);
    Span { start: position(range.start), end: position(range.end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_by_its_name_in_any_case_and_only_with_its_own_values() {
        let entry = Entry::from_parts("uid=a", &[("cn", &[b"A", b"a"]), ("x", &[]), ("Mail", &[b"a@b.c"])]);
        let values = |name: &str| entry.values(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(entry.dn(), b"uid=a");
        assert_eq!(values("CN"), [b"A", b"a"]);
        assert_eq!(values("x"), [[]; 0] as [[u8; 0]; 0]);
        assert_eq!(values("mail"), [b"a@b.c"]);
        assert!(values("mail;lang-de").is_empty());
    }

    #[test]
    fn an_attribute_that_comes_twice_has_the_values_of_both() {
        let entry =
            Entry::from_parts("uid=a", &[("mail", &[b"a@b.c"]), ("cn", &[b"A"]), ("MAIL", &[b"d@e.f"])]);
        assert_eq!(entry.values("mail").collect::<Vec<_>>(), [b"a@b.c", b"d@e.f"]);
    }

    #[test]
    fn an_attribute_of_which_only_a_range_came_is_known() {
        let entry = Entry::from_parts("cn=a", &[("memberOf", &[]), ("MemberOf;Range=0-1499", &[b"x"])]);
        assert!(entry.has_range("memberof"));
        assert!(!entry.has_range("member") && !entry.has_range("memberOf;range=0-1499"));
    }
}
