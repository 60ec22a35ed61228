//! Keeps a flood of equal refusals from filling the audit trail: the first of a kind is written at once, those of the next minute are
//! counted, and the count comes with the next one that is written.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::model::Timestamp;

/// How long one event stands for all of its kind.
const WINDOW: Duration = Duration::from_secs(60);
/// How often to look for kinds to forget.
const SWEEP: Duration = Duration::from_secs(1);
/// Most kinds at a time; beyond that a kind that is new waits for the next window.
const MOST: usize = 4_096;

/// Counts what is not written.
#[derive(Debug)]
pub struct Coalesce<K> {
    kinds: HashMap<K, Kind>,
    /// When it was last full and looked for kinds to forget.
    swept: Timestamp,
}

#[derive(Debug)]
struct Kind {
    written: Timestamp,
    unwritten: u64,
}

impl<K> Default for Coalesce<K> {
    fn default() -> Self {
        Self { kinds: HashMap::new(), swept: Timestamp(i64::MIN) }
    }
}

impl<K: Eq + Hash> Coalesce<K> {
    /// Whether to write an event of this kind now, and how many of its kind it stands for besides itself.
    pub fn note(&mut self, kind: K, now: Timestamp) -> Option<u64> {
        if let Some(known) = self.kinds.get_mut(&kind) {
            if now < known.written.plus(WINDOW) {
                known.unwritten += 1;
                return None;
            }
            known.written = now;
            return Some(std::mem::take(&mut known.unwritten));
        }
        if self.kinds.len() >= MOST {
            // Not for each kind of a flood.
            if now < self.swept.plus(SWEEP) {
                return None;
            }
            self.swept = now;
            self.kinds.retain(|_, known| now < known.written.plus(WINDOW));
            if self.kinds.len() >= MOST {
                return None;
            }
        }
        self.kinds.insert(kind, Kind { written: now, unwritten: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_event_a_minute_and_none_of_it_is_forgotten() {
        let mut coalesce = Coalesce::default();
        let at = |seconds| Timestamp(0).plus(Duration::from_secs(seconds));
        assert_eq!(coalesce.note("a", at(0)), Some(0));
        for second in 1..60 {
            assert_eq!(coalesce.note("a", at(second)), None);
        }
        assert_eq!(coalesce.note("b", at(30)), Some(0), "another kind");
        assert_eq!(coalesce.note("a", at(60)), Some(59));
        assert_eq!(coalesce.note("a", at(120)), Some(0));
    }

    #[test]
    fn kinds_without_end_take_no_memory_without_end() {
        let mut coalesce = Coalesce::default();
        let written = (0..100_000).filter(|kind| coalesce.note(*kind, Timestamp(0)).is_some()).count();
        assert_eq!(written, MOST);
        assert_eq!(coalesce.note(100_000, Timestamp(0).plus(WINDOW)), Some(0), "later there is room again");
    }
}
