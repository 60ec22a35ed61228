//! Reads directories over LDAP. The ldap3 crate speaks the protocol, and is not trusted: `guard` checks every byte before the crate
//! sees it, `read` checks every page after it. Only `read` can make a [`ReadComplete`].
//!
//! `plan` says what to read, `connect` finds a server, `search` asks it one question, `lookup` asks after single people, `probe` tries a
//! server, `root_dse` is what a server says about itself, `freshness` how recent its data is, `dn` and `references` say what belongs to the scope,
//! `filter` what a filter asks about.
//! `watch` keeps what searches find. `fetch` reads one person, `warm` keeps connections for that, `verify` asks whether a password is somebody's.

mod ber;
mod connect;
mod entry;
mod error;
mod fetch;
mod freshness;
mod guard;
mod lookup;
mod plan;
mod probe;
mod read;
mod references;
mod root_dse;
mod search;
mod tls;
mod verify;
mod warm;
mod watch;

pub use error::DirectoryError;
pub use fetch::{Fetched, Source, Whom, fetch};
pub use freshness::Freshness;
#[cfg(feature = "fuzzing")]
pub(crate) use guard::sort_pieces;
pub use lookup::{LookedUp, Presence, Wanted, lookup};
pub use plan::{Credential, Plan, Scope, Security, Server, Timeouts, plan};
pub use probe::probe;
pub use read::{ReadComplete, RootRead, read};
pub use tls::tls_config;
pub use verify::{Password, Verdict, verify};
pub use warm::{Limits, Warm};
