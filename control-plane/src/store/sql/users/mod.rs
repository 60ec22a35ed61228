//! Users as rows.
//!
//! - `rows`: rows, and records kept like rows.
//! - `lookup`: known users by id, name, number.
//! - `write`: writes many users at once, and the journal.
//! - `user`: users as administrators list them.
//! - `logins`: who holds a login, and who does not although it has the name.
//! - `versions`: which versions of their entries users have.

pub(crate) mod logins;
pub(crate) mod lookup;
pub(crate) mod rows;
pub(crate) mod user;
pub(crate) mod versions;
pub(crate) mod write;
