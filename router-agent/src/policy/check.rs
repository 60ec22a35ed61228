//! Whether the policy allows what a source asks for. What the policy does not name is denied, and
//! the denial says what would have to be added.

use rollcall_proto::admin::v1::{DirectoryServer, IdentitySourceSettings, directory_server::Security};
use rollcall_proto::limits::{DIRECTORY_SERVERS, POLICY_ATTRIBUTES, ROOTS};
use rollcall_proto::secrets::is_password_attribute;

use super::policy_file::{Directory, Policy, port};
use crate::ldap_syntax::{attributes_in, is_within};

/// Denials that are reported of one source.
const MAX_DENIALS: usize = 20;
/// Characters of a denied value that are repeated.
const MAX_QUOTED_CHARS: usize = 100;

/// The policy's word that passwords of a source's people may be verified. Only
/// [`Policy::may_verify`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct MayVerify(());

/// Something that the policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The key of the policy file that would have to allow it, or `limits` where none could.
    pub key: &'static str,
    /// What it is, and what would have to be added.
    pub why: String,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

fn denial(key: &'static str, why: impl Into<String>) -> Denial {
    Denial { key, why: why.into() }
}

/// As much of a text as is repeated to whoever sent it, and none of what could be taken for
/// something else.
fn quoted(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut quoted: String = plain.take(MAX_QUOTED_CHARS).collect();
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        quoted.push('…');
    }
    quoted
}

impl Policy {
    /// Whether a source may be read; if not, what would have to be added.
    ///
    /// # Errors
    /// One sentence for each thing that is not allowed.
    pub fn check(&self, settings: &IdentitySourceSettings) -> Result<(), Vec<Denial>> {
        self.check_with(settings, None)
    }

    /// The same where one more attribute is read than the source's mapping has.
    ///
    /// # Errors
    /// One sentence for each thing that is not allowed.
    pub fn check_with(
        &self,
        settings: &IdentitySourceSettings,
        more: Option<&str>,
    ) -> Result<(), Vec<Denial>> {
        let mut denials = check_limits(settings);
        // What is beyond the limits is not looked at.
        if denials.is_empty() {
            denials = settings
                .directory_servers
                .iter()
                .flat_map(|server| self.check_server(server, settings, more))
                .take(MAX_DENIALS)
                .collect();
        }
        if denials.is_empty() { Ok(()) } else { Err(denials) }
    }

    /// Whether passwords of a source's people may be verified; if not, what would have to be added.
    ///
    /// # Errors
    /// One sentence for each thing that is not allowed.
    pub fn may_verify(&self, settings: &IdentitySourceSettings) -> Result<MayVerify, Vec<Denial>> {
        self.check(settings)?;
        match self.verify_passwords {
            true => Ok(MayVerify(())),
            false => {
                Err(vec![denial("verify_passwords", "passwords may not be verified: set verify_passwords")])
            }
        }
    }

    /// Whether every server of a source may be asked for an entry by this name: it is below a root
    /// that the policy names for the server.
    #[must_use]
    pub fn allows_name(&self, settings: &IdentitySourceSettings, name: &str) -> bool {
        let allows = |server: &DirectoryServer| {
            let directory = self.directory(server);
            directory.is_some_and(|directory| directory.roots.iter().any(|root| is_within(name, root)))
        };
        !settings.directory_servers.is_empty() && settings.directory_servers.iter().all(allows)
    }

    /// The same for one server of it, within the limits.
    fn check_server(
        &self,
        server: &DirectoryServer,
        settings: &IdentitySourceSettings,
        more: Option<&str>,
    ) -> Vec<Denial> {
        let port = port(server);
        let Some(directory) = self.directory(server) else {
            return vec![denial(
                "directory",
                format!(
                    "host {} with port {port} is not in the policy: add a [[directory]] for it",
                    quoted(&server.host)
                ),
            )];
        };
        let host = &directory.host;
        let mut denials = Vec::new();
        if server.security() == Security::Plain && !directory.allow_plain {
            denials.push(denial(
                "allow_plain",
                format!("{host} may not be read without protection: set allow_plain, or better use LDAPS"),
            ));
        }
        if !directory.credentials.contains(&settings.credential) {
            denials.push(denial(
                "credentials",
                format!(
                    "credential {} may not be sent to {host}: add it to credentials",
                    quoted(&settings.credential)
                ),
            ));
        }
        for root in &settings.roots {
            // A control character is in no name, and what a server makes of it is anyone's guess.
            let plain = !root.chars().any(char::is_control);
            if !plain || !directory.roots.iter().any(|allowed| is_within(root, allowed)) {
                denials.push(denial(
                    "roots",
                    format!("root {} may not be read from {host}: add it to roots", quoted(root)),
                ));
            }
        }
        match requested_attributes(settings) {
            Ok(requested) => {
                let attributes = requested.into_iter().chain(more.map(str::to_owned));
                denials.extend(check_attributes(directory, attributes));
            }
            Err(unreadable) => denials.push(unreadable),
        }
        denials
    }
}

/// What of these attributes may not leave this directory.
fn check_attributes(directory: &Directory, attributes: impl Iterator<Item = String>) -> Vec<Denial> {
    let host = &directory.host;
    let mut denials = Vec::new();
    let allowed =
        |attribute: &str| directory.attributes.iter().any(|other| other.eq_ignore_ascii_case(attribute));
    for attribute in attributes {
        let name = quoted(&attribute);
        if is_password_attribute(&attribute) {
            denials.push(denial("attributes", format!("attribute {name} holds secrets and never leaves")));
        } else if !allowed(&attribute) {
            denials.push(denial(
                "attributes",
                format!("attribute {name} may not leave {host}: add it to attributes"),
            ));
        }
    }
    denials
}

/// What a source has more of than any that the control plane stores.
fn check_limits(settings: &IdentitySourceSettings) -> Vec<Denial> {
    let attributes = settings.mapping.as_ref().map_or(0, |mapping| mapping.policy_attributes.len());
    let counts = [
        ("directory servers", settings.directory_servers.len(), DIRECTORY_SERVERS),
        ("roots", settings.roots.len(), ROOTS),
        ("policy attributes", attributes, POLICY_ATTRIBUTES),
    ];
    counts
        .into_iter()
        .filter(|(_, count, most)| count > most)
        .map(|(what, count, most)| {
            denial("limits", format!("{count} {what} are too many: {most} are the most"))
        })
        .collect()
}

/// Every attribute that a source asks for, or asks about in its filter: a filter can find out a
/// value by guessing.
fn requested_attributes(settings: &IdentitySourceSettings) -> Result<Vec<String>, Denial> {
    let mapping = settings.mapping.clone().unwrap_or_default();
    let mut attributes = vec![
        mapping.immutable_id,
        mapping.user_name,
        mapping.mail,
        mapping.first_name,
        mapping.last_name,
        mapping.display_name,
        mapping.phone,
    ];
    attributes.extend(mapping.disabled.map(|rule| rule.attribute));
    attributes.extend(mapping.expires.map(|rule| rule.attribute));
    attributes.extend(mapping.policy_attributes);
    attributes.retain(|attribute| !attribute.is_empty());
    if !settings.extra_filter.trim().is_empty() {
        let asked = attributes_in(settings.extra_filter.trim())
            .map_err(|error| denial("attributes", format!("extra_filter {error}; correct the source")))?;
        // An option makes another attribute of it when it is read, and the same when it is
        // compared.
        let names = asked.iter().map(|name| name.split(';').next().unwrap_or_default());
        // objectClass says what an entry is, and nothing about whom.
        attributes.extend(names.filter(|name| !name.eq_ignore_ascii_case("objectClass")).map(str::to_owned));
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use rollcall_proto::admin::v1::{AttributeMapping, DisabledRule};

    use super::*;

    fn policy() -> Policy {
        Policy {
            directories: vec![Directory {
                host: "ldap.lab.test".to_owned(),
                ports: vec![636],
                allow_plain: false,
                ca_file: None,
                credentials: vec!["directory".to_owned()],
                roots: vec!["ou=people,dc=lab,dc=test".to_owned()],
                attributes: ["entryUUID", "uid", "mail", "employeeType"].map(str::to_owned).to_vec(),
            }],
            ..Policy::default()
        }
    }

    fn settings() -> IdentitySourceSettings {
        IdentitySourceSettings {
            directory_servers: vec![DirectoryServer {
                host: "LDAP.lab.test".to_owned(),
                ..Default::default()
            }],
            credential: "directory".to_owned(),
            roots: vec!["OU=Berlin,ou=people,dc=lab,dc=test".to_owned()],
            extra_filter: "(&(employeeType=staff)(!(objectClass=computer)))".to_owned(),
            mapping: Some(AttributeMapping {
                immutable_id: "entryuuid".to_owned(),
                user_name: "uid".to_owned(),
                mail: "mail".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn denial(change: impl FnOnce(&mut IdentitySourceSettings)) -> String {
        let mut settings = settings();
        change(&mut settings);
        let denials = policy().check(&settings).expect_err("a refusal");
        denials.iter().map(|denial| format!("{}: {denial}", denial.key)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn passwords_are_verified_only_where_the_policy_says_so_and_of_sources_that_it_allows() {
        let mut policy = policy();
        assert_eq!(policy.may_verify(&settings()).expect_err("a refusal")[0].key, "verify_passwords");
        policy.verify_passwords = true;
        assert!(policy.may_verify(&settings()).is_ok());
        let other = IdentitySourceSettings { credential: "root".to_owned(), ..settings() };
        assert!(policy.may_verify(&other).is_err());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.toml");
        for (line, expected) in [("", false), ("verify_passwords = true", true)] {
            std::fs::write(&path, format!("{line}\ndirectory = []\n")).expect("a file");
            assert_eq!(Policy::read(&path).expect("a policy").verify_passwords, expected, "{line}");
        }
    }

    #[test]
    fn the_former_immutable_id_is_read_only_if_the_policy_names_it() {
        assert_eq!(policy().check_with(&settings(), Some("employeeType")), Ok(()));
        let refused = policy().check_with(&settings(), Some("employeeNumber")).expect_err("a refusal");
        assert_eq!(refused[0].key, "attributes");
        assert!(refused[0].to_string().contains("employeeNumber"));
    }

    #[test]
    fn what_the_policy_names_is_allowed() {
        assert_eq!(policy().check(&settings()), Ok(()));
    }

    #[test]
    fn what_it_does_not_name_is_refused_and_the_refusal_says_what_to_add() {
        assert!(denial(|s| s.directory_servers[0].host = "evil.test".to_owned()).contains("evil.test"));
        assert!(denial(|s| s.directory_servers[0].port = 1636).contains("1636"));
        assert!(
            denial(|s| {
                s.directory_servers[0].set_security(Security::Plain);
                s.directory_servers[0].port = 636;
            })
            .contains("allow_plain")
        );
        assert!(denial(|s| s.credential = "root".to_owned()).contains("credential root"));
        assert!(denial(|s| s.roots = vec!["dc=lab,dc=test".to_owned()]).contains("root dc=lab"));
        assert!(denial(|s| s.roots = vec!["ou=xpeople,dc=lab,dc=test".to_owned()]).contains("root"));
        assert!(denial(|s| s.extra_filter = "(homePhone=0*)".to_owned()).contains("homePhone"));
        assert!(
            denial(|s| s.extra_filter = "(userAccountControl:1.2.840.113556.1.4.803:=2)".to_owned())
                .contains("userAccountControl")
        );
        let mapping = |s: &mut IdentitySourceSettings, change: fn(&mut AttributeMapping)| {
            s.mapping.iter_mut().for_each(change)
        };
        assert!(denial(|s| mapping(s, |m| m.phone = "homePhone".to_owned())).contains("homePhone"));
        assert!(
            denial(|s| mapping(s, |m| m.policy_attributes = vec!["userPassword".to_owned()]))
                .contains("never")
        );
        assert!(
            denial(|s| mapping(s, |m| m.disabled =
                Some(DisabledRule { attribute: "nsAccountLock".to_owned(), test: None })))
            .contains("nsAccountLock")
        );
    }

    #[test]
    fn an_entry_is_asked_for_by_name_only_below_a_root_of_the_policy() {
        let settings = settings();
        let root = &settings.roots[0];
        assert!(policy().allows_name(&settings, &format!("uid=anna,{root}")));
        for name in ["uid=anna,dc=elsewhere", "no name", ""] {
            assert!(!policy().allows_name(&settings, name), "{name:?}");
        }
        assert!(!policy().allows_name(&IdentitySourceSettings::default(), root));
    }

    #[test]
    fn a_filter_that_hides_what_it_asks_about_is_refused() {
        for filter in [
            "(:octetStringMatch:=guess)",
            "(|(uid=a)(:dn:2.5.13.17:=guess))",
            "userPassword=a*",
            "( userPassword=a*)",
            "(uid=a)(userPassword=a*)",
            "(&(uid=a)(!(userPassword;x-y>=a)))",
            "(2.5.4.35=*)",
            "*)(userPassword=*",
        ] {
            assert!(denial(|s| s.extra_filter = filter.to_owned()).contains("attributes:"), "{filter}");
        }
        let deep = "(!".repeat(100_000);
        assert!(denial(|s| s.extra_filter = deep).contains("nested"));
    }

    #[test]
    fn what_is_asked_is_held_against_limits_and_little_of_it_is_repeated() {
        let many = denial(|s| s.roots = vec!["dc=elsewhere".to_owned(); 100_000]);
        assert_eq!(many, "limits: 100000 roots are too many: 20 are the most");
        let told = denial(|s| s.roots = vec![format!("ou={}\r\n", "x".repeat(100_000)); 20]);
        assert!(told.len() < 5_000 && !told.contains(char::is_control), "{told}");
        let nul = "ou=x\0,ou=people,dc=lab,dc=test";
        assert!(denial(|s| s.roots = vec![nul.to_owned()]).contains("roots:"));
    }
}
