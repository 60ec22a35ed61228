//! A job's life and what is kept of it.
//!
//! - `job`: jobs as rows.
//! - `lifecycle`: created, claimed, stopped, failed, finished.
//! - `new_job`: what a new job is to do, and whether it can.
//! - `prune`: drops what is kept of the newest jobs only.
//! - `leftovers`: drops what a job leaves behind.
//! - `holds`: held, approved, rejected, expired.
//! - `outcomes`: what is said of a job that ends.
//! - `absent_marks`: what a complete read does to marks of users that sign-ins did not find.
//! - `counts`: its counts.
//! - `details`: writes Show Details.
//! - `lists`: reads Show Details and whole lists.
//! - `warnings`: lists and counts users with warnings.

pub(crate) mod absent_marks;
pub(crate) mod counts;
pub(crate) mod details;
pub(crate) mod holds;
pub(crate) mod job;
pub(crate) mod leftovers;
pub(crate) mod lifecycle;
pub(crate) mod lists;
pub(crate) mod new_job;
pub(crate) mod outcomes;
pub(crate) mod prune;
pub(crate) mod warnings;
