//! When a certificate is renewed, and how long to wait after a try that failed. Pure.

use std::time::Duration;

/// A router renews at half of a certificate's life, a tenth of it earlier or later, so that not all
/// routers come at once.
const RENEWAL_BEGIN: f64 = 0.4;
const RENEWAL_SPREAD: f64 = 0.2;
/// Waits between tries, as parts of a life.
const FIRST_PAUSE: f64 = 1.0 / 200.0;
const MAX_PAUSE: f64 = 1.0 / 20.0;

/// After how much of a life of this length a router renews; `random` is any number.
pub(crate) fn renewal_due(length: Duration, random: u32) -> Duration {
    length.mul_f64(RENEWAL_BEGIN + RENEWAL_SPREAD * f64::from(random) / f64::from(u32::MAX))
}

/// The wait after so many tries in a row that failed.
pub(super) fn retry_pause(length: Duration, failures: u32, random: u32) -> Duration {
    let (first, longest) = (length.mul_f64(FIRST_PAUSE), length.mul_f64(MAX_PAUSE));
    let ceiling = first.saturating_mul(1 << failures.min(16)).min(longest);
    ceiling.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_certificate_is_renewed_around_half_of_its_life_and_not_by_all_at_once() {
        assert_eq!((renewal_due(DAY, 0), renewal_due(DAY, u32::MAX)), (DAY.mul_f64(0.4), DAY.mul_f64(0.6)));
        assert!((renewal_due(DAY, u32::MAX / 2).as_secs_f64() - 43_200.0).abs() < 1.0);
    }

    #[test]
    fn tries_that_fail_are_repeated_often_enough_to_be_done_by_two_thirds() {
        let spent: Duration = (1..=4).map(|failures| retry_pause(DAY, failures, u32::MAX)).sum();
        assert!(renewal_due(DAY, u32::MAX) + spent <= DAY.mul_f64(2.0 / 3.0 + 0.1), "{spent:?}");
        for failures in 0..40 {
            let wait = retry_pause(DAY, failures, 0);
            assert!(wait > Duration::ZERO && wait <= DAY.mul_f64(MAX_PAUSE), "{failures}: {wait:?}");
        }
    }
}
