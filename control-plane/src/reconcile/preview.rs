//! What a sync would do to records that all wait: names first, then seats, as
//! [`super::name_contests`] and [`super::batch`] decide them after a read. Of new users, those with
//! the lowest immutable ids get the last seats; a sync may give them to those that the directory
//! has first.

use std::collections::{HashMap, HashSet};

use super::batch::duplicate;
use super::name_contests::{ClaimOutcome, Name, NameClaim, Rank, resolve};
use crate::model::{ImmutableId, KnownUser, NotSynchronizedReason, PlannedChange, Status, UserNo};

/// A record that is not what its user is.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Whose.
    pub id: ImmutableId,
    /// Whether the directory says that the account is disabled.
    pub disabled: bool,
    /// Of one that is not: whether the entry itself shows that.
    pub mark_proved: bool,
    /// Of one that is disabled: why its entry gives the user nothing else.
    pub reason: Option<NotSynchronizedReason>,
    /// The names that it claims.
    pub names: Vec<Name>,
    /// The user, if there is one.
    pub user: Option<KnownUser>,
}

/// All that decides.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// Records, in any order.
    pub waiting: Vec<Waiting>,
    /// Users who would be disabled for absence.
    pub leaving: HashSet<UserNo>,
    /// Who holds the names that the records claim.
    pub holders: HashMap<Name, UserNo>,
    /// Seats that are free once they are gone.
    pub seats: i64,
    /// New and returning users that may be added under the sync limit.
    pub quota: i64,
    /// Users in scope numbered from here on are beyond the sync limit.
    pub beyond_limit: Option<UserNo>,
}

impl Waiting {
    fn status(&self) -> Status {
        self.user.as_ref().map_or(Status::OutOfScope, |user| user.status)
    }

    /// Why the record gives its user nothing, whatever becomes of names and seats.
    fn refused(&self, beyond_limit: Option<UserNo>) -> Option<NotSynchronizedReason> {
        let beyond = |user: &KnownUser| beyond_limit.is_some_and(|first| user.number >= first);
        if self.status() != Status::OutOfScope && self.user.as_ref().is_some_and(beyond) {
            return Some(NotSynchronizedReason::SyncLimit);
        }
        if self.reason.is_some() {
            return self.reason;
        }
        let enables = !self.disabled && self.status() != Status::Enabled;
        (enables && !self.mark_proved).then_some(NotSynchronizedReason::MarkNotVisible)
    }

    fn renamed(&self) -> bool {
        self.user.as_ref().is_some_and(|user| !user.names().eq(self.names.iter().copied()))
    }

    fn after(&self) -> Status {
        Status::in_scope(self.disabled)
    }

    fn claim(&self) -> NameClaim {
        let (rank, had) = match &self.user {
            None => (Rank::New, Vec::new()),
            Some(user) if user.status == Status::OutOfScope => (Rank::Returning, Vec::new()),
            Some(user) => (Rank::Present, user.names().collect()),
        };
        NameClaim { id: self.id.clone(), rank, had, wants: self.names.clone(), stuck: false }
    }
}

/// What would become of each record, in their order.
#[must_use]
pub fn planned_change(situation: &Situation) -> Vec<PlannedChange> {
    let Situation { waiting, leaving, holders, seats, quota, beyond_limit } = situation;
    // A user that the directory disables gives the seat up, whatever becomes of the names.
    let mut seats = *seats + count(waiting.iter().filter(|w| w.disabled && w.status() == Status::Enabled));
    let mut quota = *quota;
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by(|one, other| waiting[*one].id.cmp(&waiting[*other].id));
    let needs_seat = |w: &Waiting| !w.disabled && w.status() != Status::Enabled;
    let mut claims: Vec<NameClaim> = waiting.iter().map(Waiting::claim).collect();
    let refused: Vec<_> = waiting.iter().map(|one| one.refused(*beyond_limit)).collect();
    for (claim, _) in claims.iter_mut().zip(&refused).filter(|(_, refused)| refused.is_some()) {
        claim.stuck = true;
    }
    // Users in scope who move to other names get their seats first: without one they keep their
    // names from others.
    for position in &order {
        let one = &waiting[*position];
        if refused[*position].is_none()
            && needs_seat(one)
            && one.status() == Status::DisabledInDirectory
            && one.renamed()
        {
            claims[*position].stuck = seats < 1;
            seats -= i64::from(seats > 0);
        }
    }
    let ours: HashSet<UserNo> =
        waiting.iter().filter_map(|w| w.user.as_ref()).map(|user| user.number).collect();
    let elsewhere = |user: &UserNo| !leaving.contains(user) && !ours.contains(user);
    let held =
        holders.iter().filter(|(_, user)| elsewhere(user)).map(|(name, user)| (*name, *user)).collect();
    let verdicts = resolve(&claims, &held);

    let mut forecasts = vec![PlannedChange::Refuse(NotSynchronizedReason::LicenseLimit); waiting.len()];
    let known_first = order.iter().filter(|at| waiting[**at].user.is_some());
    let new_last = order.iter().filter(|at| waiting[**at].user.is_none());
    for position in known_first.chain(new_last) {
        let one = &waiting[*position];
        if let Some(reason) = refused[*position] {
            let disables = one.disabled && one.status() == Status::Enabled;
            let forecast = if disables { PlannedChange::DisableOnly } else { PlannedChange::Refuse };
            forecasts[*position] = forecast(reason);
            continue;
        }
        let returns = one.status() == Status::OutOfScope;
        let has_seat = one.status() == Status::DisabledInDirectory && one.renamed();
        let seat = i64::from(needs_seat(one) && !has_seat);
        forecasts[*position] = match (verdicts[*position], &one.user) {
            (ClaimOutcome::Refused { kind, .. }, _) if one.disabled && one.status() == Status::Enabled => {
                PlannedChange::DisableOnly(duplicate(kind))
            }
            (ClaimOutcome::Refused { kind, .. }, _) => PlannedChange::Refuse(duplicate(kind)),
            (ClaimOutcome::Stuck, _) => continue,
            (ClaimOutcome::Granted, _) if returns && quota < 1 => {
                PlannedChange::Refuse(NotSynchronizedReason::SyncLimit)
            }
            (ClaimOutcome::Granted, _) if seat > 0 && seats < 1 => continue,
            (ClaimOutcome::Granted, None) => PlannedChange::Add(one.after()),
            (ClaimOutcome::Granted, Some(_)) => PlannedChange::Update(one.after()),
        };
        if matches!(forecasts[*position], PlannedChange::Add(_) | PlannedChange::Update(_)) {
            seats -= seat;
            quota -= i64::from(returns);
        }
    }
    forecasts
}

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{JobNo, NameKey, NameKind};

    fn mail(n: u8) -> Name {
        (NameKind::Mail, NameKey([n; 16]))
    }

    fn id(n: u8) -> ImmutableId {
        ImmutableId(Bytes::from(vec![n; 16]))
    }

    fn new(n: u8, name: u8) -> Waiting {
        Waiting {
            id: id(n),
            disabled: false,
            mark_proved: true,
            reason: None,
            names: vec![mail(name)],
            user: None,
        }
    }

    fn known(n: u8, status: Status, had: u8, wants: u8) -> Waiting {
        let user = KnownUser {
            number: UserNo(i64::from(n)),
            id: id(n),
            digest: [0; 16],
            status,
            user_name_key: None,
            mail_key: (status != Status::OutOfScope).then_some(NameKey([had; 16])),
            added_job: JobNo(1),
            changed_job: JobNo(0),
            fetched: (JobNo(0), 0),
        };
        Waiting { user: Some(user), ..new(n, wants) }
    }

    fn situation(waiting: Vec<Waiting>, seats: i64) -> Situation {
        Situation { waiting, seats, quota: 100, ..Situation::default() }
    }

    const NO_SEAT: PlannedChange = PlannedChange::Refuse(NotSynchronizedReason::LicenseLimit);

    #[test]
    fn whoever_returns_gets_a_seat_before_whoever_is_new() {
        let waiting =
            vec![new(1, 1), known(9, Status::OutOfScope, 0, 2), known(8, Status::DisabledInDirectory, 3, 3)];
        let forecasts = planned_change(&situation(waiting, 2));
        assert_eq!(
            forecasts,
            [NO_SEAT, PlannedChange::Update(Status::Enabled), PlannedChange::Update(Status::Enabled)]
        );
    }

    #[test]
    fn whom_the_directory_disables_frees_a_seat_also_without_its_names() {
        let leaves = Waiting { disabled: true, ..known(5, Status::Enabled, 5, 7) };
        let mut situation = situation(vec![leaves, new(6, 6)], 0);
        situation.holders.insert(mail(7), UserNo(77));
        let disabled = PlannedChange::DisableOnly(NotSynchronizedReason::DuplicateEmail);
        assert_eq!(planned_change(&situation), [disabled, PlannedChange::Add(Status::Enabled)]);
    }

    #[test]
    fn names_of_those_who_leave_are_free_and_the_sync_limit_holds() {
        let mut situation = situation(vec![new(2, 7), new(1, 8), new(3, 9)], 9);
        situation.holders = HashMap::from([(mail(7), UserNo(70)), (mail(8), UserNo(80))]);
        situation.leaving = HashSet::from([UserNo(70)]);
        situation.quota = 1;
        let beyond = PlannedChange::Refuse(NotSynchronizedReason::SyncLimit);
        let taken = PlannedChange::Refuse(NotSynchronizedReason::DuplicateEmail);
        assert_eq!(planned_change(&situation), [PlannedChange::Add(Status::Enabled), taken, beyond]);
    }

    #[test]
    fn a_record_that_does_not_show_the_mark_enables_no_user_and_takes_no_name() {
        let unproved = |waiting| Waiting { mark_proved: false, ..waiting };
        let waiting = vec![
            unproved(new(1, 1)),
            unproved(known(2, Status::DisabledInDirectory, 2, 3)),
            unproved(known(3, Status::OutOfScope, 0, 4)),
            unproved(known(4, Status::Enabled, 5, 6)),
            new(7, 1),
            new(8, 3),
            new(9, 2),
        ];
        let hidden = PlannedChange::Refuse(NotSynchronizedReason::MarkNotVisible);
        let taken = PlannedChange::Refuse(NotSynchronizedReason::DuplicateEmail);
        let (added, updated) = (PlannedChange::Add(Status::Enabled), PlannedChange::Update(Status::Enabled));
        let changes = planned_change(&situation(waiting, 9));
        assert_eq!(changes, [hidden, hidden, hidden, updated, added, added, taken]);
    }

    #[test]
    fn beyond_the_sync_limit_only_the_mark_counts() {
        let marked = Waiting { disabled: true, ..known(5, Status::Enabled, 5, 7) };
        let waiting = vec![marked, known(6, Status::Enabled, 6, 8), known(4, Status::Enabled, 4, 9)];
        let beyond = Situation { beyond_limit: Some(UserNo(5)), ..situation(waiting, 0) };
        let reason = NotSynchronizedReason::SyncLimit;
        let wanted = [
            PlannedChange::DisableOnly(reason),
            PlannedChange::Refuse(reason),
            PlannedChange::Update(Status::Enabled),
        ];
        assert_eq!(planned_change(&beyond), wanted);
    }

    #[test]
    fn a_license_below_the_use_lets_changes_pass_that_need_no_seat() {
        let waiting = vec![known(1, Status::Enabled, 1, 2), new(3, 3)];
        assert_eq!(
            planned_change(&situation(waiting, -4)),
            [PlannedChange::Update(Status::Enabled), NO_SEAT]
        );
    }

    #[test]
    fn who_is_without_a_seat_keeps_its_names_from_others() {
        let waiting = vec![known(1, Status::DisabledInDirectory, 1, 2), known(2, Status::Enabled, 3, 1)];
        let taken = PlannedChange::Refuse(NotSynchronizedReason::DuplicateEmail);
        assert_eq!(planned_change(&situation(waiting.clone(), 0)), [NO_SEAT, taken]);
        assert_eq!(planned_change(&situation(waiting, 1)), [PlannedChange::Update(Status::Enabled); 2]);
    }
}
