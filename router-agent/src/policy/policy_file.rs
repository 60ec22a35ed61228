//! The policy file: which directory servers may be read, below which roots, and which attributes.

use std::path::{Path, PathBuf};

use rollcall_proto::admin::v1::{DirectoryServer, directory_server::Security};
use rollcall_proto::secrets::is_password_attribute;
use serde::Deserialize;

use crate::config_error::{ConfigError, check_readable};
use crate::ldap_syntax::{is_attribute, normalize};

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
        let mut mistakes = Vec::new();
        for directory in &mut directories {
            let of = format!("{}: directory {}", path.display(), directory.host);
            directory.ca_file = directory.ca_file.take().map(|file| folder.join(file));
            if let Some(file) = &directory.ca_file {
                check_readable(&mut mistakes, &format!("{of}: ca_file"), file);
            }
            for secret in directory.attributes.iter().filter(|attribute| is_password_attribute(attribute)) {
                mistakes.push(format!(
                    "{of}: {secret} holds secrets and never leaves; take it out of attributes"
                ));
            }
            for no_name in directory.attributes.iter().filter(|attribute| !is_attribute(attribute)) {
                mistakes.push(format!(
                    "{of}: {no_name:?} is not the name of an attribute; name each one, there is no sign for all"
                ));
            }
            for root in
                directory.roots.iter().filter(|root| normalize(root).is_none_or(|names| names.is_empty()))
            {
                mistakes.push(format!("{of}: root {root:?} is not a distinguished name"));
            }
        }
        if mistakes.is_empty() {
            Ok(Self { directories, look_up_moved, verify_passwords })
        } else {
            Err(ConfigError(mistakes))
        }
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

pub(super) fn port(server: &DirectoryServer) -> u16 {
    match (u16::try_from(server.port).unwrap_or_default(), server.security()) {
        (0, Security::Ldaps | Security::Unspecified) => 636,
        (0, _) => 389,
        (port, _) => port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
