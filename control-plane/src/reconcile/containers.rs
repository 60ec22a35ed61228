//! Containers that had users and have none any more: an organizational unit that was renamed, moved
//! away, or hidden from the bind account looks like many people who left.

use std::collections::HashMap;

/// A container counts from so many users on.
pub const MANY: u64 = 10;
/// Most containers that are watched; more never are emptied by accident one by one.
const MOST: usize = 10_000;

/// Counts, for the containers of absent users, who is absent and whether anyone is left.
#[derive(Debug, Default)]
pub struct Containers {
    seen: HashMap<String, Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    shown: String,
    absent: u64,
    present: bool,
}

impl Containers {
    /// Notes an absent user. All of them come before anyone who is present.
    pub fn absent(&mut self, distinguished_name: &str) {
        let Some(parent) = parent(distinguished_name) else { return };
        let key = parent.to_lowercase();
        if self.seen.len() < MOST || self.seen.contains_key(&key) {
            let tally = self.seen.entry(key).or_default();
            tally.absent += 1;
            if tally.shown.is_empty() {
                parent.clone_into(&mut tally.shown);
            }
        }
    }

    /// Whether any container lost enough users to be worth a look at who is left.
    #[must_use]
    pub fn suspicious(&self) -> bool {
        self.seen.values().any(|tally| tally.absent >= MANY)
    }

    /// Notes a user who is present.
    pub fn present(&mut self, distinguished_name: &str) {
        if let Some(tally) =
            parent(distinguished_name).and_then(|parent| self.seen.get_mut(&parent.to_lowercase()))
        {
            tally.present = true;
        }
    }

    /// The emptied ones, by distinguished name.
    #[must_use]
    pub fn emptied(&self) -> Vec<String> {
        let emptied = self.seen.values().filter(|tally| tally.absent >= MANY && !tally.present);
        let mut names: Vec<_> = emptied.map(|tally| tally.shown.clone()).collect();
        names.sort();
        names
    }
}

/// The parent's name: what is behind the first comma that is not escaped (RFC 4514).
fn parent(distinguished_name: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, byte) in distinguished_name.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => return Some(distinguished_name[at + 1..].trim_start()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_behind_the_first_comma_that_is_not_escaped() {
        assert_eq!(parent("uid=a,ou=b,dc=c"), Some("ou=b,dc=c"));
        assert_eq!(parent("cn=M\u{fc}ller\\, Anna, ou=b"), Some("ou=b"));
        assert_eq!(parent("cn=a\\\\,ou=b"), Some("ou=b"));
        assert_eq!(parent("dc=c"), None);
    }

    #[test]
    fn a_container_is_emptied_when_many_left_and_nobody_stayed() {
        let mut containers = Containers::default();
        for n in 0..10 {
            containers.absent(&format!("uid={n},ou=Gone,dc=c"));
            containers.absent(&format!("uid={n},ou=Half,dc=c"));
        }
        containers.absent("uid=x,ou=Few,dc=c");
        assert!(containers.suspicious());
        containers.present("uid=y,OU=half,dc=c");
        assert_eq!(containers.emptied(), ["ou=Gone,dc=c"]);
    }
}
