//! Lines of Show Details.

use super::stored_enum::stored_enum;
use super::{ImmutableId, NotSynchronizedReason, UserNo};

/// Most details that are kept of each category.
pub const DETAILS_PER_CATEGORY: i64 = 400;

stored_enum! {
    /// The lists of Show Details. The numbers are those of the API and of the tables.
    pub enum Category {
        /// New users.
        Added = 1,
        /// Changed users.
        Updated = 2,
        /// Users disabled for absence.
        Disabled = 3,
        /// Records not applied.
        NotSynchronized = 4,
        /// Users whom a held job would disable.
        WouldBeDisabled = 5,
        /// Users with a warning: what cannot be used was left out, everything else was applied; or
        /// a name of theirs is no login.
        Warning = 6,
        /// Users whom a held job would enable again.
        WouldBeEnabled = 7,
        /// Absent users who were left alone, since the directory does not show that they are gone.
        NotVisible = 8,
    }
}

/// One line of Show Details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What became of it.
    pub category: Category,
    /// The user, if it is one.
    pub user: Option<UserNo>,
    /// User name.
    pub user_name: String,
    /// Mail address.
    pub mail: String,
    /// Immutable id.
    pub id: Option<ImmutableId>,
    /// Why it is not synchronized.
    pub reason: Option<NotSynchronizedReason>,
    /// A sentence for people.
    pub message: String,
}
