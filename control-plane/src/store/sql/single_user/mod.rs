//! Syncs of one user.
//!
//! - `settings`: settings of a tenant.
//! - `sign_in`: what a sign-in begins with.
//! - `lookup`: one user by number or name.
//! - `pending`: the job that a write of one user must tell.
//! - `apply`: writes what the directory has of a user.
//! - `rejected`: writes that a user's entry cannot be used.
//! - `absent`: writes that a user was not found.
//! - `disable`: takes a user out of scope.

pub(crate) mod absent;
pub(crate) mod apply;
pub(crate) mod disable;
pub(crate) mod lookup;
pub(crate) mod pending;
pub(crate) mod rejected;
pub(crate) mod settings;
pub(crate) mod sign_in;
