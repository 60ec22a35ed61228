//! Where everything is kept: one store in the words of the domain, over two engines. SQL lives in
//! here and nowhere else.
//!
//! Every operation is one transaction (or a few, where it says so) that runs in a task of its own:
//! a caller that goes away cannot cancel it half-way. Whatever a job writes carries its
//! [`crate::model::Fence`], checked in the same transaction: after StopSync has answered, or after
//! another read of the job has begun, nothing of the old one can be written any more. An operation
//! writes to the audit trail in the transaction that does the work.
//!
//! - `engines`: the store, over one of two engines.
//! - `operations`: the macro that binds each operation to its one function in `sql`.
//! - `audit`, `deletion`, `jobs`, `plans`, `replicas`, `routers`, `schedules`, `single_user`,
//!   `sources`, `sync`, `tenants`, `users`, `webhooks`: the operations of each aggregate.
//! - `types`, `row`, `error`, `open_error`: what operations take and return.
//! - `statements`: lets a test see each statement.
//! - `open`: opens a store by its URL, and backs it up.
//! - `sql`: the SQL, written once; compiled for `sqlite` and for `postgres`, each over its file in
//!   `dialect`.

mod audit;
mod deletion;
mod engines;
mod error;
mod jobs;
mod open;
mod open_error;
mod operations;
mod plans;
mod postgres;
mod replicas;
mod routers;
mod row;
mod schedules;
mod single_user;
mod sources;
mod sqlite;
pub mod statements;
mod sync;
mod tenants;
mod types;
mod users;
mod webhooks;

pub use engines::Store;
pub use error::{Result, StoreError};
pub use open::{backup, open, open_trail};
pub use open_error::OpenError;
pub use types::{
    Admission, Applied, ApprovedStart, DeletionLease, JobName, NewJob, NewWebhook, Observation, Outcome,
    Purged, RecentDisables, Reenables, Repeats, ScheduleChange, SignIn, SingleWrite, SourceChange,
    StoredTrail, WebhookChange, Work, Written,
};
