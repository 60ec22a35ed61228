//! IdentityRouterService: shows and revokes identity routers, and manages the registration codes
//! with which they enroll.

mod convert;

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use rollcall_proto::admin::v1::identity_router_service_server::IdentityRouterService;
use rollcall_proto::admin::v1::{
    CreateRegistrationCodeRequest, GetIdentityRouterRequest, IdentityRouter, ListIdentityRoutersRequest,
    ListIdentityRoutersResponse, ListRegistrationCodesRequest, ListRegistrationCodesResponse,
    RegistrationCode, RevokeIdentityRouterRequest, VoidRegistrationCodeRequest,
};
use rollcall_proto::code::{Code, SECRET};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::api::admin::context::{AdminContext, require_access, require_actor};
use crate::api::common::page::Page;
use crate::api::common::{resource_names, status};
use crate::ca::is_id;
use crate::model::{NewCode, RouterId, SourceId, TenantId};

/// Open codes that a tenant may have.
const MAX_OPEN_CODES: i64 = 100;
/// Sources that a code may name.
const MAX_CODE_SOURCES: usize = 100;
/// How long a code can be used.
const DEFAULT_TTL: Duration = Duration::from_secs(15 * 60);
const MIN_TTL: Duration = Duration::from_secs(60);
const MAX_TTL: Duration = Duration::from_secs(24 * 3_600);
/// Longest reason of a revocation, in characters.
const MAX_REASON_CHARACTERS: usize = 200;

/// Serves IdentityRouterService.
pub struct IdentityRouters(AdminContext);

impl IdentityRouters {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext) -> Self {
        Self(context)
    }
}

#[tonic::async_trait]
impl IdentityRouterService for IdentityRouters {
    async fn get_identity_router(
        &self,
        request: Request<GetIdentityRouterRequest>,
    ) -> Result<Response<IdentityRouter>, Status> {
        let (tenant, id) = resource_names::parse_router("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        let router = self.0.store.router(&tenant, &id).await.map_err(status::from_store)?;
        Ok(Response::new(convert::router_to_proto(&tenant, router, self.0.issuer.life(), self.0.clock.now())))
    }

    async fn list_identity_routers(
        &self,
        request: Request<ListIdentityRoutersRequest>,
    ) -> Result<Response<ListIdentityRoutersResponse>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let page = Page::new(
            &self.0.page_key,
            message.page_size,
            &message.page_token,
            &["routers", &message.parent],
        )?;
        let after = page.after::<String>().map(RouterId);
        let mut routers = self
            .0
            .store
            .list_routers(&tenant, after.as_ref(), page.fetch_limit())
            .await
            .map_err(status::from_store)?;
        let next_page_token = page.cut(&mut routers, |router| router.id.0.clone());
        let (life, now) = (self.0.issuer.life(), self.0.clock.now());
        let identity_routers =
            routers.into_iter().map(|router| convert::router_to_proto(&tenant, router, life, now)).collect();
        Ok(Response::new(ListIdentityRoutersResponse { identity_routers, next_page_token }))
    }

    async fn create_registration_code(
        &self,
        request: Request<CreateRegistrationCodeRequest>,
    ) -> Result<Response<RegistrationCode>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        let by = require_actor(&request, &tenant)?;
        let (router, sources, ttl) = parse_code_request(&tenant, message)?;
        let authorities = self.0.issuer.authorities().ok_or_else(status::enrollment_off)?;
        let mut secret = [0; SECRET];
        rand::fill(&mut secret).map_err(|_| Status::internal("the machine has no random numbers"))?;
        let mut secret_hash = [0; 32];
        secret_hash.copy_from_slice(digest(&SHA256, &secret).as_ref());
        let now = self.0.clock.now();
        let new = NewCode {
            id: Uuid::now_v7().to_string(),
            secret_hash,
            router,
            sources,
            expires_at: now.plus(ttl),
        };
        let made = self.0.store.create_registration_code(&tenant, new, MAX_OPEN_CODES, &by, now);
        let made = made.await.map_err(status::from_store)?;
        tracing::info!(%tenant, router = %made.router, by = by.name, "registration code made");
        let mut code = convert::code_to_proto(&tenant, made, now);
        code.code = Code { secret, authority: authorities.pin }.reveal();
        Ok(Response::new(code))
    }

    async fn list_registration_codes(
        &self,
        request: Request<ListRegistrationCodesRequest>,
    ) -> Result<Response<ListRegistrationCodesResponse>, Status> {
        let message = request.get_ref();
        let tenant = resource_names::parse_tenant("parent", &message.parent)?;
        require_access(&request, &tenant)?;
        let page =
            Page::new(&self.0.page_key, message.page_size, &message.page_token, &["codes", &message.parent])?;
        let before = page.after::<String>();
        let codes = self.0.store.list_registration_codes(&tenant, before.as_deref(), page.fetch_limit());
        let mut codes = codes.await.map_err(status::from_store)?;
        let next_page_token = page.cut(&mut codes, |code| code.id.clone());
        let now = self.0.clock.now();
        let registration_codes =
            codes.into_iter().map(|code| convert::code_to_proto(&tenant, code, now)).collect();
        Ok(Response::new(ListRegistrationCodesResponse { registration_codes, next_page_token }))
    }

    async fn void_registration_code(
        &self,
        request: Request<VoidRegistrationCodeRequest>,
    ) -> Result<Response<RegistrationCode>, Status> {
        let (tenant, id) = resource_names::parse_code("name", &request.get_ref().name)?;
        let (by, now) = (require_actor(&request, &tenant)?, self.0.clock.now());
        let voided = self.0.store.revoke_registration_code(&tenant, &id, &by, now).await;
        Ok(Response::new(convert::code_to_proto(&tenant, voided.map_err(status::from_store)?, now)))
    }

    async fn revoke_identity_router(
        &self,
        request: Request<RevokeIdentityRouterRequest>,
    ) -> Result<Response<IdentityRouter>, Status> {
        let message = request.get_ref();
        let (tenant, id) = resource_names::parse_router("name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        if message.reason.chars().count() > MAX_REASON_CHARACTERS
            || message.reason.chars().any(char::is_control)
        {
            let why = format!(
                "must have at most {MAX_REASON_CHARACTERS} characters, none of them a control character"
            );
            return Err(status::invalid(vec![("reason".to_owned(), why)]));
        }
        let now = self.0.clock.now();
        let revoked = self.0.store.revoke_router(&tenant, &id, &message.reason, &by, now).await;
        let revoked = revoked.map_err(status::from_store)?;
        self.0.jobs.disconnect_router(&tenant, &id);
        tracing::warn!(%tenant, router = %id, by = by.name, "identity router revoked");
        Ok(Response::new(convert::router_to_proto(&tenant, revoked, self.0.issuer.life(), now)))
    }
}

/// What a code is to be for.
fn parse_code_request(
    tenant: &TenantId,
    message: &CreateRegistrationCodeRequest,
) -> Result<(RouterId, Vec<SourceId>, Duration), Status> {
    let mut wrong = Vec::new();
    if !is_id(&message.identity_router_id) {
        let why = "must be 1 to 63 of a-z, 0-9 and hyphen, starting with a letter";
        wrong.push(("identity_router_id".to_owned(), why.to_owned()));
    }
    if message.identity_sources.len() > MAX_CODE_SOURCES {
        wrong.push(("identity_sources".to_owned(), format!("must be at most {MAX_CODE_SOURCES}")));
    }
    let mut sources = Vec::new();
    for (at, name) in message.identity_sources.iter().enumerate() {
        match resource_names::parse_source("identity_sources", name) {
            Ok((of, source)) if of == *tenant => sources.push(source),
            _ => {
                let why = format!("must be of the form tenants/{tenant}/identitySources/{{identity_source}}");
                wrong.push((format!("identity_sources[{at}]"), why));
            }
        }
    }
    sources.sort();
    sources.dedup();
    let ttl = message.ttl.map_or(Ok(DEFAULT_TTL), Duration::try_from).ok();
    let ttl = ttl.filter(|ttl| (MIN_TTL..=MAX_TTL).contains(ttl));
    if ttl.is_none() {
        wrong.push(("ttl".to_owned(), "must be from 60s to 86400s".to_owned()));
    }
    match ttl {
        Some(ttl) if wrong.is_empty() => Ok((RouterId(message.identity_router_id.clone()), sources, ttl)),
        _ => Err(status::invalid(wrong)),
    }
}
