//! Who gets a contested name once all records are known. Whoever came first while reading has no advantage: the outcome is a
//! function of the records and of who held which name before the job.
//!
//! The rule: who held a name before the job and still has it in the directory keeps it. A name that is given up goes to a user who
//! was in scope before, then to one who returns, then to a new one; among equals to the lowest immutable id. A user of the
//! first kind who does not get every name of its record stays as it was, with its old names.

use std::collections::{HashMap, HashSet};

use crate::model::{ImmutableId, NameKey, NameKind, UserNo};

/// A name of one kind.
pub type Name = (NameKind, NameKey);

/// What a player was before the job; the order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A user in scope.
    Present,
    /// A user out of scope.
    Returning,
    /// Nobody.
    New,
}

/// A record that wants a contested name: one that waits, or one that was applied by this job and got such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Player {
    /// Whose record.
    pub id: ImmutableId,
    /// What it was before the job.
    pub rank: Rank,
    /// Names that it held before the job.
    pub had: Vec<Name>,
    /// Names that its record has.
    pub wants: Vec<Name>,
    /// Whether it cannot be changed for another reason, such as want of a seat: it stays as it was, with the names that it had.
    pub stuck: bool,
}

/// What a player gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All names that it wants.
    Granted,
    /// Not all: this kind of name is someone else's.
    Refused {
        /// The kind of name.
        kind: NameKind,
        /// Who has it.
        holder: Holder,
    },
    /// It was stuck.
    Stuck,
}

/// Who has a contested name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A user that is not a player.
    User(UserNo),
    /// The player at this position.
    Player(usize),
}

/// Decides. `held` has the contested names that users hold who are not players.
///
/// Nobody is refused for a name that is free in the end: each refusal names who has it then.
#[must_use]
pub fn resolve(players: &[Player], held: &HashMap<Name, UserNo>) -> Vec<Verdict> {
    let mut order: Vec<usize> = (0..players.len()).collect();
    order.sort_by(|a, b| (players[*a].rank, &players[*a].id).cmp(&(players[*b].rank, &players[*b].id)));
    let mut granted = HashSet::new();
    // Someone may have been kept from a name by a player that did not get all of its own in the end. What was granted stands; the others
    // try again, as they would in the next sync, until that changes nothing.
    loop {
        let now = granted_beside(players, held, &order, &granted);
        if now.len() > granted.len() {
            granted = now;
            continue;
        }
        let (verdicts, free) = verdicts(players, held, &order, &granted);
        match free {
            Some(player) => granted.insert(player),
            None => return verdicts,
        };
    }
}

/// Who gets all of its names, where it stands already that these players do.
fn granted_beside(
    players: &[Player],
    held: &HashMap<Name, UserNo>,
    order: &[usize],
    granted: &HashSet<usize>,
) -> HashSet<usize> {
    let mut staying: HashSet<usize> = (0..players.len()).filter(|player| players[*player].stuck).collect();
    // Each round assumes that every user in scope moves but those known to stay. Who turns out not to can only make names
    // scarcer, so the set of those who stay grows and the loop ends.
    loop {
        let mut claims = claims_from_before(players, granted, &staying);
        let (mut gets, mut stays) = (granted.clone(), Vec::new());
        for &player in order {
            if staying.contains(&player) || granted.contains(&player) {
                continue;
            }
            if refusal(&players[player], player, held, &claims).is_none() {
                gets.insert(player);
                claims.extend(players[player].wants.iter().map(|name| (*name, player)));
            } else if players[player].rank == Rank::Present {
                stays.push(player);
            }
        }
        if stays.is_empty() {
            return gets;
        }
        staying.extend(stays);
    }
}

/// What is said to each player if nobody else moves than these; and the first to whom no refusal can be given, since all that it wants
/// is free then.
fn verdicts(
    players: &[Player],
    held: &HashMap<Name, UserNo>,
    order: &[usize],
    granted: &HashSet<usize>,
) -> (Vec<Verdict>, Option<usize>) {
    let claims = claims_from_before(players, granted, &(0..players.len()).collect());
    let mut verdicts = vec![Verdict::Granted; players.len()];
    let mut free = None;
    for &player in order.iter().filter(|player| !granted.contains(player)) {
        verdicts[player] = match refusal(&players[player], player, held, &claims) {
            _ if players[player].stuck => Verdict::Stuck,
            Some((kind, holder)) => Verdict::Refused { kind, holder },
            None => {
                free.get_or_insert(player);
                Verdict::Granted
            }
        };
    }
    (verdicts, free)
}

/// The first name that a player wants and someone else has.
fn refusal(
    player: &Player,
    position: usize,
    held: &HashMap<Name, UserNo>,
    claims: &HashMap<Name, usize>,
) -> Option<(NameKind, Holder)> {
    player.wants.iter().find_map(|name| match (held.get(name), claims.get(name)) {
        (Some(user), _) => Some((name.0, Holder::User(*user))),
        (None, Some(other)) if *other != position => Some((name.0, Holder::Player(*other))),
        _ => None,
    })
}

/// Names that are not up for grabs: granted already, kept by records that still have them, or by users who stay as they were.
fn claims_from_before(
    players: &[Player],
    granted: &HashSet<usize>,
    staying: &HashSet<usize>,
) -> HashMap<Name, usize> {
    let mut claims = HashMap::new();
    for (position, player) in players.iter().enumerate() {
        let stays = staying.contains(&position);
        let kept = |name: &&Name| stays || player.wants.contains(name);
        let names: Vec<&Name> = match (granted.contains(&position), player.rank) {
            (true, _) => player.wants.iter().collect(),
            (false, Rank::Present) => player.had.iter().filter(kept).collect(),
            (false, Rank::Returning | Rank::New) => Vec::new(),
        };
        claims.extend(names.into_iter().map(|name| (*name, position)));
    }
    claims
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn mail(n: u8) -> Name {
        (NameKind::Mail, NameKey([n; 16]))
    }

    fn player(id: u8, rank: Rank, had: &[Name], wants: &[Name]) -> Player {
        Player {
            id: ImmutableId(Bytes::from(vec![id; 16])),
            rank,
            had: had.to_vec(),
            wants: wants.to_vec(),
            stuck: false,
        }
    }

    #[test]
    fn two_users_may_swap_their_mail_addresses() {
        let players = [
            player(1, Rank::Present, &[mail(1)], &[mail(2)]),
            player(2, Rank::Present, &[mail(2)], &[mail(1)]),
        ];
        assert_eq!(resolve(&players, &HashMap::new()), [Verdict::Granted, Verdict::Granted]);
    }

    #[test]
    fn whoever_has_a_name_and_still_wants_it_keeps_it() {
        let players = [
            player(1, Rank::New, &[], &[mail(5)]),
            player(9, Rank::Present, &[mail(5)], &[mail(5), mail(6)]),
        ];
        let verdicts = resolve(&players, &HashMap::new());
        assert_eq!(verdicts[0], Verdict::Refused { kind: NameKind::Mail, holder: Holder::Player(1) });
        assert_eq!(verdicts[1], Verdict::Granted);
    }

    #[test]
    fn a_chain_breaks_where_its_end_is_held_and_everyone_before_stays() {
        let players = [
            player(1, Rank::Present, &[mail(1)], &[mail(2)]),
            player(2, Rank::Present, &[mail(2)], &[mail(3)]),
            player(3, Rank::Present, &[mail(3)], &[mail(4)]),
        ];
        let held = HashMap::from([(mail(4), UserNo(77))]);
        assert!(resolve(&players, &held).iter().all(|verdict| matches!(verdict, Verdict::Refused { .. })));
        assert_eq!(resolve(&players, &HashMap::new()), [Verdict::Granted; 3]);
    }

    #[test]
    fn who_is_stuck_keeps_the_names_that_others_want() {
        let stuck = Player { stuck: true, ..player(1, Rank::Present, &[mail(1)], &[mail(2)]) };
        let verdicts = resolve(&[stuck, player(2, Rank::Present, &[mail(2)], &[mail(1)])], &HashMap::new());
        assert_eq!(verdicts[0], Verdict::Stuck);
        assert_eq!(verdicts[1], Verdict::Refused { kind: NameKind::Mail, holder: Holder::Player(0) });
    }

    #[test]
    fn whoever_gets_nothing_in_the_end_keeps_nobody_from_a_name() {
        let user_name = |n| (NameKind::UserName, NameKey([n; 16]));
        let players = [
            player(0, Rank::Present, &[user_name(0), mail(8)], &[user_name(8)]),
            // Comes before the next one at the address, and cannot have it together with the user name that the last one gets.
            player(3, Rank::Present, &[user_name(4)], &[user_name(2), mail(8)]),
            player(4, Rank::Present, &[user_name(8)], &[user_name(0), mail(8)]),
            player(7, Rank::New, &[], &[user_name(2)]),
        ];
        let refused = Verdict::Refused { kind: NameKind::UserName, holder: Holder::Player(3) };
        let granted = Verdict::Granted;
        assert_eq!(resolve(&players, &HashMap::new()), [granted, refused, granted, granted]);
    }

    #[test]
    fn whoever_wants_a_name_that_is_free_in_the_end_gets_it_also_when_nobody_moves_at_first() {
        let user_name = |n| (NameKind::UserName, NameKey([n; 16]));
        let players = [
            // Comes first at the address, and cannot have it together with the user name that the other one keeps as long as it stays.
            player(2, Rank::Present, &[user_name(0)], &[user_name(5), mail(0)]),
            player(5, Rank::Present, &[user_name(5)], &[user_name(1), mail(0)]),
        ];
        let refused = Verdict::Refused { kind: NameKind::Mail, holder: Holder::Player(1) };
        assert_eq!(resolve(&players, &HashMap::new()), [refused, Verdict::Granted]);
    }

    #[test]
    fn among_new_users_the_lowest_id_gets_the_name() {
        let players = [player(2, Rank::New, &[], &[mail(1)]), player(1, Rank::New, &[], &[mail(1)])];
        let verdicts = resolve(&players, &HashMap::new());
        assert_eq!(verdicts[1], Verdict::Granted);
        assert_eq!(verdicts[0], Verdict::Refused { kind: NameKind::Mail, holder: Holder::Player(1) });
    }
}
