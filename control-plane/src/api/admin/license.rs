//! LicenseService: shows the license of a tenant and its use, and sets the limit.

use rollcall_proto::admin::v1::license_service_server::LicenseService;
use rollcall_proto::admin::v1::{GetLicenseRequest, License, UpdateLicenseRequest, license::SourceUse};
use tonic::{Request, Response, Status};

use super::context::{AdminContext, require_access, require_actor};
use crate::api::common::convert::count_to_proto;
use crate::api::common::{resource_names, status};
use crate::model::TenantId;

/// Serves LicenseService.
pub struct Licenses(AdminContext);

impl Licenses {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }

    async fn read(&self, tenant: &TenantId) -> Result<Response<License>, Status> {
        let license = self.0.store.license(tenant).await.map_err(status::from_store)?;
        let by_source = license.by_source.into_iter().map(|source| SourceUse {
            identity_source: resource_names::source_name(tenant, &source.source),
            used: Some(count_to_proto(source.used)),
        });
        Ok(Response::new(License {
            name: resource_names::license_name(tenant),
            user_limit: Some(count_to_proto(license.limit)),
            used: Some(count_to_proto(license.used)),
            by_source: by_source.collect(),
            level: license.level.number().into(),
        }))
    }
}

#[tonic::async_trait]
impl LicenseService for Licenses {
    async fn get_license(&self, request: Request<GetLicenseRequest>) -> Result<Response<License>, Status> {
        let tenant = resource_names::parse_license("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        self.read(&tenant).await
    }

    async fn update_license(
        &self,
        request: Request<UpdateLicenseRequest>,
    ) -> Result<Response<License>, Status> {
        let UpdateLicenseRequest { license, update_mask, allow_missing } = request.get_ref().clone();
        let license = license.unwrap_or_default();
        let tenant = resource_names::parse_license("license.name", &license.name)?;
        let by = require_actor(&request, &tenant)?;
        let mut violations = Vec::new();
        for path in update_mask.map(|mask| mask.paths).unwrap_or_default() {
            if path != "user_limit" {
                violations
                    .push(("update_mask".to_owned(), format!("has {path}; only user_limit can be set")));
            }
        }
        let limit = license.user_limit.filter(|limit| *limit >= 0);
        if limit.is_none() {
            violations.push(("license.user_limit".to_owned(), "must be a number of at least 0".to_owned()));
        }
        let Some(limit) = limit.filter(|_| violations.is_empty()) else {
            return Err(status::invalid(violations));
        };
        let now = self.0.clock.now();
        self.0
            .store
            .set_license_limit(&tenant, i64::from(limit), allow_missing, &by, now)
            .await
            .map_err(status::from_store)?;
        tracing::info!(%tenant, limit, "license limit set");
        self.read(&tenant).await
    }
}
