//! Who gets a contested name once all records are known. Whoever came first while reading has no
//! advantage: the outcome is a function of the records and of who held which name before the job.
//!
//! The rule: who held a name before the job and still has it in the directory keeps it. A name that
//! is given up goes to a user who was in scope before, then to one who returns, then to a new one;
//! among equals to the lowest immutable id. A user of the first kind who does not get every name of
//! its record stays as it was, with its old names.

use std::collections::{HashMap, HashSet};

use crate::model::{ImmutableId, NameKey, NameKind, UserNo};

/// A name of one kind.
pub type Name = (NameKind, NameKey);

/// What a claim was before the job; the order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A user in scope.
    Present,
    /// A user out of scope.
    Returning,
    /// Nobody.
    New,
}

/// A record that wants a contested name: one that waits, or one that was applied by this job and
/// got such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameClaim {
    /// Whose record.
    pub id: ImmutableId,
    /// What it was before the job.
    pub rank: Rank,
    /// Names that it held before the job.
    pub had: Vec<Name>,
    /// Names that its record has.
    pub wants: Vec<Name>,
    /// Whether it cannot be changed for another reason, such as want of a seat: it stays as it was,
    /// with the names that it had.
    pub stuck: bool,
}

/// What a claim gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// All names that it wants.
    Granted,
    /// Not all: this kind of name is someone else's.
    Refused {
        /// The kind of name.
        kind: NameKind,
        /// Who has it.
        holder: NameHolder,
    },
    /// It was stuck.
    Stuck,
}

/// Who has a contested name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameHolder {
    /// A user that is not a claim.
    User(UserNo),
    /// The claim at this position.
    Claim(usize),
}

/// Decides. `held` has the contested names that users hold who are not claims.
///
/// Nobody is refused for a name that is free in the end: each refusal names who has it then.
#[must_use]
pub fn resolve(claims: &[NameClaim], held: &HashMap<Name, UserNo>) -> Vec<ClaimOutcome> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by(|a, b| (claims[*a].rank, &claims[*a].id).cmp(&(claims[*b].rank, &claims[*b].id)));
    let mut granted = HashSet::new();
    // Someone may have been kept from a name by a claim that did not get all of its own in the end.
    // What was granted stands; the others try again, as they would in the next sync, until that
    // changes nothing.
    loop {
        let now = granted_beside(claims, held, &order, &granted);
        if now.len() > granted.len() {
            granted = now;
            continue;
        }
        let (outcomes, free) = outcomes(claims, held, &order, &granted);
        match free {
            Some(claim) => granted.insert(claim),
            None => return outcomes,
        };
    }
}

/// Who gets all of its names, where it stands already that these claims do.
fn granted_beside(
    claims: &[NameClaim],
    held: &HashMap<Name, UserNo>,
    order: &[usize],
    granted: &HashSet<usize>,
) -> HashSet<usize> {
    let mut staying: HashSet<usize> = (0..claims.len()).filter(|claim| claims[*claim].stuck).collect();
    // Each round assumes that every user in scope moves but those known to stay. Who turns out not
    // to can only make names scarcer, so the set of those who stay grows and the loop ends.
    loop {
        let mut taken = taken_before(claims, granted, &staying);
        let (mut gets, mut stays) = (granted.clone(), Vec::new());
        for &claim in order {
            if staying.contains(&claim) || granted.contains(&claim) {
                continue;
            }
            if refusal(&claims[claim], claim, held, &taken).is_none() {
                gets.insert(claim);
                taken.extend(claims[claim].wants.iter().map(|name| (*name, claim)));
            } else if claims[claim].rank == Rank::Present {
                stays.push(claim);
            }
        }
        if stays.is_empty() {
            return gets;
        }
        staying.extend(stays);
    }
}

/// What is said to each claim if nobody else moves than these; and the first to whom no refusal can
/// be given, since all that it wants is free then.
fn outcomes(
    claims: &[NameClaim],
    held: &HashMap<Name, UserNo>,
    order: &[usize],
    granted: &HashSet<usize>,
) -> (Vec<ClaimOutcome>, Option<usize>) {
    let taken = taken_before(claims, granted, &(0..claims.len()).collect());
    let mut outcomes = vec![ClaimOutcome::Granted; claims.len()];
    let mut free = None;
    for &claim in order.iter().filter(|claim| !granted.contains(claim)) {
        outcomes[claim] = match refusal(&claims[claim], claim, held, &taken) {
            _ if claims[claim].stuck => ClaimOutcome::Stuck,
            Some((kind, holder)) => ClaimOutcome::Refused { kind, holder },
            None => {
                free.get_or_insert(claim);
                ClaimOutcome::Granted
            }
        };
    }
    (outcomes, free)
}

/// The first name that a claim wants and someone else has.
fn refusal(
    claim: &NameClaim,
    position: usize,
    held: &HashMap<Name, UserNo>,
    taken: &HashMap<Name, usize>,
) -> Option<(NameKind, NameHolder)> {
    claim.wants.iter().find_map(|name| match (held.get(name), taken.get(name)) {
        (Some(user), _) => Some((name.0, NameHolder::User(*user))),
        (None, Some(other)) if *other != position => Some((name.0, NameHolder::Claim(*other))),
        _ => None,
    })
}

/// Names that are not up for grabs: granted already, kept by records that still have them, or by
/// users who stay as they were.
fn taken_before(
    claims: &[NameClaim],
    granted: &HashSet<usize>,
    staying: &HashSet<usize>,
) -> HashMap<Name, usize> {
    let mut taken = HashMap::new();
    for (position, claim) in claims.iter().enumerate() {
        let stays = staying.contains(&position);
        let kept = |name: &&Name| stays || claim.wants.contains(name);
        let names: Vec<&Name> = match (granted.contains(&position), claim.rank) {
            (true, _) => claim.wants.iter().collect(),
            (false, Rank::Present) => claim.had.iter().filter(kept).collect(),
            (false, Rank::Returning | Rank::New) => Vec::new(),
        };
        taken.extend(names.into_iter().map(|name| (*name, position)));
    }
    taken
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn mail(n: u8) -> Name {
        (NameKind::Mail, NameKey([n; 16]))
    }

    fn claim(id: u8, rank: Rank, had: &[Name], wants: &[Name]) -> NameClaim {
        NameClaim {
            id: ImmutableId(Bytes::from(vec![id; 16])),
            rank,
            had: had.to_vec(),
            wants: wants.to_vec(),
            stuck: false,
        }
    }

    #[test]
    fn two_users_may_swap_their_mail_addresses() {
        let claims = [
            claim(1, Rank::Present, &[mail(1)], &[mail(2)]),
            claim(2, Rank::Present, &[mail(2)], &[mail(1)]),
        ];
        assert_eq!(resolve(&claims, &HashMap::new()), [ClaimOutcome::Granted, ClaimOutcome::Granted]);
    }

    #[test]
    fn whoever_has_a_name_and_still_wants_it_keeps_it() {
        let claims =
            [claim(1, Rank::New, &[], &[mail(5)]), claim(9, Rank::Present, &[mail(5)], &[mail(5), mail(6)])];
        let outcomes = resolve(&claims, &HashMap::new());
        assert_eq!(outcomes[0], ClaimOutcome::Refused { kind: NameKind::Mail, holder: NameHolder::Claim(1) });
        assert_eq!(outcomes[1], ClaimOutcome::Granted);
    }

    #[test]
    fn a_chain_breaks_where_its_end_is_held_and_everyone_before_stays() {
        let claims = [
            claim(1, Rank::Present, &[mail(1)], &[mail(2)]),
            claim(2, Rank::Present, &[mail(2)], &[mail(3)]),
            claim(3, Rank::Present, &[mail(3)], &[mail(4)]),
        ];
        let held = HashMap::from([(mail(4), UserNo(77))]);
        assert!(
            resolve(&claims, &held).iter().all(|verdict| matches!(verdict, ClaimOutcome::Refused { .. }))
        );
        assert_eq!(resolve(&claims, &HashMap::new()), [ClaimOutcome::Granted; 3]);
    }

    #[test]
    fn who_is_stuck_keeps_the_names_that_others_want() {
        let stuck = NameClaim { stuck: true, ..claim(1, Rank::Present, &[mail(1)], &[mail(2)]) };
        let outcomes = resolve(&[stuck, claim(2, Rank::Present, &[mail(2)], &[mail(1)])], &HashMap::new());
        assert_eq!(outcomes[0], ClaimOutcome::Stuck);
        assert_eq!(outcomes[1], ClaimOutcome::Refused { kind: NameKind::Mail, holder: NameHolder::Claim(0) });
    }

    #[test]
    fn whoever_gets_nothing_in_the_end_keeps_nobody_from_a_name() {
        let user_name = |n| (NameKind::UserName, NameKey([n; 16]));
        let claims = [
            claim(0, Rank::Present, &[user_name(0), mail(8)], &[user_name(8)]),
            // Comes before the next one at the address, and cannot have it together with the user
            // name that the last one gets.
            claim(3, Rank::Present, &[user_name(4)], &[user_name(2), mail(8)]),
            claim(4, Rank::Present, &[user_name(8)], &[user_name(0), mail(8)]),
            claim(7, Rank::New, &[], &[user_name(2)]),
        ];
        let refused = ClaimOutcome::Refused { kind: NameKind::UserName, holder: NameHolder::Claim(3) };
        let granted = ClaimOutcome::Granted;
        assert_eq!(resolve(&claims, &HashMap::new()), [granted, refused, granted, granted]);
    }

    #[test]
    fn whoever_wants_a_name_that_is_free_in_the_end_gets_it_also_when_nobody_moves_at_first() {
        let user_name = |n| (NameKind::UserName, NameKey([n; 16]));
        let claims = [
            // Comes first at the address, and cannot have it together with the user name that the
            // other one keeps as long as it stays.
            claim(2, Rank::Present, &[user_name(0)], &[user_name(5), mail(0)]),
            claim(5, Rank::Present, &[user_name(5)], &[user_name(1), mail(0)]),
        ];
        let refused = ClaimOutcome::Refused { kind: NameKind::Mail, holder: NameHolder::Claim(1) };
        assert_eq!(resolve(&claims, &HashMap::new()), [refused, ClaimOutcome::Granted]);
    }

    #[test]
    fn among_new_users_the_lowest_id_gets_the_name() {
        let claims = [claim(2, Rank::New, &[], &[mail(1)]), claim(1, Rank::New, &[], &[mail(1)])];
        let outcomes = resolve(&claims, &HashMap::new());
        assert_eq!(outcomes[1], ClaimOutcome::Granted);
        assert_eq!(outcomes[0], ClaimOutcome::Refused { kind: NameKind::Mail, holder: NameHolder::Claim(1) });
    }
}
