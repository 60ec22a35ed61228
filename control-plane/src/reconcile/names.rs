//! Which names are equal: user names and mail addresses are compared after Unicode normalization (NFC) and full case folding,
//! for the whole address, local part included. Engines only ever compare the resulting bytes, so they cannot disagree.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use crate::model::{NameKey, NameKind, TenantNo};

/// The key of a name. The tenant is part of it: one unique index serves all tenants, and none can collide with another.
#[must_use]
pub fn key(tenant: TenantNo, kind: NameKind, name: &str) -> NameKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&tenant.0.to_le_bytes());
    hasher.update(match kind {
        NameKind::UserName => b"u",
        NameKind::Mail => b"m",
    });
    if name.is_ascii() {
        hasher.update(name.to_ascii_lowercase().as_bytes());
    } else {
        // Folding can denormalize, hence NFC twice.
        let folded: String = name.nfc().default_case_fold().nfc().collect();
        hasher.update(folded.as_bytes());
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    NameKey(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        key(TenantNo(1), NameKind::Mail, a) == key(TenantNo(1), NameKind::Mail, b)
    }

    #[test]
    fn names_that_differ_in_case_or_normalization_are_equal() {
        assert!(same("Anna@Lab.Test", "anna@lab.test"));
        assert!(same("MÜLLER", "müller"));
        assert!(same("mu\u{308}ller", "m\u{fc}ller"));
        assert!(same("STRASSE", "straße"));
        assert!(same("ΣΊΣΥΦΟΣ", "σίσυφος"));
    }

    #[test]
    fn names_that_differ_otherwise_are_not_equal() {
        assert!(!same("anna", "anna "));
        assert!(!same("müller", "muller"));
        assert!(!same("\u{430}nna", "anna"), "a Cyrillic look-alike is another name");
    }

    #[test]
    fn tenants_and_kinds_never_meet() {
        let name = "anna";
        assert_ne!(key(TenantNo(1), NameKind::Mail, name), key(TenantNo(2), NameKind::Mail, name));
        assert_ne!(key(TenantNo(1), NameKind::Mail, name), key(TenantNo(1), NameKind::UserName, name));
    }
}
