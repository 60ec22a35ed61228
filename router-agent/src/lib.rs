//! The identity router: reads a directory on the premises and streams user records to the control plane.
//!
//! Follow a person outwards: `directory` (LDAP) -> `record` (mapping, canonical form, digest) -> `link` (session, upload).
//! `identity` is who the router is, `policy` the house's own word on what may leave; `config`, `enroll` and `check` are for whoever runs the
//! router.

pub mod check;
pub mod clock;
pub mod config;
pub mod directory;
pub mod enroll;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod link;
pub mod policy;
pub mod record;
