//! Whether the users that a complete read did not have may be disabled: at once, after an
//! administrator has looked at the list, or not on the strength of this read.
//!
//! Every check that breaks is told, in this order: a sudden loss of an attribute that would change
//! users, an empty directory, another place, other eyes, an emptied container, an older server,
//! suspiciously many. Entries without a readable id are no reason to hold a job: they keep all
//! leavers as they are, and no approval changes that.

use super::containers::{self, EmptiedContainer};
use super::mass_enable;
use super::read_quality::{self, Loss, Recency};
use crate::model::{BrokenCheck, DisableGuard, HoldReason, ReadFacts};

/// However small a source is, this many may always leave at once.
pub const FLOOR: i64 = 5;
/// The same for absences that the directory does not explain.
pub const FLOOR_UNEXPLAINED: i64 = 2;

/// What the decision rests on.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The source's guard.
    pub guard: DisableGuard,
    /// Users of the source that were enabled before the job.
    pub enabled: i64,
    /// What the last trusted read of the same revision found.
    pub before: Option<&'a ReadFacts>,
    /// What this read found.
    pub read: &'a ReadFacts,
    /// Attributes without which an entry is no user.
    pub required: Vec<&'a str>,
    /// The attribute of the immutable id.
    pub id_attribute: &'a str,
    /// Entries without readable immutable id.
    pub unidentified: u64,
    /// Users, enabled or not, whom the read did not have and who were not found in scope when
    /// looked up again. Not those of `not_visible`.
    pub absent: i64,
    /// Of those, the enabled ones: whom the job would disable.
    pub leavers: i64,
    /// Of the leavers, those for whom the directory does not show what became of them.
    pub unexplained: i64,
    /// Users, enabled or not, whom the read did not have and whom the directory does not show to be
    /// gone. The job leaves them as they are whatever is decided.
    pub not_visible: i64,
    /// Absent users who were too many to be looked up again.
    pub not_looked_up: i64,
    /// Users that syncs of the last 24 hours disabled for absence without having been approved.
    pub recent: i64,
    /// Of those, the unexplained ones.
    pub recent_unexplained: i64,
    /// Changes that take attributes away and wait.
    pub doubtful: i64,
    /// Users that the directory had disabled and that the job would enable again.
    pub reenables: i64,
    /// Users of the source that the directory had disabled before the job.
    pub disabled_in_directory: i64,
    /// Records that wait and would enable their users again, whatever these were disabled for.
    pub enabling: i64,
    /// Containers that had users and have none any more.
    pub emptied: Vec<EmptiedContainer>,
    /// Whether the server's data is as recent as that of the last trusted read.
    pub recency: Recency,
}

impl Evidence<'_> {
    /// Users whom the read did not have.
    fn missing(&self) -> i64 {
        self.absent + self.not_visible
    }

    /// Whether no entry at all had a readable immutable id.
    fn sees_no_id(&self) -> bool {
        self.unidentified > 0 && self.unidentified >= self.read.entries()
    }

    fn server_before(&self) -> &str {
        self.before.map(|before| before.server.as_str()).unwrap_or_default()
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Disable them.
    Disable,
    /// Let an administrator decide. Every check that broke, at least one, the most telling first.
    Hold(Vec<BrokenCheck>),
    /// Leave them alone, and say so.
    Withhold(String),
}

/// Decides.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut broken = broken_eyes_or_place(evidence);
    broken.extend(older_server(evidence));
    if evidence.unidentified == 0 {
        broken.extend(too_many(evidence));
    }
    match broken.is_empty() {
        false => Verdict::Hold(broken),
        true if evidence.unidentified > 0 && evidence.absent > 0 => Verdict::Withhold(unidentified(evidence)),
        true => match &evidence.recency {
            Recency::Older(by) => Verdict::Withhold(format!(
                "The directory server {} is behind the server that was read before ({}): {by}. It would disable no user and enable none, so the job is not held; later reads are still compared with the read before.",
                evidence.read.server,
                evidence.server_before()
            )),
            Recency::Current | Recency::Incomparable => Verdict::Disable,
        },
    }
}

/// What is said of leavers that are kept since entries have no readable id.
#[must_use]
pub fn unidentified(evidence: &Evidence<'_>) -> String {
    format!(
        "{} entries have no readable immutable id, so {} users who seem to be gone from scope were left alone. Correct the entries or the mapping, then synchronize again.",
        evidence.unidentified, evidence.absent
    )
}

/// The checks that ask whether this is the right place, seen with the same eyes.
fn broken_eyes_or_place(evidence: &Evidence<'_>) -> Vec<BrokenCheck> {
    let lost = evidence
        .before
        .map(|before| read_quality::attribute_losses(before, evidence.read, &evidence.required))
        .unwrap_or_default();
    let (doubtful, missing) = (evidence.doubtful, evidence.missing());
    let mut broken = Vec::new();
    if !lost.is_empty() && doubtful > 0 {
        broken.push(check(HoldReason::AttributeLoss, attribute_loss(&lost), doubtful + missing));
    }
    if missing == 0 {
        return broken;
    }
    if evidence.read.entries() == 0 {
        let message = format!(
            "The directory {} answered that there is nobody, where {missing} users were in scope. Check root, filter and the rights of the bind account before you approve.",
            evidence.read.server
        );
        broken.push(check(HoldReason::DirectoryEmpty, message, missing));
        return broken;
    }
    if evidence.sees_no_id() {
        broken.push(check(HoldReason::AttributeLoss, hidden_id(evidence), missing));
    }
    if let Some(before) = evidence.before {
        broken.extend(wrong_places(evidence, before));
    }
    if !lost.is_empty() && !broken.iter().any(|check| check.reason == HoldReason::AttributeLoss) {
        broken.push(check(HoldReason::AttributeLoss, attribute_loss(&lost), missing));
    }
    broken.extend(emptied_containers(&evidence.emptied));
    broken
}

fn check(reason: HoldReason, message: String, users: i64) -> BrokenCheck {
    BrokenCheck { reason, message, users }
}

fn attribute_loss(lost: &[Loss]) -> String {
    let lost: Vec<_> = lost
        .iter()
        .map(|Loss { attribute, had, has }| format!("{attribute} ({had} entries had it, {has} have it now)"))
        .collect();
    format!(
        "Attributes are suddenly missing: {}. Users keep their values. Check the rights of the bind account before you approve.",
        lost.join(", ")
    )
}

fn hidden_id(evidence: &Evidence<'_>) -> String {
    format!(
        "The immutable id {} is readable in none of {} entries. Check that the bind account may read the attribute; no approval disables a user while entries have no readable id.",
        evidence.id_attribute,
        evidence.read.entries()
    )
}

/// Roots that are missing, empty, or another entry.
fn wrong_places<'a>(
    evidence: &'a Evidence<'_>,
    before: &'a ReadFacts,
) -> impl Iterator<Item = BrokenCheck> + 'a {
    let missing = evidence.missing();
    before.roots.iter().zip(&evidence.read.roots).filter_map(move |(was, is)| {
        let had = i64::try_from(was.entries).unwrap_or(i64::MAX).min(missing);
        if was.missing {
            None
        } else if is.missing || (is.entries == 0 && was.entries > 0) {
            let what = if is.missing { "is missing" } else { "has nobody any more" };
            let message = format!(
                "The root {} {what}; at the last sync it had {} entries. Check whether it was renamed or moved, or is hidden from the bind account, before you approve.",
                is.root, was.entries
            );
            Some(check(HoldReason::RootMissing, message, had))
        } else if was.fingerprint == is.fingerprint || evidence.sees_no_id() {
            // Without a readable id the router compares another attribute of the base entry.
            None
        } else if was.fingerprint_attribute != is.fingerprint_attribute && !was.fingerprint_attribute.is_empty() {
            let message = format!(
                "The root {} can no longer be recognized: {} of its base entry is not readable any more. Check that the bind account may read the attribute before you approve.",
                is.root, was.fingerprint_attribute
            );
            Some(check(HoldReason::AttributeLoss, message, had))
        } else {
            let message = format!(
                "The root {} is no longer the entry that it was at the last sync: it was created again, or another entry has its name. Check it before you approve.",
                is.root
            );
            Some(check(HoldReason::RootChanged, message, had))
        }
    })
}

fn emptied_containers(emptied: &[EmptiedContainer]) -> Option<BrokenCheck> {
    if emptied.is_empty() {
        return None;
    }
    let names: Vec<_> = emptied.iter().map(|one| one.name.as_str()).collect();
    let message = format!(
        "Containers that had {} users or more have none any more: {}. Check whether they were renamed or moved, or are hidden from the bind account, before you approve.",
        containers::MANY,
        names.join("; ")
    );
    let users = emptied.iter().map(|one| one.users).fold(0, u64::saturating_add);
    Some(check(HoldReason::ContainerEmpty, message, i64::try_from(users).unwrap_or(i64::MAX)))
}

/// A server that is older, or that cannot be compared, decides nothing by itself: neither who is
/// disabled nor who is enabled again.
fn older_server(evidence: &Evidence<'_>) -> Option<BrokenCheck> {
    // Leavers stay as they are in any case while entries have no readable id.
    let absent = if evidence.unidentified > 0 { 0 } else { evidence.absent };
    let leavers = if evidence.unidentified > 0 { 0 } else { evidence.leavers };
    if absent == 0 && evidence.enabling == 0 && evidence.doubtful == 0 {
        return None;
    }
    let (server, before) = (&evidence.read.server, evidence.server_before());
    let what = match &evidence.recency {
        Recency::Current => return None,
        Recency::Older(by) => {
            format!(
                "The directory server {server} is behind the server that was read before ({before}): {by}."
            )
        }
        Recency::Incomparable => format!(
            "The directory server {server} may be behind the server that was read before ({before}): the two do not show which one is more recent."
        ),
    };
    let message = format!(
        "{what} It would disable {leavers} users and enable {} again. Synchronize again once it has caught up; approve only if its data is the right one.",
        evidence.enabling
    );
    Some(check(HoldReason::OlderServer, message, leavers + evidence.enabling.max(evidence.doubtful)))
}

fn too_many(evidence: &Evidence<'_>) -> Vec<BrokenCheck> {
    let Evidence { guard, enabled, leavers, unexplained, recent, recent_unexplained, .. } = evidence;
    let mut broken = Vec::new();
    let within = |recent: i64| match recent {
        0 => String::new(),
        recent => format!(", and syncs of the last 24 hours disabled {recent}"),
    };
    // Percent of those who were there before the day's leavers.
    let enabled = &(enabled + recent);
    let allowed = limit(*enabled, guard.max_users, i64::from(guard.max_percent) * 10, FLOOR);
    if *leavers > 0 && leavers + recent > allowed {
        let message = format!(
            "{leavers} users are gone from scope{}; the disable guard allows {allowed} (at most {} users and {} percent of {enabled} enabled ones). Look at the list; approve it if it is right.",
            within(*recent),
            guard.max_users,
            guard.max_percent
        );
        broken.push(check(HoldReason::DisableGuard, message, *leavers));
    }
    if evidence.not_looked_up > 0 && evidence.read.entries() > 0 {
        let message = format!(
            "{leavers} users are gone from scope, too many to look all of them up again: {} were not. Look at the list; approve it if it is right.",
            evidence.not_looked_up
        );
        broken.push(check(HoldReason::UnexplainedAbsences, message, evidence.not_looked_up));
        return broken;
    }
    let allowed =
        limit(*enabled, guard.max_unexplained, i64::from(guard.max_unexplained_permille), FLOOR_UNEXPLAINED);
    if *unexplained > 0 && unexplained + recent_unexplained > allowed {
        let message = format!(
            "{unexplained} users are gone from scope, and the directory does not show what became of them{}; the disable guard allows {allowed} of those (at most {} users and {} permille of {enabled} enabled ones). They were deleted, or are hidden from the bind account. Look at the list; approve it if it is right.",
            within(*recent_unexplained),
            guard.max_unexplained,
            guard.max_unexplained_permille
        );
        broken.push(check(HoldReason::UnexplainedAbsences, message, *unexplained));
    }
    broken
}

/// The last check, whatever becomes of the leavers: why a job that would enable many users again is
/// held.
#[must_use]
pub fn mass_enable(evidence: &Evidence<'_>) -> Option<BrokenCheck> {
    let message = mass_enable::too_many(evidence.reenables, evidence.disabled_in_directory)?;
    Some(check(HoldReason::MassEnable, message, evidence.reenables))
}

/// Whether one more user may be disabled for absence, outside of a job. `recent` as in
/// [`Evidence`].
#[must_use]
pub fn one_more(
    guard: DisableGuard,
    enabled: i64,
    (recent, recent_unexplained): (i64, i64),
    unexplained: bool,
) -> bool {
    let enabled = enabled + recent;
    let all = limit(enabled, guard.max_users, i64::from(guard.max_percent) * 10, FLOOR);
    let of_those =
        limit(enabled, guard.max_unexplained, i64::from(guard.max_unexplained_permille), FLOOR_UNEXPLAINED);
    recent < all && (!unexplained || recent_unexplained < of_those)
}

fn limit(enabled: i64, most: u32, permille: i64, floor: i64) -> i64 {
    (enabled.saturating_mul(permille) / 1_000).min(i64::from(most)).max(floor)
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
