//! Deletion of users after a waiting time.
//!
//! - `settings`: settings of a tenant.
//! - `standing`: what decides about a user.
//! - `marks`: marks put on and taken off.
//! - `purge`: deletes users whose time has come.
//! - `forget`: removes users with everything kept of them.
//! - `sign_ins`: when users signed in last.

pub(crate) mod forget;
pub(crate) mod marks;
pub(crate) mod purge;
pub(crate) mod settings;
pub(crate) mod sign_ins;
pub(crate) mod standing;
