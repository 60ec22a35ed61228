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
        /// Found elsewhere: outside of the roots, or no longer matching the filter.
        Moved = 1,
        /// The directory shows that the entry was deleted.
        Deleted = 2,
        /// Not visible: deleted, hidden from the bind account, or not yet replicated.
        Unexplained = 3,
    }
}

impl Absence {
    /// A sentence for people who read that the user was disabled.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Moved => {
                "the directory has the entry outside of the source's roots, or it no longer matches the filter"
            }
            Self::Deleted => "the directory shows that the entry was deleted",
            Self::Unexplained => {
                "the directory no longer shows the entry: deleted, or hidden from the bind account"
            }
        }
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
            Self::OutOfScope | Self::NotMatching => Some(Absence::Moved),
            Self::Deleted => Some(Absence::Deleted),
            Self::NotFound | Self::NotVisible => Some(Absence::Unexplained),
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
    /// Status.
    pub status: Status,
    /// When values or status last changed.
    pub updated_at: Timestamp,
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
    /// Another server that was read since, and may be behind this one.
    pub newcomer: Option<UnverifiedServer>,
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
}

/// A server whose data could not be compared with that of the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnverifiedServer {
    /// The server.
    pub server: String,
    /// When it was first read to the end, in microseconds since 1970.
    pub since: i64,
    /// The job that read it then, and noted whom it did not have.
    pub job: i64,
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
