//! How long to wait before connecting again: exponential with full jitter, so that a thousand
//! routers do not come back at once. Pure.

use std::time::Duration;

const FIRST_MAX_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The wait after so many failures in a row; `random` is any number.
pub(super) fn delay(failures: u32, random: u32) -> Duration {
    let ceiling = FIRST_MAX_DELAY.saturating_mul(1 << failures.min(16)).min(MAX_DELAY);
    ceiling.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_are_spread_over_their_whole_range() {
        assert_eq!(delay(0, u32::MAX), FIRST_MAX_DELAY);
        assert_eq!(delay(3, u32::MAX), FIRST_MAX_DELAY * 8);
        assert_eq!(delay(u32::MAX, u32::MAX), MAX_DELAY);
        assert_eq!(delay(9, 0), Duration::ZERO);
    }
}
