//! IdentitySourceService: draft and published settings of a source, and tests of its connection.

mod convert;
mod settings;

use rollcall_proto::admin::v1 as proto;
use rollcall_proto::admin::v1::identity_source_service_server::IdentitySourceService;
use tonic::{Request, Response, Status};

use crate::api::admin::context::{AdminContext, require_access, require_actor};
use crate::api::common::page::Page;
use crate::api::common::{resource_names, status};
use crate::ca::is_id;
use crate::model::{IdentitySource, SourceId, TenantId};
use crate::store::SourceChange;

/// Most identity sources of a tenant.
const MAX_SOURCES: i64 = 30;
const MAX_DISPLAY_NAME_CHARACTERS: usize = 100;

/// Serves IdentitySourceService.
pub struct IdentitySources(AdminContext);

impl IdentitySources {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }

    async fn get(&self, tenant: &TenantId, source: &SourceId) -> Result<IdentitySource, Status> {
        self.0.store.source(tenant, source).await.map_err(status::from_store)
    }
}

/// Checks what is to be stored.
fn change_from_proto(
    tenant: &TenantId,
    source: proto::IdentitySource,
    more: Vec<(String, String)>,
) -> Result<SourceChange, Status> {
    let mut violations = more;
    if source.display_name.chars().count() > MAX_DISPLAY_NAME_CHARACTERS
        || source.display_name.chars().any(char::is_control)
    {
        let why = format!("must be text of at most {MAX_DISPLAY_NAME_CHARACTERS} characters");
        violations.push(("identity_source.display_name".to_owned(), why));
    }
    match settings::settings_from_proto(tenant, "identity_source.draft", source.draft.unwrap_or_default()) {
        Ok(draft) if violations.is_empty() => Ok(SourceChange { display_name: source.display_name, draft }),
        Ok(_) => Err(status::invalid(violations)),
        Err(wrong) => {
            violations.extend(wrong);
            Err(status::invalid(violations))
        }
    }
}

fn parse_etag(etag: &str) -> Result<Option<i64>, Status> {
    match etag {
        "" => Ok(None),
        etag => {
            etag.parse().map(Some).map_err(|_| status::from_store(crate::store::StoreError::VersionMismatch))
        }
    }
}

#[tonic::async_trait]
impl IdentitySourceService for IdentitySources {
    async fn create_identity_source(
        &self,
        request: Request<proto::CreateIdentitySourceRequest>,
    ) -> Result<Response<proto::IdentitySource>, Status> {
        let message = request.get_ref().clone();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        let by = require_actor(&request, &tenant)?;
        let mut wrong = Vec::new();
        if !is_id(&message.identity_source_id) {
            let why =
                "must be 1 to 63 of a-z, 0-9 and hyphen, starting with a letter and not ending with a hyphen";
            wrong.push(("identity_source_id".to_owned(), why.to_owned()));
        }
        let change = change_from_proto(&tenant, message.identity_source.unwrap_or_default(), wrong)?;
        let id = SourceId(message.identity_source_id);
        let now = self.0.clock.now();
        let source = self
            .0
            .store
            .create_source(&tenant, &id, change, MAX_SOURCES, &by, now)
            .await
            .map_err(status::from_store)?;
        Ok(Response::new(convert::source_to_proto(&tenant, source)))
    }

    async fn get_identity_source(
        &self,
        request: Request<proto::GetIdentitySourceRequest>,
    ) -> Result<Response<proto::IdentitySource>, Status> {
        let (tenant, source) = resource_names::parse_source("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        Ok(Response::new(convert::source_to_proto(&tenant, self.get(&tenant, &source).await?)))
    }

    async fn list_identity_sources(
        &self,
        request: Request<proto::ListIdentitySourcesRequest>,
    ) -> Result<Response<proto::ListIdentitySourcesResponse>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let page = Page::new(
            &self.0.page_key,
            message.page_size,
            &message.page_token,
            &["sources", &message.parent],
        )?;
        let after = page.after::<String>().map(SourceId);
        let mut sources = self
            .0
            .store
            .list_sources(&tenant, after.as_ref(), page.fetch_limit())
            .await
            .map_err(status::from_store)?;
        let next_page_token = page.cut(&mut sources, |source| source.id.0.clone());
        let identity_sources =
            sources.into_iter().map(|source| convert::source_to_proto(&tenant, source)).collect();
        Ok(Response::new(proto::ListIdentitySourcesResponse { identity_sources, next_page_token }))
    }

    async fn update_identity_source(
        &self,
        request: Request<proto::UpdateIdentitySourceRequest>,
    ) -> Result<Response<proto::IdentitySource>, Status> {
        let proto::UpdateIdentitySourceRequest { identity_source, update_mask } = request.get_ref().clone();
        let given = identity_source.unwrap_or_default();
        let (tenant, id) = resource_names::parse_source("identity_source.name", &given.name)?;
        let by = require_actor(&request, &tenant)?;
        let current = self.get(&tenant, &id).await?;
        let version = parse_etag(&given.etag)?.unwrap_or(current.version);
        let mut merged = convert::source_to_proto(&tenant, current);
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_else(|| {
            let filled = [("display_name", !given.display_name.is_empty()), ("draft", given.draft.is_some())];
            filled.into_iter().filter(|(_, filled)| *filled).map(|(path, _)| path.to_owned()).collect()
        });
        let mut wrong = Vec::new();
        for path in &paths {
            if !convert::merge_path(&mut merged, &given, path) {
                let why = format!(
                    "has {path}; display_name, draft and parts such as draft.roots and draft.mapping.mail can be changed"
                );
                wrong.push(("update_mask".to_owned(), why));
            }
        }
        let change = change_from_proto(&tenant, merged, wrong)?;
        let now = self.0.clock.now();
        let source = self
            .0
            .store
            .update_source(&tenant, &id, version, change, &by, now)
            .await
            .map_err(status::from_store)?;
        Ok(Response::new(convert::source_to_proto(&tenant, source)))
    }

    async fn delete_identity_source(
        &self,
        request: Request<proto::DeleteIdentitySourceRequest>,
    ) -> Result<Response<()>, Status> {
        let message = request.get_ref();
        let (tenant, source) = resource_names::parse_source("name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let now = self.0.clock.now();
        let deleted = self.0.store.delete_source(&tenant, &source, message.force, &by, now).await;
        deleted.map_err(|error| {
            match status::from_store_with_job(error, |id| resource_names::job_name(&tenant, &source, id)) {
                // The call is not an attempt to create anything: a job in the way is a state.
                busy if busy.code() == tonic::Code::AlreadyExists => {
                    status::error(tonic::Code::FailedPrecondition, "SYNC_JOB_RUNNING", busy.message(), &[])
                }
                other => other,
            }
        })?;
        Ok(Response::new(()))
    }

    async fn publish_identity_source(
        &self,
        request: Request<proto::PublishIdentitySourceRequest>,
    ) -> Result<Response<proto::IdentitySource>, Status> {
        let message = request.get_ref();
        let (tenant, source) = resource_names::parse_source("name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let (version, now) = (parse_etag(&message.etag)?, self.0.clock.now());
        let source = self
            .0
            .store
            .publish_source(&tenant, &source, version, &by, now)
            .await
            .map_err(status::from_store)?;
        tracing::info!(%tenant, source = %source.id, revision = source.published_revision, "identity source published");
        Ok(Response::new(convert::source_to_proto(&tenant, source)))
    }

    async fn test_connection(
        &self,
        request: Request<proto::TestConnectionRequest>,
    ) -> Result<Response<proto::TestConnectionResponse>, Status> {
        let message = request.get_ref();
        let (tenant, id) = resource_names::parse_source("name", &message.name)?;
        require_access(&request, &tenant)?;
        let source = self.get(&tenant, &id).await?;
        let router = match message.identity_router.as_str() {
            "" => None,
            name => Some(
                resource_names::parse_router_of(&tenant, name)
                    .ok_or_else(|| status::not_found("identity router"))?,
            ),
        };
        let test = self.0.jobs.test_connection(&tenant, &id, source.draft, router).await;
        let test = test.map_err(|error| status::from_jobs(error, |id| id.to_string()))?;
        Ok(Response::new(proto::TestConnectionResponse {
            identity_router: resource_names::router_name(&tenant, &test.router),
            passed: test.servers.iter().any(|server| server.error.is_empty() && server.roots_found),
            servers: test.servers,
        }))
    }
}
