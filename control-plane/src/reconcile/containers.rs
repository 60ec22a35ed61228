//! Containers of absent users. One that had users and has none any more was perhaps renamed, moved
//! away, or hidden from the bind account: that looks like many people who left. In one that still
//! has users, one of them is a witness: who sees it sees the container's people.

use std::collections::HashMap;

use crate::model::UserNo;

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

/// A container that had many users and has none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmptiedContainer {
    /// Its distinguished name.
    pub name: String,
    /// How many users it had.
    pub users: u64,
}

/// The containers of absent users, and for each another user who is present.
#[derive(Debug, Default)]
pub struct Witnesses {
    by_container: HashMap<String, Option<UserNo>>,
}

impl Witnesses {
    /// Notes an absent user. All of them come before any user that is present.
    pub fn absent(&mut self, distinguished_name: &str) {
        if let Some(parent) = parent(distinguished_name)
            && self.by_container.len() < MOST
        {
            self.by_container.entry(parent.to_lowercase()).or_default();
        }
    }

    /// Whether a container has no witness yet.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.by_container.values().any(Option::is_none)
    }

    /// Notes an enabled user that is present.
    pub fn present(&mut self, distinguished_name: &str, user: UserNo) {
        if let Some(parent) = parent(distinguished_name)
            && let Some(witness) = self.by_container.get_mut(&parent.to_lowercase())
        {
            witness.get_or_insert(user);
        }
    }

    /// The container of an absent user and its witness, if it has one.
    #[must_use]
    pub fn of<'a>(&self, distinguished_name: &'a str) -> Option<(&'a str, UserNo)> {
        let parent = parent(distinguished_name)?;
        let witness = self.by_container.get(&parent.to_lowercase())?;
        witness.map(|user| (parent, user))
    }
}

impl Containers {
    /// Notes a user whose absence the directory does not explain. All of them come before any user
    /// that is present.
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
    pub fn emptied(&self) -> Vec<EmptiedContainer> {
        let emptied = self.seen.values().filter(|tally| tally.absent >= MANY && !tally.present);
        let emptied =
            emptied.map(|tally| EmptiedContainer { name: tally.shown.clone(), users: tally.absent });
        let mut emptied: Vec<_> = emptied.collect();
        emptied.sort_by(|one, other| one.name.cmp(&other.name));
        emptied
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
        let emptied = EmptiedContainer { name: "ou=Gone,dc=c".to_owned(), users: 10 };
        assert_eq!(containers.emptied(), [emptied]);
    }

    #[test]
    fn a_witness_is_another_user_of_the_same_container() {
        let mut witnesses = Witnesses::default();
        for gone in ["uid=1,ou=A,dc=c", "uid=2,OU=a,dc=c", "uid=3,ou=B,dc=c", "dc=c"] {
            witnesses.absent(gone);
        }
        witnesses.present("uid=9,ou=Other,dc=c", UserNo(9));
        assert!(witnesses.is_incomplete());
        witnesses.present("uid=4,ou=a,dc=c", UserNo(4));
        witnesses.present("uid=5,ou=A,dc=c", UserNo(5));
        assert_eq!(witnesses.of("uid=1,ou=A,dc=c"), Some(("ou=A,dc=c", UserNo(4))));
        assert_eq!(witnesses.of("uid=2,OU=a,dc=c"), Some(("OU=a,dc=c", UserNo(4))));
        assert_eq!(witnesses.of("uid=3,ou=B,dc=c"), None, "no other user of it was read");
        assert_eq!(witnesses.of("dc=c"), None);
    }
}
