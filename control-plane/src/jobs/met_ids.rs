//! The immutable ids that a read has met, in little memory: enough to tell that one may have come
//! before.

use std::collections::HashSet;

use roaring::RoaringBitmap;

use crate::model::ImmutableId;

/// Hashes of ids.
#[derive(Default)]
pub(super) struct MetIds(RoaringBitmap);

impl MetIds {
    /// Remembers ids.
    pub(super) fn add<'a>(&mut self, ids: impl Iterator<Item = &'a ImmutableId>) {
        self.0.extend(ids.map(hash));
    }

    /// Remembers ids; returns those that the read may have met before.
    pub(super) fn meet<'a>(&mut self, ids: impl Iterator<Item = &'a ImmutableId>) -> HashSet<ImmutableId> {
        let (mut now, mut before) = (Vec::new(), HashSet::new());
        for id in ids {
            now.push(hash(id));
            if self.0.contains(hash(id)) {
                before.insert(id.clone());
            }
        }
        self.0.extend(now);
        before
    }
}

/// Bits of a hash. A bitmap keeps a container for each 65,536 numbers, in one sorted array: with
/// all 32 bits nearly each id would make a container of its own, and move half of the array.
const HASH_BITS: u32 = 27;

fn hash(id: &ImmutableId) -> u32 {
    let digest = blake3::hash(&id.0);
    let [a, b, c, d, ..] = digest.as_bytes();
    u32::from_le_bytes([*a, *b, *c, *d]) >> (u32::BITS - HASH_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_ids_are_few_containers_and_few_are_taken_for_others() {
        let id = |number: u32| ImmutableId(number.to_le_bytes().repeat(4).into());
        let mut met = MetIds::default();
        let mut mistaken = 0;
        for first in (0..1_000_000).step_by(1_000) {
            let ids: Vec<_> = (first..first + 1_000).map(id).collect();
            mistaken += met.meet(ids.iter()).len();
        }
        assert!(met.0.statistics().n_containers <= 1 << (HASH_BITS - 16));
        assert!(mistaken < 10_000, "{mistaken}");
    }

    #[test]
    fn an_id_that_came_before_is_told_and_one_that_comes_at_once_is_not() {
        let [one, other] = [1, 2].map(|byte| ImmutableId(vec![byte; 16].into()));
        let mut met = MetIds::default();
        assert_eq!(met.meet([&one, &one].into_iter()), HashSet::new());
        met.add([&other].into_iter());
        assert_eq!(met.meet([&one, &other].into_iter()), HashSet::from([one, other]));
    }
}
