//! What can be wrong with a directory while people sign in.

use std::fmt;

/// A kind of directory server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    OpenLdap,
    Ds389,
    ActiveDirectory,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::OpenLdap, Self::Ds389, Self::ActiveDirectory];
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::OpenLdap => "OpenLDAP",
            Self::Ds389 => "389 DS",
            Self::ActiveDirectory => "Samba AD",
        })
    }
}

/// A fault of a directory, of its rights, or of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bind account may no longer read or search the immutable id.
    IdHidden,
    /// It may read the id and no longer search for it.
    IdNotSearchable,
    /// The root is hidden: OpenLDAP and Active Directory say noSuchObject, 389 DS answers success
    /// with nothing.
    RootHidden,
    /// A rule of access hides about half of the people; on Active Directory, a unit.
    PeopleHidden,
    /// One of two roots is renamed.
    RootRenamed,
    /// A filter is published that matches nobody.
    FilterMistyped,
    /// The entries of those who sign in lose their id.
    EntryWithoutId,
    /// The ids are UUIDs without hyphens, in an attribute of text.
    IdOfOtherForm,
    /// A proxy glues a branch below the root, and the server of the branch is down.
    BranchMissing,
    /// The server comes back with an older state of its data.
    OlderServer,
}

impl Fault {
    pub const ALL: [Self; 10] = [
        Self::IdHidden,
        Self::IdNotSearchable,
        Self::RootHidden,
        Self::PeopleHidden,
        Self::RootRenamed,
        Self::FilterMistyped,
        Self::EntryWithoutId,
        Self::IdOfOtherForm,
        Self::BranchMissing,
        Self::OlderServer,
    ];

    /// Whether the harness can make it on this kind of directory.
    pub fn is_possible_on(self, kind: Kind) -> bool {
        match kind {
            Kind::OpenLdap => true,
            Kind::Ds389 => self != Self::BranchMissing,
            Kind::ActiveDirectory => matches!(
                self,
                Self::RootHidden | Self::PeopleHidden | Self::RootRenamed | Self::FilterMistyped
            ),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::IdHidden => "id hidden",
            Self::IdNotSearchable => "id not searchable",
            Self::RootHidden => "root hidden",
            Self::PeopleHidden => "people hidden",
            Self::RootRenamed => "one of two roots renamed",
            Self::FilterMistyped => "mistyped filter",
            Self::EntryWithoutId => "entries without id",
            Self::IdOfOtherForm => "ids of another form",
            Self::BranchMissing => "proxy without branch",
            Self::OlderServer => "older server",
        })
    }
}
