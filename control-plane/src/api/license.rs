//! LicenseService: limit and use.

use rollcall_proto::admin::v1::license_service_server::LicenseService;
use rollcall_proto::admin::v1::{GetLicenseRequest, License, UpdateLicenseRequest, license::SourceUse};
use tonic::{Request, Response, Status};

use super::convert::small;
use super::{Api, actor, caller, names, status};
use crate::model::TenantId;

/// Serves LicenseService.
pub struct Licenses(Api);

impl Licenses {
    /// A service over these parts.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(api)
    }

    async fn read(&self, tenant: &TenantId) -> Result<Response<License>, Status> {
        let license = self.0.store.license(tenant).await.map_err(status::store)?;
        let by_source = license.by_source.into_iter().map(|source| SourceUse {
            identity_source: names::source_name(tenant, &source.source),
            used: Some(small(source.used)),
        });
        Ok(Response::new(License {
            name: names::license_name(tenant),
            user_limit: Some(small(license.limit)),
            used: Some(small(license.used)),
            by_source: by_source.collect(),
            level: license.level.number().into(),
        }))
    }
}

#[tonic::async_trait]
impl LicenseService for Licenses {
    async fn get_license(&self, request: Request<GetLicenseRequest>) -> Result<Response<License>, Status> {
        let tenant = names::license("name", &request.get_ref().name)?;
        caller(&request, &tenant)?;
        self.read(&tenant).await
    }

    async fn update_license(
        &self,
        request: Request<UpdateLicenseRequest>,
    ) -> Result<Response<License>, Status> {
        let UpdateLicenseRequest { license, update_mask, allow_missing } = request.get_ref().clone();
        let license = license.unwrap_or_default();
        let tenant = names::license("license.name", &license.name)?;
        let by = actor(&request, &tenant)?;
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
            .map_err(status::store)?;
        tracing::info!(%tenant, limit, "license limit set");
        self.read(&tenant).await
    }
}
