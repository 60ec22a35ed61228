//! Warns in the log, once each, of a certificate that should have been renewed by now, and of one
//! that has expired.

use time::OffsetDateTime;

use super::transport;
use crate::identity::{Facts, Validity};

/// The part of a life from which on a warning is due.
const LATE_FROM: f64 = 0.75;

/// How urgent it has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Calm,
    Late,
    Over,
}

fn urgency(validity: &Validity, now: OffsetDateTime) -> Urgency {
    match validity.elapsed_fraction(now) {
        spent if spent >= 1.0 => Urgency::Over,
        spent if spent >= LATE_FROM => Urgency::Late,
        _ => Urgency::Calm,
    }
}

/// Tells people once that a certificate should have been renewed by now, and once that it has
/// expired.
#[derive(Debug, Default)]
pub(super) struct ExpiryAlarm {
    reported: Option<(String, Urgency)>,
}

impl ExpiryAlarm {
    /// Warns if it has become more urgent.
    pub(super) fn check(&mut self, facts: &Facts, now: OffsetDateTime) {
        let urgency = urgency(&facts.validity, now);
        if !self.is_more_urgent(facts, urgency) {
            return;
        }
        let until = transport::format_time(facts.validity.not_after);
        match urgency {
            Urgency::Calm => {}
            Urgency::Late => {
                tracing::warn!(
                    until,
                    "the router's certificate is past three quarters of its life and not renewed"
                );
            }
            Urgency::Over => tracing::error!(until, "the router's certificate has expired"),
        }
    }

    fn is_more_urgent(&mut self, facts: &Facts, urgency: Urgency) -> bool {
        let known =
            self.reported.as_ref().filter(|(of, _)| *of == facts.fingerprint).map(|(_, reported)| *reported);
        let news = urgency > known.unwrap_or(Urgency::Calm);
        if news {
            self.reported = Some((facts.fingerprint.clone(), urgency));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use time::Duration as Span;

    use super::*;

    fn validity(seconds: i64) -> Validity {
        let not_before = OffsetDateTime::UNIX_EPOCH;
        Validity { not_before, not_after: not_before + Span::minutes(5) + Span::seconds(seconds) }
    }

    fn facts(fingerprint: &str) -> Facts {
        Facts {
            name: "tenants/acme/identityRouters/hq-1".to_owned(),
            validity: validity(100),
            fingerprint: fingerprint.to_owned(),
            generation: None,
        }
    }

    #[test]
    fn people_hear_once_that_it_is_late_and_once_that_it_is_over() {
        let begin = validity(100).issued_at();
        let at = |seconds| begin + Span::seconds(seconds);
        let of = |seconds| urgency(&validity(100), at(seconds));
        assert_eq!((of(0), of(74), of(75)), (Urgency::Calm, Urgency::Calm, Urgency::Late));
        assert_eq!((of(99), of(100), of(10_000)), (Urgency::Late, Urgency::Over, Urgency::Over));

        let mut alarm = ExpiryAlarm::default();
        let mut news = |urgency| alarm.is_more_urgent(&facts("a"), urgency);
        assert!(!news(Urgency::Calm) && news(Urgency::Late) && !news(Urgency::Late));
        assert!(news(Urgency::Over) && !news(Urgency::Over) && !news(Urgency::Late));
        assert!(!alarm.is_more_urgent(&facts("b"), Urgency::Calm), "a new one is fine");
        assert!(alarm.is_more_urgent(&facts("b"), Urgency::Late), "until it is late, too");
    }
}
