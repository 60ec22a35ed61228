//! Users who are gone from scope: what is known of their absence, what a complete read found
//! besides people, and the hold in which disables wait for an administrator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::stored_enum::stored_enum;
use super::{ImmutableId, Status, Timestamp, UserNo};

stored_enum! {
    /// What became of a user whom a complete read did not have, as far as the directory shows it.
    /// The numbers are those of the tables.
    pub enum Absence {
        /// Found elsewhere: outside of the roots.
        Moved = 1,
        /// The directory shows that the entry was deleted.
        Deleted = 2,
        /// There is no such entry, and the directory does not say why: deleted, renamed, or not yet
        /// replicated.
        Unexplained = 3,
        /// Below a root, and no longer matching the filter.
        NotMatching = 4,
        /// Not found, and the directory does not show that it is gone: perhaps it is hidden from
        /// the bind account. Such a user is never disabled.
        NotVisible = 5,
        /// Not looked up again: too many were absent, or the whole directory was empty.
        NotLookedUp = 6,
    }
}

impl Absence {
    /// A sentence for people who read that the user was disabled.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Moved => "the directory has the entry outside of the source's roots",
            Self::NotMatching => "the entry is below a root and no longer matches the source's filter",
            Self::Deleted => "the directory shows that the entry was deleted",
            Self::Unexplained => {
                "the directory no longer shows the entry, and does not show what became of it"
            }
            Self::NotVisible => "the entry is not visible, and the directory does not show that it is gone",
            Self::NotLookedUp => "the read did not have the entry, and it was not looked up again",
        }
    }

    /// Whether the directory shows what became of the entry.
    #[must_use]
    pub fn is_explained(self) -> bool {
        matches!(self, Self::Moved | Self::NotMatching | Self::Deleted)
    }
}

/// Where an identity router found an entry that it was asked to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Within a root and matching the filter.
    InScope,
    /// Elsewhere in the directory.
    OutOfScope,
    /// Below a root, and not matching the filter.
    NotMatching,
    /// The directory shows that it was deleted.
    Deleted,
    /// The directory says that there is no such entry.
    NotFound,
    /// Not found, and the directory does not show that it is gone.
    NotVisible,
}

impl Presence {
    /// What it means for a user whom a complete read did not have; none if the user is there after
    /// all.
    #[must_use]
    pub fn absence(self) -> Option<Absence> {
        match self {
            Self::InScope => None,
            Self::OutOfScope => Some(Absence::Moved),
            Self::NotMatching => Some(Absence::NotMatching),
            Self::Deleted => Some(Absence::Deleted),
            Self::NotFound => Some(Absence::Unexplained),
            Self::NotVisible => Some(Absence::NotVisible),
        }
    }
}

/// A user in scope whom a complete read did not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absentee {
    /// The user.
    pub user: UserNo,
    /// Immutable id.
    pub id: ImmutableId,
    /// The distinguished name that the user was last known by; empty if none is known.
    pub distinguished_name: String,
    /// Status.
    pub status: Status,
    /// When values or status last changed.
    pub updated_at: Timestamp,
}

/// A user who is looked for as a sign that the people of a container are visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The container, by distinguished name.
    pub container: String,
    /// The user.
    pub id: ImmutableId,
}

/// Users to look up again, and what helps to tell a hidden entry from one that is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookUp {
    /// The users, by immutable id.
    pub ids: Vec<ImmutableId>,
    /// The distinguished name that each was last known by, in the order of the ids; empty where
    /// none is known.
    pub distinguished_names: Vec<String>,
    /// At most one a container of these names.
    pub witnesses: Vec<Witness>,
}

impl LookUp {
    /// Looks one user up, by its id alone.
    #[must_use]
    pub fn of(id: ImmutableId) -> Self {
        Self { ids: vec![id], ..Self::default() }
    }
}

/// What a complete read found besides people: the facts that the next one is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFacts {
    /// The directory server, `host:port`.
    pub server: String,
    /// How recent its data was.
    pub freshness: Freshness,
    /// One a root, in the order of the settings.
    pub roots: Vec<RootFacts>,
    /// How many entries had each attribute of the mapping.
    pub attributes: BTreeMap<String, u64>,
}

impl ReadFacts {
    /// Entries of all roots.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.roots.iter().map(|root| root.entries).fold(0, u64::saturating_add)
    }
}

/// How one root was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFacts {
    /// Its base DN, as it was ordered.
    pub root: String,
    /// Identifies the base entry.
    pub fingerprint: [u8; 16],
    /// The attribute that the fingerprint was made of; empty if the router does not say.
    #[serde(default)]
    pub fingerprint_attribute: String,
    /// Its entries.
    pub entries: u64,
    /// There is no such entry.
    pub missing: bool,
}

/// How recent a directory server's data is, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// OpenLDAP: one change number a provider.
    pub context_csns: Vec<String>,
    /// Active Directory: identifies the copy of the database.
    pub invocation_id: Vec<u8>,
    /// Active Directory: the highest change number of that copy.
    pub highest_usn: i64,
    /// 389 Directory Server: the last change number of that server; 0 if it has none.
    #[serde(default)]
    pub last_usn: i64,
}

stored_enum! {
    /// Why disables wait for an administrator. The numbers are those of the API and of the tables.
    pub enum HoldReason {
        /// More users than the guard allows.
        DisableGuard = 1,
        /// More unexplained absences than the guard allows.
        UnexplainedAbsences = 2,
        /// Nobody at all.
        DirectoryEmpty = 3,
        /// A root is another entry.
        RootChanged = 4,
        /// A root is missing, or has nobody any more.
        RootMissing = 5,
        /// A container has nobody any more.
        ContainerEmpty = 6,
        /// An attribute is suddenly missing.
        AttributeLoss = 7,
        /// More users would be enabled again than a job enables by itself.
        MassEnable = 8,
        /// The server's data is older than what was read before, or cannot be compared with it.
        OlderServer = 9,
    }
}

/// One check of a complete read that broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenCheck {
    /// For programs.
    #[serde(with = "reason_number")]
    pub reason: HoldReason,
    /// For people.
    pub message: String,
    /// How many users it concerns.
    pub users: i64,
}

/// A hold reason in JSON is its number.
mod reason_number {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::HoldReason;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
    pub(super) fn serialize<S: Serializer>(reason: &HoldReason, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i16(reason.number())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HoldReason, D::Error> {
        let number = i16::deserialize(deserializer)?;
        HoldReason::from_number(number).ok_or_else(|| de::Error::custom("an unknown hold reason"))
    }
}

stored_enum! {
    /// What became of a hold. The numbers are those of the API and of the tables.
    pub enum Decision {
        /// Nothing yet.
        Pending = 0,
        /// An administrator approved the list.
        Approved = 1,
        /// An administrator rejected it.
        Rejected = 2,
        /// Nobody decided in time.
        Expired = 3,
        /// A later job of the source began.
        Superseded = 4,
    }
}

/// Disables that wait, or waited, for an administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// For programs.
    pub reason: HoldReason,
    /// For people.
    pub message: String,
    /// Everything that speaks against the read, the reason first.
    pub broken: Vec<BrokenCheck>,
    /// Users who would be disabled.
    pub users: i64,
    /// Identifies the list of them.
    pub etag: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends without a decision.
    pub expires_at: Timestamp,
    /// What became of it.
    pub decision: Decision,
    /// Who decided, if a person did.
    pub decided_by: String,
}
