//! What tests/fuzz reaches beyond the public interface. Nothing else may use it.

use crate::directory;
use crate::record::Entry;

/// An entry made of its parts.
#[must_use]
pub fn entry(dn: &[u8], attributes: &[(&str, &[&[u8]])]) -> Entry {
    Entry::from_parts(dn, attributes)
}

/// What `response_sorter` makes of bytes that come in these pieces, as text: what was found and
/// what is for the LDAP library, or how the protocol was broken. Of entries of more than `largest`
/// bytes it keeps the name.
#[must_use]
pub fn guard(pieces: &[&[u8]], most_entries: u32, largest: usize) -> String {
    format!("{:?}", directory::sort_pieces(pieces.iter().copied(), most_entries, largest))
}
