//! Tenants, their licenses, and secrets of the installation.

use super::operations::operations;
use crate::model::{Actor, JobNo, License, Tenant, TenantId, Timestamp};

operations! {
    /// Whether there is such a tenant.
    read fn tenant_exists(tenant: &TenantId) -> bool = tenants::tenant::exists;
    /// Limit and use.
    read fn license(tenant: &TenantId) -> License = license::limit::license;
    /// Sets the limit; makes the tenant if `create` and there is none.
    write fn set_license_limit(
        tenant: &TenantId,
        limit: i64,
        create: bool,
        by: &Actor,
        now: Timestamp,
    ) -> () = license::limit::set_limit;
    /// Makes a tenant.
    write fn create_tenant(
        tenant: &TenantId,
        limit: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Tenant = tenants::tenant::create;
    /// A tenant.
    read fn tenant(tenant: &TenantId) -> Tenant = tenants::tenant::tenant;
    /// Tenants by id, after `after`.
    read fn list_tenants(
        after: Option<&TenantId>,
        limit: i64,
    ) -> Vec<Tenant> = tenants::tenant::list;
    /// Suspends a tenant and stops its jobs, which it returns: nothing of them can be written any
    /// more, and none can be queued.
    write fn suspend_tenant(
        tenant: &TenantId,
        reason: &str,
        by: &Actor,
        now: Timestamp,
    ) -> (Tenant, Vec<JobNo>) = tenants::tenant::suspend;
    /// Ends a suspension.
    write fn resume_tenant(
        tenant: &TenantId,
        by: &Actor,
        now: Timestamp,
    ) -> Tenant = tenants::tenant::resume;
    /// The tenants that are suspended.
    read fn suspended_tenants() -> Vec<TenantId> = tenants::tenant::suspended;
    /// A secret of the installation by its name: `fresh`, or what whoever came first brought.
    write fn secret(name: &str, fresh: [u8; 32]) -> [u8; 32] = tenants::secrets::secret;
}
