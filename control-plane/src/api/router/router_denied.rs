//! What a denied router is told, and what the log and the audit trail say of it.

use tonic::{Code, Status};

use crate::api::common::{resource_names, status};
use crate::api::middleware::denials::DenialLog;
use crate::model::{Actor, Event, EventType, Refusal, RouterDenied, Trail};

/// Notes a refusal: in the tenant's trail if it is known whose it is, else in the installation's.
pub(super) fn record(denials: &DenialLog, kind: EventType, refused: &RouterDenied, by: &Actor) {
    let reason = refused.refusal.name();
    tracing::warn!(reason, by = by.name, address = by.address, of = ?refused.of, "identity router refused");
    // The suspension is an event of its own, written by whoever suspended.
    if refused.refusal == Refusal::RouterCloned {
        return;
    }
    let (trail, subject) = match &refused.of {
        Some((tenant, router)) => {
            (Trail::Tenant(tenant.clone()), resource_names::router_name(tenant, router))
        }
        None => (Trail::Installation, String::new()),
    };
    denials.record(trail, by.clone(), Event::refused(kind, subject).with("reason", reason));
}

/// What a router that is known is told.
pub(super) fn status(refusal: Refusal) -> Status {
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
