//! The work of a job.
//!
//! - `begin_read`: begins a read of the directory, and its reconciliation.
//! - `known_users`: users by the ids of an offer.
//! - `receive`: takes a batch of a read.
//! - `apply`: applies records, of a batch or of one user.
//! - `refuse`: lists entries that could not become records, and disables users by their mark.
//! - `apply_plan`: what an approved plan has of a batch.
//! - `deferred`: records that wait.
//! - `suspect_changes`: changes that take something away.
//! - `name_claims`: who takes part in a contest for names.
//! - `resolve_names`: gives contested names.
//! - `revert`: takes back what the job did to a user.
//! - `shared_ids`: two entries with one immutable id, and one entry below two roots.
//! - `settle_seats`: gives the last seats.
//! - `absent_users`: users that the read did not have.
//! - `undo`: undoes a job from its journal.

pub(crate) mod absent_users;
pub(crate) mod apply;
pub(crate) mod apply_plan;
pub(crate) mod begin_read;
pub(crate) mod deferred;
pub(crate) mod known_users;
pub(crate) mod name_claims;
pub(crate) mod receive;
pub(crate) mod refuse;
pub(crate) mod resolve_names;
pub(crate) mod revert;
pub(crate) mod settle_seats;
pub(crate) mod shared_ids;
pub(crate) mod suspect_changes;
pub(crate) mod undo;
