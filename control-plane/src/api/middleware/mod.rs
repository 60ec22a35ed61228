//! What stands in front of every service: who calls, whether they may, how much and for how long.
//!
//! - `authorize`: decides who calls and whether they may
//! - `rights`: the table of who may call what
//! - `deadline`: the longest that a call with one answer may take
//! - `denials`: notes refused calls for the audit trail
//! - `gate`: the layer that asks `authorize` and tells the handlers who calls
//! - `limits`: how much callers may ask, as configured
//! - `rate_limit`: calls a second and calls open at a time, for each caller
//! - `rights_expiry`: ends answers that outlive the caller's rights
//! - `suspensions`: which tenants are suspended
//! - `tokens`: the bearer tokens of persons at a console

pub mod authorize;
pub mod deadline;
pub mod denials;
pub mod gate;
pub mod limits;
pub mod rate_limit;
pub mod rights;
mod rights_expiry;
pub mod suspensions;
pub mod tokens;
