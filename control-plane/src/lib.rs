//! The control plane: keeps a tenant's users true to its directories.
//!
//! A module imports only modules that stand below it; `ARCHITECTURE.md` has the layers that a test
//! reads. From the top down:
//!
//! - `commands`: the commands other than `serve`: certificates, audit trails, after a restore
//! - `server`: serves: TLS, listeners, and every service behind the gate
//! - `config`: the configuration file, which commands and the server read
//! - `api`: gRPC for administrators and identity routers
//! - `replicas`: asks routers that are connected to another replica
//! - `webhooks`: delivers messages to the systems of tenants
//! - `jobs`: the life of a sync job, and syncs of single users
//! - `store`: SQL, one transaction a use case
//! - `reconcile`: decides what a sync does to users (pure)
//! - `enroll`: decides which identity router is admitted (pure)
//! - `schedule`: when a source is synchronized by itself (pure)
//! - `ca`: certificate authorities, and the holders of certificates
//! - `outbound`: HTTPS to other systems
//! - `model`: the words that all of them use, as plain types
//! - `log_limit`: limits log lines that clients can cause
//! - `clock`: points in time, and the time of day

#![expect(
    clippy::duplicate_mod,
    reason = "the SQL is written once, in store/sql, and compiled for each engine"
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
