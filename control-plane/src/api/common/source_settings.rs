//! Converts the settings of an identity source to a message: administrators see them, identity
//! routers get them with their orders.

use rollcall_proto::admin::v1 as proto;

use super::resource_names;
use crate::model::{
    AttributeMapping, DirectoryServer, DisabledRule, DisabledTest, ExpiryFormat, ExpiryRule, IdFormat,
    RouterId, Scope, Security, SourceSettings, TenantId,
};

/// Settings as administrators see them and identity routers get them.
pub(in crate::api) fn source_settings_to_proto(
    tenant: &TenantId,
    settings: &SourceSettings,
) -> proto::IdentitySourceSettings {
    let SourceSettings {
        servers,
        credential,
        roots,
        scope,
        object_class,
        extra_filter,
        page_size,
        mapping,
        sync_limit,
        disable_guard,
        routers,
        verify_passwords,
    } = settings.clone();
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let servers =
        servers.into_iter().map(|DirectoryServer { host, port, security }| proto::DirectoryServer {
            host,
            port: i32::from(port),
            security: match security {
                Security::Ldaps => proto::directory_server::Security::Ldaps,
                Security::StartTls => proto::directory_server::Security::Starttls,
                Security::Plain => proto::directory_server::Security::Plain,
            }
            .into(),
        });
    proto::IdentitySourceSettings {
        directory_servers: servers.collect(),
        credential,
        roots,
        scope: match scope {
            Scope::Subtree => proto::identity_source_settings::Scope::Subtree,
            Scope::OneLevel => proto::identity_source_settings::Scope::OneLevel,
        }
        .into(),
        object_class,
        extra_filter,
        page_size: number(page_size),
        mapping: Some(mapping_to_proto(mapping)),
        sync_limit: number(sync_limit),
        disable_guard: Some(proto::DisableGuard {
            max_users: number(disable_guard.max_users),
            max_percent: number(disable_guard.max_percent),
            max_unexplained_users: number(disable_guard.max_unexplained),
            max_unexplained_permille: number(disable_guard.max_unexplained_permille),
        }),
        identity_routers: routers
            .iter()
            .map(|router| resource_names::router_name(tenant, &RouterId::from(router.as_str())))
            .collect(),
        verify_passwords,
    }
}

/// The format of immutable ids as the API has it.
pub(in crate::api) fn id_format_to_proto(format: IdFormat) -> proto::attribute_mapping::ImmutableIdFormat {
    match format {
        IdFormat::Uuid => proto::attribute_mapping::ImmutableIdFormat::Uuid,
        IdFormat::Guid => proto::attribute_mapping::ImmutableIdFormat::Guid,
        IdFormat::Text => proto::attribute_mapping::ImmutableIdFormat::Text,
    }
}

fn mapping_to_proto(mapping: AttributeMapping) -> proto::AttributeMapping {
    let AttributeMapping {
        immutable_id,
        immutable_id_format,
        user_name,
        mail,
        mail_optional,
        first_name,
        last_name,
        display_name,
        phone,
        disabled,
        expires,
        policy_attributes,
        assume_absent_mark,
    } = mapping;
    proto::AttributeMapping {
        immutable_id,
        immutable_id_format: id_format_to_proto(immutable_id_format).into(),
        user_name,
        mail,
        mail_optional,
        first_name,
        last_name,
        display_name,
        phone,
        disabled: disabled.map(|DisabledRule { attribute, test }| proto::DisabledRule {
            attribute,
            test: Some(match test {
                DisabledTest::AnyValueOf(values) => {
                    proto::disabled_rule::Test::AnyValueOf(proto::ValueList { values })
                }
                DisabledTest::Present => proto::disabled_rule::Test::Present(true),
                DisabledTest::BitsSet(bits) => proto::disabled_rule::Test::BitsSet(bits),
            }),
        }),
        expires: expires.map(|ExpiryRule { attribute, format }| {
            let format = match format {
                ExpiryFormat::Filetime => proto::expiry_rule::Format::Filetime,
                ExpiryFormat::GeneralizedTime => proto::expiry_rule::Format::GeneralizedTime,
                ExpiryFormat::Days => proto::expiry_rule::Format::DaysSince1970,
                ExpiryFormat::Seconds => proto::expiry_rule::Format::SecondsSince1970,
            };
            proto::ExpiryRule { attribute, format: format.into() }
        }),
        policy_attributes,
        assume_absent_mark,
    }
}
