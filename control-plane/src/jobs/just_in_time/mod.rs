//! Syncs of single users, outside of any job: at each sign-in, and on demand.
//!
//! `flight` makes one search of calls for the same user at the same time, `find` goes from the name to the answer, `fetch` asks a router.
//! What is found is applied by the store, by the rules of a sync. `verify` has the directory verify a password first, and `attempts` counts the
//! wrong ones. `published` keeps settings of sources. `signed_in` notes who was let in.

mod attempts;
mod fetch;
mod find;
mod flight;
mod published;
mod signed_in;
mod verify;

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::Inner;
use crate::model::{Actor, JitSettings, Sighting, Single, SingleOutcome, TenantId, TenantNo, Whom, spelled};
use crate::reconcile::single;
use crate::store::StoreError;

pub(super) use attempts::Attempts;
pub(super) use flight::Flights;
pub(super) use published::Published;
pub(super) use signed_in::{SignedIn, follow as note_sign_ins, write as write_sign_ins};
pub(super) use verify::verify;

/// Synchronizes one user, and says what came of it. `known` is the user, if it was looked for already and found.
pub(super) async fn sync_user(
    inner: &Arc<Inner>,
    (tenant, number): (&TenantId, TenantNo),
    (whom, known): (Whom, Option<Sighting>),
    settings: JitSettings,
    by: Actor,
) -> Arc<Single> {
    let key = (tenant.clone(), whom.clone());
    let (tenant, work) = (tenant.clone(), Arc::clone(inner));
    let work = async move {
        let deadline = Instant::now() + settings.deadline;
        let asker = fetch::Asker { inner: &work, tenant: &tenant, number, deadline };
        let call = find::Call::new(asker, &whom, settings, &by);
        let single = match tokio::time::timeout_at(deadline, find::sync(&call, known)).await {
            Ok(Ok(single)) => single,
            Ok(Err(error)) => fault(&error),
            Err(_) => Single {
                message: format!(
                    "The directory or its identity router did not answer within {} s. Check its servers, and that the identity router can reach them.",
                    settings.deadline.as_secs_f64()
                ),
                ..came_to(SingleOutcome::DirectoryUnreachable)
            },
        };
        let single = Single { denied: call.is_denied(), ..single };
        let (outcome, allowed) = (spelled(single.outcome), single.allowed);
        tracing::info!(%tenant, by = by.name, outcome, allowed, "single user synchronized");
        single
    };
    inner.flights.join(key, Instant::now(), work.boxed()).await
}

/// The same, but lets in who was last known, if nobody answers and the settings allow it.
pub(super) async fn sync_at_sign_in(
    inner: &Arc<Inner>,
    (tenant, number): (&TenantId, TenantNo),
    (whom, known): (Whom, Option<Sighting>),
    settings: JitSettings,
    by: Actor,
) -> Arc<Single> {
    let single = at_sign_in(inner, (tenant, number), (whom, known), settings, by).await;
    note(inner, number, &single);
    single
}

/// Notes that a user was let in, if it was.
fn note(inner: &Inner, tenant: TenantNo, single: &Single) {
    if let Some(user) = single.user.as_ref().filter(|_| single.allowed) {
        inner.signed_in.note(tenant, user, inner.clock.now());
    }
}

async fn at_sign_in(
    inner: &Arc<Inner>,
    (tenant, number): (&TenantId, TenantNo),
    (whom, known): (Whom, Option<Sighting>),
    settings: JitSettings,
    by: Actor,
) -> Arc<Single> {
    let single = sync_user(inner, (tenant, number), (whom.clone(), known), settings, by).await;
    let nobody_answered =
        matches!(single.outcome, SingleOutcome::NoRouter | SingleOutcome::DirectoryUnreachable);
    // Where the directory had an answer, and only what came after it failed, the last known user is not what to go by.
    if !nobody_answered || single.denied || settings.last_known_max_age.is_zero() {
        return single;
    }
    match last_known(inner, number, &whom, &settings, single.outcome).await {
        Ok(None) => single,
        Ok(Some(known)) => {
            tracing::warn!(%tenant, why = spelled(single.outcome), "a user was let in as last known");
            Arc::new(known)
        }
        Err(error) => Arc::new(fault(&error)),
    }
}

async fn last_known(
    inner: &Inner,
    number: TenantNo,
    whom: &Whom,
    settings: &JitSettings,
    outcome: SingleOutcome,
) -> Result<Option<Single>, StoreError> {
    let known = inner.store.last_observed(number, whom).await?;
    let now = inner.clock.now();
    let known = known.filter(|(user, observed_at)| {
        single::may_enter_as_known(settings, outcome, user, *observed_at, now)
            && single::is_held_by(number, whom, user)
    });
    Ok(known.map(|(user, observed_at)| Single {
        allowed: true,
        observed_at: Some(observed_at),
        user: Some(user),
        ..came_to(SingleOutcome::LastKnown)
    }))
}

/// An outcome alone, with nobody let in.
fn came_to(outcome: SingleOutcome) -> Single {
    Single {
        outcome,
        user: None,
        allowed: false,
        observed_at: None,
        message: single::text(outcome).to_owned(),
        source: None,
        denied: false,
    }
}

fn fault(error: &StoreError) -> Single {
    tracing::error!(error = error as &dyn std::error::Error, "the sync of a single user failed");
    came_to(SingleOutcome::Internal)
}
