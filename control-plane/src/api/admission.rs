//! Who calls, and whether they may: the certificate of the connection, on a console's connection the token that it presents, the table of
//! `authz`, and whether the caller's tenant is served, read anew for each call. The gate asks; the handlers are told.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::{Code, Status};

use super::bounded::Ends;
use super::refusals::Refusals;
use super::suspensions::Suspensions;
use super::tokens::{Person, TokenRejected, Tokens};
use super::{authz, status};
use crate::ca::identity::{Caller, Peer};
use crate::jobs::Clock;
use crate::model::{Actor, Event, EventType, Role, TenantId, Timestamp, Trail};
use crate::store::{Store, StoreError};

/// Stands for a method that is not in the table: the names are the caller's to choose.
const UNKNOWN: &str = "unknown method";

/// What admission works with.
pub struct Admission {
    /// Where tenants are kept.
    pub store: Arc<dyn Store>,
    /// Whose tokens are accepted.
    pub tokens: Tokens,
    /// Which tenants are not served.
    pub suspensions: Suspensions,
    /// Where refusals are noted.
    pub refusals: Refusals,
    /// The time.
    pub clock: Clock,
}

/// A call that was let in.
pub(super) struct Admitted {
    /// Who calls.
    pub(super) caller: Caller,
    /// The method, as the table has it.
    pub(super) method: &'static str,
    /// What ends its answer early.
    pub(super) ends: Ends,
}

impl Admission {
    /// Lets a call in, or says why not.
    pub(super) async fn admit(
        &self,
        peer: Option<&Peer>,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Admitted, Status> {
        let (method, roles) = authz::row(path).unwrap_or((UNKNOWN, &[]));
        let Some(peer) = peer else { return Err(self.refuse(None, None, method, path, roles)) };
        let (caller, until) = self.caller(peer, method, path, headers).await?;
        if !roles.contains(&caller.role()) {
            return Err(self.refuse(Some(&caller), Some(peer), method, path, roles));
        }
        let mut ends = Ends::default();
        if let Caller::Admin { tenant, .. } = &caller {
            ends.after = until.map(|until| until.since(self.clock.now()));
            // What tells of no tenant is answered to whoever has a role.
            if path.starts_with("/rollcall.") {
                let open = authz::open_to_suspended(path);
                self.served(tenant, open).await?;
                ends.suspended = (!open).then(|| (self.suspensions.clone(), tenant.clone()));
            }
        }
        Ok(Admitted { caller, method, ends })
    }

    /// The caller by its certificate or, at a console, by the token; and until when the token counts.
    async fn caller(
        &self,
        peer: &Peer,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(Caller, Option<Timestamp>), Status> {
        let Caller::Console { name } = &peer.caller else { return Ok((peer.caller.clone(), None)) };
        let Some(token) = bearer(headers) else { return Ok((peer.caller.clone(), None)) };
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

    fn refuse(
        &self,
        caller: Option<&Caller>,
        peer: Option<&Peer>,
        method: &str,
        path: &str,
        roles: &[Role],
    ) -> Status {
        tracing::warn!(caller = caller.map(Caller::label), path, "call refused");
        note(&self.refusals, caller, peer, method);
        not_allowed(caller, roles)
    }

    /// Nothing that the token says is believed, so the refusal belongs to no tenant.
    fn reject_token(&self, peer: &Peer, method: &str, path: &str, rejected: &TokenRejected) -> Status {
        let (console, reason) = (peer.caller.label(), rejected.reason());
        tracing::warn!(console, path, reason, "a person's token refused");
        let event = Event::refused(EventType::TokenRefused, method).with("reason", reason);
        self.refusals.note(Trail::Installation, peer.caller.actor(peer.address), event);
        let message = format!("The token is refused: {rejected}.");
        status::error(Code::Unauthenticated, "TOKEN_REFUSED", message, &[("why", reason.to_owned())])
    }

    /// Whether a tenant exists and is served. A certificate can outlive its tenant.
    async fn served(&self, tenant: &TenantId, open: bool) -> Result<(), Status> {
        match self.store.tenant(tenant).await {
            Ok(tenant) if tenant.suspended_at.is_some() && !open => Err(status::tenant_suspended()),
            Ok(_) => Ok(()),
            Err(StoreError::NotFound(_)) => Err(status::not_found("tenant")),
            Err(error) => Err(status::store(error)),
        }
    }
}

/// Notes a refused call in the trail of the caller's tenant.
pub(super) fn note(refusals: &Refusals, caller: Option<&Caller>, peer: Option<&Peer>, method: &str) {
    let trail = match caller.and_then(Caller::tenant) {
        Some(tenant) => Trail::Tenant(tenant.clone()),
        None => Trail::Installation,
    };
    let actor = match (caller, peer) {
        (Some(caller), Some(peer)) => caller.actor(peer.address),
        _ => Actor { name: "unknown".to_owned(), via: String::new(), address: String::new() },
    };
    let role = caller.map_or("", |caller| caller.role().name());
    refusals.note(trail, actor, Event::refused(EventType::CallRefused, method).with("role", role));
}

/// The token of a call, if it presents one.
fn bearer(headers: &HeaderMap) -> Option<Result<&str, TokenRejected>> {
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

fn not_allowed(caller: Option<&Caller>, roles: &[Role]) -> Status {
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
