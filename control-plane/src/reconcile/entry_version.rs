//! Whether what was seen of an entry is older than what was seen of it before. An older observation
//! writes nothing.

use std::time::Duration;

use crate::model::{EntryVersion, Record, SourceSettings, Timestamp, VersionKind};

/// Clocks of servers differ: a time stamp is older only by more than this, and one that is ahead of
/// our clock by more than this is not kept.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Whether `seen` is provably older than `kept`. Versions that do not compare prove nothing.
#[must_use]
pub fn is_older(kept: &EntryVersion, seen: &EntryVersion) -> bool {
    if kept.kind != seen.kind {
        return false;
    }
    match kept.kind {
        // Written so that they compare as text; others are no change numbers.
        VersionKind::EntryCsn => {
            let both = csn_time(&kept.value).zip(csn_time(&seen.value));
            both.is_some() && seen.value < kept.value
        }
        VersionKind::UsnChanged | VersionKind::EntryUsn => {
            let number = |version: &EntryVersion| version.value.parse::<u64>().ok();
            let both = number(kept).zip(number(seen));
            !kept.origin.is_empty()
                && kept.origin == seen.origin
                && both.is_some_and(|(kept, seen)| seen < kept)
        }
        VersionKind::ModifyTimestamp => {
            let both = generalized_time(&kept.value).zip(generalized_time(&seen.value));
            // Of one server all stamps are of one clock.
            let is_same_server = !kept.origin.is_empty() && kept.origin == seen.origin;
            let tolerance = if is_same_server { Duration::ZERO } else { CLOCK_TOLERANCE };
            both.is_some_and(|(kept, seen)| seen.plus(tolerance) < kept)
        }
    }
}

/// Whether it is known which of two versions is the newer one, or that they are the same.
#[must_use]
pub fn is_comparable(kept: &EntryVersion, seen: &EntryVersion) -> bool {
    kept == seen || is_older(kept, seen) || is_older(seen, kept)
}

/// Whether a version is kept with its user: one from the future would make every later observation
/// an older one.
#[must_use]
pub fn may_be_kept(version: &EntryVersion, now: Timestamp) -> bool {
    let time = match version.kind {
        VersionKind::EntryCsn => csn_time(&version.value),
        VersionKind::ModifyTimestamp => generalized_time(&version.value),
        VersionKind::UsnChanged | VersionKind::EntryUsn => {
            return !version.origin.is_empty() && version.value.parse::<u64>().is_ok();
        }
    };
    time.is_some_and(|time| time <= now.plus(CLOCK_TOLERANCE))
}

/// Whether two settings read the same entries from the same servers, so that versions compare.
#[must_use]
pub fn is_same_directory(before: &SourceSettings, after: &SourceSettings) -> bool {
    before.servers == after.servers && before.roots == after.roots
}

/// Takes a version off a record that is not to be kept with its user.
pub fn forget_unkept(record: &mut Record, now: Timestamp) {
    record.version.take_if(|version| !may_be_kept(version, now));
}

/// The time of a change number, `20261124100000.000000Z#000000#001#000000`.
fn csn_time(csn: &str) -> Option<Timestamp> {
    let mut parts = csn.split('#');
    let time = parts.next()?;
    (parts.count() == 3 && time.len() == 22).then(|| generalized_time(time)).flatten()
}

/// A generalized time in UTC (RFC 4517, 3.3.13): `YYYYMMDDhhmm[ss][.f…]Z`. Other time zones are not
/// what servers write of their own.
fn generalized_time(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z')?;
    let digits = text.split(['.', ',']).next()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 12 | 14) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).and_then(|part| part.parse::<i64>().ok());
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14).unwrap_or(0));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from the civil date, for years that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(Timestamp((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(kind: VersionKind, value: &str, origin: &[u8]) -> EntryVersion {
        EntryVersion { kind, value: value.to_owned(), origin: origin.to_vec() }
    }

    #[test]
    fn change_numbers_of_openldap_compare_as_text() {
        let of = |time: &str, server| {
            version(VersionKind::EntryCsn, &format!("{time}.000000Z#000000#{server}#000000"), &[])
        };
        assert!(is_older(&of("20261124100001", "001"), &of("20261124100000", "002")));
        assert!(!is_older(&of("20261124100000", "001"), &of("20261124100000", "001")), "the same one");
        assert!(!is_older(&of("20261124100000", "001"), &of("20261124100001", "001")));
        let odd = version(VersionKind::EntryCsn, "1", &[]);
        assert!(!is_older(&of("20261124100000", "001"), &odd), "no change number");
    }

    #[test]
    fn numbers_compare_within_one_origin_only() {
        for kind in [VersionKind::UsnChanged, VersionKind::EntryUsn] {
            let of = |value, origin: &[u8]| version(kind, value, origin);
            assert!(is_older(&of("10", b"a"), &of("9", b"a")), "as numbers, not as text");
            assert!(!is_older(&of("9", b"a"), &of("10", b"a")));
            assert!(!is_older(&of("10", b"a"), &of("9", b"b")), "another copy");
            assert!(!is_older(&of("10", b""), &of("9", b"")), "nobody knows whose");
            assert!(!is_older(&of("10", b"a"), &of("-1", b"a")), "no number");
        }
        let other = version(VersionKind::EntryUsn, "1", b"a");
        assert!(!is_older(&version(VersionKind::UsnChanged, "10", b"a"), &other), "another kind");
    }

    #[test]
    fn time_stamps_are_older_by_more_than_clocks_differ() {
        let own = |value| version(VersionKind::ModifyTimestamp, value, b"one server");
        assert!(is_older(&own("20261124100001Z"), &own("20261124100000Z")), "of one clock");
        assert!(!is_older(&own("20261124100000Z"), &own("20261124100000Z")));
        let of = |value| version(VersionKind::ModifyTimestamp, value, &[]);
        assert!(is_older(&of("20261124100501Z"), &of("20261124100000Z")));
        assert!(!is_older(&of("20261124100500Z"), &of("20261124100000Z")));
        assert!(is_older(&of("20270101000500.0Z"), &of("20261231235959Z")), "over the turn of a year");
        assert!(!is_older(&of("20270101000500Z"), &of("19990101000000+0100")), "not understood");
    }

    #[test]
    fn a_stamp_from_the_future_is_not_kept() {
        let now = Timestamp(1_795_514_400_000_000); // 2026-11-24 10:00:00 UTC
        for (kind, ending) in
            [(VersionKind::ModifyTimestamp, "Z"), (VersionKind::EntryCsn, ".000000Z#000000#001#000000")]
        {
            let of = |time: &str| version(kind, &format!("{time}{ending}"), &[]);
            assert!(may_be_kept(&of("20261124100500"), now));
            assert!(!may_be_kept(&of("20261124100501"), now));
            assert!(!may_be_kept(&version(kind, "soon", &[]), now));
        }
        assert!(may_be_kept(&version(VersionKind::EntryUsn, "7", b"a"), now));
        assert!(!may_be_kept(&version(VersionKind::EntryUsn, "7", b""), now));
    }

    #[test]
    fn generalized_times_are_points_in_time() {
        for (text, seconds) in [
            ("19700101000000Z", 0),
            ("20000229120000Z", 951_825_600),
            ("20261124100000.123Z", 1_795_514_400),
            ("202611241000Z", 1_795_514_400),
        ] {
            assert_eq!(generalized_time(text), Some(Timestamp(seconds * 1_000_000)), "{text}");
        }
        for text in ["", "Z", "20261324100000Z", "2026112410000Z", "20261124250000Z", "ä0261124100000Z"] {
            assert_eq!(generalized_time(text), None, "{text}");
        }
    }
}
