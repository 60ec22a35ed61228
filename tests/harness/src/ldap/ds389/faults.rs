//! What goes wrong with a 389 Directory Server: rights that are lost, limits, an old backup. Each
//! is set while the server runs, unless it says that it restarts it.

use std::fs;

use anyhow::Result;

use super::{BASE, Ds389, READ, template};
use crate::ldap::ldif;

/// Limits of an account by its own entry.
pub(super) const LIMITS: [&str; 6] = [
    "nsSizeLimit",
    "nsLookThroughLimit",
    "nsIDListScanLimit",
    "nsPagedSizeLimit",
    "nsPagedLookThroughLimit",
    "nsPagedIDListScanLimit",
];

impl Ds389 {
    /// Hides an attribute from the router's account, in answers and in filters.
    pub fn hide_attribute(&self, attribute: &str) -> Result<()> {
        self.deny(&format!(r#"(targetattr="{attribute}")"#), "read,search,compare")
    }

    /// Lets the router's account read an attribute and no longer search for it.
    pub fn forbid_search_for(&self, attribute: &str) -> Result<()> {
        self.deny(&format!(r#"(targetattr="{attribute}")"#), "search")
    }

    /// Hides an attribute of the entries that match a filter.
    pub fn hide_attribute_of(&self, filter: &str, attribute: &str) -> Result<()> {
        let target = format!(r#"(targetattr="{attribute}")(targetfilter="{filter}")"#);
        self.deny(&target, "read,search,compare")
    }

    /// Hides the entries that match a filter.
    pub fn hide_people(&self, filter: &str) -> Result<()> {
        let target = format!(r#"(targetattr!="userPassword")(targetfilter="{filter}")"#);
        self.deny(&target, "read,search,compare")
    }

    /// Hides an entry and what is below it: the server answers success with nothing.
    pub fn hide_subtree(&self, dn: &str) -> Result<()> {
        let target = format!(r#"(target="ldap:///{dn}")(targetattr!="userPassword")"#);
        self.deny(&target, "read,search,compare")
    }

    /// Takes back everything that was hidden or forbidden.
    pub fn show_everything(&self) -> Result<()> {
        self.replace(BASE, "aci", &[READ])
    }

    /// Adds an access rule to the base entry: what it is for, such as `(targetattr="mail")`, and
    /// what the router's account may no longer do.
    pub fn deny(&self, target: &str, rights: &str) -> Result<()> {
        let rule = format!(
            r#"{target}(version 3.0; acl "lost"; deny ({rights}) userdn="ldap:///{}";)"#,
            self.agent_dn()
        );
        self.modify(&ldif::change(BASE, &[("changetype", "modify"), ("add", "aci"), ("aci", &rule)])?)
    }

    /// Sets or lifts how many entries a search of the router's account may look through, and how
    /// many it may return.
    pub fn limit_agent(&self, entries: Option<u32>) -> Result<()> {
        let limit = entries.map_or_else(|| "-1".to_owned(), |entries| entries.to_string());
        LIMITS.into_iter().try_for_each(|name| self.replace(&self.agent_dn(), name, &[&limit]))
    }

    /// From now on whoever has a password of an administrator's must change it first.
    pub fn require_password_change(&self) -> Result<()> {
        self.replace("cn=config", "passwordMustChange", &["on"])
    }

    /// Three wrong passwords lock an account.
    pub fn lock_after_wrong_passwords(&self) -> Result<()> {
        self.replace("cn=config", "passwordMaxFailure", &["3"])?;
        self.replace("cn=config", "passwordLockout", &["on"])
    }

    /// Keeps a copy of the database under a name. Restarts the server.
    pub fn back_up(&mut self, name: &str) -> Result<()> {
        self.stop()?;
        let backup = self.dir.path().join(format!("backup-{name}"));
        template::copy_folder(&template::database(self.dir.path()), &backup)?;
        self.start_again()
    }

    /// Puts a kept copy in the place of the database, on the same ports. Restarts the server.
    pub fn restore_backup(&mut self, name: &str) -> Result<()> {
        self.stop()?;
        let database = template::database(self.dir.path());
        fs::remove_dir_all(&database)?;
        template::copy_folder(&self.dir.path().join(format!("backup-{name}")), &database)?;
        self.start_again()
    }
}
