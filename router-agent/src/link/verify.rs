//! Carries out orders to verify a password: the person is found as for a fetch, then the directory is asked by a bind as that entry, if it has the
//! very name that was typed. Source and policy must both allow it. Of an entry whose password was not accepted nothing leaves.

use std::sync::Arc;
use std::time::Instant;

use rollcall_proto::admin::v1::FailureReason;
use rollcall_proto::limits::PASSWORD_BYTES;
use rollcall_proto::router::v1::verify_result::{Found, Verdict as Said};
use rollcall_proto::router::v1::{
    FetchOrder, ReadFailure, SessionRequest, VerifyOrder, VerifyResult, session_request,
};

use super::attempts::Attempts;
use super::fetch::{Fetches, deadline_of, fetch_entry};
use super::orders::{Allowed, Unprepared, allow, failure, forbidden, of_directory, presence, refused, say};
use crate::config::Config;
use crate::directory::{self, DirectoryError, Fetched, Password, PasswordVerdict, Pool, Presence};
use crate::policy::MayVerify;
use crate::record::{Mapped, Mapping, Name, NameQuery, map_entry};

/// What came of an order.
struct Answer {
    verdict: Said,
    found: Option<Found>,
}

/// Whether a password is one that may be asked about: anything but none, up to a length that no directory exceeds.
pub(super) fn is_password(password: &str) -> bool {
    (1..=PASSWORD_BYTES).contains(&password.len())
}

impl Fetches {
    /// Begins one. The answer goes to the session.
    pub(super) fn verify(&self, order: VerifyOrder) {
        let request = order.request_id.clone();
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            let busy = "The identity router has as many people to fetch as it does at a time. Try again.";
            let message = failed(request, failure(FailureReason::RouterLost, busy));
            let message = session_request::Message::VerifyResult(message);
            let _ = self.sender.try_send(SessionRequest { message: Some(message) });
            return;
        };
        let parts = (Arc::clone(&self.config), Arc::clone(&self.warm), Arc::clone(&self.attempts));
        let (trail, binds) = (Arc::clone(&self.trail), Arc::clone(&self.binds));
        let (sender, cancel) = (self.sender.clone(), self.all.child_token());
        tokio::spawn(async move {
            let (config, warm, attempts) = parts;
            let within = deadline_of(order.person.as_ref().unwrap_or(&FetchOrder::default()));
            let deadline = tokio::time::Instant::now() + within;
            let verified = async {
                let allowed = may(&config, &order).map_err(|Unprepared { failure, keys }| {
                    refused(&trail, "VerifyOrder", &keys);
                    failure
                })?;
                // Each is a connection of its own: few at a time.
                let busy =
                    "The identity router has as many passwords to verify as it does at a time. Try again.";
                let bind = tokio::time::timeout_at(deadline, binds.acquire()).await;
                let _bind = bind.map_err(|_| failure(FailureReason::RouterLost, busy))?;
                verify(&config, &warm, &attempts, allowed, (order, deadline)).await
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                verified = verified => {
                    let result = match verified {
                        Ok(Answer { verdict, found }) => VerifyResult { request_id: request, verdict: verdict.into(), found },
                        Err(failure) => {
                            tracing::warn!(reason = ?failure.reason(), "a password was not verified");
                            failed(request, failure)
                        }
                    };
                    say(&sender, session_request::Message::VerifyResult(result)).await;
                }
            }
            drop(turn);
        });
    }
}

/// The answer that nobody was asked.
pub(super) fn failed(request_id: String, failure: ReadFailure) -> VerifyResult {
    VerifyResult { request_id, verdict: Said::Unspecified.into(), found: Some(Found::Failure(failure)) }
}

/// Whether source and policy allow it.
fn may(config: &Config, order: &VerifyOrder) -> Result<(MayVerify, Allowed), Unprepared> {
    let person = order.person.clone().unwrap_or_default();
    let settings = person.settings.unwrap_or_default();
    if !settings.verify_passwords {
        let message = "The source's settings do not say verify_passwords. Set it, and publish the source.";
        return Err(failure(FailureReason::SourceInvalid, message).into());
    }
    let word = config.policy.may_verify(&settings).map_err(forbidden)?;
    Ok((word, allow(config, &settings, person.revision, None)?))
}

async fn verify(
    config: &Config,
    warm: &Pool,
    attempts: &Arc<Attempts>,
    (word, allowed): (MayVerify, Allowed),
    (mut order, deadline): (VerifyOrder, tokio::time::Instant),
) -> Result<Answer, ReadFailure> {
    let password = Password::from(std::mem::take(&mut order.password));
    let person: FetchOrder = order.person.take().unwrap_or_default();
    let asked = NameQuery::new(&allowed.mapping, Name::Login(&order.login));
    let asked = asked.map_err(|error| failure(FailureReason::SourceInvalid, error.to_string()))?;
    // No record can have such a name.
    let Some(asked) = asked else { return Ok(nobody(Found::Absent(presence(Presence::NotFound).into()))) };
    let late = "The directory did not answer in time, so nobody was asked whether the password is right.";
    let fetched = tokio::time::timeout_at(deadline, fetch_entry(config, warm, &allowed, &person)).await;
    let entry = match fetched.map_err(|_| failure(FailureReason::DirectoryUnreachable, late))?? {
        Some((_, Fetched::Entry(entry))) => entry,
        Some((_, Fetched::Ambiguous(entries))) => {
            return Ok(nobody(Found::Ambiguous(i32::try_from(entries).unwrap_or(i32::MAX))));
        }
        Some((_, Fetched::Absent(gone))) => return Ok(nobody(Found::Absent(presence(gone).into()))),
        None => return Ok(nobody(Found::Absent(presence(Presence::NotFound).into()))),
    };
    let (Ok(dn), Some(found)) = (std::str::from_utf8(entry.dn()), named(&allowed.mapping, &entry, &asked))
    else {
        return Ok(nobody(Found::Absent(presence(Presence::NotFound).into())));
    };
    let Some(attempt) = attempts.begin(dn, Instant::now()) else {
        tracing::warn!(audit = true, event = "passwords_tried", "too many passwords were tried in vain");
        return Ok(Answer { verdict: Said::TooManyAttempts, found: None });
    };
    let Allowed { plan, ca_file, .. } = &allowed;
    let left = deadline.saturating_duration_since(tokio::time::Instant::now());
    let verdict = directory::verify(word, &plan.servers, dn, &password, ca_file.as_deref(), left).await;
    Ok(match verdict {
        Ok(PasswordVerdict::Right) => {
            attempt.accepted();
            Answer { verdict: Said::Accepted, found: Some(found) }
        }
        Ok(verdict) => Answer { verdict: said(verdict), found: None },
        Err(error) => {
            tracing::warn!(reason = ?error.failure_reason(), "a directory did not say whether a password is right");
            Answer { verdict: Said::Unanswered, found: Some(Found::Failure(unanswered(&error))) }
        }
    })
}

fn nobody(found: Found) -> Answer {
    Answer { verdict: Said::Unspecified, found: Some(found) }
}

/// What an entry is, if its user name or mail address is the one that was typed. One that was found by immutable id may have another by now.
fn named(mapping: &Mapping, entry: &crate::record::Entry, asked: &NameQuery<'_>) -> Option<Found> {
    match map_entry(mapping, entry) {
        Mapped::Record(record) => {
            asked.matches_any([&record.user_name, &record.mail]).then_some(Found::Record(record))
        }
        Mapped::Rejected(rejected) => {
            asked.matches_any([&rejected.user_name, &rejected.mail]).then_some(Found::Rejected(rejected))
        }
    }
}

fn said(verdict: PasswordVerdict) -> Said {
    match verdict {
        PasswordVerdict::Right => Said::Accepted,
        PasswordVerdict::Wrong => Said::Wrong,
        PasswordVerdict::Disabled => Said::AccountDisabled,
        PasswordVerdict::Expired => Said::AccountExpired,
        PasswordVerdict::PasswordExpired => Said::PasswordExpired,
        PasswordVerdict::Locked => Said::AccountLocked,
        PasswordVerdict::MustChange => Said::MustChange,
    }
}

fn unanswered(error: &DirectoryError) -> ReadFailure {
    match error {
        DirectoryError::BindRejected { server, code, hint } => failure(
            FailureReason::BindRejected,
            format!(
                "{server} takes no simple bind of this person (result code {code}{hint}). Check the server's rules for binds, and that the source uses LDAPS or STARTTLS."
            ),
        ),
        DirectoryError::BindAnonymous { server } => failure(
            FailureReason::BindRejected,
            format!(
                "{server} treats binds of people as anonymous, so it verifies nobody. Check the server's rules for binds."
            ),
        ),
        error => of_directory(error),
    }
}
