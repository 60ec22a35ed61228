//! The identity router: reads a directory on the premises and streams user records to the control
//! plane.
//!
//! Layers, the top one first. A file imports only from its own layer or from lower ones, and no
//! files or folders import each other in a circle. `ARCHITECTURE.md` has the layers that a test
//! reads.
//!
//! - `main`, `lib`, `fuzzing`: the program, and what the fuzz targets reach
//! - `commands`: what an administrator runs: enroll, check
//! - `link`: the session with the control plane, and the orders that come in it
//! - `config`: the configuration file
//! - `directory`, `identity`: LDAP directories; the router's own key and certificate
//! - `record`: from a directory entry to a user record
//! - `policy`: what may be read, and what may leave the premises
//! - `ldap_syntax`, `config_error`, `clock`: names and filters, mistakes, the time

pub mod clock;
pub mod commands;
pub mod config;
pub mod config_error;
pub mod directory;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod ldap_syntax;
pub mod link;
pub mod policy;
pub mod record;
