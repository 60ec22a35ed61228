//! What was shown on a connection for the proofs that a mark is absent (`mark_proof`).

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::OnceCell;

/// An attribute that replication metadata lists wherever an entry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replicated {
    /// Its number in `replPropertyMetaData`, if that is certain.
    pub(super) number: Option<u32>,
}

/// What was shown on a connection, once for all proofs on it.
#[derive(Debug, Default)]
pub(super) struct ProofCache {
    pub(super) three_valued: OnceCell<bool>,
    pub(super) replicated: Mutex<HashMap<String, Option<Replicated>>>,
}
