//! The verification of a password by the directory: what a router says, and what it comes to. No
//! password is in here.

use std::time::Duration;

use super::stored_enum::stored_enum;
use super::{Failure, Found, Single, UserNo};

stored_enum! {
    /// What became of a password. The numbers are those of the API.
    #[expect(missing_docs, reason = "the API's reference, just_in_time.proto, documents each")]
    pub enum PasswordOutcome {
        Verified = 1,
        WrongPasswordOrUnknown = 2,
        AccountDisabled = 3,
        AccountExpired = 4,
        AccountLocked = 5,
        PasswordExpired = 6,
        MustChange = 7,
        TooManyAttempts = 8,
        NotAllowed = 9,
        DirectoryUnreachable = 10,
        NoRouter = 11,
        Internal = 12,
    }
}

/// What a router says of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The directory accepted it for this person: a record, or an entry that cannot be used.
    Accepted(Found),
    /// The directory did not accept it, or the router asks no more.
    Refused(PasswordOutcome),
    /// Nobody in scope has the name.
    Absent,
    /// Several have. None was asked.
    Ambiguous,
    /// A directory may have been asked, and nobody knows what it says.
    Unanswered(Failure),
}

/// What the verification of a password came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// What became of the password.
    pub outcome: PasswordOutcome,
    /// What the sync came to that followed, if the directory accepted the password.
    pub sync: Option<Single>,
    /// For people.
    pub message: String,
    /// When to try again, if there were too many tries.
    pub retry: Option<Duration>,
    /// The known user of this name, if there is one. Nothing for whoever called.
    pub user: Option<UserNo>,
    /// How many were refused by this name before one that was accepted.
    pub refused_before: u32,
}
