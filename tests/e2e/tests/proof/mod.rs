//! One proof for every path: behind a fault of the directory a sign-in denies and marks, and
//! neither a sign-in nor a sync disables or enables a user for it.
//!
//! - `logins`: whose login a name is
//! - `sign_ins`: the short form of `cargo xtask drill signins`
//! - `marks`: what a mark that is hidden, or on an entry that is refused, means
//! - `reads`: references and limits of a whole read, and two entries with one id

mod logins;
mod marks;
mod reads;
mod sign_ins;
