//! What a sync must do, computed from the directory and the users before it, and nothing else: the
//! rules of control-plane/src/reconcile/README.md once more, written for sets that fit into memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, ensure};
use harness::ldap::ldif::Entry;
use rollcall_proto::admin::v1::{
    User,
    user::{DisabledReason, Status},
};

/// The users of the source by immutable id.
pub(super) type Users = BTreeMap<String, User>;
/// The people in scope by immutable id.
pub(super) type People = BTreeMap<String, Person>;

/// What is mapped from an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    user_name: String,
    mail: String,
    texts: [String; 5],
    policy: [Vec<String>; 2],
    disabled: bool,
}

impl Person {
    fn of(entry: &Entry) -> Self {
        let first = |attribute| entry.first(attribute).unwrap_or_default().to_owned();
        let all = |attribute: &str| {
            let mut values = entry.attributes.get(attribute).cloned().unwrap_or_default();
            values.sort();
            values
        };
        Self {
            user_name: first("uid"),
            // No name of an entry has a mail address here, so of several the smallest counts.
            mail: all("mail").first().cloned().unwrap_or_default(),
            texts: [
                first("givenName"),
                first("sn"),
                first("displayName"),
                first("telephoneNumber"),
                entry.dn.clone(),
            ],
            policy: [all("title"), all("departmentNumber")],
            disabled: first("employeeType") == "inactive",
        }
    }

    fn of_user(user: &User) -> Self {
        let values = |attribute| {
            user.policy_attributes.get(attribute).map(|values| values.values.clone()).unwrap_or_default()
        };
        Self {
            user_name: user.user_name.clone(),
            mail: user.mail.clone(),
            texts: [
                user.first_name.clone(),
                user.last_name.clone(),
                user.display_name.clone(),
                user.phone.clone(),
                user.distinguished_name.clone(),
            ],
            policy: [values("title"), values("departmentNumber")],
            disabled: user.disabled_reason() == DisabledReason::DisabledInDirectory,
        }
    }
}

/// The people that a search of the scope found.
pub(super) fn people(entries: &[Entry]) -> Result<People> {
    let people = entries.iter().map(|entry| {
        Ok((entry.first("entryUUID").context("an entry without entryUUID")?.to_owned(), Person::of(entry)))
    });
    people.collect()
}

/// The users by immutable id; nobody may be there twice.
pub(super) fn by_id(users: Vec<User>) -> Result<Users> {
    let count = users.len();
    let users: Users = users.into_iter().map(|user| (user.immutable_id.clone(), user)).collect();
    ensure!(users.len() == count, "{} users are there twice", count - users.len());
    Ok(users)
}

fn out_of_scope(user: &User) -> bool {
    user.disabled_reason() == DisabledReason::OutOfScope
}

/// What must be after a sync.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Added, updated, unchanged, disabled, not synchronized.
    pub(super) numbers: [i32; 5],
    /// How many users must be enabled.
    pub(super) enabled: i32,
    /// How many of the new ones may become users: fewer than there are if the license is tight, and
    /// then any of them.
    pub(super) seats_for_new: i32,
    /// New people who need a seat.
    pub(super) newcomers: BTreeSet<String>,
    /// Whoever has the values of the directory afterwards, newcomers among them.
    synchronized: BTreeSet<String>,
    /// Users who are gone from scope.
    pub(super) gone: BTreeSet<String>,
}

/// Computes it for a license of so many seats, all of them for this source.
pub(super) fn expect(before: &Users, people: &People, limit: i32) -> Expected {
    let mut expected = Expected::default();
    let refused = refused(before, people);
    let [added, updated, unchanged, disabled, others] = &mut expected.numbers;
    for (id, person) in people {
        let user = before.get(id);
        if refused.contains(id) {
            *others += 1;
            expected.enabled += i32::from(user.is_some_and(|user| user.status() == Status::Enabled));
            continue;
        }
        match user {
            None if person.disabled => *added += 1,
            None => {
                expected.newcomers.insert(id.clone());
            }
            Some(user) if out_of_scope(user) || Person::of_user(user) != *person => *updated += 1,
            Some(_) => *unchanged += 1,
        }
        expected.enabled += i32::from(user.is_some() && !person.disabled);
        expected.synchronized.insert(id.clone());
    }
    for (id, user) in before {
        if !people.contains_key(id) && !out_of_scope(user) {
            *disabled += i32::from(user.status() == Status::Enabled);
            expected.gone.insert(id.clone());
        }
    }
    let wanted = i32::try_from(expected.newcomers.len()).unwrap_or(i32::MAX);
    expected.seats_for_new = wanted.min(limit - expected.enabled).max(0);
    *added += expected.seats_for_new;
    *others += wanted - expected.seats_for_new;
    expected.enabled += expected.seats_for_new;
    expected
}

/// Who cannot be synchronized: without mail, or with a name that another one has by right.
fn refused(before: &Users, people: &People) -> BTreeSet<String> {
    let mut refused = BTreeSet::new();
    let mut claims: HashMap<String, Vec<(u8, &String)>> = HashMap::new();
    for (id, person) in people {
        let user = before.get(id);
        let names =
            |user_name: &str, mail: &str| [format!("u {user_name}"), format!("m {}", mail.to_lowercase())];
        if person.mail.is_empty() {
            refused.insert(id.clone());
            // As it was: a user in scope keeps both names.
            for name in user
                .filter(|user| !out_of_scope(user))
                .map(|user| names(&user.user_name, &user.mail))
                .into_iter()
                .flatten()
            {
                claims.entry(name).or_default().push((0, id));
            }
            continue;
        }
        let held = user.filter(|user| !out_of_scope(user)).map(|user| names(&user.user_name, &user.mail));
        for name in names(&person.user_name, &person.mail) {
            let rank = match (&held, user) {
                (Some(held), _) if held.contains(&name) => 1,
                (Some(_), _) => 2,
                (None, Some(_)) => 3,
                (None, None) => 4,
            };
            claims.entry(name).or_default().push((rank, id));
        }
    }
    for mut claimants in claims.into_values() {
        claimants.sort_unstable();
        refused.extend(claimants.into_iter().skip(1).map(|(_, id)| id.clone()));
    }
    refused
}

impl Expected {
    /// Says what of the users is not as it must be.
    pub(super) fn check(&self, before: &Users, people: &People, after: &Users) -> Result<()> {
        let admitted = self.newcomers.iter().filter(|id| after.contains_key(*id)).count();
        ensure!(
            i32::try_from(admitted)? == self.seats_for_new,
            "{admitted} of {} newcomers are users now, and there are seats for {}",
            self.newcomers.len(),
            self.seats_for_new
        );
        for (id, user) in after {
            let former = before.get(id);
            ensure!(former.is_some() || self.synchronized.contains(id), "{id} should not have become a user");
            if let Some(former) = former {
                ensure!(former.name == user.name, "{id} became another user");
            }
            if self.synchronized.contains(id) {
                ensure!(
                    Person::of_user(user) == people[id],
                    "{id} is {:?} and not {:?}",
                    Person::of_user(user),
                    people[id]
                );
                let status = if people[id].disabled { Status::Disabled } else { Status::Enabled };
                ensure!(user.status() == status, "{id} is {:?}", user.status());
            } else if self.gone.contains(id) {
                ensure!(out_of_scope(user), "{id} is gone from scope and {:?}", user.status());
            } else {
                ensure!(former == Some(user), "{id} should have stayed as they were: {former:?}, {user:?}");
            }
        }
        let lost = before.keys().chain(self.synchronized.difference(&self.newcomers));
        let lost: Vec<_> = lost.filter(|id| !after.contains_key(*id)).collect();
        ensure!(lost.is_empty(), "lost: {lost:?}");
        let enabled = after.values().filter(|user| user.status() == Status::Enabled).count();
        ensure!(i32::try_from(enabled)? == self.enabled, "{enabled} are enabled instead of {}", self.enabled);
        Ok(())
    }

    /// The same for a job that did not get to its end: nobody may be disabled for absence who is
    /// there, nobody be made up, nobody be lost.
    pub(super) fn check_partial(&self, before: &Users, people: &People, after: &Users) -> Result<()> {
        for (id, user) in after {
            ensure!(before.contains_key(id) || people.contains_key(id), "{id} was made up");
            let newly_gone = out_of_scope(user) && !before.get(id).is_some_and(out_of_scope);
            ensure!(
                !newly_gone || self.gone.contains(id),
                "{id} is in the directory and disabled for absence"
            );
        }
        let lost: Vec<_> = before.keys().filter(|id| !after.contains_key(*id)).collect();
        ensure!(lost.is_empty(), "lost: {lost:?}");
        Ok(())
    }
}
