//! The control plane's own certificate authority: made and used by `control-plane ca …`, files in, files out. `identity` reads from a
//! certificate who its holder is. Enrolment of routers by registration code will sign here, too.

mod command;
pub mod identity;
mod issue;

pub use command::{CaCommand, run};
pub use issue::{Authority, CaError, Subject};

/// Whether a text can be an id in a name: 1 to 63 of a-z, 0-9 and hyphen, a letter first, no hyphen last.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes[bytes.len() - 1] != b'-'
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}
