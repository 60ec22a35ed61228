//! The house's own word on what may leave it: which directory servers the control plane may have read, with which credential, below
//! which roots, and which attributes. What the file does not name is refused, and the refusal says what would have to be added.

use std::path::{Path, PathBuf};

use rollcall_proto::admin::v1::{DirectoryServer, IdentitySourceSettings, directory_server::Security};
use rollcall_proto::limits::{DIRECTORY_SERVERS, POLICY_ATTRIBUTES, ROOTS};
use serde::Deserialize;

use crate::config::{ConfigError, readable};
use crate::directory::{attributes_in, is_within, normalize};
use crate::record::is_password_attribute;

/// Most refusals that are told of one source.
const MOST_REFUSALS: usize = 20;
/// Most characters of what is refused that are repeated.
const MOST_REPEATED: usize = 100;

/// What may leave the house.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Directories that may be read.
    pub directories: Vec<Directory>,
    /// Whether a user who is gone from the roots may be searched in the rest of the naming context.
    pub look_up_moved: bool,
    /// Whether the control plane may have passwords of people verified.
    pub verify_passwords: bool,
}

/// The policy's word that passwords of a source's people may be verified. Only [`Policy::may_verify`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct MayVerify(());

impl Default for Policy {
    fn default() -> Self {
        Self { directories: Vec::new(), look_up_moved: look_up_moved(), verify_passwords: false }
    }
}

/// A directory server that may be read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Host, as the source names it.
    pub host: String,
    /// Ports; empty means 636 and 389.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Whether it may be read without protection.
    #[serde(default)]
    pub allow_plain: bool,
    /// Authority of its certificate; the system's if there is none.
    pub ca_file: Option<PathBuf>,
    /// Names of the credentials that may be sent to it.
    pub credentials: Vec<String>,
    /// Base DNs that may be read, with everything below.
    pub roots: Vec<String>,
    /// Attributes that may leave the house.
    pub attributes: Vec<String>,
}

/// Something that the policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The key of the policy file that would have to allow it, or `limits` where none could.
    pub key: &'static str,
    /// What it is, and what would have to be added.
    pub why: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

fn refusal(key: &'static str, why: impl Into<String>) -> Refusal {
    Refusal { key, why: why.into() }
}

/// As much of a text as is repeated to whoever sent it, and none of what could be taken for something else.
fn shown(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut shown: String = plain.take(MOST_REPEATED).collect();
    if text.chars().nth(MOST_REPEATED).is_some() {
        shown.push('…');
    }
    shown
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "look_up_moved")]
    look_up_moved: bool,
    #[serde(default)]
    verify_passwords: bool,
    directory: Vec<Directory>,
}

fn look_up_moved() -> bool {
    true
}

impl Policy {
    /// Reads a policy file; relative paths in it start from its folder.
    ///
    /// # Errors
    /// All mistakes.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let fatal = |why: String| ConfigError(vec![format!("{}: {why}", path.display())]);
        let text = std::fs::read_to_string(path).map_err(|error| fatal(error.to_string()))?;
        let File { look_up_moved, verify_passwords, directory: mut directories } =
            toml::from_str(&text).map_err(|error| fatal(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut wrong = Vec::new();
        for directory in &mut directories {
            let of = format!("{}: directory {}", path.display(), directory.host);
            directory.ca_file = directory.ca_file.take().map(|file| folder.join(file));
            if let Some(file) = &directory.ca_file {
                readable(&mut wrong, &format!("{of}: ca_file"), file);
            }
            for secret in directory.attributes.iter().filter(|attribute| is_password_attribute(attribute)) {
                wrong.push(format!(
                    "{of}: {secret} holds secrets and never leaves; take it out of attributes"
                ));
            }
            for wrong_name in directory.attributes.iter().filter(|attribute| !is_attribute(attribute)) {
                wrong.push(format!(
                    "{of}: {wrong_name:?} is not the name of an attribute; name each one, there is no sign for all"
                ));
            }
            for root in
                directory.roots.iter().filter(|root| normalize(root).is_none_or(|names| names.is_empty()))
            {
                wrong.push(format!("{of}: root {root:?} is not a distinguished name"));
            }
        }
        if wrong.is_empty() {
            Ok(Self { directories, look_up_moved, verify_passwords })
        } else {
            Err(ConfigError(wrong))
        }
    }

    /// Whether a source may be read; if not, what would have to be added.
    ///
    /// # Errors
    /// One sentence for each thing that is not allowed.
    pub fn check(&self, settings: &IdentitySourceSettings) -> Result<(), Vec<Refusal>> {
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
    ) -> Result<(), Vec<Refusal>> {
        let mut refusals = too_many(settings);
        // What is beyond the limits is not looked at.
        if refusals.is_empty() {
            refusals = settings
                .directory_servers
                .iter()
                .flat_map(|server| self.check_server(server, settings, more))
                .take(MOST_REFUSALS)
                .collect();
        }
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    /// Whether passwords of a source's people may be verified; if not, what would have to be added.
    ///
    /// # Errors
    /// One sentence for each thing that is not allowed.
    pub fn may_verify(&self, settings: &IdentitySourceSettings) -> Result<MayVerify, Vec<Refusal>> {
        self.check(settings)?;
        match self.verify_passwords {
            true => Ok(MayVerify(())),
            false => {
                Err(vec![refusal("verify_passwords", "passwords may not be verified: set verify_passwords")])
            }
        }
    }

    /// The same for one server of it, within the limits.
    fn check_server(
        &self,
        server: &DirectoryServer,
        settings: &IdentitySourceSettings,
        more: Option<&str>,
    ) -> Vec<Refusal> {
        let port = port(server);
        let Some(directory) = self.directory(server) else {
            return vec![refusal(
                "directory",
                format!(
                    "host {} with port {port} is not in the policy: add a [[directory]] for it",
                    shown(&server.host)
                ),
            )];
        };
        let host = &directory.host;
        let mut refusals = Vec::new();
        if server.security() == Security::Plain && !directory.allow_plain {
            refusals.push(refusal(
                "allow_plain",
                format!("{host} may not be read without protection: set allow_plain, or better use LDAPS"),
            ));
        }
        if !directory.credentials.contains(&settings.credential) {
            refusals.push(refusal(
                "credentials",
                format!(
                    "credential {} may not be sent to {host}: add it to credentials",
                    shown(&settings.credential)
                ),
            ));
        }
        for root in &settings.roots {
            // A control character is in no name, and what a server makes of it is anyone's guess.
            let plain = !root.chars().any(char::is_control);
            if !plain || !directory.roots.iter().any(|allowed| is_within(root, allowed)) {
                refusals.push(refusal(
                    "roots",
                    format!("root {} may not be read from {host}: add it to roots", shown(root)),
                ));
            }
        }
        let asked = match attributes(settings) {
            Ok(asked) => asked,
            Err(refused) => {
                refusals.push(refused);
                return refusals;
            }
        };
        let allowed =
            |attribute: &str| directory.attributes.iter().any(|other| other.eq_ignore_ascii_case(attribute));
        for attribute in asked.into_iter().chain(more.map(str::to_owned)) {
            let name = shown(&attribute);
            if is_password_attribute(&attribute) {
                refusals
                    .push(refusal("attributes", format!("attribute {name} holds secrets and never leaves")));
            } else if !allowed(&attribute) {
                refusals.push(refusal(
                    "attributes",
                    format!("attribute {name} may not leave {host}: add it to attributes"),
                ));
            }
        }
        refusals
    }

    /// The entry for a server.
    #[must_use]
    pub fn directory(&self, server: &DirectoryServer) -> Option<&Directory> {
        let port = port(server);
        self.directories.iter().find(|directory| {
            let ports = if directory.ports.is_empty() { &[636, 389][..] } else { &directory.ports };
            directory.host.eq_ignore_ascii_case(&server.host) && ports.contains(&port)
        })
    }
}

fn port(server: &DirectoryServer) -> u16 {
    match (u16::try_from(server.port).unwrap_or_default(), server.security()) {
        (0, Security::Ldaps | Security::Unspecified) => 636,
        (0, _) => 389,
        (port, _) => port,
    }
}

/// What a source has more of than any that the control plane stores.
fn too_many(settings: &IdentitySourceSettings) -> Vec<Refusal> {
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
            refusal("limits", format!("{count} {what} are too many: {most} are the most"))
        })
        .collect()
}

/// Every attribute that a source asks for, or asks about in its filter: a filter can find out a value by guessing.
fn attributes(settings: &IdentitySourceSettings) -> Result<Vec<String>, Refusal> {
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
            .map_err(|error| refusal("attributes", format!("extra_filter {error}; correct the source")))?;
        // An option makes another attribute of it when it is read, and the same when it is compared.
        let names = asked.iter().map(|name| name.split(';').next().unwrap_or_default());
        // objectClass says what an entry is, and nothing about whom.
        attributes.extend(names.filter(|name| !name.eq_ignore_ascii_case("objectClass")).map(str::to_owned));
    }
    Ok(attributes)
}

/// Whether this is the name of one attribute, with or without options; `*` and `+` mean many.
fn is_attribute(name: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let (base, options) = name.split_once(';').map_or((name, None), |(base, options)| (base, Some(options)));
    base.split('.').all(word) && options.is_none_or(|options| options.split(';').all(word))
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

    fn refusal(change: impl FnOnce(&mut IdentitySourceSettings)) -> String {
        let mut settings = settings();
        change(&mut settings);
        let refusals = policy().check(&settings).expect_err("a refusal");
        refusals.iter().map(|refusal| format!("{}: {refusal}", refusal.key)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn who_has_moved_is_looked_up_unless_the_policy_says_no() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.toml");
        for (line, expected) in [("", true), ("look_up_moved = false", false)] {
            std::fs::write(&path, format!("{line}\ndirectory = []\n")).expect("a file");
            assert_eq!(Policy::read(&path).expect("a policy").look_up_moved, expected, "{line}");
        }
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
        assert!(refusal(|s| s.directory_servers[0].host = "evil.test".to_owned()).contains("evil.test"));
        assert!(refusal(|s| s.directory_servers[0].port = 1636).contains("1636"));
        assert!(
            refusal(|s| {
                s.directory_servers[0].set_security(Security::Plain);
                s.directory_servers[0].port = 636;
            })
            .contains("allow_plain")
        );
        assert!(refusal(|s| s.credential = "root".to_owned()).contains("credential root"));
        assert!(refusal(|s| s.roots = vec!["dc=lab,dc=test".to_owned()]).contains("root dc=lab"));
        assert!(refusal(|s| s.roots = vec!["ou=xpeople,dc=lab,dc=test".to_owned()]).contains("root"));
        assert!(refusal(|s| s.extra_filter = "(homePhone=0*)".to_owned()).contains("homePhone"));
        assert!(
            refusal(|s| s.extra_filter = "(userAccountControl:1.2.840.113556.1.4.803:=2)".to_owned())
                .contains("userAccountControl")
        );
        let mapping = |s: &mut IdentitySourceSettings, change: fn(&mut AttributeMapping)| {
            s.mapping.iter_mut().for_each(change)
        };
        assert!(refusal(|s| mapping(s, |m| m.phone = "homePhone".to_owned())).contains("homePhone"));
        assert!(
            refusal(|s| mapping(s, |m| m.policy_attributes = vec!["userPassword".to_owned()]))
                .contains("never")
        );
        assert!(
            refusal(|s| mapping(s, |m| m.disabled =
                Some(DisabledRule { attribute: "nsAccountLock".to_owned(), test: None })))
            .contains("nsAccountLock")
        );
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
            assert!(refusal(|s| s.extra_filter = filter.to_owned()).contains("attributes:"), "{filter}");
        }
        let deep = "(!".repeat(100_000);
        assert!(refusal(|s| s.extra_filter = deep).contains("nested"));
    }

    #[test]
    fn what_is_asked_is_held_against_limits_and_little_of_it_is_repeated() {
        let many = refusal(|s| s.roots = vec!["dc=elsewhere".to_owned(); 100_000]);
        assert_eq!(many, "limits: 100000 roots are too many: 20 are the most");
        let told = refusal(|s| s.roots = vec![format!("ou={}\r\n", "x".repeat(100_000)); 20]);
        assert!(told.len() < 5_000 && !told.contains(char::is_control), "{told}");
        let nul = "ou=x\0,ou=people,dc=lab,dc=test";
        assert!(refusal(|s| s.roots = vec![nul.to_owned()]).contains("roots:"));
    }

    #[test]
    fn a_policy_names_each_attribute_and_none_that_holds_a_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.toml");
        let mistakes = |attribute: &str| {
            let text = format!(
                "[[directory]]\nhost = \"h\"\ncredentials = []\nroots = [\"dc=x\"]\nattributes = [{attribute:?}]\n"
            );
            std::fs::write(&path, text).expect("a file");
            Policy::read(&path).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(mistakes("userCertificate;binary"), "");
        assert_eq!(mistakes("2.5.4.3"), "");
        for (attribute, why) in [
            ("*", "not the name"),
            ("+", "not the name"),
            ("@person", "not the name"),
            ("2.5.4.35", "secrets"),
        ] {
            assert!(mistakes(attribute).contains(why), "{attribute}: {}", mistakes(attribute));
        }
    }
}
