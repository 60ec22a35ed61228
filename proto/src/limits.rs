//! Longest values of a user record, in characters: what a router sends and what the control plane takes are the same by definition.
//! In characters, because whoever has to shorten a value counts those.

/// User name.
pub const USER_NAME: usize = 256;
/// Mail address.
pub const MAIL: usize = 254;
/// First, last and display name, telephone number.
pub const NAME: usize = 512;
/// Distinguished name.
pub const DISTINGUISHED_NAME: usize = 4_096;
/// All policy attributes together, as JSON; in bytes.
pub const POLICY_BYTES: usize = 64 << 10;

/// Whether a text has more than so many characters.
#[must_use]
pub fn is_longer(text: &str, most: usize) -> bool {
    // A character has at least a byte, so short texts need not be taken apart.
    text.len() > most && text.chars().nth(most).is_some()
}
