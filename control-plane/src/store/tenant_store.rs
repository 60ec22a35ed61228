//! Tenants and their licenses.

use async_trait::async_trait;

use super::Result;
use crate::model::{Actor, JobNo, License, Tenant, TenantId, Timestamp};

/// What is kept of tenants.
#[async_trait]
pub trait TenantStore {
    /// Whether there is such a tenant.
    async fn tenant_exists(&self, tenant: &TenantId) -> Result<bool>;
    /// Limit and use.
    async fn license(&self, tenant: &TenantId) -> Result<License>;
    /// Sets the limit; makes the tenant if `create` and there is none.
    async fn set_license_limit(
        &self,
        tenant: &TenantId,
        limit: i64,
        create: bool,
        by: &Actor,
        now: Timestamp,
    ) -> Result<()>;
    /// Makes a tenant.
    async fn create_tenant(
        &self,
        tenant: &TenantId,
        limit: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Tenant>;
    /// A tenant.
    async fn tenant(&self, tenant: &TenantId) -> Result<Tenant>;
    /// Tenants by id, after `after`.
    async fn list_tenants(&self, after: Option<&TenantId>, limit: i64) -> Result<Vec<Tenant>>;
    /// Suspends a tenant and stops its jobs, which it returns: nothing of them can be written any more, and none can be queued.
    async fn suspend_tenant(
        &self,
        tenant: &TenantId,
        reason: &str,
        by: &Actor,
        now: Timestamp,
    ) -> Result<(Tenant, Vec<JobNo>)>;
    /// Ends a suspension.
    async fn resume_tenant(&self, tenant: &TenantId, by: &Actor, now: Timestamp) -> Result<Tenant>;
    /// The tenants that are suspended.
    async fn suspended_tenants(&self) -> Result<Vec<TenantId>>;
    /// A secret of the installation by its name: `fresh`, or what whoever came first brought.
    async fn secret(&self, name: &'static str, fresh: [u8; 32]) -> Result<[u8; 32]>;
}
