//! Ends a complete read: leavers are users that are gone from scope. They are disabled if that is
//! proved and not suspiciously many, held for an administrator, or left alone. Also ends what an
//! administrator approved.

use std::borrow::Cow;

use super::absent_users::{self, AbsentUsers, LookUpError, disable_absent, leave_alone};
use super::directory_retry::DirectoryRetry;
use super::reconcile_end::ReconcileEnd;
use super::reconciliation::{Reconciliation, recency};
use super::settle::{refuse_suspect_changes, settle};
use super::{Inner, Intake, Session};
use crate::model::{Failure, FailureReason, Fence, JobKind, KnownBy, ReadFacts, SourceSettings};
use crate::reconcile::read_quality::Recency;
use crate::store::{ApprovedStart, Outcome, StoreError};

/// Reconciles after a complete read and says how the job ends.
pub(super) async fn reconcile(
    inner: &Inner,
    intake: &Intake,
    session: &Session,
    (settings, facts): (&SourceSettings, ReadFacts),
    retry: &mut DirectoryRetry,
) -> Result<ReconcileEnd, StoreError> {
    let (fence, start) = (intake.fence(), intake.start());
    inner.store.begin_reconciling(fence).await?;
    let root_not_found = || facts.roots.iter().find(|root| root.missing).filter(|_| start.before.is_none());
    if let Some(root) = root_not_found() {
        if start.kind != JobKind::DryRun {
            refuse_suspect_changes(inner, fence, true).await?;
            settle(inner, fence, false).await?;
        }
        let message = format!("The root {} does not exist, or the bind account may not read it.", root.root);
        return Ok(ReconcileEnd::Finish(Outcome::Failed(Failure {
            reason: FailureReason::RootNotFound,
            message,
        })));
    }
    let older_entries = inner.store.count_older_entries(fence).await?;
    let mut absent = absent_users::find(inner, intake).await?;
    // A directory without entries has nothing to look up; that is held in any case.
    if !absent.is_empty() && facts.entries() > 0 {
        let known_by = known_settings(settings, start.former.as_ref());
        absent = match look_up(inner, fence, session, (&known_by, &absent), retry).await {
            Ok(absent) => absent,
            Err(LookUpError::Store(error)) => return Err(error),
            Err(LookUpError::Lost) => return Ok(ReconcileEnd::Lost),
            Err(LookUpError::Failed(failure)) => {
                if start.kind != JobKind::DryRun {
                    let is_current =
                        recency(start.before.as_ref(), &facts, older_entries) == Recency::Current;
                    refuse_suspect_changes(inner, fence, is_current).await?;
                    settle(inner, fence, false).await?;
                }
                return Ok(ReconcileEnd::Finish(Outcome::Failed(not_looked_up(failure))));
            }
        };
        inner.store.count_still_in_scope(fence, absent.still_in_scope, inner.clock.now()).await?;
        leave_alone(inner, fence, &absent).await?;
    }
    if start.kind != JobKind::DryRun {
        absent_users::clear_marks(inner, intake, &absent).await?;
    }
    let reconciliation = Reconciliation::new(inner, intake, settings, (facts, older_entries), absent);
    let verdict = reconciliation.judge(settings.disable_guard).await?;
    reconciliation.carry_out(verdict).await
}

/// Looks absent users up, again after a while where the directory breaks off.
async fn look_up(
    inner: &Inner,
    fence: Fence,
    session: &Session,
    (settings, absent): (&SourceSettings, &AbsentUsers),
    retry: &mut DirectoryRetry,
) -> Result<AbsentUsers, LookUpError> {
    loop {
        let failure = match absent_users::look_up(inner, fence, session, settings, absent).await {
            Err(LookUpError::Failed(failure)) => failure,
            done => return done,
        };
        let Some(pause) = retry.unreachable(failure.reason) else { return Err(LookUpError::Failed(failure)) };
        tracing::info!(job = fence.job.0, wait = ?pause, "the directory broke off look-ups; asking again");
        tokio::time::sleep(pause).await;
    }
}

/// The settings with the immutable id by which users are known.
fn known_settings<'a>(settings: &'a SourceSettings, former: Option<&KnownBy>) -> Cow<'a, SourceSettings> {
    let Some(KnownBy { attribute, format }) = former else { return Cow::Borrowed(settings) };
    let mut settings = settings.clone();
    settings.mapping.immutable_id.clone_from(attribute);
    settings.mapping.immutable_id_format = *format;
    Cow::Owned(settings)
}

fn not_looked_up(failure: Failure) -> Failure {
    let message = format!(
        "Users who seem to be gone from scope could not be looked up again, so nobody was disabled. {}",
        failure.message
    );
    Failure { message, ..failure }
}

/// Disables the users that an administrator approved, except those that have come back since, and
/// settles what waited for it.
pub(super) async fn disable_approved(
    inner: &Inner,
    start: &ApprovedStart,
    session: &Session,
    settings: &SourceSettings,
) -> Result<ReconcileEnd, StoreError> {
    let absent = match absent_users::look_up_held(inner, start, session, settings).await {
        Ok(absent) => absent,
        Err(LookUpError::Store(error)) => return Err(error),
        Err(LookUpError::Lost) => return Ok(ReconcileEnd::Lost),
        Err(LookUpError::Failed(failure)) => {
            return Ok(ReconcileEnd::Finish(Outcome::Failed(not_looked_up(failure))));
        }
    };
    leave_alone(inner, start.fence, &absent).await?;
    inner.store.requeue_retained(start.fence, inner.clock.now()).await?;
    disable_absent(inner, start.fence, absent.users(), Some(start.held_at)).await?;
    settle(inner, start.fence, false).await?;
    Ok(ReconcileEnd::Finish(Outcome::Succeeded { withheld: None, facts: Some(start.facts.clone()) }))
}
