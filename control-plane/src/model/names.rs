//! Resource names (AIP-122), as the API and the audit trail write them. The API's own door parses
//! them.

use uuid::Uuid;

use super::{RouterId, SourceId, SyncJob, TenantId, UserNo, WebhookId};

/// `tenants/{tenant}`.
#[must_use]
pub fn tenant(tenant: &TenantId) -> String {
    format!("tenants/{tenant}")
}

/// `tenants/{tenant}/license`.
#[must_use]
pub fn license(tenant: &TenantId) -> String {
    format!("tenants/{tenant}/license")
}

/// `tenants/{tenant}/justInTimeSettings`.
#[must_use]
pub fn just_in_time_settings(tenant: &TenantId) -> String {
    format!("tenants/{tenant}/justInTimeSettings")
}

/// `tenants/{tenant}/deletionSettings`.
#[must_use]
pub fn deletion_settings(tenant: &TenantId) -> String {
    format!("tenants/{tenant}/deletionSettings")
}

/// `tenants/{tenant}/identitySources/{identity_source}`.
#[must_use]
pub fn source(tenant: &TenantId, source: &SourceId) -> String {
    format!("tenants/{tenant}/identitySources/{source}")
}

/// `tenants/{tenant}/identitySources/{identity_source}/syncSchedule`.
#[must_use]
pub fn schedule(tenant: &TenantId, of: &SourceId) -> String {
    format!("{}/syncSchedule", source(tenant, of))
}

/// `tenants/{tenant}/identitySources/{identity_source}/syncJobs/{sync_job}`.
#[must_use]
pub fn job_of(tenant: &TenantId, source: &SourceId, job: Uuid) -> String {
    format!("tenants/{tenant}/identitySources/{source}/syncJobs/{job}")
}

/// The name of a job.
#[must_use]
pub fn job(job: &SyncJob) -> String {
    job_of(&job.tenant, &job.source, job.id)
}

/// `tenants/{tenant}/users/{number}`.
#[must_use]
pub fn user(tenant: &TenantId, user: UserNo) -> String {
    format!("tenants/{tenant}/users/{user}")
}

/// `tenants/{tenant}/identityRouters/{identity_router}`.
#[must_use]
pub fn router(tenant: &TenantId, router: &RouterId) -> String {
    format!("tenants/{tenant}/identityRouters/{router}")
}

/// `tenants/{tenant}/registrationCodes/{registration_code}`.
#[must_use]
pub fn code(tenant: &TenantId, code: &str) -> String {
    format!("tenants/{tenant}/registrationCodes/{code}")
}

/// `tenants/{tenant}/webhooks/{webhook}`.
#[must_use]
pub fn webhook(tenant: &TenantId, webhook: &WebhookId) -> String {
    format!("tenants/{tenant}/webhooks/{webhook}")
}
