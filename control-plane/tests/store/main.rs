//! The store through its trait, with real databases: what each method promises (`conformance`, on both engines), and what whole syncs
//! come to (`reconciliation`, as properties).

mod conformance;
mod database;
mod directory;
mod drive;
mod reconciliation;
