//! Pairs of ids, where a source gets another immutable id: which entry was met before, and which
//! shares an id with another one, so that nobody knows whose it is. Whoever is first of those that
//! share one is refused only once all are known (`store/sql/plans/id_pairs`).

use std::collections::HashSet;

use crate::model::{IdPair, ImmutableId, NotSynchronizedReason, Rejected, UserValues};

/// An entry among those that were read before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// Both ids are new.
    First,
    /// The same entry, on another page.
    Again,
    /// Another entry has one of its ids.
    Clash,
}

/// Says of each pair, in order, whether what was read `before`, or an earlier one of them, has its
/// ids.
#[must_use]
pub fn occurrences(before: &[IdPair], pairs: &[IdPair]) -> Vec<Occurrence> {
    let mut read: HashSet<&IdPair> = HashSet::new();
    let (mut formers, mut news) = (HashSet::new(), HashSet::new());
    let mut all = Vec::with_capacity(pairs.len());
    for (position, pair) in before.iter().chain(pairs).enumerate() {
        let again = !read.insert(pair);
        let former_is_new = pair.former.as_ref().is_none_or(|id| formers.insert(id));
        let new_is_new = pair.new.as_ref().is_none_or(|id| news.insert(id));
        if position >= before.len() {
            all.push(match again {
                true => Occurrence::Again,
                false if former_is_new && new_is_new => Occurrence::First,
                false => Occurrence::Clash,
            });
        }
    }
    all
}

/// What becomes of an entry that shares an id with another one. Named by its former id, so that its
/// user counts as seen.
#[must_use]
pub fn clash(former: Option<ImmutableId>, values: &UserValues) -> Rejected {
    Rejected {
        user_name: values.user_name.clone(),
        mail: values.mail.clone(),
        message: CLASH.to_owned(),
        ..Rejected::of(former, NotSynchronizedReason::DuplicateUniqueId)
    }
}

/// What people are told of such an entry.
pub const CLASH: &str = "Another entry has the same published immutable id, or the same one by the draft, so nobody knows whose entry it is. Give each entry its own, then make the dry run again.";

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn id(n: u8) -> Option<ImmutableId> {
        (n > 0).then(|| ImmutableId(Bytes::from(vec![n; 16])))
    }

    fn pair(former: u8, new: u8) -> IdPair {
        IdPair { former: id(former), new: id(new), digest: [0; 16] }
    }

    #[test]
    fn an_entry_on_two_pages_is_met_again_and_one_that_shares_an_id_clashes() {
        let read = [pair(1, 11), pair(1, 11), pair(2, 11), pair(1, 12), pair(3, 13)];
        use Occurrence::{Again, Clash, First};
        assert_eq!(occurrences(&[], &read), [First, Again, Clash, Clash, First]);
    }

    #[test]
    fn two_entries_that_have_both_ids_in_common_are_not_one_on_two_pages() {
        let other = IdPair { digest: [1; 16], ..pair(1, 11) };
        assert_eq!(occurrences(&[pair(1, 11)], &[other]), [Occurrence::Clash]);
    }

    #[test]
    fn entries_without_an_id_share_none() {
        let read = [pair(1, 0), pair(2, 0), pair(0, 3), pair(0, 4)];
        assert_eq!(occurrences(&[], &read), [Occurrence::First; 4]);
    }

    #[test]
    fn an_old_id_may_be_another_ones_new_id() {
        assert_eq!(occurrences(&[], &[pair(1, 2), pair(2, 1)]), [Occurrence::First; 2]);
    }

    proptest! {
        #[test]
        fn batches_change_nothing(read in prop::collection::vec((0u8..5, 0u8..5), 0..12), at in 0usize..12) {
            let read: Vec<_> = read.into_iter().map(|(former, new)| pair(former, new)).collect();
            let (first, second) = read.split_at(at.min(read.len()));
            let mut cut = occurrences(&[], first);
            cut.extend(occurrences(first, second));
            prop_assert_eq!(cut, occurrences(&[], &read));
        }
    }
}
