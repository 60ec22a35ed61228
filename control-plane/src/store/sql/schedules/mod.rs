//! Schedules of sources.
//!
//! - `schedule`: set, found due, carried out.
//! - `due_sync`: syncs that are due between the runs of a schedule.

pub(crate) mod due_sync;
pub(crate) mod schedule;
