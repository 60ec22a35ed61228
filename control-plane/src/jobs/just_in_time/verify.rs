//! Has a password verified by the directory: whoever is known by the name is asked about in the own source, by immutable id; for whoever is
//! not, each source that verifies passwords is searched by name, until one has it. A router binds as the one entry that has the very name, once: what
//! may have reached a directory is not tried again elsewhere. Only what the directory has accepted is applied. Calls are never joined.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::fetch::{Asker, Source, none_left};
use super::find::{Call, Seen, published, published_sources};
use super::note;
use crate::jobs::Inner;
use crate::jobs::elsewhere::{About, Heard, Search};
use crate::jobs::run::of_the_router;
use crate::jobs::sessions::{FetchOrder, VerifyOrder};
use crate::model::{
    Actor, Asked, Failure, FailureReason, FetchBy, PasswordOutcome, Single, TenantId, UserNo, Verification,
    Whom, spelled,
};
use crate::reconcile::password::{self, Try};
use crate::store::{SignIn, StoreError};

/// A wrong password and an unknown name are answered at the next multiple of this after the call: longer than a search and a bind take, so
/// that how long it took tells nobody which it was.
const EVEN: Duration = Duration::from_millis(500);

/// What came of asking.
struct Came {
    outcome: PasswordOutcome,
    sync: Option<Single>,
    message: Option<String>,
    /// Whether it counts as a wrong password.
    end: Try,
}

impl Came {
    fn to(outcome: PasswordOutcome, end: Try) -> Self {
        Self { outcome, sync: None, message: None, end }
    }

    fn failed(failure: Failure, end: Try) -> Self {
        let outcome = password::failed(failure.reason);
        let message = Some(failure.message).filter(|message| !message.is_empty());
        Self { message, ..Self::to(outcome, end) }
    }
}

/// Verifies a password, and synchronizes whose it is. `begun` is when the call came: before anything depended on the name.
pub(in crate::jobs) async fn verify(
    inner: &Arc<Inner>,
    tenant: &TenantId,
    SignIn { tenant: number, settings, known, .. }: SignIn,
    (login, secret): (String, SecretString),
    by: Actor,
    begun: Instant,
) -> Verification {
    let whom = Whom::Login(login.clone());
    let user = known.as_ref().map(|known| known.user.number);
    let attempt = match inner.attempts.begin(number, &login, &inner.clock) {
        Ok(attempt) => attempt,
        Err(wait) => return too_many(tenant, &by, user, Some(wait)),
    };
    let deadline = begun + settings.deadline;
    let asker = Asker { inner, tenant, number, deadline };
    let call = Call::new(asker, &whom, settings, &by);
    let came = match tokio::time::timeout_at(deadline, ask(&call, known, (&login, &secret))).await {
        Ok(Ok(came)) => came,
        Ok(Err(error)) => {
            attempt.ended(Try::Void);
            return fault(&error);
        }
        // Nobody knows how far it came.
        Err(_) => Came::to(PasswordOutcome::DirectoryUnreachable, Try::Wrong),
    };
    let Came { outcome, sync, message, end } = came;
    let refused_before = attempt.ended(end);
    if outcome == PasswordOutcome::TooManyAttempts {
        return too_many(tenant, &by, user, None);
    }
    if outcome == PasswordOutcome::WrongPasswordOrUnknown {
        let passed = begun.elapsed().as_millis() / EVEN.as_millis();
        let passed = u32::try_from(passed).unwrap_or_default();
        tokio::time::sleep_until(begun + EVEN * (passed + 1)).await;
    }
    tracing::info!(%tenant, by = by.name, outcome = spelled(outcome), "a password was verified or refused");
    if let Some(single) = &sync {
        note(inner, number, single);
    }
    let user = sync.as_ref().and_then(|sync| sync.user.as_ref()).map(|user| user.number).or(user);
    let message = message.unwrap_or_else(|| password::text(outcome).to_owned());
    Verification { outcome, sync, message, retry: None, user, refused_before }
}

/// No directory was asked: this replica counts too many wrong ones, or the router does.
fn too_many(tenant: &TenantId, by: &Actor, user: Option<UserNo>, wait: Option<Duration>) -> Verification {
    let outcome = PasswordOutcome::TooManyAttempts;
    tracing::info!(%tenant, by = by.name, outcome = spelled(outcome), "a password was verified or refused");
    let message = password::text(outcome).to_owned();
    let retry = Some(wait.unwrap_or(Duration::from_secs(60)));
    Verification { outcome, sync: None, message, retry, user, refused_before: 0 }
}

fn fault(error: &StoreError) -> Verification {
    tracing::error!(error = error as &dyn std::error::Error, "the verification of a password failed");
    let outcome = PasswordOutcome::Internal;
    let message = password::text(outcome).to_owned();
    Verification { outcome, sync: None, message, retry: None, user: None, refused_before: 0 }
}

async fn ask(
    call: &Call<'_>,
    known: Option<crate::model::Sighting>,
    typed: (&str, &SecretString),
) -> Result<Came, StoreError> {
    let Call { asker, .. } = call;
    let store = &asker.inner.store;
    if let Some(known) = known {
        let source = published(store.source(asker.tenant, &known.user.source).await?);
        let Some(source) = source.filter(|source| source.settings.verify_passwords) else {
            return Ok(Came::to(PasswordOutcome::NotAllowed, Try::Void));
        };
        let asked_at = asker.inner.clock.now();
        match put(*asker, &source, FetchBy::Id(known.user.id.clone()), typed).await {
            Ok(Asked::Accepted(found)) => {
                let outcome = password::accepted(&found);
                let single = call.by_id(known, Some(Seen { source, asked_at, found })).await?;
                return Ok(Came { sync: Some(single), ..Came::to(outcome, Try::Right) });
            }
            // It is gone, or has another name by now: perhaps somebody else has this one.
            Ok(Asked::Absent) => {}
            other => return Ok(otherwise(other)),
        }
    }
    let mut failed = None;
    let mut sources = published_sources(*asker).await?;
    sources.retain(|source| source.settings.verify_passwords);
    let number = sources.len();
    for (at, source) in sources.into_iter().enumerate() {
        let asked_at = asker.inner.clock.now();
        match put(asker.with_share_of(number - at), &source, FetchBy::Login(typed.0.to_owned()), typed).await
        {
            Ok(Asked::Accepted(found)) => {
                let outcome = password::accepted(&found);
                let single = call.apply_found(Seen { source, asked_at, found }).await?;
                return Ok(Came { sync: Some(single), ..Came::to(outcome, Try::Right) });
            }
            Ok(Asked::Absent) => {}
            Err(failure) => {
                failed.get_or_insert(failure);
            }
            other => return Ok(otherwise(other)),
        }
    }
    Ok(match failed {
        Some(failure) => otherwise(Err(failure)),
        None if number > 0 => Came::to(PasswordOutcome::WrongPasswordOrUnknown, Try::Wrong),
        None => Came::to(PasswordOutcome::NotAllowed, Try::Void),
    })
}

/// What it comes to that no password was accepted.
fn otherwise(asked: Result<Asked, Failure>) -> Came {
    match asked {
        Ok(Asked::Refused(outcome @ PasswordOutcome::TooManyAttempts)) => Came::to(outcome, Try::Void),
        Ok(Asked::Refused(outcome)) => Came::to(outcome, Try::Wrong),
        Ok(Asked::Absent | Asked::Ambiguous) => Came::to(PasswordOutcome::WrongPasswordOrUnknown, Try::Wrong),
        Ok(Asked::Unanswered(failure)) => Came::failed(failure, Try::Wrong),
        Ok(Asked::Accepted(_)) => Came::to(PasswordOutcome::Internal, Try::Wrong),
        Err(failure) => Came::failed(failure, Try::Void),
    }
}

/// Asks one router after the other, until one may. An error says that no directory was asked.
async fn put(
    asker: Asker<'_>,
    source: &Source,
    by: FetchBy,
    (login, secret): (&str, &SecretString),
) -> Result<Asked, Failure> {
    let about = About { tenant: asker.tenant, number: Some(asker.number), source: &source.id };
    let mut search = Search::new(asker.inner, about, &source.settings.routers);
    let mut failed = Failure { message: String::new(), reason: FailureReason::RouterLost };
    loop {
        let Some(router) = search.next().await else {
            return Err(none_left(asker, source, &search, failed).await);
        };
        let order = VerifyOrder {
            person: FetchOrder {
                settings: source.settings.clone(),
                revision: source.revision,
                by: by.clone(),
                deadline: asker.for_a_router(),
            },
            login: login.to_owned(),
            password: secret.clone(),
        };
        match router.verify(asker.number, order).await {
            Heard::Answer(Err(failure)) if of_the_router(failure.reason) => {
                search.asked(router.router());
                failed = failure;
            }
            Heard::Answer(answer) => return answer,
            Heard::NotAsked => {}
            // Lost with the order, which it may have carried out.
            Heard::Lost => {
                return Ok(Asked::Unanswered(Failure {
                    message: String::new(),
                    reason: FailureReason::RouterLost,
                }));
            }
        }
    }
}
