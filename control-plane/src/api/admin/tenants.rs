//! TenantService: creates, shows, suspends and resumes tenants.

use rollcall_proto::admin::v1 as proto;
use rollcall_proto::admin::v1::tenant_service_server::TenantService;
use tonic::{Request, Response, Status};

use super::context::{AdminContext, require_access, require_actor};
use crate::api::common::convert::timestamp_to_proto;
use crate::api::common::page::Page;
use crate::api::common::{resource_names, status};
use crate::ca::is_id;
use crate::model::{self, Tenant, TenantId};

/// Most characters of a reason.
const MAX_REASON_CHARACTERS: usize = 200;

/// Serves TenantService.
pub struct Tenants(AdminContext);

impl Tenants {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }
}

fn tenant_to_proto(tenant: Tenant) -> proto::Tenant {
    let state = match tenant.suspended_at {
        Some(_) => proto::tenant::State::Suspended,
        None => proto::tenant::State::Active,
    };
    proto::Tenant {
        name: model::names::tenant(&tenant.id),
        state: state.into(),
        create_time: Some(timestamp_to_proto(tenant.created_at)),
        suspend_time: tenant.suspended_at.map(timestamp_to_proto),
    }
}

#[tonic::async_trait]
impl TenantService for Tenants {
    async fn create_tenant(
        &self,
        request: Request<proto::CreateTenantRequest>,
    ) -> Result<Response<proto::Tenant>, Status> {
        let message = request.get_ref();
        let mut wrong = Vec::new();
        if !is_id(&message.tenant_id) {
            let why =
                "must be 1 to 63 of a-z, 0-9 and hyphen, starting with a letter and not ending with a hyphen";
            wrong.push(("tenant_id".to_owned(), why.to_owned()));
        }
        let limit = message.user_limit.filter(|limit| *limit >= 0);
        if limit.is_none() {
            wrong.push(("user_limit".to_owned(), "must be a number of at least 0".to_owned()));
        }
        let Some(limit) = limit.filter(|_| wrong.is_empty()) else { return Err(status::invalid(wrong)) };
        let tenant = TenantId::from(message.tenant_id.as_str());
        let (by, now) = (require_actor(&request, &tenant)?, self.0.clock.now());
        let made = self.0.store.create_tenant(&tenant, i64::from(limit), &by, now).await;
        let made = made.map_err(status::from_store)?;
        tracing::info!(%tenant, limit, "tenant made");
        Ok(Response::new(tenant_to_proto(made)))
    }

    async fn get_tenant(
        &self,
        request: Request<proto::GetTenantRequest>,
    ) -> Result<Response<proto::Tenant>, Status> {
        let tenant = resource_names::parse_tenant("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        Ok(Response::new(tenant_to_proto(self.0.store.tenant(&tenant).await.map_err(status::from_store)?)))
    }

    async fn list_tenants(
        &self,
        request: Request<proto::ListTenantsRequest>,
    ) -> Result<Response<proto::ListTenantsResponse>, Status> {
        let message = request.get_ref();
        let page = Page::new(&self.0.page_key, message.page_size, &message.page_token, &["tenants"])?;
        let after = page.after::<String>().map(TenantId);
        let tenants = self.0.store.list_tenants(after.as_ref(), page.fetch_limit()).await;
        let mut tenants = tenants.map_err(status::from_store)?;
        let next_page_token = page.cut(&mut tenants, |tenant| tenant.id.0.clone());
        let tenants = tenants.into_iter().map(tenant_to_proto).collect();
        Ok(Response::new(proto::ListTenantsResponse { tenants, next_page_token }))
    }

    async fn suspend_tenant(
        &self,
        request: Request<proto::SuspendTenantRequest>,
    ) -> Result<Response<proto::Tenant>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("name", &message.name)?;
        let (by, now) = (require_actor(&request, &tenant)?, self.0.clock.now());
        if message.reason.chars().count() > MAX_REASON_CHARACTERS
            || message.reason.chars().any(char::is_control)
        {
            let why = format!("must be text of at most {MAX_REASON_CHARACTERS} characters");
            return Err(status::invalid(vec![("reason".to_owned(), why)]));
        }
        let suspended = self.0.store.suspend_tenant(&tenant, &message.reason, &by, now).await;
        let (suspended, jobs) = suspended.map_err(status::from_store)?;
        let stopped_jobs = jobs.len();
        self.0.jobs.cancel_runs(&jobs);
        tracing::info!(%tenant, stopped_jobs, "tenant suspended");
        Ok(Response::new(tenant_to_proto(suspended)))
    }

    async fn resume_tenant(
        &self,
        request: Request<proto::ResumeTenantRequest>,
    ) -> Result<Response<proto::Tenant>, Status> {
        let tenant = resource_names::parse_tenant("name", &request.get_ref().name)?;
        let (by, now) = (require_actor(&request, &tenant)?, self.0.clock.now());
        let resumed = self.0.store.resume_tenant(&tenant, &by, now).await.map_err(status::from_store)?;
        tracing::info!(%tenant, "tenant resumed");
        Ok(Response::new(tenant_to_proto(resumed)))
    }
}
