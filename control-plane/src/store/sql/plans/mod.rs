//! Dry runs: what they found, and the plan that is kept of it.
//!
//! - `entries`: the entries of a plan, written and read.
//! - `id_pairs`: former and new immutable ids of a dry run.
//! - `situation`: what decides what a sync would do.

pub(crate) mod entries;
pub(crate) mod id_pairs;
pub(crate) mod situation;
