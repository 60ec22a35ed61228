//! Synchronizes one user at a sign-in, where a user may be let in as last known.

use std::sync::Arc;

use super::outcome::{fault, outcome_only};
use super::sync::sync_user;
use crate::jobs::Inner;
use crate::model::{
    Actor, Single, SingleOutcome, SingleUserSettings, TenantId, TenantNo, UserSelector, UserSnapshot, spelled,
};
use crate::reconcile::single_user;
use crate::store::{SignIn, StoreError};

/// Synchronizes one user at a sign-in. Where neither router nor directory answers, the settings may
/// let in the user as last known.
pub(in crate::jobs) async fn sync_at_sign_in(
    inner: &Arc<Inner>,
    tenant: &TenantId,
    sign_in: SignIn,
    whom: UserSelector,
    by: Actor,
) -> Arc<Single> {
    let SignIn { tenant: number, settings, known, is_taken, .. } = sign_in;
    if is_taken {
        // As for an unknown name. The directory need not be asked.
        return Arc::new(outcome_only(SingleOutcome::NotFound));
    }
    let single = sync_or_last_known(inner, (tenant, number), (whom, known), settings, by).await;
    record_sign_in(inner, number, &single);
    single
}

/// Records the sign-in of a user that was let in.
pub(super) fn record_sign_in(inner: &Inner, tenant: TenantNo, single: &Single) {
    if let Some(user) = single.user.as_ref().filter(|_| single.allowed) {
        inner.sign_in_log.record(tenant, user, inner.clock.now());
    }
}

async fn sync_or_last_known(
    inner: &Arc<Inner>,
    (tenant, number): (&TenantId, TenantNo),
    (whom, known): (UserSelector, Option<UserSnapshot>),
    settings: SingleUserSettings,
    by: Actor,
) -> Arc<Single> {
    let single = sync_user(inner, (tenant, number), (whom.clone(), known), settings, by).await;
    let no_answer = matches!(single.outcome, SingleOutcome::NoRouter | SingleOutcome::DirectoryUnreachable);
    // Where the directory had an answer, and only what came after it failed, the last known user is
    // not what to go by.
    if !no_answer || single.denied || settings.last_known_max_age.is_zero() {
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
    whom: &UserSelector,
    settings: &SingleUserSettings,
    outcome: SingleOutcome,
) -> Result<Option<Single>, StoreError> {
    let known = inner.store.last_observed(number, whom).await?;
    let now = inner.clock.now();
    let known = known.filter(|(user, observed_at)| {
        single_user::may_enter_as_known(settings, outcome, user, *observed_at, now)
            && single_user::is_held_by(number, whom, user)
    });
    Ok(known.map(|(user, observed_at)| Single {
        allowed: true,
        observed_at: Some(observed_at),
        user: Some(user),
        ..outcome_only(SingleOutcome::LastKnown)
    }))
}
