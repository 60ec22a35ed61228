//! Synchronizes one user within the deadline of the call; calls for the same user share one search.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::context::SearchContext;
use super::find;
use super::outcome::{fault, outcome_only};
use crate::jobs::Inner;
use crate::model::{
    Actor, Single, SingleOutcome, SingleUserSettings, TenantId, TenantNo, UserSelector, UserSnapshot, spelled,
};

/// Synchronizes one user, and says what came of it. `known` is the user, if it was looked for
/// already and found.
pub(in crate::jobs) async fn sync_user(
    inner: &Arc<Inner>,
    (tenant, number): (&TenantId, TenantNo),
    (whom, known): (UserSelector, Option<UserSnapshot>),
    settings: SingleUserSettings,
    by: Actor,
) -> Arc<Single> {
    let key = (tenant.clone(), whom.clone());
    let (tenant, work) = (tenant.clone(), Arc::clone(inner));
    let work = async move {
        let deadline = Instant::now() + settings.deadline;
        let context = SearchContext { inner: &work, tenant: &tenant, number, deadline };
        let call = find::Call::new(context, &whom, settings, &by);
        let single = match tokio::time::timeout_at(deadline, Box::pin(find::sync(&call, known))).await {
            Ok(Ok(single)) => single,
            Ok(Err(error)) => fault(&error),
            Err(_) => Single {
                message: format!(
                    "The directory or its identity router did not answer within {} s. Check its servers, and that the identity router can reach them.",
                    settings.deadline.as_secs_f64()
                ),
                ..outcome_only(SingleOutcome::DirectoryUnreachable)
            },
        };
        let single = Single { denied: call.is_denied(), ..single };
        let (outcome, allowed) = (spelled(single.outcome), single.allowed);
        tracing::info!(%tenant, by = by.name, outcome, allowed, "single user synchronized");
        single
    };
    inner.searches.join(key, Instant::now(), work.boxed()).await
}
