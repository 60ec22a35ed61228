//! What identity routers are refused: a sentence for the caller, the true reason for the log and the audit trail.

use std::sync::{Arc, Mutex, PoisonError};

use tonic::{Code, Status};

use super::{names, status};
use crate::enroll::coalesce::Coalesce;
use crate::jobs::Clock;
use crate::model::{Actor, Event, EventType, Refusal, Refused, RouterId, TenantId, Trail};
use crate::store::Store;

type Kind = (EventType, Refusal, Option<(TenantId, RouterId)>);

/// Keeps what was refused. Clones share what they count.
#[derive(Clone)]
pub struct Refusals {
    store: Arc<dyn Store>,
    clock: Clock,
    kinds: Arc<Mutex<Coalesce<Kind>>>,
}

impl Refusals {
    /// Keeps it in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, kinds: Arc::default() }
    }

    /// Notes a refusal: in the tenant's trail if it is known whose it is, else in the installation's.
    pub(super) async fn note(&self, kind: EventType, refused: &Refused, by: &Actor) {
        let now = self.clock.now();
        let reason = refused.refusal.name();
        tracing::warn!(reason, by = by.name, address = by.address, of = ?refused.of, "identity router refused");
        // The suspension is an event of its own, written by whoever suspended.
        if refused.refusal == Refusal::RouterCloned {
            return;
        }
        let known = (kind, refused.refusal, refused.of.clone());
        let stands_for = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).note(known, now);
        let Some(unwritten) = stands_for else { return };
        let (trail, subject) = match &refused.of {
            Some((tenant, router)) => {
                (Trail::Tenant(tenant.clone()), names::router_name(tenant, router.as_str()))
            }
            None => (Trail::Installation, String::new()),
        };
        let mut event = Event::refused(kind, subject).with("reason", reason);
        if unwritten > 0 {
            event = event.with("repeated", unwritten);
        }
        if let Err(error) = self.store.record(&trail, by, event, now).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "cannot write that a router was refused"
            );
        }
    }
}

/// What a router that is known is told.
pub(super) fn of_router(refusal: Refusal) -> Status {
    let (reason, message) = match refusal {
        Refusal::RouterRevoked => (
            "ROUTER_REVOKED",
            "An administrator has revoked this identity router. Stop it, and enroll a new one under another name.",
        ),
        Refusal::RouterSuspended | Refusal::RouterCloned => (
            "ROUTER_SUSPENDED",
            "Two machines have this identity router's certificates, so neither is let in. Stop one of them, and enroll the other with a new registration code.",
        ),
        Refusal::TenantSuspended => {
            ("TENANT_SUSPENDED", "The tenant is suspended. Ask the operator of the service.")
        }
        Refusal::KeyReplaced => (
            "ROUTER_REPLACED",
            "This identity router has enrolled anew since, perhaps on another machine. Stop this one.",
        ),
        _ => (
            "ROUTER_UNKNOWN",
            "This certificate is of no identity router that is known. Enroll with a new registration code.",
        ),
    };
    status::error(Code::PermissionDenied, reason, message, &[])
}
