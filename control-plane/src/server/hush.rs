//! Lines in the log that anyone on the network can cause: some of them are written, the others are counted, so that nobody fills a disk
//! by knocking.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in one [`PERIOD`].
const MOST: u32 = 50;
const PERIOD: Duration = Duration::from_secs(10);

/// Counts lines.
#[derive(Debug, Default)]
pub(crate) struct Hush(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    period: Option<Instant>,
    written: u32,
    counted: u64,
}

impl Hush {
    /// Whether one more line may be written now, and how many were not since the last time that this was said.
    pub(crate) fn may_write(&self, now: Instant) -> (bool, u64) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = 0;
        if lines.period.is_none_or(|began| now.saturating_duration_since(began) >= PERIOD) {
            counted = lines.counted;
            *lines = Lines { period: Some(now), ..Lines::default() };
        }
        let may = lines.written < MOST;
        if may {
            lines.written += 1;
        } else {
            lines.counted += 1;
        }
        (may, counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_are_counted_and_the_count_is_told_in_the_next_period() {
        let (hush, start) = (Hush::default(), Instant::now());
        let written = (0..1_000).filter(|_| hush.may_write(start).0).count();
        assert_eq!(written, 50);
        assert_eq!(hush.may_write(start + PERIOD), (true, 950));
        assert_eq!(hush.may_write(start + PERIOD), (true, 0));
    }
}
