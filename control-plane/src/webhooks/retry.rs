//! When a message that did not arrive is sent again, and when it is given up. Pure: the time and a
//! random number are arguments.

use std::time::Duration;

use crate::model::{AttemptOutcome, DeliveryFailure, Timestamp};

/// The first pause; each later one is twice as long, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(3_600);
/// A message that is older than this is given up when it fails.
pub const MAX_MESSAGE_AGE: Duration = Duration::from_secs(3 * 86_400);
/// Attempts that hold up the messages behind, if these would fail as well: this keeps the order
/// over an outage of some twenty minutes.
const MAX_BLOCKING_ATTEMPTS: i64 = 8;

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptError {
    /// The reason.
    pub failure: DeliveryFailure,
    /// What the receiver answered, if it did.
    pub status: Option<u16>,
}

impl AttemptError {
    /// Whether other messages would fail as well: only a refusal may be this message's own affair.
    fn affects_all_messages(self) -> bool {
        !matches!(self.status, Some(400..500) if !matches!(self.status, Some(408 | 425 | 429)))
    }
}

/// What an attempt comes to. `attempts` is how many there were before; `random` is any number.
#[must_use]
pub fn after_attempt(
    outcome: Result<(), AttemptError>,
    attempts: i64,
    created_at: Timestamp,
    now: Timestamp,
    random: u64,
) -> AttemptOutcome {
    match outcome {
        Ok(()) => AttemptOutcome::Delivered,
        Err(AttemptError { status: Some(410), .. }) => AttemptOutcome::Gone,
        Err(failed @ AttemptError { failure, status }) => {
            let at = now.plus(pause(attempts, random));
            if at > created_at.plus(MAX_MESSAGE_AGE) {
                return AttemptOutcome::GivenUp { failure, status };
            }
            AttemptOutcome::Again {
                at,
                blocks: failed.affects_all_messages() && attempts < MAX_BLOCKING_ATTEMPTS,
                failure,
                status,
            }
        }
    }
}

/// Up to a fifth longer than it must be, so that messages that failed together are not sent again
/// together.
fn pause(attempts: i64, random: u64) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(MAX_PAUSE);
    pause + pause / 5 * u32::try_from(random % 1_000).unwrap_or_default() / 1_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNWELL: AttemptError = AttemptError { failure: DeliveryFailure::HttpStatus, status: Some(503) };
    const REFUSED: AttemptError = AttemptError { failure: DeliveryFailure::HttpStatus, status: Some(400) };

    #[test]
    fn a_receiver_that_is_gone_is_asked_no_more_and_one_that_answers_has_got_it() {
        let gone = AttemptError { failure: DeliveryFailure::HttpStatus, status: Some(410) };
        assert_eq!(after_attempt(Err(gone), 0, Timestamp(0), Timestamp(0), 0), AttemptOutcome::Gone);
        assert_eq!(
            after_attempt(Ok(()), 99, Timestamp(0), Timestamp(i64::MAX), 0),
            AttemptOutcome::Delivered
        );
    }

    #[test]
    fn pauses_double_from_five_seconds_to_an_hour_until_three_days_are_over() {
        let (mut now, mut attempts, mut pauses) = (Timestamp(0), 0, Vec::new());
        while let AttemptOutcome::Again { at, .. } =
            after_attempt(Err(UNWELL), attempts, Timestamp(0), now, 0)
        {
            pauses.push(at.since(now).as_secs());
            (now, attempts) = (at, attempts + 1);
        }
        assert_eq!(pauses[..11], [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600]);
        assert!(pauses[11..].iter().all(|pause| *pause == 3_600));
        assert!(
            now <= Timestamp(0).plus(MAX_MESSAGE_AGE)
                && now.plus(MAX_PAUSE) > Timestamp(0).plus(MAX_MESSAGE_AGE)
        );
        assert_eq!(attempts, 80);
    }

    #[test]
    fn what_waited_longer_than_that_is_tried_once_all_the_same() {
        // Nobody sent anything for a week; the attempt that was made then is the one that fails.
        let late = Timestamp(0).plus(MAX_MESSAGE_AGE * 2);
        assert!(matches!(
            after_attempt(Err(UNWELL), 0, Timestamp(0), late, 0),
            AttemptOutcome::GivenUp { .. }
        ));
    }

    #[test]
    fn an_outage_holds_up_what_comes_behind_for_a_while_and_a_refusal_does_not() {
        let blocks = |failed, attempts| {
            let outcome = after_attempt(Err(failed), attempts, Timestamp(0), Timestamp(0), 0);
            matches!(outcome, AttemptOutcome::Again { blocks: true, .. })
        };
        assert!(blocks(UNWELL, 0) && blocks(UNWELL, 7) && !blocks(UNWELL, 8));
        assert!(!blocks(REFUSED, 0));
        let cut = AttemptError { failure: DeliveryFailure::NotConnected, status: None };
        assert!(blocks(cut, 0));
        assert!(blocks(AttemptError { status: Some(429), ..UNWELL }, 0), "too many is said of all");
    }

    proptest! {
        #[test]
        fn chance_makes_a_pause_at_most_a_fifth_longer(attempts in 0..1_000i64, random: u64) {
            let (least, got) = (pause(attempts, 0), pause(attempts, random));
            prop_assert!(got >= least && got <= least + least / 5);
        }
    }
}
