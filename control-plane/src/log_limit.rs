//! Limits the log lines that any client on the network can cause: 50 in 10 s are written, the
//! others are only counted, so that a client cannot fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that are written in one [`PERIOD`].
const MAX_LINES_PER_PERIOD: u32 = 50;
const PERIOD: Duration = Duration::from_secs(10);

/// Decides which lines are written.
#[derive(Debug, Default)]
pub struct LogRateLimiter(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    period: Option<Instant>,
    written: u32,
    counted: u64,
}

impl LogRateLimiter {
    /// Whether one more line may be written now, and how many were not since the last time that
    /// this was said.
    #[must_use]
    pub fn may_write(&self, now: Instant) -> (bool, u64) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = 0;
        if lines.period.is_none_or(|began| now.saturating_duration_since(began) >= PERIOD) {
            counted = lines.counted;
            *lines = Lines { period: Some(now), ..Lines::default() };
        }
        let may = lines.written < MAX_LINES_PER_PERIOD;
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
    fn lines_beyond_the_limit_are_counted_and_the_next_period_reports_them() {
        let (limiter, start) = (LogRateLimiter::default(), Instant::now());
        let written = (0..1_000).filter(|_| limiter.may_write(start).0).count();
        assert_eq!(written, 50);
        assert_eq!(limiter.may_write(start + PERIOD), (true, 950));
        assert_eq!(limiter.may_write(start + PERIOD), (true, 0));
    }
}
