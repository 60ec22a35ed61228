//! The door for administrators and routers: thin gRPC services. Each handler parses, calls the domain, converts the answer.
//!
//! A file a service; `names` are resource names, `page` page tokens, `status` errors, `convert` messages, `authz` who may call
//! what, `gate` enforces it.

pub mod authz;
pub mod convert;
pub mod gate;
pub mod identity_routers;
pub mod identity_sources;
pub mod just_in_time;
pub mod license;
mod names;
mod page;
pub mod router_link;
pub mod schedules;
mod status;
pub mod sync_jobs;
pub mod users;

use std::sync::Arc;

use tonic::{Request, Status};

use crate::ca::identity::Caller;
use crate::jobs::{Clock, Jobs};
use crate::model::TenantId;
use crate::store::Store;

/// What every service works with.
#[derive(Clone)]
pub struct Api {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The jobs of this replica.
    pub jobs: Jobs,
    /// The time.
    pub clock: Clock,
}

/// The caller, if it may see this tenant. Whoever may not is told what anyone is told about a tenant that does not exist.
fn caller<T>(request: &Request<T>, tenant: &TenantId) -> Result<Caller, Status> {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.may_see(tenant) => Ok(caller.clone()),
        _ => Err(status::not_found("tenant")),
    }
}
