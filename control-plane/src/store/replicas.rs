//! Replicas that share the database, and which routers are connected to which.

use super::operations::operations;
use crate::model::{DistantRouter, Replica, ReplicaKey, RouterId, TenantId, Timestamp};

operations! {
    /// Notes that a replica is there, with its routers if these are given: then whoever was at its
    /// address before is forgotten. False if it was not known and its routers were not given:
    /// whoever is away for long is forgotten.
    write fn record_heartbeat(
        replica: &Replica,
        routers: Option<&[(TenantId, RouterId)]>,
        now: Timestamp,
    ) -> bool = routers::replicas::record_heartbeat;
    /// Forgets a replica that ended.
    write fn remove_replica(replica: ReplicaKey) -> () = routers::replicas::remove;
    /// Forgets replicas that were last heard of before then.
    write fn remove_stale_replicas(before: Timestamp) -> () = routers::replicas::remove_stale;
    /// Replicas that were heard of since then.
    read fn live_replicas(since: Timestamp) -> Vec<Replica> = routers::replicas::live;
    /// Active routers of a tenant that are connected to any but this replica, which was heard of
    /// since then; lately heard of first.
    read fn routers_elsewhere(
        tenant: &TenantId,
        but: ReplicaKey,
        since: Timestamp,
    ) -> Vec<DistantRouter> = routers::replicas::connected_elsewhere;
}
