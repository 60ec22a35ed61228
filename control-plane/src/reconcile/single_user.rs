//! The sync of one user: whose name was asked for, what an answer comes to, and who may be let in.
//! What a record does to the users is decided by [`super::batch`], as in a sync of all.

use super::names;
use crate::model::{
    FailureReason, FetchBy, NameKey, NameKind, NotSynchronizedReason, Presence, Record, SingleOutcome,
    SingleUserSettings, Status, TenantNo, Timestamp, User, UserSelector,
};

/// Keys of the names that are asked for; none where a user is asked for by number.
#[must_use]
pub fn keys(tenant: TenantNo, whom: &UserSelector) -> Vec<(NameKind, NameKey)> {
    let key = |kind, name: &str| (kind, names::key(tenant, kind, name));
    match whom {
        UserSelector::User(_) => Vec::new(),
        UserSelector::Mail(mail) => vec![key(NameKind::Mail, mail)],
        UserSelector::UserName(name) => vec![key(NameKind::UserName, name)],
        UserSelector::Login(login) => vec![key(NameKind::UserName, login), key(NameKind::Mail, login)],
    }
}

/// How to search for whoever is not known by that name; none for a user by number, which is known
/// or is not.
#[must_use]
pub fn fetch_by(whom: &UserSelector) -> Option<FetchBy> {
    match whom {
        UserSelector::User(_) => None,
        UserSelector::Mail(mail) => Some(FetchBy::Mail(mail.clone())),
        UserSelector::UserName(name) => Some(FetchBy::UserName(name.clone())),
        UserSelector::Login(login) => Some(FetchBy::Login(login.clone())),
    }
}

/// Whether a record is of whoever was asked for. Directories compare names in ways of their own,
/// and an attribute may have more values than the one that is mapped: only a name that is equal by
/// our rule lets in.
#[must_use]
pub fn is_of(tenant: TenantNo, whom: &UserSelector, record: &Record) -> bool {
    let keys = keys(tenant, whom);
    keys.is_empty() || record.names().any(|name| keys.contains(&name))
}

/// Whether a user is who was asked for, by the names that it holds.
#[must_use]
pub fn is_held_by(tenant: TenantNo, whom: &UserSelector, user: &User) -> bool {
    if let UserSelector::User(number) = whom {
        return user.number == *number;
    }
    let held = [(NameKind::UserName, &user.values.user_name), (NameKind::Mail, &user.values.mail)];
    let keys = keys(tenant, whom);
    user.status != Status::OutOfScope
        && held
            .into_iter()
            .any(|(kind, name)| !name.is_empty() && keys.contains(&(kind, names::key(tenant, kind, name))))
}

/// What became of a user whom a record changed.
#[must_use]
pub fn changed(before: Status, after: Status) -> SingleOutcome {
    match (before, after) {
        (Status::Enabled, Status::Enabled) => SingleOutcome::Updated,
        (_, Status::Enabled) => SingleOutcome::Reenabled,
        (Status::Enabled, _) => SingleOutcome::DisabledInDirectory,
        (_, _) => SingleOutcome::Updated,
    }
}

/// What a call says that has changed the user and then asked for it once more. What the first
/// answer came to is not called the directory's state: the call itself has just written it. What a
/// call disabled stays said.
#[must_use]
pub fn confirmed(first: SingleOutcome, second: SingleOutcome) -> SingleOutcome {
    let disabled = matches!(first, SingleOutcome::DisabledInDirectory | SingleOutcome::DisabledOutOfScope);
    if second == SingleOutcome::Unchanged || disabled && !second.changed() { first } else { second }
}

/// What is known of a user that a search by immutable id did not find, after it was looked up once
/// more on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It is there after all.
    Here,
    /// The directory shows its tombstone.
    Deleted,
    /// It was not found, which proves nothing.
    NotFound,
}

/// What a look-up proves of one user. Only a tombstone proves that the user is gone; everything
/// else may be a lost right, a mistyped filter, a renamed root or a server that is behind, and only
/// a read of the whole source can tell.
#[must_use]
pub fn sight(presence: Presence) -> Sight {
    match presence {
        Presence::InScope => Sight::Here,
        Presence::Deleted => Sight::Deleted,
        Presence::OutOfScope | Presence::NotMatching | Presence::NotFound | Presence::NotVisible => {
            Sight::NotFound
        }
    }
}

/// Where an entry is that was not found in scope, for people.
#[must_use]
pub fn whereabouts(presence: Presence) -> &'static str {
    match presence {
        Presence::InScope => "The entry is found in the source's scope on one connection only.",
        Presence::OutOfScope => "The entry is in the directory outside of the roots.",
        Presence::NotMatching => "The entry no longer matches the filter.",
        Presence::Deleted => "The directory shows that the entry was deleted.",
        Presence::NotFound => "The entry is not found in the source's scope.",
        Presence::NotVisible => "The entry is not visible to the bind account.",
    }
}

/// The message about a user that was not found.
#[must_use]
pub fn absent_text(presence: Presence) -> String {
    let next = "The user may not be let in, and was not disabled, since one search cannot prove that it is gone. Start a sync, which finds the user or disables it.";
    format!("{} {next}", whereabouts(presence))
}

/// What it comes to that a router could not fetch.
#[must_use]
pub fn failed(reason: FailureReason) -> SingleOutcome {
    use FailureReason as Reason;
    match reason {
        Reason::RouterLost => SingleOutcome::NoRouter,
        Reason::RouterPolicy
        | Reason::CredentialMissing
        | Reason::BindRejected
        | Reason::RootNotFound
        | Reason::SourceInvalid => SingleOutcome::NotAllowed,
        Reason::DirectoryUnreachable
        | Reason::DirectoryTls
        | Reason::RootChanged
        | Reason::ReadIncomplete
        | Reason::DirectoryReferral
        | Reason::DirectoryProtocol => SingleOutcome::DirectoryUnreachable,
        Reason::Internal | Reason::ConfigChanged | Reason::CountMismatch | Reason::Stuck => {
            SingleOutcome::Internal
        }
    }
}

/// Whether a user may be let in whose record was fetched just now and came to this. A record that
/// another user's name keeps from being applied locks nobody out: the directory has just said that
/// the person is there and enabled.
#[must_use]
pub fn may_enter(outcome: SingleOutcome, record: &Record, user: &User) -> bool {
    use SingleOutcome as Outcome;
    let seen = matches!(
        outcome,
        Outcome::Added
            | Outcome::Updated
            | Outcome::Unchanged
            | Outcome::Reenabled
            | Outcome::DuplicateEmail
            | Outcome::DuplicateUserName
            // The entry is seen as it was before: then what is kept of it counts as well.
            | Outcome::OlderServer
    );
    seen && !record.disabled && user.status == Status::Enabled
}

/// Whether a user may be let in as last known, when neither router nor directory answer. A user
/// that was not found at the last sign-in may not.
#[must_use]
pub fn may_enter_as_known(
    settings: &SingleUserSettings,
    outcome: SingleOutcome,
    user: &User,
    observed_at: Timestamp,
    now: Timestamp,
) -> bool {
    let away = matches!(outcome, SingleOutcome::NoRouter | SingleOutcome::DirectoryUnreachable);
    away && user.status == Status::Enabled
        && user.absent_since.is_none()
        && !settings.last_known_max_age.is_zero()
        && observed_at >= now.minus(settings.last_known_max_age)
}

/// Whether a text can be a mail address: something on both sides of its last at sign, and nothing
/// that no address has.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let sides = text.rsplit_once('@');
    sides.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !text.chars().any(|character| character.is_whitespace() || character.is_control())
}

/// What happened and what to do next, for people.
#[must_use]
pub fn text(outcome: SingleOutcome) -> &'static str {
    use SingleOutcome as Outcome;
    match outcome {
        Outcome::Added => "The user is new and was added.",
        Outcome::Updated => "The user was updated.",
        Outcome::Unchanged => "The user is as the directory has it.",
        Outcome::Reenabled => "The user was enabled again: the directory has it in scope and not disabled.",
        Outcome::DisabledInDirectory => {
            "The user was disabled, since the directory says so. Enable the account there."
        }
        Outcome::DisabledOutOfScope => {
            "The user was disabled, since the directory shows that the entry was deleted."
        }
        Outcome::Held => {
            "The entry was deleted in the directory, and the user was not disabled: more users were in the last 24 hours than the source's disable guard allows. Start a sync; it shows the list and waits for an approval."
        }
        Outcome::NotFound => {
            "No identity source has such a user. Check the name, and the roots and filters of the sources."
        }
        Outcome::Ambiguous => {
            "Several entries of the directory have this name or this id. Correct all but one in the directory."
        }
        Outcome::InvalidEmail => "This is no mail address. Correct it.",
        Outcome::DuplicateEmail => {
            "Another user has the same mail address. Correct one of the two in the directory."
        }
        Outcome::DuplicateUserName => {
            "Another user has the same user name. Correct one of the two in the directory."
        }
        Outcome::DisabledNotAdded => {
            "The person is no user yet and was not added, since the account is disabled in the directory. Enable it there."
        }
        Outcome::MissingUniqueId => {
            "The entry has no readable value of the immutable id attribute. Check the source's mapping, and that the bind account may read the attribute."
        }
        Outcome::MissingEmail => {
            "The entry has no mail address. Fill the mapped attribute in the directory, or set mail_optional in the source's mapping."
        }
        Outcome::NoRouter => {
            "No identity router that may read the source is connected to this replica, or it was lost meanwhile. Check router-agent on the premises."
        }
        Outcome::DirectoryUnreachable => {
            "The directory did not answer in time. Check its servers, and that the identity router can reach them."
        }
        Outcome::NotAllowed => {
            "The identity router's policy, its credential, or the source's settings do not allow it."
        }
        Outcome::LicenseLimit => "All seats of the license are taken. Free seats or raise the license limit.",
        Outcome::InvalidAttribute => {
            "The entry cannot be used: a value is missing, too long or not text. Correct it in the directory."
        }
        Outcome::LastKnown => {
            "The directory did not answer; the user is let in as last known, as the tenant's settings say."
        }
        Outcome::Absent => {
            "The user was not found in the source's scope and may not be let in. It was not disabled, since one search cannot prove that it is gone. Start a sync, which finds the user or disables it."
        }
        Outcome::MarkNotVisible => NotSynchronizedReason::MarkNotVisible.text(),
        Outcome::OlderServer => NotSynchronizedReason::OlderServer.text(),
        Outcome::Internal => "A fault of the control plane or of its database. Its log has the cause.",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::model::{ImmutableId, SourceId, UserNo, UserValues};

    const TENANT: TenantNo = TenantNo(1);

    fn record(user_name: &str, mail: &str, disabled: bool) -> Record {
        Record {
            id: ImmutableId(Bytes::from(vec![1; 16])),
            digest: [1; 16],
            values: UserValues {
                user_name: user_name.to_owned(),
                mail: mail.to_owned(),
                ..UserValues::default()
            },
            disabled,
            mark_proved: true,
            warnings: Vec::new(),
            version: None,
            user_name_key: names::key(TENANT, NameKind::UserName, user_name),
            mail_key: (!mail.is_empty()).then(|| names::key(TENANT, NameKind::Mail, mail)),
        }
    }

    fn user(user_name: &str, mail: &str, status: Status) -> User {
        User {
            number: UserNo(7),
            source: SourceId::from("hq"),
            id: ImmutableId(Bytes::from(vec![1; 16])),
            values: record(user_name, mail, false).values,
            status,
            disabled_at: None,
            absence: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            last_sign_in_at: None,
            mark: None,
            absent_since: None,
            warnings: Vec::new(),
            login_taken: false,
        }
    }

    fn login(text: &str) -> UserSelector {
        UserSelector::Login(text.to_owned())
    }

    #[test]
    fn only_whoever_has_the_name_that_was_typed_is_let_in() {
        let anna = record("anna", "anna@example.com", false);
        for typed in ["ANNA", "Anna@Example.com"] {
            assert!(is_of(TENANT, &login(typed), &anna), "{typed}");
        }
        for typed in ["änna", "anna ", "anna@example.org", "admin"] {
            assert!(!is_of(TENANT, &login(typed), &anna), "{typed}");
        }
        assert!(
            !is_of(TENANT, &UserSelector::Mail("anna".to_owned()), &anna),
            "a user name is no mail address"
        );
        let without = record("anna", "", false);
        assert!(!is_of(TENANT, &login(""), &without), "nobody has the empty name");
    }

    #[test]
    fn a_user_out_of_scope_holds_no_name_and_is_found_by_number_alone() {
        let gone = user("anna", "anna@example.com", Status::OutOfScope);
        assert!(!is_held_by(TENANT, &login("anna"), &gone));
        assert!(is_held_by(TENANT, &UserSelector::User(UserNo(7)), &gone));
        assert!(is_held_by(TENANT, &login("anna"), &user("anna", "", Status::DisabledInDirectory)));
        assert!(!is_held_by(TENANT, &login(""), &user("anna", "", Status::Enabled)));
    }

    #[test]
    fn a_name_that_another_user_has_locks_nobody_out_but_a_disabled_account_is() {
        let anna = user("anna", "anna@example.com", Status::Enabled);
        let enabled = record("anna", "new@example.com", false);
        assert!(may_enter(SingleOutcome::DuplicateEmail, &enabled, &anna));
        let disabled = record("anna", "new@example.com", true);
        assert!(!may_enter(SingleOutcome::DuplicateEmail, &disabled, &anna));
        assert!(!may_enter(SingleOutcome::LicenseLimit, &enabled, &anna));
        let out = user("anna", "anna@example.com", Status::OutOfScope);
        assert!(!may_enter(SingleOutcome::DuplicateEmail, &enabled, &out));
    }

    #[test]
    fn the_last_known_state_lets_in_only_if_nobody_answers_and_it_is_young_enough() {
        let hour = Duration::from_secs(3_600);
        let settings = SingleUserSettings { last_known_max_age: hour, ..SingleUserSettings::default() };
        let now = Timestamp(0).plus(10 * hour);
        let enter = |settings: &SingleUserSettings, outcome, status, age| {
            may_enter_as_known(settings, outcome, &user("anna", "", status), now.minus(age), now)
        };
        assert!(enter(&settings, SingleOutcome::NoRouter, Status::Enabled, hour));
        assert!(enter(&settings, SingleOutcome::DirectoryUnreachable, Status::Enabled, hour));
        assert!(!enter(&settings, SingleOutcome::NoRouter, Status::Enabled, hour + Duration::from_micros(1)));
        assert!(!enter(&settings, SingleOutcome::NoRouter, Status::DisabledInDirectory, hour));
        assert!(!enter(&settings, SingleOutcome::NotFound, Status::Enabled, hour));
        let absent = User { absent_since: Some(Timestamp(1)), ..user("anna", "", Status::Enabled) };
        assert!(!may_enter_as_known(&settings, SingleOutcome::NoRouter, &absent, now, now));
        assert!(!enter(&settings, SingleOutcome::NotAllowed, Status::Enabled, hour));
        assert!(!enter(
            &SingleUserSettings::default(),
            SingleOutcome::NoRouter,
            Status::Enabled,
            Duration::ZERO
        ));
    }

    #[test]
    fn only_a_tombstone_proves_that_one_user_is_gone() {
        let all = [
            Presence::InScope,
            Presence::OutOfScope,
            Presence::NotMatching,
            Presence::Deleted,
            Presence::NotFound,
            Presence::NotVisible,
        ];
        for presence in all {
            assert_eq!(sight(presence) == Sight::Deleted, presence == Presence::Deleted);
            assert_eq!(sight(presence) == Sight::Here, presence == Presence::InScope);
            assert!(absent_text(presence).contains("Start a sync"));
        }
    }

    #[test]
    fn an_answer_does_not_call_the_directorys_what_the_call_has_written() {
        use SingleOutcome as Outcome;
        for first in [Outcome::Added, Outcome::Updated, Outcome::Reenabled, Outcome::DisabledOutOfScope] {
            assert_eq!(confirmed(first, Outcome::Unchanged), first);
        }
        assert_eq!(confirmed(Outcome::Added, Outcome::Absent), Outcome::Absent);
        assert_eq!(confirmed(Outcome::Reenabled, Outcome::MissingEmail), Outcome::MissingEmail);
        assert_eq!(
            confirmed(Outcome::DisabledInDirectory, Outcome::MissingEmail),
            Outcome::DisabledInDirectory
        );
        assert_eq!(confirmed(Outcome::DisabledInDirectory, Outcome::Reenabled), Outcome::Reenabled);
    }

    #[test]
    fn what_is_no_address_is_not_searched_for() {
        for address in ["a@b", "anna.ü@example.com", "\"a@b\"@c"] {
            assert!(is_address(address), "{address}");
        }
        for text in ["", "@", "a@", "@b", "anna", "a b@c", "a@b\n"] {
            assert!(!is_address(text), "{text:?}");
        }
    }

    #[test]
    fn every_failure_of_a_fetch_and_every_outcome_says_something() {
        for reason in FailureReason::ALL {
            assert!(!failed(*reason).changed());
            assert!(text(failed(*reason)).ends_with('.'));
        }
    }

    #[test]
    fn a_change_is_called_by_what_it_does_to_the_user() {
        let cases = [
            (Status::Enabled, Status::Enabled, SingleOutcome::Updated),
            (Status::OutOfScope, Status::Enabled, SingleOutcome::Reenabled),
            (Status::DisabledInDirectory, Status::Enabled, SingleOutcome::Reenabled),
            (Status::Enabled, Status::DisabledInDirectory, SingleOutcome::DisabledInDirectory),
            (Status::OutOfScope, Status::DisabledInDirectory, SingleOutcome::Updated),
        ];
        for (before, after, outcome) in cases {
            assert_eq!(changed(before, after), outcome);
        }
    }
}
