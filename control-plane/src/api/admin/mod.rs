//! The services that administrators, operators and the sign-in service call, one file or folder
//! each; a folder has the conversions of its service. A handler parses the message, calls the
//! domain and converts the answer. Conversions destructure messages by field name: a new field
//! does not compile until someone decides what it means.
//!
//! - `audit`: AuditService
//! - `context`: what the services share, and the check that a caller may see a tenant
//! - `identity_routers`: IdentityRouterService
//! - `identity_sources`: IdentitySourceService; `settings` checks what an administrator sets
//! - `just_in_time`: JustInTimeService
//! - `license`: LicenseService
//! - `schedules`: SyncScheduleService
//! - `sync_jobs`: SyncJobService; `plan_export` writes a plan as messages, JSON lines or CSV
//! - `tenants`: TenantService
//! - `users`: UserService; `deletion` converts the deletion settings
//! - `webhooks`: WebhookService

pub mod audit;
pub mod context;
pub mod identity_routers;
pub mod identity_sources;
pub mod just_in_time;
pub mod license;
pub mod schedules;
pub mod sync_jobs;
pub mod tenants;
pub mod users;
pub mod webhooks;
