//! What a router's upload brings beside records.

use crate::model::{IdPair, ReadFacts, Record, Rejected};

/// What the router says of a complete read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Batches sent.
    pub batches: u64,
    /// Records offered or sent.
    pub records: u64,
    /// Entries that could not become records.
    pub rejected: u64,
    /// How the roots were read, and what else was found.
    pub facts: ReadFacts,
}

/// What a read of both ids has of one entry.
#[derive(Clone, Debug)]
pub struct PairedRecord {
    /// Both ids.
    pub ids: IdPair,
    /// The record, named by the former id, or why there is none.
    pub found: Result<Record, Rejected>,
}
