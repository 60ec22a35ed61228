//! IdentityRouterService: which routers there are.

use rollcall_proto::admin::v1::identity_router_service_server::IdentityRouterService;
use rollcall_proto::admin::v1::{
    CreateRegistrationCodeRequest, GetIdentityRouterRequest, IdentityRouter, ListIdentityRoutersRequest,
    ListIdentityRoutersResponse, ListRegistrationCodesRequest, ListRegistrationCodesResponse,
    RegistrationCode, RevokeIdentityRouterRequest, VoidRegistrationCodeRequest, identity_router,
};
use tonic::{Request, Response, Status};

use super::convert::timestamp;
use super::page::Page;
use super::{Api, caller, names, status};
use crate::jobs::ROUTER_SILENCE;
use crate::model::RouterId;

/// Serves IdentityRouterService.
pub struct IdentityRouters(Api);

impl IdentityRouters {
    /// A service over these parts.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self(api)
    }
}

#[tonic::async_trait]
impl IdentityRouterService for IdentityRouters {
    async fn list_identity_routers(
        &self,
        request: Request<ListIdentityRoutersRequest>,
    ) -> Result<Response<ListIdentityRoutersResponse>, Status> {
        let message = request.get_ref();
        let tenant = names::tenant("parent", &message.parent)?;
        caller(&request, &tenant)?;
        let page = Page::new(
            &self.0.page_key,
            message.page_size,
            &message.page_token,
            &["routers", &message.parent],
        )?;
        let after = page.after::<String>().map(RouterId);
        let mut routers =
            self.0.store.list_routers(&tenant, after.as_ref(), page.fetch()).await.map_err(status::store)?;
        let next_page_token = page.cut(&mut routers, |router| router.id.0.clone());
        let oldest = self.0.clock.now().minus(ROUTER_SILENCE);
        let identity_routers = routers
            .into_iter()
            .map(|router| {
                let connected = router.connected && router.last_seen >= oldest;
                let state = if connected {
                    identity_router::State::Connected
                } else {
                    identity_router::State::Disconnected
                };
                IdentityRouter {
                    name: names::router_name(&tenant, router.id.as_str()),
                    state: state.into(),
                    version: router.version,
                    last_seen_time: Some(timestamp(router.last_seen)),
                    create_time: Some(timestamp(router.created_at)),
                    certificate_expire_time: Some(timestamp(router.certificate_expires)),
                    ..IdentityRouter::default()
                }
            })
            .collect();
        Ok(Response::new(ListIdentityRoutersResponse { identity_routers, next_page_token }))
    }

    async fn get_identity_router(
        &self,
        _: Request<GetIdentityRouterRequest>,
    ) -> Result<Response<IdentityRouter>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    async fn create_registration_code(
        &self,
        _: Request<CreateRegistrationCodeRequest>,
    ) -> Result<Response<RegistrationCode>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    async fn list_registration_codes(
        &self,
        _: Request<ListRegistrationCodesRequest>,
    ) -> Result<Response<ListRegistrationCodesResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    async fn void_registration_code(
        &self,
        _: Request<VoidRegistrationCodeRequest>,
    ) -> Result<Response<RegistrationCode>, Status> {
        Err(Status::unimplemented("not yet"))
    }
    async fn revoke_identity_router(
        &self,
        _: Request<RevokeIdentityRouterRequest>,
    ) -> Result<Response<IdentityRouter>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}
