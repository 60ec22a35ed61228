//! Who this router is, on its own disk. Opens no connection; [`link`](crate::link) does.
//!
//! - `state`: the folder, and the locks on it
//! - `identity_file`: the one file with key and certificate
//! - `key`: makes keys, and shows that the router has them
//! - `pending_key`: a key whose certificate has not come yet
//! - `trust`: which authorities may vouch for the control plane

mod identity_file;
mod key;
mod pending_key;
mod state;
mod trust;

pub use identity_file::{Facts, Identity, IssueError, Validity};
pub(crate) use identity_file::{hex, issued, load, store};
pub(crate) use key::{Key, fingerprint};
pub(crate) use pending_key::{forget_pending_key, pending_key};
pub(crate) use state::{AUDIT_HEAD_FILE, IDENTITY_FILE, IDENTITY_LOCK_TIMEOUT};
pub use state::{StateError, StateFolder};
pub(crate) use trust::{Authorities, PinnedAuthority, WrongAuthority, vouches};
