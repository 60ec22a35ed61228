//! Carries out orders to verify a password: the person is found as for a fetch, then the directory
//! is asked by a bind as that entry, if it has the very name that was typed. Source and policy must
//! both allow it. Of an entry whose password was not accepted nothing leaves.

use std::sync::Arc;
use std::time::Instant;

use rollcall_proto::admin::v1::FailureReason;
use rollcall_proto::limits::PASSWORD_BYTES;
use rollcall_proto::router::v1::session_request::Message;
use rollcall_proto::router::v1::verify_result::{Found, Verdict as ProtoVerdict};
use rollcall_proto::router::v1::{FetchOrder, ReadFailure, VerifyOrder, VerifyResult};

use super::authorize::{Authorized, Unauthorized, authorize};
use super::context::OrderContext;
use super::fetch_user::{UserFetches, deadline_of, fetch_entry};
use super::password_attempts::PasswordAttempts;
use super::reply::{directory_failure, failure, map_fetched, to_proto_presence};
use crate::config::Config;
use crate::directory::{
    self, DirectoryError, Fetched, FetchedEntry, Password, PasswordVerdict, Pool, Presence,
};
use crate::policy::MayVerify;
use crate::record::{Mapped, Mapping, Name, NameQuery};

/// What came of an order.
struct Answer {
    verdict: ProtoVerdict,
    found: Option<Found>,
}

/// Whether a password is one that may be asked about: anything but none, up to a length that no
/// directory exceeds.
pub(super) fn is_password(password: &str) -> bool {
    (1..=PASSWORD_BYTES).contains(&password.len())
}

impl UserFetches {
    /// Begins one. The answer goes to the session.
    pub(super) fn verify(&self, order: VerifyOrder) {
        let request = order.request_id.clone();
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let busy = "The identity router has as many people to fetch as it does at a time. Try again.";
            let result = failed(request, failure(FailureReason::RouterLost, busy));
            return self.context.try_send(Message::VerifyResult(result));
        };
        let (context, pool) = (self.context.clone(), Arc::clone(&self.pool));
        let (attempts, bind_permits) = (Arc::clone(&self.attempts), Arc::clone(&self.bind_permits));
        tokio::spawn(async move {
            let within = deadline_of(order.person.as_ref().unwrap_or(&FetchOrder::default()));
            let deadline = tokio::time::Instant::now() + within;
            let verified = async {
                let authorized = authorize_verification(&context.config, &order);
                let authorized = authorized.map_err(|Unauthorized { failure, keys }| {
                    context.record_refusal("VerifyOrder", &keys);
                    failure
                })?;
                // Each is a connection of its own: few at a time.
                let busy =
                    "The identity router has as many passwords to verify as it does at a time. Try again.";
                let bind = tokio::time::timeout_at(deadline, bind_permits.acquire()).await;
                let _bind = bind.map_err(|_| failure(FailureReason::RouterLost, busy))?;
                verify(&context, &pool, &attempts, authorized, (order, deadline)).await
            };
            tokio::select! {
                () = context.session_end.cancelled() => {}
                verified = verified => {
                    let result = match verified {
                        Ok(Answer { verdict, found }) => VerifyResult { request_id: request, verdict: verdict.into(), found },
                        Err(failure) => {
                            tracing::warn!(reason = ?failure.reason(), "a password was not verified");
                            failed(request, failure)
                        }
                    };
                    context.send(Message::VerifyResult(result)).await;
                }
            }
            drop(permit);
        });
    }
}

/// The answer that nobody was asked.
pub(super) fn failed(request_id: String, failure: ReadFailure) -> VerifyResult {
    VerifyResult {
        request_id,
        verdict: ProtoVerdict::Unspecified.into(),
        found: Some(Found::Failure(failure)),
    }
}

/// Whether source and policy allow it.
fn authorize_verification(
    config: &Config,
    order: &VerifyOrder,
) -> Result<(MayVerify, Authorized), Unauthorized> {
    let user = order.person.clone().unwrap_or_default();
    let settings = user.settings.unwrap_or_default();
    if !settings.verify_passwords {
        let message = "The source's settings do not say verify_passwords. Set it, and publish the source.";
        return Err(failure(FailureReason::SourceInvalid, message).into());
    }
    let may_verify = config.policy.may_verify(&settings)?;
    Ok((may_verify, authorize(config, &settings, user.revision, None)?))
}

/// Finds the user, and asks the directory about the password by a bind as that entry.
async fn verify(
    context: &OrderContext,
    pool: &Pool,
    attempts: &Arc<PasswordAttempts>,
    (may_verify, authorized): (MayVerify, Authorized),
    (mut order, deadline): (VerifyOrder, tokio::time::Instant),
) -> Result<Answer, ReadFailure> {
    let password = Password::from(std::mem::take(&mut order.password));
    let user: FetchOrder = order.person.take().unwrap_or_default();
    let query = NameQuery::new(&authorized.mapping, Name::Login(&order.login));
    let query = query.map_err(|error| failure(FailureReason::SourceInvalid, error.to_string()))?;
    // No record can have such a name.
    let Some(query) = query else { return Ok(absent(Presence::NotFound)) };
    let late = "The directory did not answer in time, so nobody was asked whether the password is right.";
    let fetched = fetch_entry(&context.config, pool, &authorized, &user);
    let fetched = tokio::time::timeout_at(deadline, fetched).await;
    let entry = match fetched.map_err(|_| failure(FailureReason::DirectoryUnreachable, late))?? {
        Some((_, Fetched::Entry(entry))) => entry,
        Some((_, Fetched::Ambiguous(entries))) => {
            return Ok(not_asked(Found::Ambiguous(i32::try_from(entries).unwrap_or(i32::MAX))));
        }
        Some((_, Fetched::Absent(presence))) => return Ok(absent(presence)),
        None => return Ok(absent(Presence::NotFound)),
    };
    let (Ok(dn), Some(found)) =
        (std::str::from_utf8(entry.dn()), found_by_name(&authorized.mapping, &entry, &query))
    else {
        return Ok(absent(Presence::NotFound));
    };
    let Some(attempt) = attempts.begin(dn, Instant::now()) else {
        tracing::warn!(audit = true, event = "passwords_tried", "too many passwords were tried in vain");
        return Ok(Answer { verdict: ProtoVerdict::TooManyAttempts, found: None });
    };
    let Authorized { request, ca_file, .. } = &authorized;
    let left = deadline.saturating_duration_since(tokio::time::Instant::now());
    let verdict =
        directory::verify(may_verify, &request.servers, dn, &password, ca_file.as_deref(), left).await;
    Ok(match verdict {
        Ok(PasswordVerdict::Right) => {
            attempt.accepted();
            Answer { verdict: ProtoVerdict::Accepted, found: Some(found) }
        }
        Ok(verdict) => Answer { verdict: to_proto_verdict(verdict), found: None },
        Err(error) => {
            tracing::warn!(reason = ?error.failure_reason(), "a directory did not say whether a password is right");
            Answer { verdict: ProtoVerdict::Unanswered, found: Some(Found::Failure(unanswered(&error))) }
        }
    })
}

/// The answer that no entry in scope has the name.
fn absent(presence: Presence) -> Answer {
    not_asked(Found::Absent(to_proto_presence(presence).into()))
}

fn not_asked(found: Found) -> Answer {
    Answer { verdict: ProtoVerdict::Unspecified, found: Some(found) }
}

/// What an entry is, if its user name or mail address is the one that was typed. One that was found
/// by immutable id may have another by now.
fn found_by_name(mapping: &Mapping, entry: &FetchedEntry, query: &NameQuery<'_>) -> Option<Found> {
    match map_fetched(mapping, entry) {
        Mapped::Record(record) => {
            query.matches_any([&record.user_name, &record.mail]).then_some(Found::Record(record))
        }
        Mapped::Rejected(rejected) => {
            query.matches_any([&rejected.user_name, &rejected.mail]).then_some(Found::Rejected(rejected))
        }
    }
}

fn to_proto_verdict(verdict: PasswordVerdict) -> ProtoVerdict {
    match verdict {
        PasswordVerdict::Right => ProtoVerdict::Accepted,
        PasswordVerdict::Wrong => ProtoVerdict::Wrong,
        PasswordVerdict::Disabled => ProtoVerdict::AccountDisabled,
        PasswordVerdict::Expired => ProtoVerdict::AccountExpired,
        PasswordVerdict::PasswordExpired => ProtoVerdict::PasswordExpired,
        PasswordVerdict::Locked => ProtoVerdict::AccountLocked,
        PasswordVerdict::MustChange => ProtoVerdict::MustChange,
    }
}

fn unanswered(error: &DirectoryError) -> ReadFailure {
    match error {
        DirectoryError::BindRejected { server, code, hint }
        | DirectoryError::BindNotProtected { server, code, hint } => failure(
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
        error => directory_failure(error),
    }
}
