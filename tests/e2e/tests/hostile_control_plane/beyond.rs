//! Settings that ask for more than the router's policy names: each in one way, so that no other
//! refusal hides a hole.

use rollcall_proto::admin::v1::{
    AttributeMapping, DirectoryServer, DisabledRule, IdentitySourceSettings,
    attribute_mapping::ImmutableIdFormat, directory_server::Security,
};

use super::PLANTED;

fn mapping(settings: &mut IdentitySourceSettings) -> &mut AttributeMapping {
    settings.mapping.get_or_insert_default()
}

/// Settings that ask for more than the policy names, each in one way.
pub(super) fn beyond(
    honest: &IdentitySourceSettings,
    trap: u16,
    plain: u16,
) -> Vec<(String, IdentitySourceSettings)> {
    let mut all = Vec::new();
    let mut add = |what: String, change: &dyn Fn(&mut IdentitySourceSettings)| {
        let mut settings = honest.clone();
        change(&mut settings);
        all.push((what, settings));
    };
    let server = |host: &str, port: u16| DirectoryServer {
        host: host.to_owned(),
        port: i32::from(port),
        security: Security::Ldaps.into(),
    };
    let usual = u16::try_from(honest.directory_servers[0].port).unwrap_or_default();
    for host in [
        "127.0.0.1",
        "[::1]",
        "::1",
        "0.0.0.0",
        "localhost.",
        " localhost",
        "localhost ",
        "localhost\0",
        "localhost\0.x",
        "localhost:389",
        "localhost/",
        "localhost#",
        "localhost@127.0.0.1",
        "127.1",
        "2130706433",
        "169.254.169.254",
        "evil.invalid",
        "ldap://localhost",
        "ldaps://localhost",
        "ldapi:///",
        "ldapi://%2Fvar%2Frun%2Fldapi",
        "file:///etc/passwd",
        "/etc/passwd",
        "../bind.password",
        "payroll.invalid",
        "*",
        "",
        "localhost,127.0.0.1",
        "ⓛocalhost",
    ] {
        add(format!("host {host:?}"), &|s| s.directory_servers = vec![server(host, usual)]);
        add(format!("host {host:?} at the trap"), &|s| s.directory_servers = vec![server(host, trap)]);
        add(format!("host {host:?} behind an honest one"), &|s| {
            s.directory_servers.push(server(host, trap));
        });
    }
    for port in [i32::from(trap), 0, -1, i32::MIN, i32::MAX, 65_536 + i32::from(usual), 22] {
        add(format!("port {port}"), &|s| s.directory_servers[0].port = port);
    }
    add("no protection".to_owned(), &|s| {
        s.directory_servers[0].set_security(Security::Plain);
        s.directory_servers[0].port = i32::from(plain);
    });
    add("no protection, at the other port".to_owned(), &|s| {
        s.directory_servers[0].set_security(Security::Plain)
    });
    add("no server".to_owned(), &|s| s.directory_servers.clear());
    add("too many servers".to_owned(), &|s| s.directory_servers = vec![server("localhost", trap); 20_000]);
    for credential in [
        "",
        "payroll",
        "Directory",
        "directory\0",
        "directory ",
        "root",
        "../bind.password",
        "/etc/shadow",
        "*",
    ] {
        add(format!("credential {credential:?}"), &|s| s.credential = credential.to_owned());
    }
    for root in [
        "",
        "dc=example,dc=com",
        "ou=vault,dc=example,dc=com",
        "OU=Vault,DC=example,DC=com",
        "cn=config",
        "cn=monitor",
        "*",
        "uid=hidden,ou=vault,dc=example,dc=com",
        "ou=vault,dc=example,dc=com\0,ou=people,dc=example,dc=com",
        "ou=vault\\,ou=people,dc=example,dc=com",
        "ou=vault,dc=example\\,dc=com,ou=people",
        "ou=people\\,dc=example,dc=com",
        "ou=people,dc=example,dc=com,ou=vault,dc=example,dc=com",
        "<WKGUID=a9d1ca15768811d1aded00c04fd8d5cd,dc=example,dc=com>",
        "<GUID=00000000000000000000000000000000>",
        "ou=xpeople,dc=example,dc=com",
        "ldap:///ou=vault,dc=example,dc=com",
        "people",
        "ou=people+ou=vault,dc=example,dc=com",
        "/etc/passwd",
        "ou=people,dc=example,dc=com\n",
        "ou=people;dc=example;dc=com",
    ] {
        add(format!("root {root:?}"), &|s| s.roots = vec![root.to_owned()]);
        add(format!("root {root:?} beside an honest one"), &|s| s.roots.push(root.to_owned()));
    }
    add("no root".to_owned(), &|s| s.roots.clear());
    add("too many roots".to_owned(), &|s| s.roots = vec![s.roots[0].clone(); 100_000]);
    for attribute in [
        "userPassword",
        "USERPASSWORD",
        "userPassword;x-y",
        "userPassword;binary",
        " userPassword",
        "userPassword ",
        "2.5.4.35",
        "2.5.4.35;x-y",
        "OID.2.5.4.35",
        "unicodePwd",
        "1.2.840.113556.1.4.90",
        "dBCSPwd",
        "ntPwdHash",
        "ntPwdHistory",
        "lmPwdHistory",
        "supplementalCredentials",
        "ms-Mcs-AdmPwd",
        "msLAPS-Password",
        "msLAPS-EncryptedPassword",
        "msDS-ManagedPassword",
        "sambaNTPassword",
        "sambaLMPassword",
        "krbPrincipalKey",
        "authPassword",
        "olcRootPW",
        "pwdHistory",
        "ipaNTHash",
        "*",
        "+",
        "@inetOrgPerson",
        "1.1",
        "description",
        "homePhone",
        "entryDN",
        "memberOf",
        "mail;lang-de",
        "title,userPassword",
        "title userPassword",
        "title\0userPassword",
        "objectClass",
    ] {
        add(format!("attribute {attribute:?} for policies"), &|s| {
            mapping(s).policy_attributes.push(attribute.to_owned());
        });
        add(format!("attribute {attribute:?} as a phone"), &|s| mapping(s).phone = attribute.to_owned());
        add(format!("attribute {attribute:?} as the id"), &|s| {
            mapping(s).immutable_id = attribute.to_owned();
            mapping(s).set_immutable_id_format(ImmutableIdFormat::Text);
        });
        add(format!("attribute {attribute:?} as a mark"), &|s| {
            let test = mapping(s).disabled.clone().and_then(|rule| rule.test);
            mapping(s).disabled = Some(DisabledRule { attribute: attribute.to_owned(), test });
        });
    }
    add("too many attributes".to_owned(), &|s| {
        mapping(s).policy_attributes = vec!["title".to_owned(); 100_000];
    });
    let planted = format!("{PLANTED}-1");
    for filter in [
        "(userPassword=*)",
        "(userPassword=planted*)",
        "userPassword=planted*",
        "(userPassword>=p)",
        "(userPassword~=p)",
        "(&(uid=*)(!(userPassword=q*)))",
        "(|(uid=victim)(userPassword;x-y=p*))",
        "(2.5.4.35=*)",
        "( userPassword=*)",
        &format!("(:octetStringMatch:={planted})"),
        &format!("(:2.5.13.17:={planted})"),
        &format!("(:dn:octetStringMatch:={planted})"),
        &format!("(userPassword:octetStringMatch:={planted})"),
        "(:caseIgnoreMatch:=planted-secret-3)",
        "(description=planted*)",
        "*)(userPassword=*",
        "(uid=*))(|(userPassword=*)",
        "(uid=*)(userPassword=*)",
        "(uid=a\0)(userPassword=*)",
        "(uid=\\zz)",
        "(uid=*)\0",
        "(",
        ")",
        "()",
        "(&)(",
        "(homePhone=planted*)",
        "(entryDN=*)",
        "(uid:dn:=x)(description=p*)",
    ] {
        add(format!("filter {filter:?}"), &|s| s.extra_filter = filter.to_owned());
    }
    // The third is within the size that settings may have.
    for depth in [40, 1_000, 50_000, 100_000] {
        add(format!("a filter of {depth} parentheses"), &|s| {
            s.extra_filter = format!("{}(uid=a){}", "(!".repeat(depth), ")".repeat(depth));
        });
    }
    add("a filter that only opens".to_owned(), &|s| s.extra_filter = "(&".repeat(500_000));
    add("a filter of 1 MB".to_owned(), &|s| s.extra_filter = format!("(uid={})", "a".repeat(1 << 20)));
    add("an object class that is a filter".to_owned(), &|s| {
        s.object_class = "x)(userPassword=planted*".to_owned();
        mapping(s).policy_attributes.push("userPassword".to_owned());
    });
    all
}
