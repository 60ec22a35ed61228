//! What the services for administrators share: their dependencies, and the check that a caller may
//! see the tenant it names.

use std::sync::Arc;

use tonic::{Request, Status};

use crate::api::common::page::PageKey;
use crate::api::common::status;
use crate::api::middleware::gate;
use crate::ca::CertificateIssuer;
use crate::ca::identity::{Caller, Peer};
use crate::clock::Clock;
use crate::jobs::Jobs;
use crate::model::{Actor, TenantId};
use crate::store::Store;
use crate::webhooks::Webhooks;

/// What every service for administrators works with.
#[derive(Clone)]
pub struct AdminContext {
    /// Where everything is kept.
    pub store: Arc<Store>,
    /// The jobs of this replica.
    pub jobs: Jobs,
    /// The deliveries of this replica.
    pub webhooks: Webhooks,
    /// What routers' certificates are issued from.
    pub issuer: CertificateIssuer,
    /// The time.
    pub clock: Clock,
    /// Seals page tokens.
    pub page_key: PageKey,
}

/// The caller, if it may see this tenant. Whoever may not is told what anyone is told about a
/// tenant that does not exist.
pub(super) fn require_access<T>(request: &Request<T>, tenant: &TenantId) -> Result<Caller, Status> {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.may_see(tenant) => Ok(caller.clone()),
        _ => {
            // In the caller's own trail: that it asked is nothing of the other tenant's.
            gate::record_denial(request);
            Err(status::not_found("tenant"))
        }
    }
}

/// The same for a call that changes something: who is to be named in the audit trail.
pub(super) fn require_actor<T>(request: &Request<T>, tenant: &TenantId) -> Result<Actor, Status> {
    let caller = require_access(request, tenant)?;
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| caller.actor(peer.address)).ok_or_else(|| status::not_found("tenant"))
}
