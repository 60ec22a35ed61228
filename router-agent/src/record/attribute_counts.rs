//! Counts how many entries have which attribute of the mapping. Where nearly all had one and
//! suddenly few do, the bind account lost the right to read it. Every entry passes here, so an
//! entry is looked through once, whatever the number of attributes.

use super::Entry;

/// How many of the entries that were counted have each attribute.
#[derive(Clone, Debug)]
pub struct AttributeCounts {
    attributes: Vec<Attribute>,
    entries: u64,
}

#[derive(Clone, Debug)]
struct Attribute {
    name: String,
    entries: u64,
    /// Number of the entry that was counted last: an attribute may come twice.
    last: u64,
}

impl AttributeCounts {
    /// Counters of these attributes, all zero.
    #[must_use]
    pub fn new(attributes: &[String]) -> Self {
        let attribute = |name: &String| Attribute { name: name.clone(), entries: 0, last: 0 };
        Self { attributes: attributes.iter().map(attribute).collect(), entries: 0 }
    }

    /// Counts one entry. A value counts whatever it is, also where the mapper cannot use it.
    pub fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        for name in entry.attributes_with_values() {
            let attribute =
                self.attributes.iter_mut().find(|other| other.name.as_bytes().eq_ignore_ascii_case(name));
            if let Some(attribute) = attribute
                && attribute.last != self.entries
            {
                attribute.last = self.entries;
                attribute.entries += 1;
            }
        }
    }

    /// Each attribute with the number of entries that have it.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.attributes.iter().map(|attribute| (attribute.name.as_str(), attribute.entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_once_for_each_attribute_of_which_it_has_any_value() {
        let mut counts = AttributeCounts::new(&["uid", "mail", "title"].map(str::to_owned));
        counts.add(&Entry::from_parts(
            "uid=a",
            &[("UID", &[b"a", b"b"]), ("mail", &[b"\xff"]), ("uid", &[b"a"])],
        ));
        counts.add(&Entry::from_parts("uid=b", &[("uid", &[b""]), ("mail", &[]), ("mail;lang-de", &[b"x"])]));
        counts.add(&Entry::default());
        let counts: Vec<_> = counts.counts().collect();
        assert_eq!(counts, [("uid", 2), ("mail", 1), ("title", 0)]);
    }
}
