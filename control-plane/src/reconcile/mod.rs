//! What is to be done with what the directory says: pure decisions. No I/O, no SQL, no protobuf, no
//! clock.
//!
//! The store loads a view, asks here for a plan, and carries the plan out in the same transaction.
//! `offer`: which records are worth sending. `batch`: add, update, let wait or refuse.
//! `name_contests`: who gets a contested name once all records are known. `preview`: what a sync
//! would do, for a dry run. `enabling`: whether a record may enable a user, `mass_enable`: how many
//! a job may enable again. `guard`: whether leavers may be disabled, with the help of
//! `read_quality` (lost attributes, servers that are behind) and `containers` (emptied ones).
//! `value_loss`: which changes wait for that. `entry_version`: which of two observations of an
//! entry is older. `names`: which names are equal. `single_user`: one user alone. `rekey`: which
//! entries have both ids without doubt, where a source gets another
//! immutable id. `deletion`: who is marked for deletion by itself. `password`: how many wrong
//! passwords a name may have.

pub mod batch;
pub mod containers;
pub mod deletion;
pub mod enabling;
pub mod entry_version;
pub mod guard;
pub mod mass_enable;
pub mod name_contests;
pub mod names;
pub mod offer;
pub mod password;
pub mod preview;
pub mod read_quality;
pub mod rekey;
pub mod single_user;
pub mod value_loss;
