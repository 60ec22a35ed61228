//! What a complete read means for the users that it did not have: gather the evidence, judge it by
//! the source's guard, and carry the verdict out.

use std::time::Duration;

use super::absent_users::{self, AbsentUsers, disable_absent, record_absent};
use super::reconcile_end::ReconcileEnd;
use super::settle::{refuse_suspect_changes, settle};
use super::{Inner, Intake, dry_run};
use crate::model::{
    Decision, DisableGuard, DisabledTest, Fence, Hold, HoldReason, JobKind, JobNo, ReadFacts, ReadStart,
    SourceSettings, Timestamp, UnverifiedServer, Withheld,
};
use crate::reconcile::guard::{self, Evidence, Verdict};
use crate::reconcile::read_quality;
use crate::store::{Outcome, StoreError};

/// How far back disables count for the guard.
const GUARD_PERIOD: Duration = Duration::from_secs(24 * 3_600);

/// A complete read whose absent users were looked up.
pub(super) struct Reconciliation<'a> {
    inner: &'a Inner,
    fence: Fence,
    start: &'a ReadStart,
    /// When the read was complete.
    now: Timestamp,
    /// Attributes without which an entry is no user.
    required: Vec<&'a str>,
    facts: ReadFacts,
    absent: AbsentUsers,
    /// Whether the server's data is not older than that of the last trusted read, or the same
    /// server has shown the same absences before.
    is_fresh: bool,
    /// Absent users that are left alone until the next read.
    left_alone: i64,
}

impl<'a> Reconciliation<'a> {
    /// Compares the read with the last trusted one. Of a server that may be behind it, only the
    /// users that were absent from an earlier read, too, count as absent.
    pub(super) async fn gather(
        inner: &'a Inner,
        intake: &'a Intake,
        settings: &'a SourceSettings,
        facts: ReadFacts,
        mut absent: AbsentUsers,
    ) -> Result<Self, StoreError> {
        let (fence, start, now) = (intake.fence(), intake.start(), inner.clock.now());
        let before = start.before.as_ref();
        let is_current = before.is_none_or(|before| read_quality::is_current(before, &facts));
        let earlier =
            before.filter(|_| !is_current).and_then(|before| read_quality::seen_before(before, &facts, now));
        let mut left_alone = 0;
        if let Some(job) = earlier {
            left_alone = absent.retain(&absent_users::recorded(inner, fence, JobNo(job)).await?);
        }
        let is_fresh = is_current || earlier.is_some();
        Ok(Self {
            inner,
            fence,
            start,
            now,
            required: required(settings),
            facts,
            absent,
            is_fresh,
            left_alone,
        })
    }

    /// What the guard says of the absent users. `unidentified` entries had no readable immutable
    /// id.
    pub(super) async fn judge(&self, guard: DisableGuard, unidentified: u64) -> Result<Verdict, StoreError> {
        let Self { inner, fence, absent, .. } = self;
        let recent = inner.store.recent_disables(*fence, self.now.minus(GUARD_PERIOD)).await?;
        let doubtful = inner.store.count_suspect_changes(*fence).await?;
        Ok(guard::judge(&Evidence {
            guard,
            enabled: self.start.enabled,
            before: self.start.before.as_ref(),
            read: &self.facts,
            required: self.required.clone(),
            unidentified,
            absent: absent.len(),
            leavers: absent.enabled(),
            unexplained: absent.unexplained_enabled(),
            not_looked_up: absent.not_looked_up,
            recent: recent.all,
            recent_unexplained: recent.unexplained,
            doubtful,
            emptied: absent_users::emptied(inner, *fence, absent).await?,
            fresh: self.is_fresh,
        }))
    }

    /// Does what the verdict says, for the kind of the job.
    pub(super) async fn carry_out(self, verdict: Verdict) -> Result<ReconcileEnd, StoreError> {
        let (inner, fence, start) = (self.inner, self.fence, self.start);
        let (verdict, trusted) = match start.kind {
            JobKind::DryRun => {
                if start.former.is_some() {
                    inner.store.refuse_clashes(fence, inner.clock.now()).await?;
                }
                return dry_run::write_plan(inner, fence, verdict, &self.absent).await;
            }
            JobKind::Plan => dry_run::allow_planned(inner, fence, verdict).await?,
            JobKind::Sync | JobKind::Undo => (verdict, true),
        };
        match verdict {
            Verdict::Hold(reason, message) => self.hold(reason, message).await,
            Verdict::Disable => self.finish(None, trusted).await,
            Verdict::Withhold(message) => self.finish(Some(message), trusted).await,
        }
    }

    /// Holds the job for an administrator.
    async fn hold(self, reason: HoldReason, message: String) -> Result<ReconcileEnd, StoreError> {
        let Self { inner, fence, facts, absent, .. } = self;
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
        record_absent(inner, fence, &absent).await?;
        // A read that is held takes no value away from a user, whatever the reason.
        refuse_suspect_changes(inner, fence).await?;
        settle(inner, fence, true).await?;
        let job = inner.store.hold_job(fence, hold, facts).await?;
        Ok(ReconcileEnd::Held(Box::new(job)))
    }

    /// Disables the absent users, or withholds that with a message, and ends the job.
    async fn finish(mut self, withhold: Option<String>, trusted: bool) -> Result<ReconcileEnd, StoreError> {
        let (inner, fence, start) = (self.inner, self.fence, self.start);
        let lost = start.before.as_ref().map(|before| {
            read_quality::attribute_losses(before, &self.facts, &self.required, self.absent.len())
        });
        // What was lost and changed nothing is still what the next read is compared with.
        self.facts
            .attributes
            .extend(lost.unwrap_or_default().into_iter().map(|loss| (loss.attribute, loss.had)));
        inner.store.accept_suspect_changes(fence).await?;
        let withheld = self.disable(withhold).await?;
        let facts = if trusted { self.trusted_facts().await? } else { None };
        settle(inner, fence, false).await?;
        if start.kind == JobKind::Plan {
            dry_run::leave_out_rest(inner, fence).await?;
        }
        Ok(ReconcileEnd::Finish(Outcome::Succeeded { withheld, facts }))
    }

    /// Disables the absent users; says which are withheld.
    async fn disable(&self, withhold: Option<String>) -> Result<Option<Withheld>, StoreError> {
        let Self { inner, fence, absent, left_alone, .. } = self;
        if let Some(message) = withhold {
            return Ok(Some(Withheld { message, users: absent.enabled() }));
        }
        if self.start.kind == JobKind::Plan {
            dry_run::disable_planned(inner, *fence, absent).await?;
            return Ok(None);
        }
        disable_absent(inner, *fence, absent.users(), None).await?;
        Ok((*left_alone > 0).then(|| Withheld {
            message: format!("{left_alone} users who seem to be gone from scope were there half an hour ago; the next sync disables them if they are still gone."),
            users: *left_alone,
        }))
    }

    /// What the next read is compared with.
    async fn trusted_facts(self) -> Result<Option<ReadFacts>, StoreError> {
        if self.is_fresh {
            return Ok(Some(self.facts));
        }
        record_absent(self.inner, self.fence, &self.absent).await?;
        Ok(self
            .start
            .before
            .as_ref()
            .map(|before| unverified_server(before, &self.facts, self.fence.job, self.now)))
    }
}

/// The last trusted read, and the server that was read since and may be behind it.
fn unverified_server(before: &ReadFacts, read: &ReadFacts, job: JobNo, now: Timestamp) -> ReadFacts {
    let known = before.newcomer.clone().filter(|newcomer| newcomer.server == read.server);
    let new = || UnverifiedServer { server: read.server.clone(), since: now.0, job: job.0 };
    ReadFacts { newcomer: Some(known.unwrap_or_else(new)), ..before.clone() }
}

/// Attributes without which an entry is no user.
fn required(settings: &SourceSettings) -> Vec<&str> {
    let mapping = &settings.mapping;
    let mut required = vec![mapping.user_name.as_str()];
    if !mapping.mail_optional {
        required.push(mapping.mail.as_str());
    }
    // Every account has these bits; without the right to read them every account would seem
    // enabled.
    if let Some(rule) = &mapping.disabled
        && matches!(rule.test, DisabledTest::BitsSet(_))
    {
        required.push(rule.attribute.as_str());
    }
    required
}
