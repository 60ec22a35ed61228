//! [`TenantStore`] over the statements of `tenants` and `standing`.

use async_trait::async_trait;

use super::{Engine, standing, tenants};
use crate::model::{Actor, JobNo, License, Tenant, TenantId, Timestamp};
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

    async fn create_tenant(
        &self,
        tenant: &TenantId,
        limit: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Tenant> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, by) = (tenant.clone(), by.clone());
            Box::pin(async move { standing::create(c, &tenant, limit, &by, now).await })
        })
        .await
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<Tenant> {
        let tenant = tenant.clone();
        self.read(move |c| Box::pin(async move { standing::tenant(c, &tenant).await })).await
    }

    async fn list_tenants(&self, after: Option<&TenantId>, limit: i64) -> Result<Vec<Tenant>> {
        let after = after.cloned();
        self.read(move |c| Box::pin(async move { standing::list(c, after.as_ref(), limit).await })).await
    }

    async fn suspend_tenant(
        &self,
        tenant: &TenantId,
        reason: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(Tenant, Vec<JobNo>)> {
        let (tenant, reason, by) = (tenant.clone(), reason.to_owned(), by.clone());
        self.write(move |c| {
            let (tenant, reason, by) = (tenant.clone(), reason.clone(), by.clone());
            Box::pin(async move { standing::suspend(c, &tenant, &reason, &by, now).await })
        })
        .await
    }

    async fn resume_tenant(&self, tenant: &TenantId, by: &Actor, now: Timestamp) -> Result<Tenant> {
        let (tenant, by) = (tenant.clone(), by.clone());
        self.write(move |c| {
            let (tenant, by) = (tenant.clone(), by.clone());
            Box::pin(async move { standing::resume(c, &tenant, &by, now).await })
        })
        .await
    }

    async fn suspended_tenants(&self) -> Result<Vec<TenantId>> {
        self.read(|c| Box::pin(standing::suspended(c))).await
    }

    async fn secret(&self, name: &'static str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let kept =
            self.write(move |c| Box::pin(async move { standing::secret(c, name, &fresh).await })).await?;
        kept.try_into().map_err(|_| StoreError::Broken("a secret of the wrong length".into()))
    }
}
