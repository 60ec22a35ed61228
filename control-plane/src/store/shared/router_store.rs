//! [`RouterStore`] over the statements of `routers`.

use async_trait::async_trait;

use super::{Engine, routers};
use crate::model::{IdentityRouter, RouterId, TenantId, Timestamp};
use crate::store::{Result, RouterStore};

#[async_trait]
impl RouterStore for Engine {
    async fn router_seen(
        &self,
        tenant: &TenantId,
        router: &RouterId,
        version: &str,
        certificate_expires: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let tenant = tenant.clone();
        let router = router.clone();
        let version = version.to_owned();
        self.write(move |c| {
            let tenant = tenant.clone();
            let router = router.clone();
            let version = version.clone();
            Box::pin(async move {
                routers::router_seen(c, &tenant, &router, &version, certificate_expires, now).await
            })
        })
        .await
    }

    async fn router_gone(&self, tenant: &TenantId, router: &RouterId, now: Timestamp) -> Result<()> {
        let tenant = tenant.clone();
        let router = router.clone();
        self.write(move |c| {
            let tenant = tenant.clone();
            let router = router.clone();
            Box::pin(async move { routers::router_gone(c, &tenant, &router, now).await })
        })
        .await
    }

    async fn list_routers(
        &self,
        tenant: &TenantId,
        after: Option<&RouterId>,
        limit: i64,
    ) -> Result<Vec<IdentityRouter>> {
        let tenant = tenant.clone();
        let after = after.cloned();
        self.read(move |c| {
            Box::pin(async move { routers::list_routers(c, &tenant, after.as_ref(), limit).await })
        })
        .await
    }
}
