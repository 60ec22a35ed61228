//! A directory entry as it was read: attribute names and raw values, nothing interpreted.

/// A directory entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Distinguished name as the server wrote it.
    pub dn: String,
    /// Attributes in the server's order, with their values in the server's order.
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// The values of an attribute; names are compared without regard to case (RFC 4512, 2.5). `mail;lang-de` is not `mail`: options
    /// name a subtype that a mapping has to name itself.
    #[must_use]
    pub fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.attributes
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(attribute))
            .map_or(&[], |(_, values)| values.as_slice())
    }
}
