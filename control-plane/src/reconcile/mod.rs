//! What is to be done with what the directory says: pure decisions. No I/O, no SQL, no protobuf, no clock.
//!
//! The store loads a view, asks here for a plan, and carries the plan out in the same transaction.
//! `offer`: which records are worth sending. `batch`: add, update, let wait or refuse. `settle`: who gets a contested name once
//! all records are known. `forecast`: what a sync would do, for a dry run. `guard`: whether leavers may be disabled, with the help of `eyes` (lost attributes, servers that are behind) and
//! `containers` (emptied ones). `doubt`: which changes wait for that. `names`: which names are equal. `single`: one user alone.
//! `rekey`: which entries have both ids without doubt, where a source gets another immutable id. `deletion`: who is marked for deletion by itself. `password`: how many wrong passwords a name may have.

pub mod batch;
pub mod containers;
pub mod deletion;
pub mod doubt;
pub mod eyes;
pub mod forecast;
pub mod guard;
pub mod names;
pub mod offer;
pub mod password;
pub mod rekey;
pub mod settle;
pub mod single;
