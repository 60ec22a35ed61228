//! What is to be done with what the directory says: pure decisions. No I/O, no SQL, no protobuf, no clock.
//!
//! The store loads a view, asks here for a plan, and carries the plan out in the same transaction.
//! `offer`: which records are worth sending. `batch`: add, update, let wait or refuse. `settle`: who gets a contested name once
//! all records are known. `guard`: whether leavers may be disabled. `names`: which names are equal.

pub mod batch;
pub mod guard;
pub mod names;
pub mod offer;
pub mod settle;
