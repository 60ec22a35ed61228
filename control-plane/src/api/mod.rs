//! The door for administrators and routers: thin gRPC services. Each handler parses, calls the domain, converts the answer.
//!
//! A file a service; `names` are resource names, `page` page tokens, `status` errors, `convert` messages. Who calls and whether they may is
//! decided before a handler is asked: `gate` stands in front, `admission` decides, by `authz`, the table of who may call what, by `tokens`,
//! which persons present at a console, and by whether their tenant is served; `refusals` notes what was refused (`router_refusals`: of identity routers); `bounded` and
//! `suspensions` end answers that outlive the caller's rights. `quota` says how much one caller may ask (`limits`: as configured), `deadline` for how long.

pub mod admission;
pub mod audit;
pub mod authz;
mod bounded;
pub mod convert;
pub mod deadline;
pub mod enrollment;
mod export;
pub mod gate;
pub mod identity_routers;
pub mod identity_sources;
pub mod just_in_time;
pub mod license;
pub mod limits;
mod names;
mod page;
mod plan_export;
pub mod quota;
pub mod refusals;
pub mod router_link;
mod router_refusals;
pub mod schedules;
mod status;
pub mod suspensions;
pub mod sync_jobs;
pub mod tenants;
pub mod tokens;
pub mod users;
pub mod webhooks;

use std::sync::Arc;

use tonic::{Request, Status};

pub use page::PageKey;

use crate::ca::Issuing;
use crate::ca::identity::{Caller, Peer};
use crate::jobs::{Clock, Jobs};
use crate::model::{Actor, TenantId};
use crate::store::Store;
use crate::webhooks::Webhooks;

/// What every service works with.
#[derive(Clone)]
pub struct Api {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The jobs of this replica.
    pub jobs: Jobs,
    /// The deliveries of this replica.
    pub webhooks: Webhooks,
    /// What routers' certificates are issued from.
    pub issuing: Issuing,
    /// The time.
    pub clock: Clock,
    /// Seals page tokens.
    pub page_key: PageKey,
}

/// The caller, if it may see this tenant. Whoever may not is told what anyone is told about a tenant that does not exist.
fn caller<T>(request: &Request<T>, tenant: &TenantId) -> Result<Caller, Status> {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.may_see(tenant) => Ok(caller.clone()),
        _ => {
            // In the caller's own trail: that it asked is nothing of the other tenant's.
            gate::refuse(request);
            Err(status::not_found("tenant"))
        }
    }
}

/// The same for a call that changes something: who is to be named in the audit trail.
fn actor<T>(request: &Request<T>, tenant: &TenantId) -> Result<Actor, Status> {
    let caller = caller(request, tenant)?;
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| caller.actor(peer.address)).ok_or_else(|| status::not_found("tenant"))
}
