//! Whether a user may use the service.

use super::stored_enum::stored_enum;

stored_enum! {
    /// Whether a user may use the service, and if not, why. The numbers are those of the tables.
    pub enum Status {
        /// Takes a seat.
        Enabled = 1,
        /// In scope, and the directory says that the account is disabled. Keeps its names.
        DisabledInDirectory = 2,
        /// A complete read no longer had the user. Its names are free for others.
        OutOfScope = 3,
    }
}

impl Status {
    /// That of a user in scope, whether the directory says that the account is disabled or not.
    #[must_use]
    pub fn in_scope(disabled: bool) -> Self {
        if disabled { Self::DisabledInDirectory } else { Self::Enabled }
    }
}
