//! Authenticates and authorizes a call: by the certificate of the connection, by the token that a
//! console presents, by the table of `rights`, and by whether the caller's tenant is suspended.
//! Reads the tenant's state for each call.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::{Code, Status};

use super::denials::DenialLog;
use super::rights;
use super::rights_expiry::RightsExpiry;
use super::suspensions::Suspensions;
use super::tokens::{Person, TokenRejected, Tokens};
use crate::api::common::status;
use crate::ca::identity::{Caller, Peer};
use crate::clock::Clock;
use crate::model::{Actor, Event, EventType, Role, TenantId, Timestamp, Trail};
use crate::store::{Store, StoreError};

/// Stands for a method that is not in the table: the names are the caller's to choose.
const UNKNOWN_METHOD: &str = "unknown method";

/// Decides who calls and whether they may.
pub struct Authorizer {
    /// Where tenants are kept.
    pub store: Arc<Store>,
    /// Whose tokens are accepted.
    pub tokens: Tokens,
    /// Which tenants are not served.
    pub suspensions: Suspensions,
    /// Where refusals are noted.
    pub denials: DenialLog,
    /// The time.
    pub clock: Clock,
}

/// A call that was let in.
pub(super) struct Authorized {
    /// Who calls.
    pub(super) caller: Caller,
    /// The method, as the table has it.
    pub(super) method: &'static str,
    /// What ends its answer early.
    pub(super) expiry: RightsExpiry,
}

impl Authorizer {
    /// Lets a call in, or says why not.
    pub(super) async fn authorize(
        &self,
        peer: Option<&Peer>,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Authorized, Status> {
        let (method, roles) = rights::find_row(path).unwrap_or((UNKNOWN_METHOD, &[]));
        let Some(peer) = peer else { return Err(self.deny(None, None, method, path, roles)) };
        let (caller, until) = self.authenticate(peer, method, path, headers).await?;
        if !roles.contains(&caller.role()) {
            return Err(self.deny(Some(&caller), Some(peer), method, path, roles));
        }
        let mut expiry = RightsExpiry::default();
        if let Caller::Admin { tenant, .. } = &caller {
            expiry.token_expires_in = until.map(|until| until.since(self.clock.now()));
            // What tells of no tenant is answered to whoever has a role.
            if path.starts_with("/rollcall.") {
                let open = rights::is_open_to_suspended(path);
                self.check_tenant(tenant, open).await?;
                expiry.tenant = (!open).then(|| (self.suspensions.clone(), tenant.clone()));
            }
        }
        Ok(Authorized { caller, method, expiry })
    }

    /// The caller by its certificate or, at a console, by the token; and until when the token
    /// counts.
    async fn authenticate(
        &self,
        peer: &Peer,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(Caller, Option<Timestamp>), Status> {
        let Caller::Console { name } = &peer.caller else { return Ok((peer.caller.clone(), None)) };
        let Some(token) = bearer_token(headers) else { return Ok((peer.caller.clone(), None)) };
        let person = match token {
            Ok(token) => self.tokens.verify(name, token).await,
            Err(rejected) => Err(rejected),
        };
        match person {
            Ok(Person { tenant, name: person, role, until }) => {
                let via = Some(name.clone());
                Ok((Caller::Admin { tenant, name: person, role, via }, Some(until)))
            }
            Err(rejected) => Err(self.reject_token(peer, method, path, &rejected)),
        }
    }

    fn deny(
        &self,
        caller: Option<&Caller>,
        peer: Option<&Peer>,
        method: &str,
        path: &str,
        roles: &[Role],
    ) -> Status {
        tracing::warn!(caller = caller.map(Caller::label), path, "call refused");
        record_denial(&self.denials, caller, peer, method);
        denied_status(caller, roles)
    }

    /// Nothing that the token says is believed, so the refusal belongs to no tenant.
    fn reject_token(&self, peer: &Peer, method: &str, path: &str, rejected: &TokenRejected) -> Status {
        let (console, reason) = (peer.caller.label(), rejected.reason());
        tracing::warn!(console, path, reason, "a person's token refused");
        let event = Event::refused(EventType::TokenRefused, method).with("reason", reason);
        self.denials.record(Trail::Installation, peer.caller.actor(peer.address), event);
        let message = format!("The token is refused: {rejected}.");
        status::error(Code::Unauthenticated, "TOKEN_REFUSED", message, &[("why", reason.to_owned())])
    }

    /// Whether a tenant exists and is served. A certificate can outlive its tenant.
    async fn check_tenant(&self, tenant: &TenantId, open: bool) -> Result<(), Status> {
        match self.store.tenant(tenant).await {
            Ok(tenant) if tenant.suspended_at.is_some() && !open => Err(status::tenant_suspended()),
            Ok(_) => Ok(()),
            Err(StoreError::NotFound(_)) => Err(status::not_found("tenant")),
            Err(error) => Err(status::from_store(error)),
        }
    }
}

/// Notes a refused call in the trail of the caller's tenant.
pub(super) fn record_denial(denials: &DenialLog, caller: Option<&Caller>, peer: Option<&Peer>, method: &str) {
    let trail = match caller.and_then(Caller::tenant) {
        Some(tenant) => Trail::Tenant(tenant.clone()),
        None => Trail::Installation,
    };
    let actor = match (caller, peer) {
        (Some(caller), Some(peer)) => caller.actor(peer.address),
        _ => Actor { name: "unknown".to_owned(), via: String::new(), address: String::new() },
    };
    let role = caller.map_or("", |caller| caller.role().name());
    denials.record(trail, actor, Event::refused(EventType::CallRefused, method).with("role", role));
}

/// The token of a call, if it presents one.
fn bearer_token(headers: &HeaderMap) -> Option<Result<&str, TokenRejected>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return Some(Err(TokenRejected::Malformed));
    }
    let token = first.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    });
    Some(token.ok_or(TokenRejected::Malformed))
}

fn denied_status(caller: Option<&Caller>, roles: &[Role]) -> Status {
    if roles.is_empty() {
        let message = "there is no such method, or nobody may call it; `grpcurl … list` shows the services";
        return status::error(Code::PermissionDenied, "NOT_ALLOWED", message, &[]);
    }
    if let Some(Caller::Console { .. }) = caller {
        let message = "a console's certificate alone does not allow this call; present the token of the person who asks in the metadata, \
                       `authorization: Bearer …`";
        return status::error(Code::PermissionDenied, "TOKEN_REQUIRED", message, &[]);
    }
    let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
    let message = match caller {
        Some(Caller::Admin { via: Some(_), .. }) => "the person's role does not allow this call; it takes",
        _ => "your certificate's role does not allow this call; it takes",
    };
    let message = format!("{message} {}", roles.join(" or "));
    status::error(Code::PermissionDenied, "NOT_ALLOWED", message, &[])
}
