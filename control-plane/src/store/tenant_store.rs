//! Tenants and their licenses.

use async_trait::async_trait;

use super::Result;
use crate::model::{Actor, License, TenantId, Timestamp};

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
}
