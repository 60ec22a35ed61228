//! The store's SQL, written once and compiled for each engine over its `dialect`.
//!
//! A folder for each aggregate; each imports only those before it:
//! - `words`, `codec`, `statement`, `locks`, `transaction`: the ground.
//! - `audit`, `users`, `webhooks`, `license`, `sources`, `jobs`, `routers`, `sync`, `tenants`,
//!   `schedules`, `plans`, `single_user`, `deletion`.

use super::dialect;

pub(crate) mod codec;
pub(crate) mod locks;
pub(crate) mod statement;
pub(crate) mod transaction;
pub(crate) mod words;

pub(crate) mod audit;
pub(crate) mod deletion;
pub(crate) mod jobs;
pub(crate) mod license;
pub(crate) mod plans;
pub(crate) mod routers;
pub(crate) mod schedules;
pub(crate) mod single_user;
pub(crate) mod sources;
pub(crate) mod sync;
pub(crate) mod tenants;
pub(crate) mod users;
pub(crate) mod webhooks;

pub(crate) use transaction::Engine;
