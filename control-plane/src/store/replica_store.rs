//! Replicas that share the database, and which routers are connected to which. Whoever can write here says who is a replica.

use async_trait::async_trait;

use super::Result;
use crate::model::{DistantRouter, Replica, ReplicaKey, RouterId, TenantId, Timestamp};

/// What is kept of replicas.
#[async_trait]
pub trait ReplicaStore {
    /// Notes that a replica is there, with its routers if these are given: then whoever was at its address before is forgotten. False if it was not known and its routers were not given: whoever
    /// is away for long is forgotten.
    async fn replica_heard(
        &self,
        replica: &Replica,
        routers: Option<&[(TenantId, RouterId)]>,
        now: Timestamp,
    ) -> Result<bool>;
    /// Forgets a replica that ended.
    async fn replica_gone(&self, replica: ReplicaKey) -> Result<()>;
    /// Forgets replicas that were last heard of before then.
    async fn forget_replicas(&self, before: Timestamp) -> Result<()>;
    /// Replicas that were heard of since then.
    async fn live_replicas(&self, since: Timestamp) -> Result<Vec<Replica>>;
    /// Active routers of a tenant that are connected to any but this replica, which was heard of since then; lately heard of first.
    async fn distant_routers(
        &self,
        tenant: &TenantId,
        but: ReplicaKey,
        since: Timestamp,
    ) -> Result<Vec<DistantRouter>>;
}
