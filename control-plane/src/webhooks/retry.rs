//! When a message that did not arrive is tried again, and when no longer. Pure: time and chance are arguments.

use std::time::Duration;

use crate::model::{Attempted, DeliveryFailure, Timestamp};

/// The first pause; each later one is twice as long, and at most the longest.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3_600);
/// A message that is older than this is given up when it fails.
pub const GIVEN_UP: Duration = Duration::from_secs(3 * 86_400);
/// So many attempts hold up what comes behind, where it would fail as well: this keeps the order over an outage of some twenty minutes.
const IN_ORDER: i64 = 8;

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The reason.
    pub failure: DeliveryFailure,
    /// What the receiver answered, if it did.
    pub status: Option<u16>,
}

impl Failed {
    /// Whether other messages would fail as well: only a refusal may be this message's own affair.
    fn of_all(self) -> bool {
        !matches!(self.status, Some(400..500) if !matches!(self.status, Some(408 | 425 | 429)))
    }
}

/// What an attempt comes to. `attempts` is how many there were before; `chance` is any number.
#[must_use]
pub fn next(
    outcome: Result<(), Failed>,
    attempts: i64,
    created_at: Timestamp,
    now: Timestamp,
    chance: u64,
) -> Attempted {
    match outcome {
        Ok(()) => Attempted::Delivered,
        Err(Failed { status: Some(410), .. }) => Attempted::Gone,
        Err(failed @ Failed { failure, status }) => {
            let at = now.plus(pause(attempts, chance));
            if at > created_at.plus(GIVEN_UP) {
                return Attempted::GivenUp { failure, status };
            }
            Attempted::Again { at, blocks: failed.of_all() && attempts < IN_ORDER, failure, status }
        }
    }
}

/// Up to a fifth longer than it must be, so that those who failed together do not come again together.
fn pause(attempts: i64, chance: u64) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).min(16);
    let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    pause + pause / 5 * u32::try_from(chance % 1_000).unwrap_or_default() / 1_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNWELL: Failed = Failed { failure: DeliveryFailure::HttpStatus, status: Some(503) };
    const REFUSED: Failed = Failed { failure: DeliveryFailure::HttpStatus, status: Some(400) };

    #[test]
    fn a_receiver_that_is_gone_is_asked_no_more_and_one_that_answers_has_got_it() {
        let gone = Failed { failure: DeliveryFailure::HttpStatus, status: Some(410) };
        assert_eq!(next(Err(gone), 0, Timestamp(0), Timestamp(0), 0), Attempted::Gone);
        assert_eq!(next(Ok(()), 99, Timestamp(0), Timestamp(i64::MAX), 0), Attempted::Delivered);
    }

    #[test]
    fn pauses_double_from_five_seconds_to_an_hour_until_three_days_are_over() {
        let (mut now, mut attempts, mut pauses) = (Timestamp(0), 0, Vec::new());
        while let Attempted::Again { at, .. } = next(Err(UNWELL), attempts, Timestamp(0), now, 0) {
            pauses.push(at.since(now).as_secs());
            (now, attempts) = (at, attempts + 1);
        }
        assert_eq!(pauses[..11], [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600]);
        assert!(pauses[11..].iter().all(|pause| *pause == 3_600));
        assert!(now <= Timestamp(0).plus(GIVEN_UP) && now.plus(LONGEST) > Timestamp(0).plus(GIVEN_UP));
        assert_eq!(attempts, 80);
    }

    #[test]
    fn what_waited_longer_than_that_is_tried_once_all_the_same() {
        // Nobody sent anything for a week; the attempt that was made then is the one that fails.
        let late = Timestamp(0).plus(GIVEN_UP * 2);
        assert!(matches!(next(Err(UNWELL), 0, Timestamp(0), late, 0), Attempted::GivenUp { .. }));
    }

    #[test]
    fn an_outage_holds_up_what_comes_behind_for_a_while_and_a_refusal_does_not() {
        let blocks = |failed, attempts| {
            let outcome = next(Err(failed), attempts, Timestamp(0), Timestamp(0), 0);
            matches!(outcome, Attempted::Again { blocks: true, .. })
        };
        assert!(blocks(UNWELL, 0) && blocks(UNWELL, 7) && !blocks(UNWELL, 8));
        assert!(!blocks(REFUSED, 0));
        let cut = Failed { failure: DeliveryFailure::NotConnected, status: None };
        assert!(blocks(cut, 0));
        assert!(blocks(Failed { status: Some(429), ..UNWELL }, 0), "too many is said of all");
    }

    proptest! {
        #[test]
        fn chance_makes_a_pause_at_most_a_fifth_longer(attempts in 0..1_000i64, chance: u64) {
            let (least, got) = (pause(attempts, 0), pause(attempts, chance));
            prop_assert!(got >= least && got <= least + least / 5);
        }
    }
}
