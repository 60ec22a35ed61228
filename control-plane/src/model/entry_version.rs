//! Which version of an entry an observation saw.

use super::stored_enum::stored_enum;

stored_enum! {
    /// What of two versions is compared. The numbers are those of the router API and of the tables.
    pub enum VersionKind {
        /// `OpenLDAP`'s entryCSN.
        EntryCsn = 1,
        /// Active Directory's uSNChanged.
        UsnChanged = 2,
        /// 389 Directory Server's entryusn.
        EntryUsn = 3,
        /// modifyTimestamp, a generalized time.
        ModifyTimestamp = 4,
    }
}

/// Which version of an entry an observation saw. Only versions of one kind compare, and numbers
/// only if they are of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryVersion {
    /// What is compared.
    pub kind: VersionKind,
    /// The value as the directory writes it.
    pub value: String,
    /// Of a number, the copy of the database that counts.
    pub origin: Vec<u8>,
}

impl EntryVersion {
    /// Longest value that is kept, in bytes.
    pub const MAX_VALUE: usize = 128;
    /// Longest origin that is kept, in bytes.
    pub const MAX_ORIGIN: usize = 64;

    /// One line of text: kind, origin as hexadecimal digits, value.
    #[must_use]
    pub fn to_text(&self) -> String {
        let origin: String = self.origin.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {origin} {}", self.kind.number(), self.value)
    }

    /// The version that such a line says; none if it says none.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let kind = VersionKind::from_number(parts.next()?.parse().ok()?)?;
        let digits = parts.next()?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let origin = (0..digits.len()).step_by(2).map(byte).collect::<Option<_>>()?;
        Some(Self { kind, origin, value: parts.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_same_after_it_was_kept_as_text() {
        for kind in VersionKind::ALL {
            for origin in [vec![], vec![0, 255, 16]] {
                let version = EntryVersion { kind: *kind, origin, value: "a b 20260101#".to_owned() };
                assert_eq!(EntryVersion::from_text(&version.to_text()), Some(version));
            }
        }
        for text in ["", "1", "1 0", "1 0g x", "9  x", "x  x", "1 ää x"] {
            assert_eq!(EntryVersion::from_text(text), None, "{text}");
        }
    }
}
