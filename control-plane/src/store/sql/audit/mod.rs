//! The audit trail.
//!
//! - `append`: writes events.
//! - `read`: reads events, for people and for the verification.

pub(crate) mod append;
pub(crate) mod read;
