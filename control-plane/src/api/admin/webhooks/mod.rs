//! WebhookService: manages the URLs at which Rollcall notifies a tenant's own systems.

mod convert;

use std::time::Duration;

use aws_lc_rs::rand;
use rollcall_proto::admin::v1 as proto;
use rollcall_proto::admin::v1::webhook_service_server::WebhookService;
use tonic::{Request, Response, Status};

use crate::api::admin::context::{AdminContext, require_access, require_actor};
use crate::api::common::page::Page;
use crate::api::common::{resource_names, status};
use crate::ca::is_id;
use crate::model::WebhookId;
use crate::store::{NewWebhook, StoreError};
use crate::webhooks::secret::Secret;

/// Webhooks that a tenant may have.
const MAX_WEBHOOKS: i64 = 5;
/// How long the secret of before counts, too, after a rotation.
const DEFAULT_PREVIOUS_SECRET_LIFE: Duration = Duration::from_secs(24 * 3_600);
const MAX_PREVIOUS_SECRET_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Serves WebhookService.
pub struct WebhookApi(AdminContext);

impl WebhookApi {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }

    /// A new secret, and the same sealed for a webhook.
    fn new_secret(&self, webhook: &[u8; 16]) -> Result<(Secret, Vec<u8>), Status> {
        let secret = Secret::random().map_err(no_random)?;
        let sealed = self.0.webhooks.sealer().seal(webhook, &secret).map_err(no_random)?;
        Ok((secret, sealed))
    }
}

fn no_random(_: aws_lc_rs::error::Unspecified) -> Status {
    Status::internal("the machine has no random numbers")
}

#[tonic::async_trait]
impl WebhookService for WebhookApi {
    async fn create_webhook(
        &self,
        request: Request<proto::CreateWebhookRequest>,
    ) -> Result<Response<proto::Webhook>, Status> {
        let tenant = resource_names::parse_tenant("parent", &request.get_ref().parent)?;
        let by = require_actor(&request, &tenant)?;
        let proto::CreateWebhookRequest { webhook_id, webhook, .. } = request.into_inner();
        if !is_id(&webhook_id) {
            let why =
                "must be 1 to 63 of a-z, 0-9 and hyphen, starting with a letter and not ending with a hyphen";
            return Err(status::invalid(vec![("webhook_id".to_owned(), why.to_owned())]));
        }
        let message = webhook.unwrap_or_default();
        let mask = ["display_name", "url", "events"].map(str::to_owned).to_vec();
        let enabled = message.enabled.unwrap_or(true);
        let change = convert::change_from_proto(message, Some(mask), self.0.webhooks.networks())?;
        let mut uid = [0; 16];
        rand::fill(&mut uid).map_err(no_random)?;
        let (secret, sealed) = self.new_secret(&uid)?;
        let new = NewWebhook {
            id: WebhookId(webhook_id),
            uid,
            secret: sealed,
            display_name: change.display_name.unwrap_or_default(),
            url: change.url.unwrap_or_default(),
            events: change.events.unwrap_or_default(),
            enabled,
        };
        let now = self.0.clock.now();
        let made = self
            .0
            .store
            .create_webhook(&tenant, new, MAX_WEBHOOKS, &by, now)
            .await
            .map_err(status::from_store)?;
        tracing::info!(%tenant, webhook = %made.receiver.id, by = by.name, "webhook made");
        let shown = proto::Webhook { secret: secret.reveal(), ..convert::webhook_to_proto(made, now) };
        Ok(Response::new(shown))
    }

    async fn get_webhook(
        &self,
        request: Request<proto::GetWebhookRequest>,
    ) -> Result<Response<proto::Webhook>, Status> {
        let (tenant, id) = resource_names::parse_webhook("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        let found = self.0.store.webhook(&tenant, &id).await.map_err(status::from_store)?;
        Ok(Response::new(convert::webhook_to_proto(found, self.0.clock.now())))
    }

    async fn list_webhooks(
        &self,
        request: Request<proto::ListWebhooksRequest>,
    ) -> Result<Response<proto::ListWebhooksResponse>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let query = ["webhooks", message.parent.as_str()];
        let page = Page::new(&self.0.page_key, message.page_size, &message.page_token, &query)?;
        let after = page.after::<String>().map(WebhookId);
        let found = self.0.store.list_webhooks(&tenant, after.as_ref(), page.fetch_limit()).await;
        let mut found = found.map_err(status::from_store)?;
        let next_page_token = page.cut(&mut found, |webhook| webhook.receiver.id.0.clone());
        let now = self.0.clock.now();
        let webhooks = found.into_iter().map(|webhook| convert::webhook_to_proto(webhook, now)).collect();
        Ok(Response::new(proto::ListWebhooksResponse { webhooks, next_page_token }))
    }

    async fn update_webhook(
        &self,
        request: Request<proto::UpdateWebhookRequest>,
    ) -> Result<Response<proto::Webhook>, Status> {
        let message = request.get_ref().webhook.clone().unwrap_or_default();
        let (tenant, id) = resource_names::parse_webhook("webhook.name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let version = match message.etag.as_str() {
            "" => None,
            etag => Some(etag.parse().map_err(|_| status::from_store(StoreError::VersionMismatch))?),
        };
        let mask = request.into_inner().update_mask.map(|mask| mask.paths);
        let mut change = convert::change_from_proto(message, mask, self.0.webhooks.networks())?;
        change.version = version;
        let now = self.0.clock.now();
        let changed = self.0.store.update_webhook(&tenant, &id, change, &by, now).await;
        tracing::info!(%tenant, webhook = %id, by = by.name, "webhook changed");
        Ok(Response::new(convert::webhook_to_proto(changed.map_err(status::from_store)?, now)))
    }

    async fn delete_webhook(
        &self,
        request: Request<proto::DeleteWebhookRequest>,
    ) -> Result<Response<()>, Status> {
        let (tenant, id) = resource_names::parse_webhook("name", &request.get_ref().name)?;
        let by = require_actor(&request, &tenant)?;
        let deleted = self.0.store.delete_webhook(&tenant, &id, &by, self.0.clock.now()).await;
        deleted.map_err(status::from_store)?;
        tracing::info!(%tenant, webhook = %id, by = by.name, "webhook deleted");
        Ok(Response::new(()))
    }

    async fn test_webhook(
        &self,
        request: Request<proto::TestWebhookRequest>,
    ) -> Result<Response<proto::TestWebhookResponse>, Status> {
        let (tenant, id) = resource_names::parse_webhook("name", &request.get_ref().name)?;
        let by = require_actor(&request, &tenant)?;
        let failed = self.0.webhooks.test(&tenant, &id, &by).await.map_err(status::from_store)?;
        Ok(Response::new(proto::TestWebhookResponse {
            delivered: failed.is_none(),
            failure: failed.map(convert::failed_attempt_to_proto),
        }))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<proto::RotateWebhookSecretRequest>,
    ) -> Result<Response<proto::Webhook>, Status> {
        let message = request.get_ref();
        let (tenant, id) = resource_names::parse_webhook("name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let previous =
            message.previous_valid_for.map_or(Ok(DEFAULT_PREVIOUS_SECRET_LIFE), Duration::try_from).ok();
        let previous =
            previous.filter(|previous| *previous <= MAX_PREVIOUS_SECRET_LIFE).ok_or_else(|| {
                let why = "must be from 0s to 604800s";
                status::invalid(vec![("previous_valid_for".to_owned(), why.to_owned())])
            })?;
        let uid = self.0.store.webhook(&tenant, &id).await.map_err(status::from_store)?.receiver.uid;
        let (secret, sealed) = self.new_secret(&uid)?;
        let now = self.0.clock.now();
        let rotated =
            self.0.store.rotate_webhook_secret(&tenant, &id, sealed, now.plus(previous), &by, now).await;
        let rotated = rotated.map_err(status::from_store)?;
        tracing::info!(%tenant, webhook = %id, by = by.name, "secret of a webhook rotated");
        let shown = proto::Webhook { secret: secret.reveal(), ..convert::webhook_to_proto(rotated, now) };
        Ok(Response::new(shown))
    }
}
