//! Decides which identity router is admitted and which gets a certificate. Pure: the store asks
//! `admission` inside its transactions, the enrollment API asks `attempt_limit` before anything
//! else.

pub mod admission;
pub mod attempt_limit;
