//! Which names are equal: user names and mail addresses are compared after Unicode normalization
//! (NFC) and full case folding, for the whole address, local part included. Engines only ever
//! compare the resulting bytes, so they cannot disagree.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use crate::model::{NameKey, NameKind, TenantNo};

/// The key of a name. The tenant is part of it: one unique index serves all tenants, and none can
/// collide with another.
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
    use proptest::prelude::*;

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
        assert!(!same("an na", "an  na"), "white space inside counts");
    }

    #[test]
    fn the_special_cases_of_unicode_are_folded_without_regard_to_a_language() {
        assert!(same("ΟΔΟΣ", "οδος") && same("οδοσ", "οδος"), "a final sigma is a sigma");
        assert!(same("\u{130}", "i\u{307}"), "a dotted capital I is an i with a dot");
        assert!(!same("\u{130}", "i") && !same("\u{131}", "I"), "Turkish i are other letters");
        assert!(same("\u{1e9e}", "ss") && same("\u{fb01}", "FI") && same("\u{212a}", "k"));
        assert!(!same("\u{ff41}nna", "anna"), "full width is another name: NFC, not NFKC");
    }

    #[test]
    fn characters_that_nobody_sees_make_another_name() {
        for unseen in ['\u{200d}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{ad}'] {
            assert!(!same(&format!("an{unseen}na"), "anna"), "{}", unseen.escape_unicode());
        }
    }

    proptest! {
        /// All spellings of a name that the rule calls equal have one key.
        #[test]
        fn a_name_equals_its_other_normal_form_and_its_folded_form(name in "\\PC{0,12}") {
            let decomposed: String = name.nfd().collect();
            let composed: String = name.nfc().collect();
            let folded: String = composed.chars().default_case_fold().collect();
            for other in [decomposed, composed, folded] {
                prop_assert!(same(&name, &other), "{name:?} and {other:?}");
            }
        }
    }

    #[test]
    fn tenants_and_kinds_never_meet() {
        let name = "anna";
        assert_ne!(key(TenantNo(1), NameKind::Mail, name), key(TenantNo(2), NameKind::Mail, name));
        assert_ne!(key(TenantNo(1), NameKind::Mail, name), key(TenantNo(1), NameKind::UserName, name));
    }
}
