//! Checks the settings of an identity source and fills in defaults. Reports every wrong field at
//! once.

use rollcall_proto::admin::v1 as proto;
use rollcall_proto::limits::{DIRECTORY_SERVERS, FILTER_BYTES, POLICY_ATTRIBUTES, ROOTS};
use rollcall_proto::secrets::is_password_attribute;

use crate::api::common::resource_names;
use crate::model::{
    AttributeMapping, DirectoryServer, DisableGuard, DisabledRule, DisabledTest, ExpiryFormat, ExpiryRule,
    IdFormat, Scope, Security, SourceSettings, TenantId,
};

/// Field path and what is wrong with it.
type Violations = Vec<(String, String)>;

struct SettingsChecker {
    field: String,
    violations: Violations,
}

impl SettingsChecker {
    fn wrong(&mut self, field: &str, why: impl Into<String>) {
        self.violations.push((format!("{}.{field}", self.field), why.into()));
    }

    fn attribute(&mut self, field: &str, name: &str, required: bool) {
        let oid =
            name.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if name.is_empty() {
            if required {
                self.wrong(field, "is required: the name of a directory attribute");
            }
        } else if !(oid || word) || name.len() > 128 {
            self.wrong(field, "must be the name of a directory attribute, such as givenName");
        } else if is_password_attribute(name) {
            self.wrong(field, "names an attribute that holds secrets, which are never synchronized");
        }
    }

    fn number(&mut self, field: &str, number: i32, default: u32, most: u32) -> u32 {
        match u32::try_from(number) {
            Ok(0) => default,
            Ok(number) if number <= most => number,
            _ => {
                self.wrong(field, format!("must be from 1 to {most}, or 0 for {default}"));
                default
            }
        }
    }
}

/// Checks and completes settings.
pub(super) fn settings_from_proto(
    tenant: &TenantId,
    field: &str,
    settings: proto::IdentitySourceSettings,
) -> Result<SourceSettings, Violations> {
    let mut check = SettingsChecker { field: field.to_owned(), violations: Vec::new() };
    let scope = match settings.scope() {
        proto::identity_source_settings::Scope::OneLevel => Scope::OneLevel,
        _ => Scope::Subtree,
    };
    let proto::IdentitySourceSettings {
        directory_servers,
        credential,
        roots,
        scope: _,
        object_class,
        extra_filter,
        page_size,
        mapping,
        sync_limit,
        disable_guard,
        identity_routers,
        verify_passwords,
    } = settings;
    if directory_servers.is_empty() || directory_servers.len() > DIRECTORY_SERVERS {
        check.wrong("directory_servers", "must have 1 to 10 servers, in fail-over order");
    }
    let servers = directory_servers
        .iter()
        .enumerate()
        .map(|(at, given)| server_from_proto(&mut check, at, given))
        .collect();
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if credential.is_empty() || credential.len() > 63 || !credential.bytes().all(named) {
        check.wrong(
            "credential",
            "is required: the name of a credential in the identity router's configuration",
        );
    }
    if roots.is_empty() || roots.len() > ROOTS {
        check.wrong("roots", "must have 1 to 20 base DNs");
    }
    for (at, root) in roots.iter().enumerate().filter(|(_, root)| !is_dn(root)) {
        check.wrong(
            &format!("roots[{at}]"),
            format!("must be a distinguished name such as ou=people,dc=example,dc=com, not {root:?}"),
        );
    }
    check.attribute("object_class", &object_class, true);
    if !is_balanced(&extra_filter) {
        check.wrong(
            "extra_filter",
            "must be one RFC 4515 filter in parentheses, such as (employeeType=staff)",
        );
    }
    let routers: Vec<_> =
        identity_routers.iter().map(|name| resource_names::parse_router_of(tenant, name)).collect();
    if routers.iter().any(Option::is_none) {
        check.wrong(
            "identity_routers",
            format!("must be names of the form tenants/{tenant}/identityRouters/{{identity_router}}"),
        );
    }
    let guard = disable_guard.unwrap_or_default();
    let usual = DisableGuard::default();
    let mut guarded =
        |field: &str, given, usual, most| check.number(&format!("disable_guard.{field}"), given, usual, most);
    let disable_guard = DisableGuard {
        max_users: guarded("max_users", guard.max_users, usual.max_users, 100_000_000),
        max_percent: guarded("max_percent", guard.max_percent, usual.max_percent, 100),
        max_unexplained: guarded(
            "max_unexplained_users",
            guard.max_unexplained_users,
            usual.max_unexplained,
            100_000_000,
        ),
        max_unexplained_permille: guarded(
            "max_unexplained_permille",
            guard.max_unexplained_permille,
            usual.max_unexplained_permille,
            1_000,
        ),
    };
    let checked = SourceSettings {
        servers,
        credential,
        scope,
        page_size: check.number("page_size", page_size, 1_000, 5_000),
        mapping: mapping_from_proto(&mut check, mapping.unwrap_or_default()),
        sync_limit: check.number("sync_limit", sync_limit, 1_000_000, 100_000_000),
        disable_guard,
        routers: routers.into_iter().flatten().map(|router| router.0).collect(),
        roots,
        object_class,
        extra_filter,
        verify_passwords,
    };
    if check.violations.is_empty() { Ok(checked) } else { Err(check.violations) }
}

fn server_from_proto(
    check: &mut SettingsChecker,
    at: usize,
    server: &proto::DirectoryServer,
) -> DirectoryServer {
    let security = match server.security() {
        proto::directory_server::Security::Starttls => Security::StartTls,
        proto::directory_server::Security::Plain => Security::Plain,
        proto::directory_server::Security::Ldaps | proto::directory_server::Security::Unspecified => {
            Security::Ldaps
        }
    };
    let proto::DirectoryServer { host, port, security: _ } = server.clone();
    let of_host = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(of_host) {
        check.wrong(
            &format!("directory_servers[{at}].host"),
            "must be a host name or address without scheme and port",
        );
    }
    let port = u16::try_from(port).unwrap_or_else(|_| {
        check.wrong(
            &format!("directory_servers[{at}].port"),
            "must be from 1 to 65535, or 0 for the usual one",
        );
        0
    });
    let port = match (port, security) {
        (0, Security::Ldaps) => 636,
        (0, _) => 389,
        (port, _) => port,
    };
    DirectoryServer { host, port, security }
}

fn mapping_from_proto(check: &mut SettingsChecker, mapping: proto::AttributeMapping) -> AttributeMapping {
    let immutable_id_format = match mapping.immutable_id_format() {
        proto::attribute_mapping::ImmutableIdFormat::Guid => IdFormat::Guid,
        proto::attribute_mapping::ImmutableIdFormat::Text => IdFormat::Text,
        _ => IdFormat::Uuid,
    };
    let proto::AttributeMapping {
        immutable_id,
        immutable_id_format: _,
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
    check.attribute("mapping.immutable_id", &immutable_id, true);
    check.attribute("mapping.user_name", &user_name, true);
    check.attribute("mapping.mail", &mail, !mail_optional);
    check.attribute("mapping.first_name", &first_name, false);
    check.attribute("mapping.last_name", &last_name, false);
    check.attribute("mapping.display_name", &display_name, false);
    check.attribute("mapping.phone", &phone, false);
    if policy_attributes.len() > POLICY_ATTRIBUTES {
        check.wrong("mapping.policy_attributes", "must have at most 20 attributes");
    }
    for attribute in &policy_attributes {
        check.attribute("mapping.policy_attributes", attribute, true);
    }
    let disabled = disabled.and_then(|rule| {
        let proto::DisabledRule { attribute, test } = rule;
        check.attribute("mapping.disabled.attribute", &attribute, true);
        let test = match test {
            Some(proto::disabled_rule::Test::AnyValueOf(proto::ValueList { values })) => {
                if values.is_empty() || values.len() > 50 {
                    check.wrong("mapping.disabled.any_value_of", "must have 1 to 50 values");
                }
                DisabledTest::AnyValueOf(values)
            }
            Some(proto::disabled_rule::Test::Present(true)) => DisabledTest::Present,
            Some(proto::disabled_rule::Test::BitsSet(bits)) if bits > 0 => DisabledTest::BitsSet(bits),
            Some(_) | None => {
                check.wrong(
                    "mapping.disabled",
                    "needs one of any_value_of, present (true) and bits_set (above 0)",
                );
                return None;
            }
        };
        Some(DisabledRule { attribute, test })
    });
    let expires = expires.and_then(|rule| {
        check.attribute("mapping.expires.attribute", &rule.attribute, true);
        let format = match rule.format() {
            proto::expiry_rule::Format::Filetime => ExpiryFormat::Filetime,
            proto::expiry_rule::Format::GeneralizedTime => ExpiryFormat::GeneralizedTime,
            proto::expiry_rule::Format::DaysSince1970 => ExpiryFormat::Days,
            proto::expiry_rule::Format::SecondsSince1970 => ExpiryFormat::Seconds,
            proto::expiry_rule::Format::Unspecified => {
                let formats =
                    "is required: FILETIME, GENERALIZED_TIME, DAYS_SINCE_1970 or SECONDS_SINCE_1970";
                check.wrong("mapping.expires.format", formats);
                return None;
            }
        };
        Some(ExpiryRule { attribute: rule.attribute, format })
    });
    AttributeMapping {
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
    }
}

/// Whether a text has the shape of a distinguished name; the directory has the last word.
fn is_dn(text: &str) -> bool {
    let mut rdns = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        match character {
            ',' if !escaped => rdns.push(String::new()),
            _ => rdns.last_mut().into_iter().for_each(|rdn| rdn.push(character)),
        }
        escaped = character == '\\' && !escaped;
    }
    text.len() <= 4_096
        && rdns.iter().all(|rdn| {
            rdn.split_once('=').is_some_and(|(kind, value)| {
                let kind = kind.trim();
                !kind.is_empty()
                    && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
                    && !value.trim().is_empty()
            })
        })
}

/// Whether a filter is empty or one parenthesized expression; the identity router parses it.
fn is_balanced(filter: &str) -> bool {
    if filter.is_empty() {
        return true;
    }
    let mut depth = 0_u32;
    let mut closed_at = None;
    for (at, character) in filter.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && closed_at.is_none() {
            closed_at = Some(at + character.len_utf8());
        }
    }
    filter.starts_with('(') && depth == 0 && closed_at == Some(filter.len()) && filter.len() <= FILTER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::common::source_settings::source_settings_to_proto;

    #[test]
    fn names_and_filters_are_told_from_other_text() {
        assert!(is_dn("ou=Sales\\, EMEA,dc=lab,dc=test") && is_dn("dc=test"));
        assert!(!is_dn("people") && !is_dn("") && !is_dn("ou=people,lab"));
        assert!(is_balanced("") && is_balanced("(&(a=b)(!(c=d)))"));
        assert!(
            !is_balanced("(a=b")
                && !is_balanced("a=b")
                && !is_balanced("(a=b)(c=d)")
                && !is_balanced("(a=b))((c=d)")
        );
    }

    #[test]
    fn settings_that_went_in_come_out_completed() {
        let tenant = TenantId::from("acme");
        let given = proto::IdentitySourceSettings {
            directory_servers: vec![proto::DirectoryServer {
                host: "ldap.lab.test".to_owned(),
                ..Default::default()
            }],
            credential: "directory".to_owned(),
            roots: vec!["dc=lab,dc=test".to_owned()],
            object_class: "user".to_owned(),
            mapping: Some(proto::AttributeMapping {
                immutable_id: "objectGUID".to_owned(),
                user_name: "sAMAccountName".to_owned(),
                mail: "mail".to_owned(),
                ..Default::default()
            }),
            identity_routers: vec!["tenants/acme/identityRouters/hq-1".to_owned()],
            verify_passwords: true,
            ..Default::default()
        };
        let checked = settings_from_proto(&tenant, "draft", given).expect("good settings");
        assert_eq!(
            (checked.servers[0].port, checked.page_size, checked.disable_guard.max_users),
            (636, 1_000, 500)
        );
        let out = source_settings_to_proto(&tenant, &checked);
        assert_eq!(settings_from_proto(&tenant, "draft", out).expect("still good"), checked);
    }
}
