//! Why a record is not synchronized, and why a job failed. The numbers are those of the API and of
//! the tables: never reuse one.

use super::stored_enum::stored_enum;

macro_rules! reasons {
    ($(#[$doc:meta])* pub enum $name:ident { $($variant:ident = $number:literal $text:literal),+ $(,)? }) => {
        stored_enum! {
            $(#[$doc])*
            pub enum $name { $(#[doc = $text] $variant = $number),+ }
        }
        impl $name {
            /// What happened and what to do next, for people.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

reasons! {
    /// Why a record is not synchronized.
    pub enum NotSynchronizedReason {
        MissingUniqueId = 1 "The entry has no readable value of the immutable id attribute. Check the source's mapping, and that the bind account may read the attribute.",
        MissingUserName = 2 "The entry has no user name. Fill the mapped attribute in the directory, or leave the entry out by the source's filter.",
        MissingEmail = 3 "The entry has no mail address. Fill the mapped attribute in the directory, or set mail_optional in the source's mapping.",
        InvalidEmail = 4 "The mail address is not one. Correct it in the directory.",
        DuplicateEmail = 5 "Another user has the same mail address. Correct one of the two in the directory.",
        DuplicateUserName = 6 "Another user has the same user name. Correct one of the two in the directory.",
        InvalidAttribute = 7 "A value is too long or is not text. Correct it in the directory.",
        LicenseLimit = 8 "All seats of the license are taken. Free seats or raise the license limit, then synchronize again.",
        SyncLimit = 9 "The record is beyond the source's sync limit. Raise sync_limit and publish, then synchronize again.",
        RejectedByRouterPolicy = 10 "The identity router's policy does not let the entry leave the premises. Extend the policy, or leave the entry out by the source's filter.",
        EntryUnreadable = 11 "The entry could not be read. Look at it in the directory, and at the identity router's log.",
        AttributeLoss = 12 "The change takes something away from the user, and the job is held: perhaps the bind account lost a right to read. The user stays as it was; approve the hold if it is right.",
        DuplicateUniqueId = 13 "Two entries have the same immutable id, so neither is applied and the user stays as it was. Give each person an id of their own, or correct the mapping. An entry that changed while it was read can look like that, too: then the next sync is right.",
        PlanChanged = 14 "Left out: the entry or the user has changed since the plan was made, or is not in it. Make a new plan, or synchronize.",
        ChangedSince = 15 "Left as it is: the user has changed since the job that is undone. Look at the user, and change the directory if it is wrong.",
        UserDeleted = 16 "The record was of a user who has been deleted since. The next sync adds whoever is in scope, as a new user.",
        MarkNotVisible = 17 "The entry would enable a user, and does not show whether the account is disabled. Let the bind account read the attribute that marks disabled accounts, then synchronize again.",
        OlderServer = 18 "The directory server is behind: what it says is older than what was read before, or cannot be compared with it. The user stays as it was; synchronize again once the server has caught up, or approve the hold.",
        LoginTaken = 19 "Another user has the user name as its mail address, or the mail address as its user name, and had it first or by the same sync: it is not a login of this user. Correct one of the two in the directory.",
    }
}

reasons! {
    /// Why a job failed.
    pub enum FailureReason {
        Internal = 1 "A fault of the control plane. Its log has the cause; the next sync needs no preparation.",
        RouterLost = 2 "No identity router took the job, or the one that had it did not come back in time. Check the router's service and its log, then synchronize again.",
        RouterPolicy = 3 "The identity router's policy does not allow what the source asks for. Extend its policy file or change the source.",
        CredentialMissing = 4 "The identity router has no usable credential of the name that the source asks for. Add it to the router's configuration.",
        DirectoryUnreachable = 5 "No directory server could be reached. Check that they run, and that the identity router can reach them, then synchronize again.",
        DirectoryTls = 6 "TLS with the directory server failed. Check its certificate and the router's CA file.",
        BindRejected = 7 "The directory did not accept the credential. Check bind DN and password in the router's configuration.",
        RootNotFound = 8 "A root does not exist, or the bind account may not read it. Correct the source's roots, or the rights of the account, then synchronize again.",
        RootChanged = 9 "A root became another entry while it was read; nobody was disabled. Synchronize again.",
        ReadIncomplete = 10 "The directory did not deliver the whole scope; nobody was disabled. Check its limits for the bind account and its log, then synchronize again.",
        DirectoryReferral = 11 "The directory referred to another server for a part of the scope; nobody was disabled. Read that server as a source of its own, or narrow the root.",
        DirectoryProtocol = 12 "The directory broke the LDAP protocol. Look at its log and version; the identity router's log says what it sent.",
        ConfigChanged = 15 "The source was published anew while the job ran; nobody was disabled. Synchronize again.",
        CountMismatch = 16 "The identity router's count of records differs from what arrived; nobody was disabled. Synchronize again.",
        SourceInvalid = 17 "The filter or the mapping of the source is not usable. Correct the source and publish it.",
        Stuck = 18 "The job took longer than sync.job_deadline. Look at the logs of control plane and identity router, then synchronize again.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_number_and_says_something() {
        for reason in NotSynchronizedReason::ALL {
            assert_eq!(NotSynchronizedReason::from_number(reason.number()), Some(*reason));
            assert!(reason.text().ends_with('.'));
            assert!(
                reason.text().contains(". ") || reason.text().contains("; "),
                "says what to do: {reason:?}"
            );
        }
        for reason in FailureReason::ALL {
            assert_eq!(FailureReason::from_number(reason.number()), Some(*reason));
            assert!(reason.text().ends_with('.'));
        }
    }
}
