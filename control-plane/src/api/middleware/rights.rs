//! Who may call what: one table, deny by default. A method without a row is denied to everyone, and
//! a test fails.

use crate::model::Role::{self, Auditor, Authenticator, Console, HelpDesk, Operator, Router, SuperAdmin};

const READERS: &[Role] = &[SuperAdmin, HelpDesk, Auditor];
const READERS_AND_OPERATORS: &[Role] = &[SuperAdmin, HelpDesk, Auditor, Operator];
const USER_SYNCERS: &[Role] = &[SuperAdmin, HelpDesk];
const ALL_BUT_ROUTERS: &[Role] = &[SuperAdmin, HelpDesk, Auditor, Operator, Console, Authenticator];
const ALL_ROLES: &[Role] = &[SuperAdmin, HelpDesk, Auditor, Operator, Console, Authenticator, Router];

/// Full method path and the roles that may call it.
pub const RIGHTS: &[(&str, &[Role])] = &[
    ("/rollcall.admin.v1.IdentitySourceService/CreateIdentitySource", &[SuperAdmin]),
    ("/rollcall.admin.v1.IdentitySourceService/GetIdentitySource", READERS),
    ("/rollcall.admin.v1.IdentitySourceService/ListIdentitySources", READERS),
    ("/rollcall.admin.v1.IdentitySourceService/UpdateIdentitySource", &[SuperAdmin]),
    ("/rollcall.admin.v1.IdentitySourceService/DeleteIdentitySource", &[SuperAdmin]),
    ("/rollcall.admin.v1.IdentitySourceService/PublishIdentitySource", &[SuperAdmin]),
    ("/rollcall.admin.v1.IdentitySourceService/TestConnection", &[SuperAdmin]),
    ("/rollcall.admin.v1.SyncJobService/StartSync", &[SuperAdmin]),
    ("/rollcall.admin.v1.SyncJobService/ApplySyncPlan", &[SuperAdmin]),
    ("/rollcall.admin.v1.SyncJobService/ExportSyncPlan", READERS),
    ("/rollcall.admin.v1.SyncJobService/UndoSyncJob", &[SuperAdmin]),
    ("/rollcall.admin.v1.SyncJobService/StopSync", &[SuperAdmin]),
    ("/rollcall.admin.v1.SyncJobService/ApproveSyncJob", &[SuperAdmin]),
    ("/rollcall.admin.v1.SyncJobService/RejectSyncJob", &[SuperAdmin]),
    ("/rollcall.admin.v1.SyncJobService/GetSyncJob", READERS),
    ("/rollcall.admin.v1.SyncJobService/ListSyncJobs", READERS),
    ("/rollcall.admin.v1.SyncJobService/WatchSyncJob", READERS),
    ("/rollcall.admin.v1.SyncJobService/ListSyncJobDetails", READERS),
    ("/rollcall.admin.v1.SyncJobService/ExportSyncJobDetails", READERS),
    ("/rollcall.admin.v1.SyncScheduleService/GetSyncSchedule", READERS),
    ("/rollcall.admin.v1.SyncScheduleService/UpdateSyncSchedule", &[SuperAdmin]),
    ("/rollcall.admin.v1.UserService/GetUser", READERS),
    ("/rollcall.admin.v1.UserService/ListUsers", READERS),
    ("/rollcall.admin.v1.UserService/MarkUserForDeletion", &[SuperAdmin]),
    ("/rollcall.admin.v1.UserService/UndeleteUser", &[SuperAdmin]),
    ("/rollcall.admin.v1.UserService/BatchMarkUsersForDeletion", &[SuperAdmin]),
    ("/rollcall.admin.v1.UserService/BatchUndeleteUsers", &[SuperAdmin]),
    ("/rollcall.admin.v1.UserService/DeleteUser", &[SuperAdmin]),
    ("/rollcall.admin.v1.UserService/GetDeletionSettings", READERS),
    ("/rollcall.admin.v1.UserService/UpdateDeletionSettings", &[SuperAdmin]),
    ("/rollcall.admin.v1.JustInTimeService/SyncUser", USER_SYNCERS),
    ("/rollcall.admin.v1.JustInTimeService/SyncAtSignIn", &[Authenticator]),
    ("/rollcall.admin.v1.JustInTimeService/VerifyPassword", &[Authenticator]),
    ("/rollcall.admin.v1.JustInTimeService/GetJustInTimeSettings", READERS),
    ("/rollcall.admin.v1.JustInTimeService/UpdateJustInTimeSettings", &[SuperAdmin]),
    ("/rollcall.admin.v1.LicenseService/GetLicense", READERS_AND_OPERATORS),
    ("/rollcall.admin.v1.LicenseService/UpdateLicense", &[Operator]),
    ("/rollcall.admin.v1.WebhookService/CreateWebhook", &[SuperAdmin]),
    ("/rollcall.admin.v1.WebhookService/GetWebhook", READERS),
    ("/rollcall.admin.v1.WebhookService/ListWebhooks", READERS),
    ("/rollcall.admin.v1.WebhookService/UpdateWebhook", &[SuperAdmin]),
    ("/rollcall.admin.v1.WebhookService/DeleteWebhook", &[SuperAdmin]),
    ("/rollcall.admin.v1.WebhookService/TestWebhook", &[SuperAdmin]),
    ("/rollcall.admin.v1.WebhookService/RotateWebhookSecret", &[SuperAdmin]),
    ("/rollcall.admin.v1.IdentityRouterService/GetIdentityRouter", READERS),
    ("/rollcall.admin.v1.IdentityRouterService/ListIdentityRouters", READERS),
    ("/rollcall.admin.v1.IdentityRouterService/CreateRegistrationCode", &[SuperAdmin]),
    ("/rollcall.admin.v1.IdentityRouterService/ListRegistrationCodes", &[SuperAdmin, Auditor]),
    ("/rollcall.admin.v1.IdentityRouterService/VoidRegistrationCode", &[SuperAdmin]),
    ("/rollcall.admin.v1.IdentityRouterService/RevokeIdentityRouter", &[SuperAdmin]),
    ("/rollcall.admin.v1.TenantService/CreateTenant", &[Operator]),
    ("/rollcall.admin.v1.TenantService/GetTenant", READERS_AND_OPERATORS),
    ("/rollcall.admin.v1.TenantService/ListTenants", &[Operator]),
    ("/rollcall.admin.v1.TenantService/SuspendTenant", &[Operator]),
    ("/rollcall.admin.v1.TenantService/ResumeTenant", &[Operator]),
    ("/rollcall.admin.v1.AuditService/ListAuditEvents", &[SuperAdmin, Auditor, Operator]),
    ("/rollcall.admin.v1.AuditService/StreamAuditEvents", &[SuperAdmin, Auditor, Operator]),
    ("/rollcall.router.v1.RouterService/Session", &[Router]),
    ("/rollcall.router.v1.RouterService/Upload", &[Router]),
    ("/rollcall.router.v1.RouterService/RenewCertificate", &[Router]),
    ("/grpc.health.v1.Health/Check", ALL_ROLES),
    ("/grpc.health.v1.Health/Watch", ALL_ROLES),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ALL_BUT_ROUTERS),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", ALL_BUT_ROUTERS),
];

/// The row of a method.
#[must_use]
pub fn find_row(path: &str) -> Option<(&'static str, &'static [Role])> {
    RIGHTS.iter().find(|(method, _)| *method == path).copied()
}

/// The roles that may call a method; none for one that is not in the table.
#[must_use]
pub fn allowed_roles(path: &str) -> &'static [Role] {
    find_row(path).map_or(&[], |(_, roles)| roles)
}

/// What the administrators of a suspended tenant may still call: they can see that it is suspended,
/// and what was done before.
const OPEN_TO_SUSPENDED: &[&str] = &[
    "/rollcall.admin.v1.TenantService/GetTenant",
    "/rollcall.admin.v1.AuditService/ListAuditEvents",
    "/rollcall.admin.v1.AuditService/StreamAuditEvents",
];

/// Whether a method is open to the administrators of a suspended tenant.
#[must_use]
pub fn is_open_to_suspended(path: &str) -> bool {
    OPEN_TO_SUSPENDED.contains(&path)
}
