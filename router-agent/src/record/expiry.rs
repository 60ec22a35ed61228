//! Whether an entry says that its account has expired. A value that cannot be read never keeps
//! an account enabled: it is an error.

use rollcall_proto::admin::v1::ExpiryRule;
use rollcall_proto::admin::v1::expiry_rule::Format;
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

use super::Entry;
use super::mark::{MarkSight, sight};

/// Seconds from 1601 to 1970.
const SECONDS_1601_TO_1970: i64 = 11_644_473_600;
const SECONDS_PER_DAY: i64 = 86_400;

/// How the directory says when accounts expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) attribute: String,
    format: Format,
}

impl Rule {
    /// The rule of a mapping; none if it has no attribute or no format.
    pub(super) fn new(rule: &ExpiryRule) -> Option<Self> {
        let known = rule.format() != Format::Unspecified && !rule.attribute.is_empty();
        known.then(|| Self { attribute: rule.attribute.clone(), format: rule.format() })
    }

    /// What the entry shows of its end at `now`, in seconds since 1970: marked if it has expired.
    /// `Err` if a value cannot be read and no other is past.
    pub(super) fn sight(&self, entry: &Entry, now: i64) -> Result<MarkSight, ()> {
        sight(entry, &self.attribute, |value| Ok(self.end(value)?.is_some_and(|end| end <= now)))
    }

    /// When the account expires, in seconds since 1970; none for never.
    fn end(&self, value: &[u8]) -> Result<Option<i64>, ()> {
        let text = std::str::from_utf8(value).map_err(|_| ())?.trim();
        let number = || text.parse::<i64>().map_err(|_| ());
        Ok(match self.format {
            Format::Unspecified => return Err(()),
            Format::GeneralizedTime => Some(generalized_time(text).ok_or(())?),
            Format::Filetime => match number()? {
                0 | i64::MAX => None,
                ticks => Some(ticks.div_euclid(10_000_000) - SECONDS_1601_TO_1970),
            },
            Format::DaysSince1970 => match number()? {
                -1 => None,
                days => Some(days.saturating_mul(SECONDS_PER_DAY)),
            },
            Format::SecondsSince1970 => Some(number()?).filter(|seconds| !matches!(seconds, 0 | -1)),
        })
    }
}

/// RFC 4517, 3.3.13: `YYYYMMDDHH[MM[SS]][.f](Z|+hhmm|-hhmm)`. A fraction is left out: nobody
/// expires by it.
fn generalized_time(text: &str) -> Option<i64> {
    let zone = text.find(['Z', 'z', '+', '-'])?;
    let (local, zone) = text.split_at(zone);
    let digits = local.split(['.', ',']).next()?;
    if !matches!(digits.len(), 10 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<u8>().ok());
    let month = Month::try_from(part(4, 6)?).ok()?;
    let date = Date::from_calendar_date(digits.get(..4)?.parse().ok()?, month, part(6, 8)?).ok()?;
    // A leap second is the second before it.
    let time = Time::from_hms(part(8, 10)?, part(10, 12)?, part(12, 14)?.min(59)).ok()?;
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => UtcOffset::UTC,
        (sign, offset)
            if matches!(offset.len(), 2 | 4) && offset.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            let hours: i8 = offset.get(..2)?.parse().ok()?;
            let minutes: i8 =
                offset.get(2..).filter(|text| !text.is_empty()).map_or(Some(0), |text| text.parse().ok())?;
            let sign = if sign == "-" { -1 } else { 1 };
            UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()?
        }
        _ => return None,
    };
    Some(PrimitiveDateTime::new(date, time).assume_offset(offset).unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15T08:00:00Z.
    const NOW: i64 = 1_800_000_000;

    fn expired(format: Format, value: &[u8]) -> Result<bool, ()> {
        let rule = ExpiryRule { attribute: "accountExpires".to_owned(), format: format.into() };
        let rule = Rule::new(&rule).expect("a rule");
        let sight = rule.sight(&Entry::from_parts("", &[("AccountExpires", &[value])]), NOW)?;
        assert_ne!(sight, MarkSight::Absent);
        Ok(sight == MarkSight::Marked)
    }

    #[test]
    fn active_directorys_account_expires_is_read_with_both_of_its_ways_to_say_never() {
        let at = |seconds: i64| ((seconds + SECONDS_1601_TO_1970) * 10_000_000).to_string();
        assert_eq!(expired(Format::Filetime, at(NOW).as_bytes()), Ok(true));
        assert_eq!(expired(Format::Filetime, at(NOW + 1).as_bytes()), Ok(false));
        assert_eq!(expired(Format::Filetime, b"0"), Ok(false));
        assert_eq!(expired(Format::Filetime, b"9223372036854775807"), Ok(false));
        assert_eq!(expired(Format::Filetime, b"1"), Ok(true), "1601");
    }

    #[test]
    fn shadow_expire_counts_days_and_minus_one_is_never() {
        assert_eq!(expired(Format::DaysSince1970, b"20833"), Ok(true), "2027-01-15");
        assert_eq!(expired(Format::DaysSince1970, b"20834"), Ok(false));
        assert_eq!(expired(Format::DaysSince1970, b"-1"), Ok(false));
        assert_eq!(expired(Format::DaysSince1970, b"0"), Ok(true), "as pam_unix has it");
        assert_eq!(expired(Format::DaysSince1970, b"9223372036854775807"), Ok(false));
    }

    #[test]
    fn generalized_time_is_read_in_all_of_its_forms() {
        for (text, is_past) in [
            ("20270115080000Z", true),
            ("20270115080001Z", false),
            ("202701150800Z", true),
            ("2027011508Z", true),
            ("20270115080000.999Z", true),
            ("20270115080000,5Z", true),
            ("20270115090000+0100", true),
            ("20270115090000+01", true),
            ("20270115080000-0530", false),
            ("20270115080060Z", false),
            ("000001010000Z", true),
            ("99991231235959Z", false),
        ] {
            assert_eq!(expired(Format::GeneralizedTime, text.as_bytes()), Ok(is_past), "{text}");
        }
        assert_eq!(expired(Format::SecondsSince1970, b"1800000000"), Ok(true));
        assert_eq!(expired(Format::SecondsSince1970, b"1800000001"), Ok(false));
        assert_eq!(expired(Format::SecondsSince1970, b"0"), Ok(false));
    }

    #[test]
    fn a_date_that_cannot_be_read_does_not_mean_enabled() {
        for text in [
            "",
            "soon",
            "20270115080000",
            "2027-01-15T08:00:00Z",
            "20271315080000Z",
            "20270230080000Z",
            "2027011508000Z",
            "20270115080000+1",
            "20270115080000+2500x",
            "20270115080000\u{665}Z",
            "é0270115080000Z",
        ] {
            assert_eq!(expired(Format::GeneralizedTime, text.as_bytes()), Err(()), "{text}");
            assert_eq!(
                expired(Format::Filetime, text.as_bytes()).is_ok(),
                text.parse::<i64>().is_ok(),
                "{text}"
            );
        }
        assert_eq!(expired(Format::Filetime, b"\xff"), Err(()));
        assert_eq!(expired(Format::DaysSince1970, b"99999999999999999999"), Err(()));
    }

    #[test]
    fn an_entry_without_the_attribute_shows_no_end_and_one_past_date_of_several_is_enough() {
        let rule = ExpiryRule {
            attribute: "krbPrincipalExpiration".to_owned(),
            format: Format::GeneralizedTime.into(),
        };
        let rule = Rule::new(&rule).expect("a rule");
        assert_eq!(rule.sight(&Entry::default(), NOW), Ok(MarkSight::Absent));
        let values: [&[u8]; 3] = [b"20990101000000Z", b"soon", b"20200101000000Z"];
        for rotated in 0..3 {
            let mut values = values;
            values.rotate_left(rotated);
            assert_eq!(
                rule.sight(&Entry::from_parts("", &[("krbPrincipalExpiration", &values)]), NOW),
                Ok(MarkSight::Marked)
            );
        }
    }
}
