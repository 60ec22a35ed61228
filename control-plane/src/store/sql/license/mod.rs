//! Seats of a tenant.
//!
//! - `seats`: taken and given back.
//! - `alarms`: tells when the license is nearly used up.
//! - `limit`: the limit and its use.

pub(crate) mod alarms;
pub(crate) mod limit;
pub(crate) mod seats;
