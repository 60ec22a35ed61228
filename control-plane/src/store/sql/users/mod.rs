//! Users as rows.
//!
//! - `rows`: rows, and records kept like rows.
//! - `lookup`: known users by id, name, number.
//! - `write`: writes many users at once, and the journal.
//! - `user`: users as administrators list them.
//! - `versions`: which versions of their entries users have.

pub(crate) mod lookup;
pub(crate) mod rows;
pub(crate) mod user;
pub(crate) mod versions;
pub(crate) mod write;
