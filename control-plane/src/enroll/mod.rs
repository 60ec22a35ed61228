//! Decides which identity router is let in and which gets a certificate. Pure: the store asks `admission` inside its transactions, the
//! door asks `attempts` before it asks anyone; `coalesce` keeps a flood of refusals from filling the audit trail.

pub mod admission;
pub mod attempts;
pub mod coalesce;
