//! Every method of every service, called with plain bytes: a request for each, and what came back.
//! The descriptors say whether one is missing.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use rollcall_proto::admin::v1 as admin;
use rollcall_proto::prost::Message;
use rollcall_proto::prost::bytes::{Buf, BufMut, Bytes};
use rollcall_proto::router::v1 as router;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// How long a call may be silent. One that lasts is given up after its first answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// What there is in a tenant, by resource names.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) tenant: String,
    pub(crate) source: String,
    pub(crate) job: String,
    pub(crate) user: String,
    pub(crate) router: String,
    pub(crate) webhook: String,
    pub(crate) etag: String,
}

impl Names {
    /// Of a tenant that was filled like every other one, or that there is not.
    pub(crate) fn of(tenant: &str, source: &str, router: &str, job: &str) -> Self {
        let tenant = format!("tenants/{tenant}");
        Self {
            source: format!("{tenant}/identitySources/{source}"),
            job: format!("{tenant}/identitySources/{source}/syncJobs/{job}"),
            user: format!("{tenant}/users/1"),
            router: format!("{tenant}/identityRouters/{router}"),
            webhook: format!("{tenant}/webhooks/{source}"),
            etag: "1".to_owned(),
            tenant,
        }
    }
}

/// A method and a request.
pub(crate) type Call = (&'static str, Vec<u8>);

macro_rules! calls {
    ($($path:literal: $message:expr),* $(,)?) => { vec![$(($path, $message.encode_to_vec())),*] };
}

/// One call of each method, on these names. None of them takes anything from another test's tenant.
pub(crate) fn every_call(names: &Names) -> Vec<Call> {
    let n = names.clone();
    let license = admin::License {
        name: format!("{}/license", n.tenant),
        user_limit: Some(1_000),
        ..Default::default()
    };
    let source = admin::IdentitySource {
        name: n.source.clone(),
        display_name: "Headquarters".to_owned(),
        ..Default::default()
    };
    let schedule = admin::SyncSchedule { name: format!("{}/syncSchedule", n.source), ..Default::default() };
    let settings =
        admin::JustInTimeSettings { name: format!("{}/justInTimeSettings", n.tenant), ..Default::default() };
    let deletion =
        admin::DeletionSettings { name: format!("{}/deletionSettings", n.tenant), ..Default::default() };
    let webhook = admin::Webhook {
        name: n.webhook.clone(),
        url: "https://receiver.invalid/".to_owned(),
        ..Default::default()
    };
    calls! {
        "/rollcall.admin.v1.IdentitySourceService/CreateIdentitySource": admin::CreateIdentitySourceRequest { parent: n.tenant.clone(), identity_source_id: "other".to_owned(), ..Default::default() },
        "/rollcall.admin.v1.IdentitySourceService/GetIdentitySource": admin::GetIdentitySourceRequest { name: n.source.clone() },
        "/rollcall.admin.v1.IdentitySourceService/ListIdentitySources": admin::ListIdentitySourcesRequest { parent: n.tenant.clone(), ..Default::default() },
        "/rollcall.admin.v1.IdentitySourceService/UpdateIdentitySource": admin::UpdateIdentitySourceRequest { identity_source: Some(source), ..Default::default() },
        "/rollcall.admin.v1.IdentitySourceService/DeleteIdentitySource": admin::DeleteIdentitySourceRequest { name: n.source.clone(), ..Default::default() },
        "/rollcall.admin.v1.IdentitySourceService/PublishIdentitySource": admin::PublishIdentitySourceRequest { name: n.source.clone(), etag: n.etag.clone() },
        "/rollcall.admin.v1.IdentitySourceService/TestConnection": admin::TestConnectionRequest { name: n.source.clone(), identity_router: n.router.clone() },
        "/rollcall.admin.v1.SyncJobService/StartSync": admin::StartSyncRequest { parent: n.source.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/ApplySyncPlan": admin::ApplySyncPlanRequest { name: n.job.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/ExportSyncPlan": admin::ExportSyncPlanRequest { parent: n.job.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/UndoSyncJob": admin::UndoSyncJobRequest { name: n.job.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/StopSync": admin::StopSyncRequest { name: n.job.clone() },
        "/rollcall.admin.v1.SyncJobService/ApproveSyncJob": admin::ApproveSyncJobRequest { name: n.job.clone(), etag: n.etag.clone() },
        "/rollcall.admin.v1.SyncJobService/RejectSyncJob": admin::RejectSyncJobRequest { name: n.job.clone() },
        "/rollcall.admin.v1.SyncJobService/GetSyncJob": admin::GetSyncJobRequest { name: n.job.clone() },
        "/rollcall.admin.v1.SyncJobService/ListSyncJobs": admin::ListSyncJobsRequest { parent: n.source.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/WatchSyncJob": admin::WatchSyncJobRequest { name: n.job.clone() },
        "/rollcall.admin.v1.SyncJobService/ListSyncJobDetails": admin::ListSyncJobDetailsRequest { parent: n.job.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/ExportSyncJobDetails": admin::ExportSyncJobDetailsRequest { parent: n.job.clone(), category: 1 },
        "/rollcall.admin.v1.SyncScheduleService/GetSyncSchedule": admin::GetSyncScheduleRequest { name: schedule.name.clone() },
        "/rollcall.admin.v1.SyncScheduleService/UpdateSyncSchedule": admin::UpdateSyncScheduleRequest { sync_schedule: Some(schedule) },
        "/rollcall.admin.v1.JustInTimeService/SyncUser": admin::SyncUserRequest { parent: n.tenant.clone(), whom: Some(admin::sync_user_request::Whom::User(n.user.clone())) },
        "/rollcall.admin.v1.JustInTimeService/SyncAtSignIn": admin::SyncAtSignInRequest { parent: n.tenant.clone(), login: "anna".to_owned() },
        "/rollcall.admin.v1.JustInTimeService/VerifyPassword": admin::VerifyPasswordRequest { parent: n.tenant.clone(), login: "anna".to_owned(), password: "guess".to_owned() },
        "/rollcall.admin.v1.JustInTimeService/GetJustInTimeSettings": admin::GetJustInTimeSettingsRequest { name: settings.name.clone() },
        "/rollcall.admin.v1.JustInTimeService/UpdateJustInTimeSettings": admin::UpdateJustInTimeSettingsRequest { just_in_time_settings: Some(settings) },
        "/rollcall.admin.v1.UserService/GetUser": admin::GetUserRequest { name: n.user.clone() },
        "/rollcall.admin.v1.UserService/ListUsers": admin::ListUsersRequest { parent: n.tenant.clone(), ..Default::default() },
        "/rollcall.admin.v1.UserService/MarkUserForDeletion": admin::MarkUserForDeletionRequest { name: n.user.clone() },
        "/rollcall.admin.v1.UserService/UndeleteUser": admin::UndeleteUserRequest { name: n.user.clone() },
        "/rollcall.admin.v1.UserService/BatchMarkUsersForDeletion": admin::BatchMarkUsersForDeletionRequest { parent: n.tenant.clone(), names: vec![n.user.clone()] },
        "/rollcall.admin.v1.UserService/BatchUndeleteUsers": admin::BatchUndeleteUsersRequest { parent: n.tenant.clone(), names: vec![n.user.clone()] },
        "/rollcall.admin.v1.UserService/DeleteUser": admin::DeleteUserRequest { name: n.user.clone() },
        "/rollcall.admin.v1.UserService/GetDeletionSettings": admin::GetDeletionSettingsRequest { name: deletion.name.clone() },
        "/rollcall.admin.v1.UserService/UpdateDeletionSettings": admin::UpdateDeletionSettingsRequest { deletion_settings: Some(deletion) },
        "/rollcall.admin.v1.LicenseService/GetLicense": admin::GetLicenseRequest { name: format!("{}/license", n.tenant) },
        "/rollcall.admin.v1.LicenseService/UpdateLicense": admin::UpdateLicenseRequest { license: Some(license), ..Default::default() },
        "/rollcall.admin.v1.WebhookService/CreateWebhook": admin::CreateWebhookRequest { parent: n.tenant.clone(), webhook_id: "other".to_owned(), webhook: Some(webhook.clone()) },
        "/rollcall.admin.v1.WebhookService/GetWebhook": admin::GetWebhookRequest { name: n.webhook.clone() },
        "/rollcall.admin.v1.WebhookService/ListWebhooks": admin::ListWebhooksRequest { parent: n.tenant.clone(), ..Default::default() },
        "/rollcall.admin.v1.WebhookService/UpdateWebhook": admin::UpdateWebhookRequest { webhook: Some(webhook), ..Default::default() },
        "/rollcall.admin.v1.WebhookService/TestWebhook": admin::TestWebhookRequest { name: n.webhook.clone() },
        "/rollcall.admin.v1.WebhookService/RotateWebhookSecret": admin::RotateWebhookSecretRequest { name: n.webhook.clone(), ..Default::default() },
        "/rollcall.admin.v1.WebhookService/DeleteWebhook": admin::DeleteWebhookRequest { name: n.webhook.clone() },
        "/rollcall.admin.v1.IdentityRouterService/GetIdentityRouter": admin::GetIdentityRouterRequest { name: n.router.clone() },
        "/rollcall.admin.v1.IdentityRouterService/ListIdentityRouters": admin::ListIdentityRoutersRequest { parent: n.tenant.clone(), ..Default::default() },
        "/rollcall.admin.v1.IdentityRouterService/CreateRegistrationCode": admin::CreateRegistrationCodeRequest { parent: n.tenant.clone(), ..Default::default() },
        "/rollcall.admin.v1.IdentityRouterService/ListRegistrationCodes": admin::ListRegistrationCodesRequest { parent: n.tenant.clone(), ..Default::default() },
        "/rollcall.admin.v1.IdentityRouterService/VoidRegistrationCode": admin::VoidRegistrationCodeRequest { name: format!("{}/registrationCodes/01930000-0000-7000-8000-000000000000", n.tenant) },
        "/rollcall.admin.v1.IdentityRouterService/RevokeIdentityRouter": admin::RevokeIdentityRouterRequest { name: n.router.clone(), ..Default::default() },
        "/rollcall.admin.v1.TenantService/CreateTenant": admin::CreateTenantRequest { tenant_id: "newcomer".to_owned(), user_limit: Some(1) },
        "/rollcall.admin.v1.TenantService/GetTenant": admin::GetTenantRequest { name: n.tenant.clone() },
        "/rollcall.admin.v1.TenantService/ListTenants": admin::ListTenantsRequest::default(),
        "/rollcall.admin.v1.TenantService/SuspendTenant": admin::SuspendTenantRequest { name: "tenants/spare".to_owned(), ..Default::default() },
        "/rollcall.admin.v1.TenantService/ResumeTenant": admin::ResumeTenantRequest { name: "tenants/spare".to_owned() },
        "/rollcall.admin.v1.AuditService/ListAuditEvents": admin::ListAuditEventsRequest { parent: n.tenant.clone(), ..Default::default() },
        "/rollcall.admin.v1.AuditService/StreamAuditEvents": admin::StreamAuditEventsRequest { parent: n.tenant.clone(), ..Default::default() },
        "/rollcall.router.v1.RouterService/Session": router::SessionRequest::default(),
        "/rollcall.router.v1.RouterService/Upload": router::UploadRequest::default(),
        "/rollcall.router.v1.RouterService/RenewCertificate": router::RenewCertificateRequest::default(),
        "/grpc.health.v1.Health/Check": (),
        "/grpc.health.v1.Health/Watch": (),
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": (),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": (),
    }
}

/// Calls of one's own things that name another's on the way.
pub(crate) fn mixed_calls(own: &Names, other: &Names) -> Vec<Call> {
    let id = other.job.rsplit('/').next().unwrap_or_default();
    let job = format!("{}/syncJobs/{id}", own.source);
    calls! {
        "/rollcall.admin.v1.UserService/ListUsers": admin::ListUsersRequest { parent: own.tenant.clone(), identity_source: other.source.clone(), ..Default::default() },
        "/rollcall.admin.v1.UserService/BatchMarkUsersForDeletion": admin::BatchMarkUsersForDeletionRequest { parent: own.tenant.clone(), names: vec![own.user.clone(), other.user.clone()] },
        "/rollcall.admin.v1.UserService/BatchUndeleteUsers": admin::BatchUndeleteUsersRequest { parent: own.tenant.clone(), names: vec![own.user.clone(), other.user.clone()] },
        "/rollcall.admin.v1.IdentitySourceService/TestConnection": admin::TestConnectionRequest { name: own.source.clone(), identity_router: other.router.clone() },
        "/rollcall.admin.v1.SyncJobService/GetSyncJob": admin::GetSyncJobRequest { name: job.clone() },
        "/rollcall.admin.v1.SyncJobService/WatchSyncJob": admin::WatchSyncJobRequest { name: job.clone() },
        "/rollcall.admin.v1.SyncJobService/ApplySyncPlan": admin::ApplySyncPlanRequest { name: job.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/ExportSyncPlan": admin::ExportSyncPlanRequest { parent: job.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/UndoSyncJob": admin::UndoSyncJobRequest { name: job.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/StopSync": admin::StopSyncRequest { name: job.clone() },
        "/rollcall.admin.v1.SyncJobService/ApproveSyncJob": admin::ApproveSyncJobRequest { name: job.clone(), etag: other.etag.clone() },
        "/rollcall.admin.v1.SyncJobService/RejectSyncJob": admin::RejectSyncJobRequest { name: job.clone() },
        "/rollcall.admin.v1.SyncJobService/ListSyncJobDetails": admin::ListSyncJobDetailsRequest { parent: job.clone(), ..Default::default() },
        "/rollcall.admin.v1.SyncJobService/ExportSyncJobDetails": admin::ExportSyncJobDetailsRequest { parent: job, category: 1 },
        "/rollcall.admin.v1.AuditService/ListAuditEvents": admin::ListAuditEventsRequest { parent: "installation".to_owned(), ..Default::default() },
    }
}

/// The methods of every service that is described; a test of the table says that it has each.
pub(crate) fn described() -> BTreeSet<String> {
    control_plane::api::middleware::rights::RIGHTS.iter().map(|(path, _)| (*path).to_owned()).collect()
}

/// Calls a method, with a bearer token if there is one; all that comes back at once, or the first
/// answer of what lasts.
pub(crate) async fn call(
    channel: &Channel,
    token: Option<&str>,
    (path, bytes): &Call,
) -> Result<Bytes, Status> {
    let mut request = Request::new(tokio_stream::once(Bytes::from(bytes.clone())));
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().map_err(|_| Status::internal("no header"))?;
        request.metadata_mut().insert("authorization", value);
    }
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = path.parse().map_err(|_| Status::internal("no path"))?;
    let answered = async {
        let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
        Ok(answers.message().await?.unwrap_or_default())
    };
    tokio::time::timeout(DEADLINE, answered).await.map_err(|_| Status::deadline_exceeded("no answer"))?
}

/// Messages as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
