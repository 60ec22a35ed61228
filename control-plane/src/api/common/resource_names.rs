//! Parses resource names (AIP-122). Every name that a List call returns is accepted by the other
//! calls.

use tonic::Status;
use uuid::Uuid;

use super::status;
use crate::ca::is_id;
use crate::model::{RouterId, SourceId, TenantId, UserNo, WebhookId};

/// `tenants/{tenant}`.
pub(in crate::api) fn parse_tenant(field: &str, name: &str) -> Result<TenantId, Status> {
    match parts(name)[..] {
        ["tenants", tenant] if is_id(tenant) => Ok(TenantId::from(tenant)),
        _ => Err(malformed(field, "tenants/{tenant}")),
    }
}

/// `tenants/{tenant}` where `installation` would do as well.
pub(in crate::api) fn parse_trail(field: &str, name: &str) -> Result<TenantId, Status> {
    parse_tenant(field, name).map_err(|_| malformed(field, "tenants/{tenant}, or installation"))
}

/// `tenants/{tenant}/identitySources/{identity_source}`.
pub(in crate::api) fn parse_source(field: &str, name: &str) -> Result<(TenantId, SourceId), Status> {
    match parts(name)[..] {
        ["tenants", tenant, "identitySources", source] if is_id(tenant) && is_id(source) => {
            Ok((TenantId::from(tenant), SourceId::from(source)))
        }
        _ => Err(malformed(field, "tenants/{tenant}/identitySources/{identity_source}")),
    }
}

/// `tenants/{tenant}/identitySources/{identity_source}/syncSchedule`.
pub(in crate::api) fn parse_schedule(field: &str, name: &str) -> Result<(TenantId, SourceId), Status> {
    let parent = name.strip_suffix("/syncSchedule").and_then(|parent| parse_source(field, parent).ok());
    parent.ok_or_else(|| malformed(field, "tenants/{tenant}/identitySources/{identity_source}/syncSchedule"))
}

/// `tenants/{tenant}/identitySources/{identity_source}/syncJobs/{sync_job}`; no id for `latest`.
pub(in crate::api) fn parse_job(
    field: &str,
    name: &str,
) -> Result<(TenantId, SourceId, Option<Uuid>), Status> {
    let pattern = || {
        malformed(field, "tenants/{tenant}/identitySources/{identity_source}/syncJobs/{sync_job or latest}")
    };
    let (parent, id) = name.split_once("/syncJobs/").ok_or_else(pattern)?;
    let (tenant, source) = parse_source(field, parent).map_err(|_| pattern())?;
    match id {
        "latest" => Ok((tenant, source, None)),
        id => Ok((tenant, source, Some(Uuid::try_parse(id).map_err(|_| pattern())?))),
    }
}

/// `tenants/{tenant}/users/{number}`.
pub(in crate::api) fn parse_user(field: &str, name: &str) -> Result<(TenantId, UserNo), Status> {
    let pattern = || malformed(field, "tenants/{tenant}/users/{number}");
    match parts(name)[..] {
        ["tenants", tenant, "users", number] if is_id(tenant) => {
            let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(pattern)?;
            Ok((TenantId::from(tenant), UserNo(number)))
        }
        _ => Err(pattern()),
    }
}

/// `tenants/{tenant}/license`.
pub(in crate::api) fn parse_license(field: &str, name: &str) -> Result<TenantId, Status> {
    match parts(name)[..] {
        ["tenants", tenant, "license"] if is_id(tenant) => Ok(TenantId::from(tenant)),
        _ => Err(malformed(field, "tenants/{tenant}/license")),
    }
}

/// `tenants/{tenant}/identityRouters/{identity_router}`.
pub(in crate::api) fn parse_router(field: &str, name: &str) -> Result<(TenantId, RouterId), Status> {
    match parts(name)[..] {
        ["tenants", tenant, "identityRouters", router] if is_id(tenant) && is_id(router) => {
            Ok((TenantId::from(tenant), RouterId::from(router)))
        }
        _ => Err(malformed(field, "tenants/{tenant}/identityRouters/{identity_router}")),
    }
}

/// `tenants/{tenant}/registrationCodes/{registration_code}`.
pub(in crate::api) fn parse_code(field: &str, name: &str) -> Result<(TenantId, String), Status> {
    let pattern = || malformed(field, "tenants/{tenant}/registrationCodes/{registration_code}");
    match parts(name)[..] {
        ["tenants", tenant, "registrationCodes", code] if is_id(tenant) => {
            let code = Uuid::try_parse(code).map_err(|_| pattern())?;
            Ok((TenantId::from(tenant), code.to_string()))
        }
        _ => Err(pattern()),
    }
}

/// `tenants/{tenant}/justInTimeSettings`.
pub(in crate::api) fn parse_just_in_time_settings(field: &str, name: &str) -> Result<TenantId, Status> {
    match parts(name)[..] {
        ["tenants", tenant, "justInTimeSettings"] if is_id(tenant) => Ok(TenantId::from(tenant)),
        _ => Err(malformed(field, "tenants/{tenant}/justInTimeSettings")),
    }
}

/// `tenants/{tenant}/deletionSettings`.
pub(in crate::api) fn parse_deletion_settings(field: &str, name: &str) -> Result<TenantId, Status> {
    match parts(name)[..] {
        ["tenants", tenant, "deletionSettings"] if is_id(tenant) => Ok(TenantId::from(tenant)),
        _ => Err(malformed(field, "tenants/{tenant}/deletionSettings")),
    }
}

/// `tenants/{tenant}/webhooks/{webhook}`.
pub(in crate::api) fn parse_webhook(field: &str, name: &str) -> Result<(TenantId, WebhookId), Status> {
    match parts(name)[..] {
        ["tenants", tenant, "webhooks", webhook] if is_id(tenant) && is_id(webhook) => {
            Ok((TenantId::from(tenant), WebhookId::from(webhook)))
        }
        _ => Err(malformed(field, "tenants/{tenant}/webhooks/{webhook}")),
    }
}

/// The id in `tenants/{tenant}/identityRouters/{identity_router}` of this tenant.
pub(in crate::api) fn parse_router_of(tenant: &TenantId, name: &str) -> Option<RouterId> {
    match parts(name)[..] {
        ["tenants", of, "identityRouters", router] if of == tenant.as_str() && is_id(router) => {
            Some(RouterId::from(router))
        }
        _ => None,
    }
}

pub(in crate::api) use crate::model::names::{
    code as code_name, deletion_settings as deletion_settings_name, job_of as job_name,
    just_in_time_settings as just_in_time_settings_name, license as license_name, router as router_name,
    schedule as schedule_name, source as source_name, user as user_name, webhook as webhook_name,
};

fn parts(name: &str) -> Vec<&str> {
    name.split('/').collect()
}

fn malformed(field: &str, pattern: &str) -> Status {
    status::invalid(vec![(field.to_owned(), format!("must be a resource name of the form {pattern}"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_parsed_to_what_it_was_made_of() {
        let (tenant, source_id, id) = (TenantId::from("acme"), SourceId::from("hq"), Uuid::now_v7());
        assert_eq!(
            parse_source("name", &source_name(&tenant, &source_id)).expect("a source"),
            (tenant.clone(), source_id.clone())
        );
        assert_eq!(parse_job("name", &job_name(&tenant, &source_id, id)).expect("a job").2, Some(id));
        assert_eq!(
            parse_job("name", "tenants/acme/identitySources/hq/syncJobs/latest").expect("a job").2,
            None
        );
        assert_eq!(parse_user("name", &user_name(&tenant, UserNo(7))).expect("a user").1, UserNo(7));
    }

    #[test]
    fn names_that_could_mean_something_else_are_refused() {
        for name in [
            "",
            "acme",
            "tenants/",
            "tenants/../x",
            "tenants/ACME",
            "tenants/a%2eb",
            "tenants/a/b",
            "/tenants/a",
        ] {
            assert!(parse_tenant("parent", name).is_err(), "{name}");
        }
        assert!(parse_user("name", "tenants/acme/users/-1").is_err());
        assert!(parse_router_of(&TenantId::from("acme"), "tenants/globex/identityRouters/r").is_none());
    }
}
