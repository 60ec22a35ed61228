//! Who this router is, on its own disk: `state` keeps the folder, `key` makes keys and shows that it has them, `pending` keeps one whose
//! certificate has not come yet, `file` is the one file with key and certificate, `trust` says who may be the control plane. Talks to nobody; [`link`](crate::link) does.

mod file;
mod key;
mod pending;
mod state;
mod trust;

pub use file::{Facts, Identity, IssueError, Life};
pub(crate) use file::{hex, issued, load, store};
pub(crate) use key::{Key, fingerprint};
pub(crate) use pending::{pending, settled};
pub(crate) use state::{AUDIT_HEAD, IDENTITY, IDENTITY_LOCK_TIMEOUT};
pub use state::{State, StateError};
pub(crate) use trust::{Authorities, Pinned, WrongAuthority, vouches};
