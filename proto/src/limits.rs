//! Longest values of a user record, in characters: what a router sends and what the control plane
//! takes are the same by definition. In characters, because whoever has to shorten a value counts
//! those. And the largest settings of an identity source: the control plane stores none that are
//! larger, and a router, which does not rely on that, carries none out.

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

/// A password that is to be verified; in bytes, at least one: an empty one would be a bind of
/// nobody (RFC 4513, 5.1.2).
pub const PASSWORD_BYTES: usize = 1_024;

/// Directory servers of a source.
pub const DIRECTORY_SERVERS: usize = 10;
/// Roots of a source.
pub const ROOTS: usize = 20;
/// Attributes for access policies.
pub const POLICY_ATTRIBUTES: usize = 20;
/// Filter of a source; in bytes.
pub const FILTER_BYTES: usize = 4_096;
/// Records a batch.
pub const BATCH_RECORDS: usize = 2_000;

/// Whether a text has more than so many characters.
#[must_use]
pub fn is_longer(text: &str, most: usize) -> bool {
    // A character has at least a byte, so short texts need not be taken apart.
    text.len() > most && text.chars().nth(most).is_some()
}
