//! JustInTimeService: synchronizes single users, at sign-in and on demand. The outcome for a user
//! is an answer, not an error.

mod convert;

use rollcall_proto::admin::v1::just_in_time_service_server::JustInTimeService;
use rollcall_proto::admin::v1::sync_user_request::Whom as Asked;
use rollcall_proto::admin::v1::{
    GetJustInTimeSettingsRequest, JustInTimeSettings, SyncAtSignInRequest, SyncAtSignInResponse,
    SyncUserRequest, SyncUserResponse, UpdateJustInTimeSettingsRequest, VerifyPasswordRequest,
    VerifyPasswordResponse,
};
use rollcall_proto::limits;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::api::admin::context::{AdminContext, require_access, require_actor};
use crate::api::common::{resource_names, status};
use crate::api::middleware::denials::DenialLog;
use crate::model::{
    Actor, Event, EventType, PasswordOutcome, SingleOutcome, TenantId, Trail, UserSelector, Verification,
    spelled,
};
use crate::reconcile::single_user;
use crate::store::SignIn;

/// Serves JustInTimeService.
pub struct JustInTime(AdminContext, DenialLog);

impl JustInTime {
    /// A service over these parts.
    #[must_use]
    pub fn new(context: AdminContext, denials: DenialLog) -> Self {
        Self(context, denials)
    }

    /// What a sign-in begins with, if users are synchronized at sign-in.
    async fn begin_sign_in(&self, tenant: &TenantId, whom: &UserSelector) -> Result<SignIn, Status> {
        let begun = self.0.store.begin_sign_in(tenant, whom).await.map_err(status::from_store)?;
        // The service belongs to no tenant, so nobody has looked before.
        if begun.suspended {
            return Err(status::tenant_suspended());
        }
        if !begun.settings.enabled {
            return Err(status::error(
                Code::FailedPrecondition,
                "JUST_IN_TIME_OFF",
                "Just-in-time sync is off for this tenant. A Super Admin turns it on with UpdateJustInTimeSettings.",
                &[],
            ));
        }
        Ok(begun)
    }

    /// What is refused goes to the audit trail, and what is accepted only where it follows
    /// refusals: whoever signs in often fills it as little as whoever guesses.
    fn record(&self, tenant: &TenantId, by: Actor, done: &Verification) {
        let all = crate::model::names::tenant(tenant);
        let subject = done.user.map_or_else(|| all.clone(), |user| crate::model::names::user(tenant, user));
        let event = match done.outcome {
            PasswordOutcome::Verified if done.refused_before == 0 => return,
            PasswordOutcome::Verified => Event::done(EventType::PasswordAcceptedAfterRefusals, subject)
                .with("refused", done.refused_before),
            // Nobody was refused.
            PasswordOutcome::DirectoryUnreachable | PasswordOutcome::NoRouter | PasswordOutcome::Internal => {
                return;
            }
            outcome => Event::refused(EventType::PasswordRefused, subject).with("reason", spelled(outcome)),
        };
        self.1.record_grouped(Trail::Tenant(tenant.clone()), by, event, all);
    }
}

/// A password as it was typed. It is never trimmed: white space is a part of it.
fn parse_password(given: String) -> Result<SecretString, Status> {
    let secret = SecretString::from(given);
    // An empty one would be a bind of nobody, which directories accept (RFC 4513, 5.1.2).
    match (1..=limits::PASSWORD_BYTES).contains(&secret.expose_secret().len()) {
        true => Ok(secret),
        false => {
            let must = format!("must have 1 to {} bytes", limits::PASSWORD_BYTES);
            Err(status::invalid(vec![("password".to_owned(), must)]))
        }
    }
}

/// A name as it was typed, without white space around it.
fn parse_typed_name(field: &str, text: &str) -> Result<String, Status> {
    let text = text.trim();
    if text.is_empty() || limits::is_longer(text, limits::USER_NAME) || text.contains(char::is_control) {
        let must =
            format!("must be a name of 1 to {} characters without control characters", limits::USER_NAME);
        return Err(status::invalid(vec![(field.to_owned(), must)]));
    }
    Ok(text.to_owned())
}

fn parse_whom(tenant: &TenantId, asked: Option<Asked>) -> Result<UserSelector, Status> {
    match asked {
        Some(Asked::User(name)) => match resource_names::parse_user("user", &name)? {
            (of, user) if of == *tenant => Ok(UserSelector::User(user)),
            _ => Err(status::not_found("user")),
        },
        Some(Asked::Mail(mail)) => Ok(UserSelector::Mail(parse_typed_name("mail", &mail)?)),
        Some(Asked::UserName(name)) => Ok(UserSelector::UserName(parse_typed_name("user_name", &name)?)),
        None => Err(status::invalid(vec![(
            "whom".to_owned(),
            "must be a user, a mail or a user_name".to_owned(),
        )])),
    }
}

#[tonic::async_trait]
impl JustInTimeService for JustInTime {
    async fn sync_user(
        &self,
        request: Request<SyncUserRequest>,
    ) -> Result<Response<SyncUserResponse>, Status> {
        let tenant = resource_names::parse_tenant("parent", &request.get_ref().parent)?;
        let by = require_actor(&request, &tenant)?;
        let whom = parse_whom(&tenant, request.get_ref().whom.clone())?;
        let (number, settings) =
            self.0.store.single_user_settings(&tenant).await.map_err(status::from_store)?;
        let outcome = match &whom {
            UserSelector::Mail(mail) if !single_user::is_address(mail) => invalid_address(),
            _ => {
                let done = self.0.jobs.sync_user((&tenant, number), whom, settings, by).await;
                convert::single_to_proto(&tenant, &done)
            }
        };
        Ok(Response::new(SyncUserResponse { sync: Some(outcome) }))
    }

    async fn sync_at_sign_in(
        &self,
        request: Request<SyncAtSignInRequest>,
    ) -> Result<Response<SyncAtSignInResponse>, Status> {
        let tenant = resource_names::parse_tenant("parent", &request.get_ref().parent)?;
        let by = require_actor(&request, &tenant)?;
        let whom = UserSelector::Login(parse_typed_name("login", &request.get_ref().login)?);
        let begun = self.begin_sign_in(&tenant, &whom).await?;
        let done = self.0.jobs.sync_at_sign_in(&tenant, begun, whom, by).await;
        Ok(Response::new(SyncAtSignInResponse { sync: Some(convert::single_to_proto(&tenant, &done)) }))
    }

    async fn verify_password(
        &self,
        request: Request<VerifyPasswordRequest>,
    ) -> Result<Response<VerifyPasswordResponse>, Status> {
        let called = Instant::now();
        let tenant = resource_names::parse_tenant("parent", &request.get_ref().parent)?;
        let by = require_actor(&request, &tenant)?;
        let mut message = request.into_inner();
        let login = parse_typed_name("login", &message.login)?;
        let password = parse_password(std::mem::take(&mut message.password))?;
        let begun = self.begin_sign_in(&tenant, &UserSelector::Login(login.clone())).await?;
        let typed = (login, password);
        let done = self.0.jobs.verify_password(&tenant, begun, typed, by.clone(), called).await;
        self.record(&tenant, by, &done);
        Ok(Response::new(convert::verification_to_proto(&tenant, &done)))
    }

    async fn get_just_in_time_settings(
        &self,
        request: Request<GetJustInTimeSettingsRequest>,
    ) -> Result<Response<JustInTimeSettings>, Status> {
        let tenant = resource_names::parse_just_in_time_settings("name", &request.get_ref().name)?;
        require_access(&request, &tenant)?;
        let (_, settings) = self.0.store.single_user_settings(&tenant).await.map_err(status::from_store)?;
        Ok(Response::new(convert::settings_to_proto(&tenant, settings)))
    }

    async fn update_just_in_time_settings(
        &self,
        request: Request<UpdateJustInTimeSettingsRequest>,
    ) -> Result<Response<JustInTimeSettings>, Status> {
        let message = request.get_ref().just_in_time_settings.clone().unwrap_or_default();
        let tenant =
            resource_names::parse_just_in_time_settings("just_in_time_settings.name", &message.name)?;
        let by = require_actor(&request, &tenant)?;
        let settings = convert::settings_from_proto(message)?;
        let set = self.0.store.set_single_user_settings(&tenant, settings, &by, self.0.clock.now());
        set.await.map_err(status::from_store)?;
        tracing::info!(%tenant, enabled = settings.enabled, "just-in-time sync set");
        Ok(Response::new(convert::settings_to_proto(&tenant, settings)))
    }
}

fn invalid_address() -> rollcall_proto::admin::v1::SingleSync {
    let outcome = SingleOutcome::InvalidEmail;
    rollcall_proto::admin::v1::SingleSync {
        outcome: outcome.number().into(),
        message: single_user::text(outcome).to_owned(),
        ..Default::default()
    }
}
