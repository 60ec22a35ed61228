//! Writes the plan of a dry run, and says what a sync that applies a plan may do.

use super::Inner;
use super::absent_users::{AbsentUsers, disable_absent, record_absent};
use super::reconcile_end::ReconcileEnd;
use crate::model::{Absence, BrokenCheck, Fence, HoldReason, PlanLine, SyncPlan, UserNo, Withheld};
use crate::reconcile::guard::Verdict;
use crate::reconcile::preview;
use crate::store::{Outcome, StoreError};

/// Lines of a plan, or users, of one transaction.
const LINES_PER_TRANSACTION: usize = 1_000;

/// Writes the plan of what was read: the users that would be disabled, whatever the guard says, and
/// what would become of the records.
pub(super) async fn write_plan(
    inner: &Inner,
    fence: Fence,
    verdict: Verdict,
    absent: &AbsentUsers,
) -> Result<ReconcileEnd, StoreError> {
    let store = &inner.store;
    let (doubts, withheld) = match verdict {
        Verdict::Disable => (Vec::new(), None),
        Verdict::Hold(broken) => (broken, None),
        // A sync with this verdict would disable no user.
        Verdict::Withhold(message) => (Vec::new(), Some(Withheld { message, users: absent.enabled() })),
    };
    let leaving = withheld.is_none();
    if leaving {
        record_absent(inner, fence, absent).await?;
    }
    let situation = store.planning_inputs(fence).await?;
    let forecasts = tokio::task::spawn_blocking(move || {
        let forecasts = preview::planned_change(&situation);
        situation.waiting.into_iter().map(|waiting| waiting.id).zip(forecasts).collect::<Vec<_>>()
    });
    let forecasts = forecasts.await.map_err(|error| StoreError::Broken(Box::new(error)))?;
    let records = forecasts.into_iter().map(|(id, forecast)| PlanLine::Record(id, forecast));
    let leavers = absent.users().filter(|_| leaving).map(|(user, absence)| PlanLine::Absent(user, absence));
    let mut lines = leavers.chain(records);
    loop {
        let chunk: Vec<PlanLine> = lines.by_ref().take(LINES_PER_TRANSACTION).collect();
        if chunk.is_empty() {
            break;
        }
        store.write_plan(fence, chunk, inner.clock.now()).await?;
    }
    let expires_at = inner.clock.now().plus(inner.settings.plan_expiry);
    let plan = SyncPlan { expires_at, doubts, of_draft: false };
    Ok(ReconcileEnd::Finish(Outcome::Planned { plan, withheld }))
}

/// What the guard's verdict means for a sync that applies a plan. The administrator has seen the
/// list, so its length does not hold the sync. A fault of the directory that the plan did not show
/// does: then no user is disabled, and the next read is not compared with this one (false), or it
/// would find no fault.
pub(super) async fn allow_planned(
    inner: &Inner,
    fence: Fence,
    verdict: Verdict,
) -> Result<(Verdict, bool), StoreError> {
    let Verdict::Hold(broken) = verdict else { return Ok((verdict, true)) };
    let job = inner.store.job_by_number(fence.job).await?;
    let origin = inner.store.job(&job.tenant, &job.source, job.origin).await?;
    let shown = origin.plan.map(|plan| plan.doubts).unwrap_or_default();
    let is_shown = |check: &BrokenCheck| match check.reason {
        HoldReason::DisableGuard | HoldReason::UnexplainedAbsences | HoldReason::MassEnable => true,
        reason => shown.iter().any(|of_plan| of_plan.reason == reason),
    };
    Ok(match broken.iter().find(|check| !is_shown(check)) {
        None => (Verdict::Disable, true),
        Some(check) => (Verdict::Withhold(format!("{} The plan did not show that.", check.message)), false),
    })
}

/// Disables those of the absent users that the plan disables, and lists the others.
pub(super) async fn disable_planned(
    inner: &Inner,
    fence: Fence,
    absent: &AbsentUsers,
) -> Result<(), StoreError> {
    let mut users = absent.users();
    loop {
        let chunk: Vec<(UserNo, Absence)> = users.by_ref().take(LINES_PER_TRANSACTION).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        let numbers = chunk.iter().map(|(user, _)| *user).collect();
        let planned = inner.store.planned_leavers(fence, numbers).await?;
        let (planned, others): (Vec<_>, Vec<_>) =
            chunk.into_iter().partition(|(user, _)| planned.contains(user));
        disable_absent(inner, fence, planned.into_iter(), None).await?;
        let others = others.into_iter().map(|(user, _)| user).collect();
        inner.store.leave_out_absent(fence, others, inner.clock.now()).await?;
    }
}

/// Lists what the plan has and the directory no longer asks for.
pub(super) async fn leave_out_rest(inner: &Inner, fence: Fence) -> Result<(), StoreError> {
    let limit = i64::try_from(LINES_PER_TRANSACTION).unwrap_or(i64::MAX);
    while inner.store.leave_out_rest(fence, limit, inner.clock.now()).await? {}
    Ok(())
}
