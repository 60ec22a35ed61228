//! Tenants, and secrets of the installation.
//!
//! - `tenant`: created, suspended, resumed.
//! - `secrets`: secrets of the installation.

pub(crate) mod secrets;
pub(crate) mod tenant;
