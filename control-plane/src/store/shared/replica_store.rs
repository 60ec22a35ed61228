//! [`ReplicaStore`] over the statements of `replicas`.

use async_trait::async_trait;

use super::{Engine, replicas};
use crate::model::{DistantRouter, Replica, ReplicaKey, RouterId, TenantId, Timestamp};
use crate::store::{ReplicaStore, Result};

#[async_trait]
impl ReplicaStore for Engine {
    async fn replica_heard(
        &self,
        replica: &Replica,
        routers: Option<&[(TenantId, RouterId)]>,
        now: Timestamp,
    ) -> Result<bool> {
        let (replica, routers) = (replica.clone(), routers.map(<[_]>::to_vec));
        self.write(move |c| {
            let (replica, routers) = (replica.clone(), routers.clone());
            Box::pin(async move { replicas::heard(c, &replica, routers.as_deref(), now).await })
        })
        .await
    }

    async fn replica_gone(&self, replica: ReplicaKey) -> Result<()> {
        self.write(move |c| Box::pin(async move { replicas::gone(c, replica).await })).await
    }

    async fn forget_replicas(&self, before: Timestamp) -> Result<()> {
        self.write(move |c| Box::pin(async move { replicas::forget(c, before).await })).await
    }

    async fn live_replicas(&self, since: Timestamp) -> Result<Vec<Replica>> {
        self.read(move |c| Box::pin(async move { replicas::live(c, since).await })).await
    }

    async fn distant_routers(
        &self,
        tenant: &TenantId,
        but: ReplicaKey,
        since: Timestamp,
    ) -> Result<Vec<DistantRouter>> {
        let tenant = tenant.clone();
        self.read(move |c| Box::pin(async move { replicas::distant(c, &tenant, but, since).await })).await
    }
}
