//! Converts identity routers and registration codes to messages.

use std::time::Duration;

use rollcall_proto::admin::v1::{IdentityRouter, RegistrationCode, identity_router, registration_code};

use crate::api::common::convert::timestamp_to_proto;
use crate::api::common::resource_names;
use crate::jobs::ROUTER_SILENCE;
use crate::model::{self, RECOVERIES, RouterState, TenantId, Timestamp, hex};

/// A router. `life` is how long its certificates are valid.
pub(super) fn router_to_proto(
    tenant: &TenantId,
    router: model::IdentityRouter,
    life: Duration,
    now: Timestamp,
) -> IdentityRouter {
    let state = match router.state {
        RouterState::Suspended => identity_router::State::Suspended,
        RouterState::Revoked => identity_router::State::Revoked,
        RouterState::Active if router.connected && router.last_seen >= now.minus(ROUTER_SILENCE) => {
            identity_router::State::Connected
        }
        RouterState::Active => identity_router::State::Disconnected,
    };
    let message = match router.state {
        RouterState::Active if now > router.certificate_expires => {
            "Its certificate has expired. The identity router recovers by itself when it is started, as long as recoveries are left."
        }
        // It renews from half of its life on.
        RouterState::Active if now > router.certificate_expires.minus(life / 4) => {
            "It has not renewed its certificate, which ends soon. Its log says why."
        }
        _ => &router.state_message,
    };
    IdentityRouter {
        name: resource_names::router_name(tenant, &router.id),
        state: state.into(),
        state_message: message.to_owned(),
        version: router.version,
        last_seen_time: Some(router.last_seen).filter(|seen| seen.0 > 0).map(timestamp_to_proto),
        create_time: Some(timestamp_to_proto(router.created_at)),
        certificate_expire_time: Some(timestamp_to_proto(router.certificate_expires)),
        certificate_generation: i32::try_from(router.generation).unwrap_or(i32::MAX),
        key_fingerprint: hex(&router.key),
        identity_sources: source_names(tenant, &router.sources),
        recoveries_left: i32::try_from(RECOVERIES - router.recoveries).unwrap_or_default(),
    }
}

/// A code, without itself.
pub(super) fn code_to_proto(
    tenant: &TenantId,
    code: model::RegistrationCode,
    now: Timestamp,
) -> RegistrationCode {
    let state = match code {
        _ if code.used_at.is_some() => registration_code::State::Used,
        _ if code.voided_at.is_some() => registration_code::State::Voided,
        _ if now > code.expires_at => registration_code::State::Expired,
        _ => registration_code::State::Pending,
    };
    RegistrationCode {
        name: resource_names::code_name(tenant, &code.id),
        identity_router: resource_names::router_name(tenant, &code.router),
        identity_sources: source_names(tenant, &code.sources),
        code: String::new(),
        state: state.into(),
        created_by: code.created_by,
        create_time: Some(timestamp_to_proto(code.created_at)),
        expire_time: Some(timestamp_to_proto(code.expires_at)),
        use_time: code.used_at.map(timestamp_to_proto),
    }
}

fn source_names(tenant: &TenantId, sources: &[model::SourceId]) -> Vec<String> {
    sources.iter().map(|source| resource_names::source_name(tenant, source)).collect()
}
