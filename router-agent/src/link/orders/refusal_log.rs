//! The router's own log of what it refused the control plane: log lines that say `audit=true
//! event=order_refused`, with the kind of order and the keys of the policy that forbid it. Nothing
//! that the control plane wrote is in them, so it can neither fake a line nor fill one; and since
//! it decides how often it asks, lines are counted instead of written once there are many.

use std::time::{Duration, Instant};

/// Lines in one [`PERIOD`].
const MAX_LINES: u32 = 100;
const PERIOD: Duration = Duration::from_secs(60);

/// The log of one session.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    /// When the current period began, and how many lines it has.
    period: Option<(Instant, u32)>,
    /// Refusals that were only counted.
    counted: u64,
}

impl RefusalLog {
    /// Records that an order was refused.
    pub(super) fn record(&mut self, now: Instant, order: &'static str, keys: &str) {
        if self.has_room(now) {
            tracing::warn!(audit = true, event = "order_refused", order, keys, "an order was refused");
        } else {
            self.counted += 1;
        }
    }

    /// Whether there is room for one more line now.
    fn has_room(&mut self, now: Instant) -> bool {
        let (began, lines) = match self.period {
            Some((began, lines)) if now.saturating_duration_since(began) < PERIOD => (began, lines),
            _ => {
                self.write_count();
                (now, 0)
            }
        };
        self.period = Some((began, lines.saturating_add(1)));
        lines < MAX_LINES
    }

    fn write_count(&mut self) {
        if self.counted > 0 {
            tracing::warn!(
                audit = true,
                event = "orders_refused",
                count = self.counted,
                "more orders were refused than are told one by one"
            );
            self.counted = 0;
        }
    }
}

impl Drop for RefusalLog {
    fn drop(&mut self) {
        self.write_count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_and_the_next_period_has_lines_again() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        for _ in 0..MAX_LINES + 50 {
            log.record(start, "SyncOrder", "roots");
        }
        assert_eq!(log.counted, 50);
        log.record(start + PERIOD, "SyncOrder", "roots");
        assert_eq!(log.counted, 0, "told, and the line written");
    }
}
