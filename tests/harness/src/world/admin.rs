//! What an administrator asks the control plane: thin, typed calls, and the few sequences that
//! every test needs. Decides nothing and compares nothing; that is the test's.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use rollcall_proto::admin::v1::{
    ApproveSyncJobRequest, AuditEvent, CreateIdentitySourceRequest, CreateWebhookRequest,
    ExportSyncJobDetailsRequest, GetLicenseRequest, GetWebhookRequest, IdentityRouter, IdentitySource,
    IdentitySourceSettings, License, ListIdentityRoutersRequest, ListSyncJobDetailsRequest, ListUsersRequest,
    PublishIdentitySourceRequest, StartSyncRequest, StopSyncRequest, StreamAuditEventsRequest, SyncJob,
    SyncJobDetail, UpdateIdentitySourceRequest, UpdateLicenseRequest, User, WatchSyncJobRequest, Webhook,
    audit_service_client::AuditServiceClient, identity_router_service_client::IdentityRouterServiceClient,
    identity_source_service_client::IdentitySourceServiceClient,
    just_in_time_service_client::JustInTimeServiceClient, license_service_client::LicenseServiceClient,
    sync_job, sync_job_detail::Category, sync_job_service_client::SyncJobServiceClient,
    sync_schedule_service_client::SyncScheduleServiceClient, tenant_service_client::TenantServiceClient,
    user_service_client::UserServiceClient, webhook_service_client::WebhookServiceClient,
};
use tonic::transport::Channel;

use super::{
    SOURCE, TENANT, World,
    connect::{self, Identity},
};

/// How long a sync may take before its test fails.
const SYNC: Duration = Duration::from_secs(600);

/// Clients of every admin service, for one certificate.
#[derive(Clone, Debug)]
pub struct Admin {
    pub sources: IdentitySourceServiceClient<Channel>,
    pub jobs: SyncJobServiceClient<Channel>,
    pub schedules: SyncScheduleServiceClient<Channel>,
    pub users: UserServiceClient<Channel>,
    pub just_in_time: JustInTimeServiceClient<Channel>,
    pub license: LicenseServiceClient<Channel>,
    pub routers: IdentityRouterServiceClient<Channel>,
    pub tenants: TenantServiceClient<Channel>,
    pub webhooks: WebhookServiceClient<Channel>,
    pub audit: AuditServiceClient<Channel>,
}

impl Admin {
    /// Connects, when first used, to the control plane on a port of `localhost`. `authority` is its
    /// CA's certificate file.
    pub fn connect(port: u16, identity: &Identity, authority: &Path) -> Result<Self> {
        Ok(Self::over(connect::channel(port, Some(identity), authority)?))
    }

    /// Uses a channel that is there.
    pub fn over(channel: Channel) -> Self {
        Self {
            sources: IdentitySourceServiceClient::new(channel.clone()),
            jobs: SyncJobServiceClient::new(channel.clone()),
            schedules: SyncScheduleServiceClient::new(channel.clone()),
            users: UserServiceClient::new(channel.clone()),
            just_in_time: JustInTimeServiceClient::new(channel.clone()),
            license: LicenseServiceClient::new(channel.clone()),
            routers: IdentityRouterServiceClient::new(channel.clone()),
            tenants: TenantServiceClient::new(channel.clone()),
            webhooks: WebhookServiceClient::new(channel.clone()),
            audit: AuditServiceClient::new(channel),
        }
    }

    /// An audit trail from its first event on: `tenants/{tenant}` or `installation`.
    pub async fn trail(&self, parent: &str) -> Result<Vec<AuditEvent>> {
        let request = StreamAuditEventsRequest { parent: parent.to_owned(), ..Default::default() };
        let mut stream = self.audit.clone().stream_audit_events(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(message) = stream.message().await? {
            all.extend(message.audit_event);
        }
        Ok(all)
    }

    /// All identity routers of a tenant.
    pub async fn routers(&self, tenant: &str) -> Result<Vec<IdentityRouter>> {
        let mut request = ListIdentityRoutersRequest {
            parent: format!("tenants/{tenant}"),
            page_size: 1000,
            ..Default::default()
        };
        let mut all = Vec::new();
        loop {
            let page = self.routers.clone().list_identity_routers(request.clone()).await?.into_inner();
            all.extend(page.identity_routers);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// All users of a tenant.
    pub async fn users(&self, tenant: &str) -> Result<Vec<User>> {
        let mut request =
            ListUsersRequest { parent: format!("tenants/{tenant}"), page_size: 1000, ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self.users.clone().list_users(request.clone()).await?.into_inner();
            all.extend(page.users);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Creates a source and publishes it. `name` is the whole resource name.
    pub async fn create_and_publish(
        &self,
        name: &str,
        settings: IdentitySourceSettings,
    ) -> Result<IdentitySource> {
        let (parent, id) =
            name.split_once("/identitySources/").context("not the name of an identity source")?;
        let source = IdentitySource {
            display_name: "Headquarters".to_owned(),
            draft: Some(settings),
            ..Default::default()
        };
        let request = CreateIdentitySourceRequest {
            parent: parent.to_owned(),
            identity_source_id: id.to_owned(),
            identity_source: Some(source),
        };
        self.sources.clone().create_identity_source(request).await?;
        self.publish(name).await
    }

    /// Replaces the draft of a source and publishes it.
    pub async fn update_and_publish(
        &self,
        name: &str,
        settings: IdentitySourceSettings,
    ) -> Result<IdentitySource> {
        let source = IdentitySource { name: name.to_owned(), draft: Some(settings), ..Default::default() };
        let request = UpdateIdentitySourceRequest { identity_source: Some(source), ..Default::default() };
        self.sources.clone().update_identity_source(request).await?;
        self.publish(name).await
    }

    pub async fn publish(&self, name: &str) -> Result<IdentitySource> {
        let request = PublishIdentitySourceRequest { name: name.to_owned(), ..Default::default() };
        Ok(self.sources.clone().publish_identity_source(request).await?.into_inner())
    }

    /// Synchronize Now, without waiting.
    pub async fn start_sync(&self, source: &str) -> Result<SyncJob> {
        let request = StartSyncRequest { parent: source.to_owned(), ..Default::default() };
        Ok(self.jobs.clone().start_sync(request).await?.into_inner())
    }

    pub async fn stop_sync(&self, job: &str) -> Result<SyncJob> {
        Ok(self.jobs.clone().stop_sync(StopSyncRequest { name: job.to_owned() }).await?.into_inner())
    }

    /// Watches a job until it has ended, and calls `seen` with each state of it. Returns the last
    /// one.
    pub async fn watch(&self, job: &str, mut seen: impl FnMut(&SyncJob)) -> Result<SyncJob> {
        let request = WatchSyncJobRequest { name: job.to_owned() };
        let mut stream = self.jobs.clone().watch_sync_job(request).await?.into_inner();
        let mut last = None;
        while let Some(now) = stream.message().await? {
            seen(&now);
            let held = now.state() == sync_job::State::Held;
            last = Some(now);
            if held {
                break;
            }
        }
        let last = last.context("WatchSyncJob ended without a message")?;
        match last.state() {
            sync_job::State::Succeeded
            | sync_job::State::Stopped
            | sync_job::State::Failed
            | sync_job::State::Held => Ok(last),
            other => bail!("WatchSyncJob ended while the job was {other:?}"),
        }
    }

    /// Approves the held disables of a job, with the etag that it shows.
    pub async fn approve(&self, job: &SyncJob) -> Result<SyncJob> {
        let etag = job.hold.clone().context("the job is not held")?.etag;
        let request = ApproveSyncJobRequest { name: job.name.clone(), etag };
        Ok(self.jobs.clone().approve_sync_job(request).await?.into_inner())
    }

    /// A whole list of a job.
    pub async fn export(&self, job: &str, category: Category) -> Result<Vec<SyncJobDetail>> {
        let request = ExportSyncJobDetailsRequest { parent: job.to_owned(), category: category.into() };
        let mut stream = self.jobs.clone().export_sync_job_details(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(detail) = stream.message().await? {
            all.push(detail);
        }
        Ok(all)
    }

    /// Show Details of the newest job of a source.
    pub async fn details(&self, source: &str, category: Category) -> Result<Vec<SyncJobDetail>> {
        let mut request = ListSyncJobDetailsRequest {
            parent: format!("{source}/syncJobs/latest"),
            category: category.into(),
            page_size: 1000,
            ..Default::default()
        };
        let mut all = Vec::new();
        loop {
            let page = self.jobs.clone().list_sync_job_details(request.clone()).await?.into_inner();
            all.extend(page.details);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Makes a webhook; the answer has its secret. `name` is the whole resource name.
    pub async fn create_webhook(&self, name: &str, webhook: Webhook) -> Result<Webhook> {
        let (parent, id) = name.split_once("/webhooks/").context("not the name of a webhook")?;
        let request = CreateWebhookRequest {
            parent: parent.to_owned(),
            webhook_id: id.to_owned(),
            webhook: Some(webhook),
        };
        Ok(self.webhooks.clone().create_webhook(request).await?.into_inner())
    }

    pub async fn webhook(&self, name: &str) -> Result<Webhook> {
        let request = GetWebhookRequest { name: name.to_owned() };
        Ok(self.webhooks.clone().get_webhook(request).await?.into_inner())
    }

    pub async fn license(&self, tenant: &str) -> Result<License> {
        let request = GetLicenseRequest { name: format!("tenants/{tenant}/license") };
        Ok(self.license.clone().get_license(request).await?.into_inner())
    }

    /// Sets the user limit; makes the tenant if there is none. Only for the operator.
    pub async fn set_license(&self, tenant: &str, limit: i32) -> Result<License> {
        let license = License {
            name: format!("tenants/{tenant}/license"),
            user_limit: Some(limit),
            ..Default::default()
        };
        let request =
            UpdateLicenseRequest { license: Some(license), allow_missing: true, ..Default::default() };
        Ok(self.license.clone().update_license(request).await?.into_inner())
    }
}

/// The same for the one tenant and source that most tests have.
impl World {
    /// Clients for another certificate.
    pub fn admin_as(&self, identity: &Identity) -> Result<Admin> {
        Admin::connect(self.address().port(), identity, &self.files.authority())
    }

    pub async fn create_and_publish_source(
        &self,
        settings: IdentitySourceSettings,
    ) -> Result<IdentitySource> {
        self.admin.create_and_publish(SOURCE, settings).await
    }

    pub async fn update_and_publish_source(
        &self,
        settings: IdentitySourceSettings,
    ) -> Result<IdentitySource> {
        self.admin.update_and_publish(SOURCE, settings).await
    }

    /// Synchronize Now, and waits for the job's end, however it ends.
    pub async fn sync_now(&self) -> Result<SyncJob> {
        let job = self.start_sync().await?;
        self.finished(&job).await
    }

    pub async fn start_sync(&self) -> Result<SyncJob> {
        self.admin.start_sync(SOURCE).await
    }

    /// Waits for a job's end.
    pub async fn finished(&self, job: &SyncJob) -> Result<SyncJob> {
        let watch = self.admin.watch(&job.name, |_| {});
        let waited = tokio::time::timeout(SYNC, watch).await;
        waited.with_context(|| format!("{} has not ended within {SYNC:?}:\n{}", job.name, self.logs()))?
    }

    pub async fn set_license(&self, limit: i32) -> Result<License> {
        self.operator.set_license(TENANT, limit).await
    }

    pub async fn license(&self) -> Result<License> {
        self.admin.license(TENANT).await
    }

    pub async fn users(&self) -> Result<Vec<User>> {
        self.admin.users(TENANT).await
    }

    pub async fn details(&self, category: Category) -> Result<Vec<SyncJobDetail>> {
        self.admin.details(SOURCE, category).await
    }
}
