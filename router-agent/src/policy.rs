//! The house's own word on what may leave it: which directory servers the control plane may have read, with which credential, below
//! which roots, and which attributes. What the file does not name is refused, and the refusal says what would have to be added.

use std::path::{Path, PathBuf};

use rollcall_proto::admin::v1::{DirectoryServer, IdentitySourceSettings, directory_server::Security};
use serde::Deserialize;

use crate::config::{ConfigError, readable};
use crate::directory::{is_within, normalize};
use crate::record::is_password_attribute;

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
    pub fn check(&self, settings: &IdentitySourceSettings) -> Result<(), Vec<String>> {
        let refusals: Vec<_> = settings
            .directory_servers
            .iter()
            .flat_map(|server| self.check_server(server, settings))
            .collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    /// Whether passwords of a source's people may be verified; if not, what would have to be added.
    ///
    /// # Errors
    /// One sentence for each thing that is not allowed.
    pub fn may_verify(&self, settings: &IdentitySourceSettings) -> Result<MayVerify, Vec<String>> {
        self.check(settings)?;
        match self.verify_passwords {
            true => Ok(MayVerify(())),
            false => Err(vec!["passwords may not be verified: set verify_passwords".to_owned()]),
        }
    }

    /// Whether a source may be read from one server of it; if not, what would have to be added.
    #[must_use]
    pub fn check_server(&self, server: &DirectoryServer, settings: &IdentitySourceSettings) -> Vec<String> {
        let port = port(server);
        let Some(directory) = self.directory(server) else {
            return vec![format!(
                "host {} with port {port} is not in the policy: add a [[directory]] for it",
                server.host
            )];
        };
        let host = &directory.host;
        let mut refusals = Vec::new();
        if server.security() == Security::Plain && !directory.allow_plain {
            refusals.push(format!(
                "{host} may not be read without protection: set allow_plain, or better use LDAPS"
            ));
        }
        if !directory.credentials.contains(&settings.credential) {
            refusals.push(format!(
                "credential {} may not be sent to {host}: add it to credentials",
                settings.credential
            ));
        }
        for root in &settings.roots {
            if !directory.roots.iter().any(|allowed| is_within(root, allowed)) {
                refusals.push(format!("root {root} may not be read from {host}: add it to roots"));
            }
        }
        let allowed =
            |attribute: &str| directory.attributes.iter().any(|other| other.eq_ignore_ascii_case(attribute));
        for attribute in attributes(settings) {
            if is_password_attribute(&attribute) {
                refusals.push(format!("attribute {attribute} holds secrets and never leaves"));
            } else if !allowed(&attribute) {
                refusals.push(format!("attribute {attribute} may not leave {host}: add it to attributes"));
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

/// Every attribute that a source asks for, or asks about in its filter: a filter can find out a value by guessing.
fn attributes(settings: &IdentitySourceSettings) -> Vec<String> {
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
    attributes.extend(mapping.policy_attributes);
    attributes.extend(in_filter(&settings.extra_filter));
    attributes.retain(|attribute| !attribute.is_empty());
    attributes
}

/// The attributes named in a filter, but for `objectClass`, which says what an entry is.
fn in_filter(filter: &str) -> Vec<String> {
    filter
        .split('(')
        .filter_map(|item| item.split_once('='))
        .map(|(name, _)| {
            name.trim_end_matches(['~', '<', '>', ':']).split([':', ';']).next().unwrap_or_default().trim()
        })
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("objectClass"))
        .map(str::to_owned)
        .collect()
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
        policy().check(&settings).expect_err("a refusal").join("; ")
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
        assert!(policy.may_verify(&settings()).expect_err("a refusal").join("").contains("verify_passwords"));
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
}
