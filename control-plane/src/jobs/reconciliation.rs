//! What a complete read means for the users that it did not have: gather the evidence, judge it by
//! the source's guard, and carry the verdict out.

use std::time::Duration;

use super::absent_users::{self, AbsentUsers, disable_absent, record_absent};
use super::reconcile_end::ReconcileEnd;
use super::settle::{refuse_reenables, refuse_suspect_changes, settle};
use super::{Inner, Intake, dry_run};
use crate::model::{
    BrokenCheck, Decision, DisableGuard, DisabledTest, Fence, Hold, HoldReason, JobKind, ReadFacts,
    ReadStart, SourceSettings, Timestamp, Withheld,
};
use crate::reconcile::guard::{self, Evidence, Verdict};
use crate::reconcile::read_quality::{self, Recency};
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
    /// Whether the server's data is as recent as that of the last trusted read. One that is not
    /// enables no user and restores no former value.
    recency: Recency,
    /// The attribute of the immutable id.
    id_attribute: &'a str,
    /// Entries that had no readable immutable id: while there are any, no user is disabled for
    /// absence, whatever an administrator decides.
    unidentified: u64,
}

/// Whether a read is as recent as what was seen before: as the last trusted read, by what the
/// servers say of themselves, and as each entry's last observation, of which `older_entries` were
/// newer.
pub(super) fn recency(before: Option<&ReadFacts>, facts: &ReadFacts, older_entries: i64) -> Recency {
    match before.map_or(Recency::Current, |before| Recency::of(before, facts)) {
        Recency::Current | Recency::Incomparable if older_entries > 0 => {
            Recency::Older(format!("{older_entries} of its entries are older than they were seen before"))
        }
        recency => recency,
    }
}

impl<'a> Reconciliation<'a> {
    /// Compares the read with the last trusted one.
    pub(super) fn new(
        inner: &'a Inner,
        intake: &'a Intake,
        settings: &'a SourceSettings,
        (facts, older_entries): (ReadFacts, i64),
        absent: AbsentUsers,
    ) -> Self {
        let start = intake.start();
        Self {
            inner,
            fence: intake.fence(),
            start,
            now: inner.clock.now(),
            required: required(settings),
            recency: recency(start.before.as_ref(), &facts, older_entries),
            facts,
            absent,
            id_attribute: &settings.mapping.immutable_id,
            unidentified: intake.unidentified(),
        }
    }

    /// What the guard says of the absent users, and whether users must not be enabled again without
    /// an administrator.
    pub(super) async fn judge(
        &self,
        guard: DisableGuard,
    ) -> Result<(Verdict, Option<BrokenCheck>), StoreError> {
        let Self { inner, fence, absent, .. } = self;
        let recent = inner.store.recent_disables(*fence, self.now.minus(GUARD_PERIOD)).await?;
        let doubtful = inner.store.count_suspect_changes(*fence).await?;
        let reenables = inner.store.count_reenables(*fence).await?;
        let evidence = Evidence {
            guard,
            enabled: self.start.enabled,
            before: self.start.before.as_ref(),
            read: &self.facts,
            required: self.required.clone(),
            id_attribute: self.id_attribute,
            unidentified: self.unidentified,
            absent: absent.len(),
            leavers: absent.enabled(),
            unexplained: absent.unexplained_enabled(),
            not_visible: absent.not_visible(),
            not_looked_up: absent.not_looked_up(),
            recent: recent.all,
            recent_unexplained: recent.unexplained,
            doubtful,
            reenables: reenables.waiting,
            disabled_in_directory: reenables.disabled,
            enabling: reenables.all,
            emptied: absent_users::emptied(inner, *fence, absent).await?,
            recency: self.recency.clone(),
        };
        Ok((guard::judge(&evidence), guard::mass_enable(&evidence)))
    }

    /// Does what the verdict says, for the kind of the job.
    pub(super) async fn carry_out(
        mut self,
        (verdict, mass_enable): (Verdict, Option<BrokenCheck>),
    ) -> Result<ReconcileEnd, StoreError> {
        let (inner, fence, start) = (self.inner, self.fence, self.start);
        // One of the entries without readable id may be any of the leavers. No list, no plan and no
        // approval disables one meanwhile.
        if self.unidentified > 0 && matches!(verdict, Verdict::Hold(_)) {
            self.absent.forget_leavers();
        }
        let (verdict, trusted) = match start.kind {
            JobKind::DryRun => {
                if start.former.is_some() {
                    inner.store.refuse_clashes(fence, inner.clock.now()).await?;
                }
                let verdict = match (verdict, mass_enable) {
                    (Verdict::Hold(broken), mass_enable) => {
                        Verdict::Hold(broken.into_iter().chain(mass_enable).collect())
                    }
                    (Verdict::Disable, Some(mass_enable)) => Verdict::Hold(vec![mass_enable]),
                    (verdict, _) => verdict,
                };
                return dry_run::write_plan(inner, fence, verdict, &self.absent).await;
            }
            JobKind::Plan => {
                let older = is_of_older_server(&verdict);
                let (verdict, trusted) = dry_run::allow_planned(inner, fence, verdict).await?;
                if older && trusted {
                    // The plan showed it, so applying it is the administrator's approval.
                    self.recency = Recency::Current;
                }
                (verdict, trusted)
            }
            JobKind::Sync | JobKind::Undo => (verdict, true),
        };
        // Applying a plan is the approval of its list.
        let mass_enable = mass_enable.filter(|_| start.kind == JobKind::Sync);
        match (verdict, mass_enable) {
            (Verdict::Hold(broken), mass_enable) => {
                self.hold(broken.into_iter().chain(mass_enable).collect()).await
            }
            (verdict, Some(mass_enable)) => self.hold_reenables(verdict, mass_enable).await,
            (Verdict::Disable, None) => self.finish(None, trusted).await,
            (Verdict::Withhold(message), None) => self.finish(Some(message), trusted).await,
        }
    }

    /// Holds the job for an administrator.
    async fn hold(self, broken: Vec<BrokenCheck>) -> Result<ReconcileEnd, StoreError> {
        let is_current = self.is_current();
        let Self { inner, fence, facts, absent, .. } = self;
        let now = inner.clock.now();
        let first = broken.first();
        let hold = Hold {
            reason: first.map_or(HoldReason::DisableGuard, |check| check.reason),
            message: first.map(|check| check.message.clone()).unwrap_or_default(),
            broken,
            users: absent.enabled(),
            etag: absent.etag(fence.job),
            since: now,
            expires_at: now.plus(inner.settings.hold_expiry),
            decision: Decision::Pending,
            decided_by: String::new(),
        };
        record_absent(inner, fence, &absent).await?;
        // A read that is held takes no value away from a user, whatever the reason.
        refuse_suspect_changes(inner, fence, is_current).await?;
        settle(inner, fence, true).await?;
        let job = inner.store.hold_job(fence, hold, facts).await?;
        Ok(ReconcileEnd::Held(Box::new(job)))
    }

    /// Applies everything but the enabling of users, and holds the job for that. Absent users are
    /// disabled unless the verdict leaves them alone.
    async fn hold_reenables(self, verdict: Verdict, check: BrokenCheck) -> Result<ReconcileEnd, StoreError> {
        let Self { inner, fence, facts, absent, .. } = self;
        refuse_reenables(inner, fence).await?;
        inner.store.accept_suspect_changes(fence).await?;
        if verdict == Verdict::Disable {
            disable_absent(inner, fence, absent.users(), None).await?;
        }
        settle(inner, fence, true).await?;
        let now = inner.clock.now();
        let hold = Hold {
            reason: check.reason,
            message: check.message.clone(),
            users: check.users,
            etag: format!("{}-{}", absent.etag(fence.job), check.users),
            broken: vec![check],
            since: now,
            expires_at: now.plus(inner.settings.hold_expiry),
            decision: Decision::Pending,
            decided_by: String::new(),
        };
        let job = inner.store.hold_job(fence, hold, facts).await?;
        Ok(ReconcileEnd::Held(Box::new(job)))
    }

    /// Disables the absent users, or withholds that with a message, and ends the job.
    async fn finish(mut self, withhold: Option<String>, trusted: bool) -> Result<ReconcileEnd, StoreError> {
        let (inner, fence, start) = (self.inner, self.fence, self.start);
        let lost = start
            .before
            .as_ref()
            .map(|before| read_quality::attribute_losses(before, &self.facts, &self.required));
        // What was lost and changed nothing is still what the next read is compared with.
        self.facts
            .attributes
            .extend(lost.unwrap_or_default().into_iter().map(|loss| (loss.attribute, loss.had)));
        match self.is_current() {
            true => inner.store.accept_suspect_changes(fence).await?,
            false => refuse_suspect_changes(inner, fence, false).await?,
        }
        let withheld = self.disable(withhold).await?;
        // What the next read is compared with, unless it is what this one was compared with.
        let facts = (trusted && self.is_current()).then_some(self.facts);
        settle(inner, fence, false).await?;
        if start.kind == JobKind::Plan {
            dry_run::leave_out_rest(inner, fence).await?;
        }
        Ok(ReconcileEnd::Finish(Outcome::Succeeded { withheld, facts }))
    }

    /// Disables the absent users; says which are withheld.
    async fn disable(&self, withhold: Option<String>) -> Result<Option<Withheld>, StoreError> {
        let Self { inner, fence, absent, .. } = self;
        if let Some(message) = withhold {
            return Ok(Some(Withheld { message, users: absent.enabled() }));
        }
        if self.start.kind == JobKind::Plan {
            dry_run::disable_planned(inner, *fence, absent).await?;
            return Ok(None);
        }
        disable_absent(inner, *fence, absent.users(), None).await?;
        Ok(None)
    }

    fn is_current(&self) -> bool {
        self.recency == Recency::Current
    }
}

fn is_of_older_server(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Hold(broken) if broken.iter().any(|check| check.reason == HoldReason::OlderServer))
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
