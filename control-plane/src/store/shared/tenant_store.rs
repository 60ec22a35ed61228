//! [`TenantStore`] over the statements of `tenants`.

use async_trait::async_trait;

use super::{Engine, tenants};
use crate::model::{Actor, License, TenantId, Timestamp};
use crate::store::{Result, StoreError, TenantStore};

#[async_trait]
impl TenantStore for Engine {
    async fn tenant_exists(&self, tenant: &TenantId) -> Result<bool> {
        let tenant = tenant.clone();
        let number = self.read(move |c| Box::pin(async move { tenants::number(c, &tenant).await })).await;
        match number {
            Err(StoreError::NotFound(_)) => Ok(false),
            other => other.map(|_| true),
        }
    }

    async fn license(&self, tenant: &TenantId) -> Result<License> {
        let tenant = tenant.clone();
        self.read(move |c| Box::pin(async move { tenants::license(c, &tenant).await })).await
    }

    async fn set_license_limit(
        &self,
        tenant: &TenantId,
        limit: i64,
        create: bool,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, by) = (tenant.clone(), by.clone());
            Box::pin(async move { tenants::set_limit(c, &tenant, limit, create, &by, now).await })
        })
        .await
    }
}
