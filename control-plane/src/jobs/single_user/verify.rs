//! Has a directory verify a password. A known user is asked for in its own source, by immutable id;
//! otherwise each source that verifies passwords is searched by the name.
//!
//! A router binds once, as the one entry that has exactly the name: what may have reached a
//! directory is not tried again. Only a record whose password was accepted is applied. Calls are
//! never coalesced.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::context::SearchContext;
use super::fetch::none_left;
use super::find::{self, Call, FetchResult};
use super::sign_in::record_sign_in;
use super::sources::{Source, published, published_sources};
use crate::jobs::remote_routers::{QuestionScope, Reply, RouterSearch};
use crate::jobs::run::another_router_may;
use crate::jobs::{FetchOrder, Inner, VerifyOrder};
use crate::model::{
    Actor, Asked, Failure, FailureReason, FetchBy, PasswordOutcome, Single, SingleUserSettings, Status,
    TenantId, TenantNo, UserNo, UserSelector, UserSnapshot, Verification, spelled,
};
use crate::reconcile::password::{self, Try};
use crate::store::{SignIn, StoreError};

/// A wrong password and an unknown name are both answered at the next multiple of this after the
/// call, which is longer than a search and a bind take: the time does not tell which of the two it
/// was.
const ANSWER_STEP: Duration = Duration::from_millis(500);

/// What asking the directories came to.
struct PasswordCheck {
    outcome: PasswordOutcome,
    sync: Option<Single>,
    message: Option<String>,
    /// Whether it counts as a wrong password.
    end: Try,
    /// The user that holds the name and was not found by its immutable id.
    missing: Option<UserSnapshot>,
}

impl PasswordCheck {
    fn new(outcome: PasswordOutcome, end: Try) -> Self {
        Self { outcome, sync: None, message: None, end, missing: None }
    }

    fn failed(failure: Failure, end: Try) -> Self {
        let outcome = password::failed(failure.reason);
        let message = Some(failure.message).filter(|message| !message.is_empty());
        Self { message, ..Self::new(outcome, end) }
    }
}

/// Verifies a password, and synchronizes whose it is. `begun` is when the call came: before
/// anything depended on the name.
pub(in crate::jobs) async fn verify(
    inner: &Arc<Inner>,
    tenant: &TenantId,
    SignIn { tenant: number, settings, known, is_taken, .. }: SignIn,
    (login, secret): (String, SecretString),
    by: Actor,
    begun: Instant,
) -> Verification {
    let whom = UserSelector::Login(login.clone());
    let user = known.as_ref().map(|known| known.user.number);
    let attempt = match inner.password_attempts.begin(number, &login, &inner.clock) {
        Ok(attempt) => attempt,
        Err(wait) => return too_many(tenant, &by, user, Some(wait)),
    };
    let deadline = begun + settings.deadline;
    let context = SearchContext { inner, tenant, number, deadline };
    let call = Call::new(context, &whom, settings, &by);
    let checking = async {
        if is_taken {
            // The login of two users is that of neither: no directory is asked.
            return Ok(PasswordCheck::new(PasswordOutcome::WrongPasswordOrUnknown, Try::Wrong));
        }
        Box::pin(verify_by_directory(&call, known, (&login, &secret))).await
    };
    let check = match tokio::time::timeout_at(deadline, checking).await {
        Ok(Ok(check)) => check,
        Ok(Err(error)) => {
            attempt.ended(Try::Void);
            return fault(&error);
        }
        // Nobody knows how far it came.
        Err(_) => PasswordCheck::new(PasswordOutcome::DirectoryUnreachable, Try::Wrong),
    };
    let PasswordCheck { outcome, sync, message, end, missing } = check;
    let refused_before = attempt.ended(end);
    if outcome == PasswordOutcome::TooManyAttempts {
        return too_many(tenant, &by, user, None);
    }
    if let Some(missing) = missing.filter(|_| sync.is_none()) {
        mark_if_absent(inner, (tenant.clone(), number), missing, settings, by.clone());
    }
    if outcome == PasswordOutcome::WrongPasswordOrUnknown {
        let passed = begun.elapsed().as_millis() / ANSWER_STEP.as_millis();
        let passed = u32::try_from(passed).unwrap_or_default();
        tokio::time::sleep_until(begun + ANSWER_STEP * (passed + 1)).await;
    }
    tracing::info!(%tenant, by = by.name, outcome = spelled(outcome), "a password was verified or refused");
    if let Some(single) = &sync {
        record_sign_in(inner, number, single);
    }
    let user = sync.as_ref().and_then(|sync| sync.user.as_ref()).map(|user| user.number).or(user);
    let message = message.unwrap_or_else(|| password::text(outcome).to_owned());
    Verification { outcome, sync, message, retry: None, user, refused_before }
}

/// Finds out whether a user is absent that a verification did not find by its immutable id. Apart
/// from the answer, whose time tells nothing of that. Nothing of a record is applied: nobody has
/// proved to be the user.
fn mark_if_absent(
    inner: &Arc<Inner>,
    (tenant, number): (TenantId, TenantNo),
    known: UserSnapshot,
    settings: SingleUserSettings,
    by: Actor,
) {
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        let whom = UserSelector::User(known.user.number);
        let deadline = Instant::now() + settings.deadline;
        let context = SearchContext { inner: &inner, tenant: &tenant, number, deadline };
        let call = Call::new(context, &whom, settings, &by);
        match tokio::time::timeout_at(deadline, find::mark_if_absent(&call, &known)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%tenant, error = &error as &dyn std::error::Error, "an absent user could not be noted");
            }
            Err(_) => tracing::info!(%tenant, "whether a user is absent could not be found out in time"),
        }
    });
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

async fn verify_by_directory(
    call: &Call<'_>,
    known: Option<UserSnapshot>,
    typed: (&str, &SecretString),
) -> Result<PasswordCheck, StoreError> {
    let Call { context, .. } = call;
    let store = &context.inner.store;
    if let Some(known) = known {
        let source = published(store.source(context.tenant, &known.user.source).await?);
        let Some(source) = source.filter(|source| source.settings.verify_passwords) else {
            return Ok(PasswordCheck::new(PasswordOutcome::NotAllowed, Try::Void));
        };
        let asked_at = context.inner.clock.now();
        let person = (FetchBy::Id(known.user.id.clone()), known.user.status != Status::Enabled);
        match ask_router(*context, &source, person, typed).await {
            Ok(Asked::Accepted(found)) => {
                let outcome = password::accepted(&found);
                let single = call.by_id(known, Some(FetchResult { source, asked_at, found })).await?;
                return Ok(PasswordCheck { sync: Some(single), ..PasswordCheck::new(outcome, Try::Right) });
            }
            // It is gone, or has another name by now: perhaps somebody else has this one.
            Ok(Asked::Absent) => {
                let check = verify_by_name(call, typed).await?;
                return Ok(PasswordCheck { missing: Some(known), ..check });
            }
            other => return Ok(not_accepted(other)),
        }
    }
    verify_by_name(call, typed).await
}

/// Searches each source that verifies passwords by the name.
async fn verify_by_name(call: &Call<'_>, typed: (&str, &SecretString)) -> Result<PasswordCheck, StoreError> {
    let Call { context, .. } = call;
    let mut failed = None;
    let mut sources = published_sources(*context).await?;
    sources.retain(|source| source.settings.verify_passwords);
    let number = sources.len();
    for (at, source) in sources.into_iter().enumerate() {
        let asked_at = context.inner.clock.now();
        match ask_router(
            context.with_share_of(number - at),
            &source,
            (FetchBy::Login(typed.0.to_owned()), true),
            typed,
        )
        .await
        {
            Ok(Asked::Accepted(found)) => {
                let outcome = password::accepted(&found);
                let single = call.apply_found(FetchResult { source, asked_at, found }).await?;
                if call.is_login_of_another(&single).await? {
                    let unknown = PasswordOutcome::WrongPasswordOrUnknown;
                    return Ok(PasswordCheck::new(unknown, Try::Wrong));
                }
                return Ok(PasswordCheck { sync: Some(single), ..PasswordCheck::new(outcome, Try::Right) });
            }
            Ok(Asked::Absent) => {}
            Err(failure) => {
                failed.get_or_insert(failure);
            }
            other => return Ok(not_accepted(other)),
        }
    }
    Ok(match failed {
        Some(failure) => not_accepted(Err(failure)),
        None if number > 0 => PasswordCheck::new(PasswordOutcome::WrongPasswordOrUnknown, Try::Wrong),
        None => PasswordCheck::new(PasswordOutcome::NotAllowed, Try::Void),
    })
}

/// What it comes to that no password was accepted.
fn not_accepted(asked: Result<Asked, Failure>) -> PasswordCheck {
    match asked {
        Ok(Asked::Refused(outcome @ PasswordOutcome::TooManyAttempts)) => {
            PasswordCheck::new(outcome, Try::Void)
        }
        Ok(Asked::Refused(outcome)) => PasswordCheck::new(outcome, Try::Wrong),
        Ok(Asked::Absent | Asked::Ambiguous) => {
            PasswordCheck::new(PasswordOutcome::WrongPasswordOrUnknown, Try::Wrong)
        }
        Ok(Asked::Unanswered(failure)) => PasswordCheck::failed(failure, Try::Wrong),
        Ok(Asked::Accepted(_)) => PasswordCheck::new(PasswordOutcome::Internal, Try::Wrong),
        Err(failure) => PasswordCheck::failed(failure, Try::Void),
    }
}

/// Asks one router after the other, until one may; `prove_mark` says whether the person's record
/// would enable a user. An error says that no directory was asked.
async fn ask_router(
    context: SearchContext<'_>,
    source: &Source,
    (by, prove_mark): (FetchBy, bool),
    (login, secret): (&str, &SecretString),
) -> Result<Asked, Failure> {
    let scope = QuestionScope { tenant: context.tenant, number: Some(context.number), source: &source.id };
    let mut search = RouterSearch::new(context.inner, scope, &source.settings.routers);
    let mut failed = Failure { message: String::new(), reason: FailureReason::RouterLost };
    loop {
        let Some(router) = search.next().await else {
            return Err(none_left(context, source, &search, failed).await);
        };
        let order = VerifyOrder {
            person: FetchOrder {
                settings: source.settings.clone(),
                revision: source.revision,
                by: by.clone(),
                deadline: context.router_deadline(),
                prove_mark,
            },
            login: login.to_owned(),
            password: secret.clone(),
        };
        match router.verify(context.number, order).await {
            Reply::Answer(Err(failure)) if another_router_may(failure.reason) => {
                search.skip(router.router());
                failed = failure;
            }
            Reply::Answer(answer) => return answer,
            Reply::NotAsked => {}
            // Lost with the order, which it may have carried out.
            Reply::Lost => {
                return Ok(Asked::Unanswered(Failure {
                    message: String::new(),
                    reason: FailureReason::RouterLost,
                }));
            }
        }
    }
}
