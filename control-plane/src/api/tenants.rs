//! TenantService: makes, shows, suspends and resumes tenants.

use rollcall_proto::admin::v1 as proto;
use rollcall_proto::admin::v1::tenant_service_server::TenantService;
use tonic::{Request, Response, Status};

use super::convert::timestamp;
use super::page::Page;
use super::{Api, actor, caller, names, status};
use crate::ca::is_id;
use crate::model::{self, Tenant, TenantId};

/// Most characters of a reason.
const REASON: usize = 200;

/// Serves TenantService.
pub struct Tenants(Api);

impl Tenants {
    /// A service over these parts.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(api)
    }
}

fn convert(tenant: Tenant) -> proto::Tenant {
    let state = match tenant.suspended_at {
        Some(_) => proto::tenant::State::Suspended,
        None => proto::tenant::State::Active,
    };
    proto::Tenant {
        name: model::names::tenant(&tenant.id),
        state: state.into(),
        create_time: Some(timestamp(tenant.created_at)),
        suspend_time: tenant.suspended_at.map(timestamp),
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
        let (by, now) = (actor(&request, &tenant)?, self.0.clock.now());
        let made = self.0.store.create_tenant(&tenant, i64::from(limit), &by, now).await;
        let made = made.map_err(status::store)?;
        tracing::info!(%tenant, limit, "tenant made");
        Ok(Response::new(convert(made)))
    }

    async fn get_tenant(
        &self,
        request: Request<proto::GetTenantRequest>,
    ) -> Result<Response<proto::Tenant>, Status> {
        let tenant = names::tenant("name", &request.get_ref().name)?;
        caller(&request, &tenant)?;
        Ok(Response::new(convert(self.0.store.tenant(&tenant).await.map_err(status::store)?)))
    }

    async fn list_tenants(
        &self,
        request: Request<proto::ListTenantsRequest>,
    ) -> Result<Response<proto::ListTenantsResponse>, Status> {
        let message = request.get_ref();
        let page = Page::new(&self.0.page_key, message.page_size, &message.page_token, &["tenants"])?;
        let after = page.after::<String>().map(TenantId);
        let tenants = self.0.store.list_tenants(after.as_ref(), page.fetch()).await;
        let mut tenants = tenants.map_err(status::store)?;
        let next_page_token = page.cut(&mut tenants, |tenant| tenant.id.0.clone());
        let tenants = tenants.into_iter().map(convert).collect();
        Ok(Response::new(proto::ListTenantsResponse { tenants, next_page_token }))
    }

    async fn suspend_tenant(
        &self,
        request: Request<proto::SuspendTenantRequest>,
    ) -> Result<Response<proto::Tenant>, Status> {
        let message = request.get_ref();
        let tenant = names::tenant("name", &message.name)?;
        let (by, now) = (actor(&request, &tenant)?, self.0.clock.now());
        if message.reason.chars().count() > REASON || message.reason.chars().any(char::is_control) {
            let why = format!("must be text of at most {REASON} characters");
            return Err(status::invalid(vec![("reason".to_owned(), why)]));
        }
        let suspended = self.0.store.suspend_tenant(&tenant, &message.reason, &by, now).await;
        let (suspended, jobs) = suspended.map_err(status::store)?;
        let stopped_jobs = jobs.len();
        self.0.jobs.cancel_runs(&jobs);
        tracing::info!(%tenant, stopped_jobs, "tenant suspended");
        Ok(Response::new(convert(suspended)))
    }

    async fn resume_tenant(
        &self,
        request: Request<proto::ResumeTenantRequest>,
    ) -> Result<Response<proto::Tenant>, Status> {
        let tenant = names::tenant("name", &request.get_ref().name)?;
        let (by, now) = (actor(&request, &tenant)?, self.0.clock.now());
        let resumed = self.0.store.resume_tenant(&tenant, &by, now).await.map_err(status::store)?;
        tracing::info!(%tenant, "tenant resumed");
        Ok(Response::new(convert(resumed)))
    }
}
