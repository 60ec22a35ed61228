//! Who calls, and whether they may: the certificate of the connection, on a console's connection the token that it presents, the table of
//! `authz`, and whether the caller's tenant is served, read anew for each call. The gate asks; the handlers are told.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::{Code, Status};

use super::bounded::Ends;
use super::suspensions::Suspensions;
use super::tokens::{Person, Refusal, Tokens};
use super::{authz, status};
use crate::ca::identity::{Caller, Peer};
use crate::jobs::Clock;
use crate::model::Timestamp;
use crate::store::{Store, StoreError};

/// What admission works with.
pub struct Admission {
    /// Where tenants are kept.
    pub store: Arc<dyn Store>,
    /// Whose tokens are accepted.
    pub tokens: Tokens,
    /// Which tenants are not served.
    pub suspensions: Suspensions,
    /// The time.
    pub clock: Clock,
}

/// A call that was let in.
pub(super) struct Admitted {
    /// Who calls.
    pub(super) caller: Caller,
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
        let roles = authz::allowed(path);
        let Some(peer) = peer else { return Err(not_allowed(None, path, roles)) };
        let (caller, until) = self.caller(peer, path, headers).await?;
        if !roles.contains(&caller.role()) {
            return Err(not_allowed(Some(&caller), path, roles));
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
        Ok(Admitted { caller, ends })
    }

    /// The caller by its certificate or, at a console, by the token; and until when the token counts.
    async fn caller(
        &self,
        peer: &Peer,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(Caller, Option<Timestamp>), Status> {
        let Caller::Console { name } = &peer.caller else { return Ok((peer.caller.clone(), None)) };
        let Some(token) = bearer(headers) else { return Ok((peer.caller.clone(), None)) };
        let person = match token {
            Ok(token) => self.tokens.person(name, token).await,
            Err(refusal) => Err(refusal),
        };
        match person {
            Ok(Person { tenant, name: person, role, until }) => {
                let via = Some(name.clone());
                Ok((Caller::Admin { tenant, name: person, role, via }, Some(until)))
            }
            Err(refusal) => Err(token_refused(peer, path, &refusal)),
        }
    }

    /// Whether a tenant exists and is served. A certificate can outlive its tenant.
    async fn served(&self, tenant: &crate::model::TenantId, open: bool) -> Result<(), Status> {
        match self.store.tenant(tenant).await {
            Ok(tenant) if tenant.suspended_at.is_some() && !open => Err(status::tenant_suspended()),
            Ok(_) => Ok(()),
            Err(StoreError::NotFound(_)) => Err(status::not_found("tenant")),
            Err(error) => Err(status::store(error)),
        }
    }
}

/// The token of a call, if it presents one.
fn bearer(headers: &HeaderMap) -> Option<Result<&str, Refusal>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return Some(Err(Refusal::Malformed));
    }
    let token = first.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    });
    Some(token.ok_or(Refusal::Malformed))
}

fn token_refused(peer: &Peer, path: &str, refusal: &Refusal) -> Status {
    let (console, reason) = (peer.caller.label(), refusal.reason());
    tracing::warn!(console, path, reason, "a person's token refused");
    let message = format!("The token is refused: {refusal}.");
    status::error(Code::Unauthenticated, "TOKEN_REFUSED", message, &[("why", reason.to_owned())])
}

fn not_allowed(caller: Option<&Caller>, path: &str, roles: &[authz::Role]) -> Status {
    tracing::warn!(caller = caller.map(Caller::label), path, "call refused");
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
