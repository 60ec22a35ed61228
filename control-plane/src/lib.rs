//! The control plane: keeps a tenant's users true to its directories.
//!
//! Follow a record inwards: `api` (gRPC at the door) -> `jobs` (a sync job's life) -> `reconcile` (what is to be done; pure) ->
//! `store` (SQL). `schedule` says when a source is synchronized by itself, `enroll` which identity router is let in (both pure).
//! `replicas` asks routers that are connected to another replica.
//! `webhooks` delivers what the store has written for a tenant's own systems, over `outbound`. `model` holds the words that all of them use. `server` and `ca` are TLS, listeners and certificates;
//! `audit` is the commands that verify and export the audit trail.

#![expect(
    clippy::duplicate_mod,
    reason = "the SQL is written once, in store/shared, and compiled for each engine"
)]

pub mod api;
pub mod ca;
pub mod clock;
pub mod commands;
pub mod config;
pub mod enroll;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod jobs;
pub mod log_limit;
pub mod model;
pub mod outbound;
pub mod reconcile;
pub mod replicas;
pub mod schedule;
pub mod server;
pub mod store;
pub mod webhooks;
