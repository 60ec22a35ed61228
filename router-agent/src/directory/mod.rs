//! Reads directories over LDAP. The ldap3 crate speaks the protocol, and is not trusted: every byte
//! is checked before the crate sees it, and every page after it. Only `read` can make a
//! [`ReadComplete`].
//!
//! What to ask:
//! - `server`: a server, and what a connection to it needs
//! - `read_request`: what a source reads
//!
//! Connections:
//! - `dial`, `tls`: name, TCP, LDAPS and StartTLS
//! - `ldap_guard`: between the network and the crate
//! - `ber`, `decode`: checks a message; takes it apart
//! - `response_sorter`, `search_budget`: what a search found, and how much it may find
//! - `connect`: a bound connection
//! - `pool`: bound connections that are kept
//!
//! Questions:
//! - `search`: one search to its result
//! - `references`: which references hide a part of the scope
//! - `root_dse`, `freshness`: what a server says about itself; how recent its data is
//! - `entry_version`: which version of an entry was read
//! - `server_facts`: asks for these, once for each connection
//! - `read`: all users of a source, page by page
//! - `lookup`: where single users are, before they are disabled
//! - `presence`: where a look-up found a user
//! - `absence`: whether the directory shows that a user is gone, or only that it is not seen
//! - `mark_proof`: whether the mark of a disabled account is absent, not hidden
//! - `proof_cache`: what was shown for that on a connection
//! - `fetch`: one user, by name or by immutable id
//! - `verify`: whether a password is a user's
//! - `probe`: tries a server step by step
//! - `error`, `result_code`: what went wrong, and what to do

mod absence;
mod ber;
mod connect;
mod decode;
mod dial;
mod entry_version;
mod error;
mod fetch;
mod freshness;
mod ldap_guard;
mod lookup;
mod mark_proof;
mod pool;
mod presence;
mod probe;
mod proof_cache;
mod read;
mod read_request;
mod references;
mod response_sorter;
mod result_code;
mod root_dse;
mod search;
mod search_budget;
mod server;
mod server_facts;
mod tls;
mod verify;

pub use absence::{Evidence, LastName, Witness};
pub use entry_version::VersionSource;
pub use error::DirectoryError;
pub use fetch::{FetchSource, Fetched, FetchedEntry, UserSelector, fetch};
pub use freshness::Freshness;
pub use lookup::{LookupAnswer, LookupRequest, lookup};
pub use mark_proof::{MarkProver, Unproved};
pub use pool::{Pool, PoolLimits};
pub use presence::Presence;
pub use probe::probe;
pub use read::{OpenRead, ReadComplete, RootRead, open_read, read};
pub use read_request::{ReadRequest, Scope};
#[cfg(feature = "fuzzing")]
pub(crate) use response_sorter::sort_pieces;
pub use server::{Credential, Security, Server, Timeouts};
pub use tls::tls_config;
pub use verify::{Password, PasswordVerdict, verify};
