//! Schedules of sources.

pub(crate) mod schedule;
