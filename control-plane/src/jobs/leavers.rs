//! Ends a complete read: users who are gone from scope are disabled if that is proved and not suspiciously many, or held for an
//! administrator, or left alone; then the records that waited are settled. And ends what an administrator approved.

use std::borrow::Cow;
use std::time::Duration;

use super::absent::{self, Absent, LookUpError};
use super::{Inner, Intake, Session, planning};
use crate::model::{
    Absence, Decision, DisabledTest, Failure, FailureReason, Fence, Hold, JobKind, JobNo, KnownBy, Newcomer,
    ReadFacts, SourceSettings, SyncJob, Timestamp, UserNo, Withheld,
};
use crate::reconcile::eyes;
use crate::reconcile::guard::{self, Evidence, Verdict};
use crate::store::{ApprovedStart, Outcome, StoreError};

/// Leavers disabled in one transaction.
const DISABLE: usize = 1_000;
/// Waiting records settled in one transaction.
const SETTLE: i64 = 500;
/// How far back disables count for the guard.
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How a reconciliation ends.
pub(super) enum End {
    /// So.
    Finish(Outcome),
    /// The job waits for an administrator.
    Held(Box<SyncJob>),
    /// The router was lost before absent users could be looked up.
    Lost,
}

/// Reconciles after a complete read and says how the job ends.
pub(super) async fn reconcile(
    inner: &Inner,
    intake: &Intake,
    session: &Session,
    settings: &SourceSettings,
    facts: ReadFacts,
) -> Result<End, StoreError> {
    let (fence, start) = (intake.fence(), intake.start());
    inner.store.begin_reconciling(fence).await?;
    let root_not_found = || facts.roots.iter().find(|root| root.missing).filter(|_| start.before.is_none());
    if let Some(root) = root_not_found() {
        if start.kind != JobKind::DryRun {
            settle(inner, fence, false).await?;
        }
        let message = format!("The root {} does not exist, or the bind account may not read it.", root.root);
        return Ok(End::Finish(Outcome::Failed(Failure { reason: FailureReason::RootNotFound, message })));
    }
    let mut absent = absent::find(inner, intake).await?;
    // A directory without anybody has nothing to look up; that is held in any case.
    if absent.len() > 0 && facts.entries() > 0 {
        let known_by = as_known(settings, start.former.as_ref());
        absent = match absent::look_up(inner, fence, session, &known_by, absent).await {
            Ok(absent) => absent,
            Err(LookUpError::Store(error)) => return Err(error),
            Err(LookUpError::Lost) => return Ok(End::Lost),
            Err(LookUpError::Failed(failure)) => {
                if start.kind != JobKind::DryRun {
                    refuse_doubtful(inner, fence).await?;
                    settle(inner, fence, false).await?;
                }
                return Ok(End::Finish(Outcome::Failed(not_looked_up(failure))));
            }
        };
        inner.store.count_still_in_scope(fence, absent.still_in_scope, inner.clock.now()).await?;
    }
    decide(inner, intake, settings, facts, absent).await
}

/// The settings with the immutable id by which users are known.
fn as_known<'a>(settings: &'a SourceSettings, former: Option<&KnownBy>) -> Cow<'a, SourceSettings> {
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

async fn decide(
    inner: &Inner,
    intake: &Intake,
    settings: &SourceSettings,
    mut facts: ReadFacts,
    mut absent: Absent,
) -> Result<End, StoreError> {
    let (fence, start, now) = (intake.fence(), intake.start(), inner.clock.now());
    let before = start.before.as_ref();
    let up_to_date = before.is_none_or(|before| eyes::fresh(before, &facts));
    let again = before.filter(|_| !up_to_date).and_then(|before| eyes::seen_before(before, &facts, now));
    let mut left_alone = 0;
    if let Some(job) = again {
        left_alone = absent.keep_only(&absent::noted(inner, fence, JobNo(job)).await?);
    }
    let recent = inner.store.recent_disables(fence, now.minus(DAY)).await?;
    let doubtful = inner.store.count_doubtful(fence).await?;
    let required = required(settings);
    let evidence = Evidence {
        guard: settings.disable_guard,
        enabled: start.enabled,
        before,
        read: &facts,
        required: required.clone(),
        unidentified: intake.unidentified(),
        absent: absent.len(),
        leavers: absent.enabled(),
        unexplained: absent.unexplained_enabled(),
        not_looked_up: absent.not_looked_up,
        recent: recent.all,
        recent_unexplained: recent.unexplained,
        doubtful,
        emptied: absent::emptied(inner, fence, &absent).await?,
        fresh: up_to_date || again.is_some(),
    };
    let (verdict, trusted) = match (guard::judge(&evidence), start.kind) {
        (verdict, JobKind::DryRun) => {
            if start.former.is_some() {
                inner.store.refuse_clashes(fence, inner.clock.now()).await?;
            }
            return planning::plan(inner, fence, verdict, &absent).await;
        }
        (verdict, JobKind::Plan) => planning::approved(inner, fence, verdict).await?,
        (verdict, JobKind::Sync | JobKind::Undo) => (verdict, true),
    };
    match verdict {
        Verdict::Hold(reason, message) => {
            let now = inner.clock.now();
            let hold = Hold {
                reason,
                message,
                users: absent.enabled(),
                etag: absent.etag(fence.job),
                since: now,
                expires_at: now.plus(inner.settings.hold_expiry),
                decision: Decision::Pending,
                decided_by: String::new(),
            };
            note(inner, fence, &absent).await?;
            // A read that is held for whatever reason takes nothing away from anyone either.
            refuse_doubtful(inner, fence).await?;
            settle(inner, fence, true).await?;
            let job = inner.store.hold_job(fence, hold, facts).await?;
            Ok(End::Held(Box::new(job)))
        }
        Verdict::Disable | Verdict::Withhold(_) => {
            let lost =
                before.map(|before| eyes::lost(before, &facts, &required, absent.len())).unwrap_or_default();
            // What was lost and changed nothing is still what the next read is compared with.
            facts.attributes.extend(lost.into_iter().map(|loss| (loss.attribute, loss.had)));
            inner.store.trust_doubtful(fence).await?;
            let withheld = match verdict {
                Verdict::Withhold(message) => Some(Withheld { message, users: absent.enabled() }),
                _ if start.kind == JobKind::Plan => {
                    planning::disable(inner, fence, &absent).await?;
                    None
                }
                _ => {
                    disable(inner, fence, absent.users(), None).await?;
                    (left_alone > 0).then(|| Withheld {
                        message: format!("{left_alone} users who seem to be gone from scope were there half an hour ago; the next sync disables them if they are still gone."),
                        users: left_alone,
                    })
                }
            };
            let facts = if !trusted {
                None
            } else if up_to_date || again.is_some() {
                Some(facts)
            } else {
                note(inner, fence, &absent).await?;
                before.map(|before| newcomer(before, &facts, fence.job, now))
            };
            settle(inner, fence, false).await?;
            if start.kind == JobKind::Plan {
                planning::leave_out_rest(inner, fence).await?;
            }
            Ok(End::Finish(Outcome::Succeeded { withheld, facts }))
        }
    }
}

/// The last trusted read, and the server that was read since and may be behind it.
fn newcomer(before: &ReadFacts, read: &ReadFacts, job: JobNo, now: Timestamp) -> ReadFacts {
    let known = before.newcomer.clone().filter(|newcomer| newcomer.server == read.server);
    let new = || Newcomer { server: read.server.clone(), since: now.0, job: job.0 };
    ReadFacts { newcomer: Some(known.unwrap_or_else(new)), ..before.clone() }
}

/// Attributes without which an entry is no user.
fn required(settings: &SourceSettings) -> Vec<&str> {
    let mapping = &settings.mapping;
    let mut required = vec![mapping.user_name.as_str()];
    if !mapping.mail_optional {
        required.push(mapping.mail.as_str());
    }
    // Every account has these bits; whoever lost the right to read them would take everybody for enabled.
    if let Some(rule) = &mapping.disabled
        && matches!(rule.test, DisabledTest::BitsSet(_))
    {
        required.push(rule.attribute.as_str());
    }
    required
}

pub(super) async fn note(inner: &Inner, fence: Fence, absent: &Absent) -> Result<(), StoreError> {
    let mut users = absent.users();
    loop {
        let chunk: Vec<_> = users.by_ref().take(DISABLE).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        inner.store.note_absent(fence, chunk).await?;
    }
}

pub(super) async fn disable(
    inner: &Inner,
    fence: Fence,
    mut users: impl Iterator<Item = (UserNo, Absence)>,
    unchanged_since: Option<Timestamp>,
) -> Result<(), StoreError> {
    loop {
        let chunk: Vec<_> = users.by_ref().take(DISABLE).collect();
        if chunk.is_empty() {
            return Ok(());
        }
        inner.store.disable_absent(fence, chunk, unchanged_since, inner.clock.now()).await?;
    }
}

async fn refuse_doubtful(inner: &Inner, fence: Fence) -> Result<(), StoreError> {
    while inner.store.refuse_doubtful(fence, SETTLE, inner.clock.now()).await? {}
    Ok(())
}

pub(super) async fn settle(inner: &Inner, fence: Fence, held: bool) -> Result<(), StoreError> {
    inner.store.settle_names(fence, held, inner.clock.now()).await?;
    while inner.store.settle_seats(fence, SETTLE, held, inner.clock.now()).await? {}
    Ok(())
}

/// Disables whom an administrator approved, but for those who have come back since, and settles what waited for it.
pub(super) async fn approved(
    inner: &Inner,
    start: &ApprovedStart,
    session: &Session,
    settings: &SourceSettings,
) -> Result<End, StoreError> {
    let absent = match absent::look_up_held(inner, start, session, settings).await {
        Ok(absent) => absent,
        Err(LookUpError::Store(error)) => return Err(error),
        Err(LookUpError::Lost) => return Ok(End::Lost),
        Err(LookUpError::Failed(failure)) => {
            return Ok(End::Finish(Outcome::Failed(not_looked_up(failure))));
        }
    };
    inner.store.recall_kept(start.fence, inner.clock.now()).await?;
    disable(inner, start.fence, absent.users(), Some(start.held_at)).await?;
    settle(inner, start.fence, false).await?;
    Ok(End::Finish(Outcome::Succeeded { withheld: None, facts: Some(start.facts.clone()) }))
}
